"""Jobs that find people who are probably one: among all of them, and for those that are new."""

from isthmus.app.matching import TYPES, match_all
from isthmus.app.matching_near import meet_new
from isthmus.app.scheduling.context import JobContext
from isthmus.kernel.marks import Json
from isthmus.matching.near import Probes
from isthmus.matching.probable.people import PEOPLE
from isthmus.stream.jobs.job import Kind
from isthmus.stream.jobs.work import Work

PEOPLE_KIND, NEW_KIND = "matching.people", "matching.new"
_PROBES = Probes(PEOPLE)


async def people_job(work: Work, context: JobContext) -> Json:
    """Match the people of the workspace."""

    def tell(done: int, total: int, text: str) -> None:
        work.tell(done=done, total=total, text=text)

    found = await match_all(context.store, work.scope(), tell=tell)
    return {each.type: {"records": each.records, "merged": each.merged, "proposed": each.proposed} for each in found}


async def new_job(work: Work, context: JobContext) -> Json:
    """Put the likely matches of people who are new before a person."""
    told: dict[str, Json] = {}
    for name in TYPES:
        async with work.database.transaction(work.scope()) as tx:
            looked, proposed = await meet_new(tx, context.store, _PROBES, name)
        told[name] = {"records": looked, "proposed": proposed}
    return told


KINDS: tuple[Kind[JobContext], ...] = (
    Kind(
        name=PEOPLE_KIND,
        about="Find who is probably one: merge what is sure, put the rest before a person.",
        run=people_job,
        permission="sales:write",
    ),
    Kind(
        name=NEW_KIND,
        about="Put who people that are new probably are before a person, by what the last run over all learned.",
        run=new_job,
        permission="sales:write",
    ),
)

"""The job that finds people who are probably one."""

from isthmus.app.matching import match_all
from isthmus.app.scheduling.context import JobContext
from isthmus.kernel.marks import Json
from isthmus.stream.jobs.job import Kind
from isthmus.stream.jobs.work import Work

PEOPLE_KIND = "matching.people"


async def people_job(work: Work, context: JobContext) -> Json:
    """Match the people of the workspace."""

    def tell(done: int, total: int, text: str) -> None:
        work.tell(done=done, total=total, text=text)

    found = await match_all(context.store, work.scope(), tell=tell)
    return {each.type: {"records": each.records, "merged": each.merged, "proposed": each.proposed} for each in found}


KINDS: tuple[Kind[JobContext], ...] = (
    Kind(
        name=PEOPLE_KIND,
        about="Find who is probably one: merge what is sure, put the rest before a person.",
        run=people_job,
        permission="sales:write",
    ),
)

"""Why something waits for somebody: events, messages and jobs that failed, grouped by cause."""

from collections.abc import Sequence

from isthmus.console.work.present import ACT, Viewer, reader_title
from isthmus.console.work.views import CauseRow, LetterRow
from isthmus.kernel.ids import text_of
from isthmus.store.database import Transaction
from isthmus.stream import parked
from isthmus.stream.jobs import board
from isthmus.stream.jobs.job import JOB_PREFIX
from isthmus.stream.webhooks.endpoints import Endpoint
from isthmus.sync.inbound import StuckCause, stuck_causes
from isthmus.sync.letters import LETTER_PREFIX, MESSAGE_PREFIX

LETTERS_SHOWN = 3
_BEHIND = "What it waited behind was given up, so it can be tried now."


async def load_causes(tx: Transaction, viewer: Viewer, hooks: Sequence[Endpoint]) -> list[CauseRow]:
    """Return everything that waits, by cause, the most frequent first."""
    hook = {each.consumer: each for each in hooks}.get
    found = [
        _of_events(each, viewer, reader_title(each.consumer, hook))
        for each in await parked.causes(tx, shown=LETTERS_SHOWN)
    ]
    found += [_of_messages(each, viewer) for each in await stuck_causes(tx, shown=LETTERS_SHOWN)]
    found += [_of_jobs(each, viewer) for each in await board.causes(tx, shown=LETTERS_SHOWN)]
    return sorted(found, key=lambda each: -each.count)


def _of_events(cause: parked.Cause, viewer: Viewer, title: str) -> CauseRow:
    return CauseRow(
        kind="event",
        who=cause.consumer,
        title=title[:1].upper() + title[1:],
        reason=cause.reason,
        said=_BEHIND if cause.reason == parked.WAITS_BEHIND else cause.reason,
        count=cause.count,
        noun="event",
        since=cause.since,
        tried_at=cause.tried_at,
        letters=[
            LetterRow(
                path=f"letters/{text_of(LETTER_PREFIX, each.id)}",
                name=f"event {each.seq:,}",
                detail="waits behind it" if each.reason != cause.reason else f"tried {_times(each.attempts)}",
            )
            for each in cause.first
        ],
        may_act=viewer.may(ACT),
    )


def _of_messages(cause: StuckCause, viewer: Viewer) -> CauseRow:
    names = [text_of(MESSAGE_PREFIX, each) for each in cause.first]
    return CauseRow(
        kind="message",
        who=cause.connection,
        title=f"Messages from {cause.connection}",
        reason=cause.reason,
        said=cause.reason,
        count=cause.count,
        noun="message",
        since=cause.since,
        tried_at=cause.tried_at,
        letters=[LetterRow(path=f"letters/{each}", name=each, detail="") for each in names],
        may_act=viewer.may(ACT),
    )


def _of_jobs(cause: board.Cause, viewer: Viewer) -> CauseRow:
    names = [text_of(JOB_PREFIX, each) for each in cause.last]
    return CauseRow(
        kind="job",
        who=cause.kind,
        title=viewer.title(cause.kind),
        reason=cause.reason,
        said=cause.reason,
        count=cause.count,
        noun="job",
        since=cause.since,
        tried_at=cause.latest,
        letters=[LetterRow(path=f"jobs/{each}", name=each, detail="") for each in names],
        may_act=viewer.may_start(cause.kind),
    )


def _times(count: int) -> str:
    return "once" if count == 1 else "twice" if count == 2 else f"{count} times"  # noqa: PLR2004 - the word for two.

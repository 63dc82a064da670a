"""A session with nobody: libraries call us, and there is no server of theirs to ask."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

from isthmus.connectors.ingest.reading import FEEDS
from isthmus.sync.connector import Change, ConnectorError, Leave, Outcome, Page, Written

CURSOR = "told"
_NAMES = frozenset(feed.name for feed in FEEDS)


@asynccontextmanager
async def begin(settings: dict[str, str], leave: Leave) -> AsyncGenerator["Listening"]:
    """Open a session, which asks nobody."""
    del settings, leave
    yield Listening()


class Listening:
    """A session that reads nothing: what there is was sent to us."""

    async def check(self) -> str:
        """Say that we wait for calls."""
        return "programs that call us"

    async def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield one empty page; raises ConnectorError for an unknown feed, and for a foreign cursor."""
        _check(feed)
        if cursor not in {None, CURSOR}:
            raise ConnectorError("The cursor is not one of ours.", fix="Read the feed from the start.")
        yield Page(rows=(), cursor=CURSOR, more=False)

    async def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield no ids: nothing is listed anywhere."""
        _check(feed)
        for none in ():
            yield none

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Refuse every change: libraries take none."""
        _check(feed)
        reason = f"{feed} is only sent to us."
        return [Written(outcome=Outcome.REFUSED, external_id=each.external_id, reason=reason) for each in changes]


def _check(feed: str) -> None:
    if feed not in _NAMES:
        raise ConnectorError(f"There is no feed {feed!r} here.", fix=f"Name one of {', '.join(sorted(_NAMES))}.")

"""Pages put together, so that a long reading is stored many rows at a time.

A page costs a transaction, with its look-ups and locks, however few rows it holds. A short reading goes page by page;
a long one goes in batches that grow with it, so that whoever is stopped at any moment has at most a quarter of what
was taken in to read again. A page that says more than what records are like now comes alone, and so does one that
speaks again of a record of the same batch.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from isthmus.store.schema import Schema
from isthmus.sync.connector import Feed, Page
from isthmus.sync.fuse import FuseTripped

ROWS_MAX = 10_000
SHARE = 4
WAITS_MAX = timedelta(seconds=2)


def points_to_itself(schema: Schema, feed: Feed) -> bool:
    """Tell whether records of a feed may point to others of it, which have to be stored before them."""
    return any(field.to in feed.types for name in feed.types for field in schema[name].open_fields if field.to)


def _alone(page: Page) -> bool:
    return page.emptied or bool(page.note) or any(row.deleted or row.stranger for row in page.rows)


def joined(pages: Sequence[Page]) -> Page:
    """Return pages as one, with the place behind the last of them."""
    last = pages[-1]
    if len(pages) == 1:
        return last
    totals = [each.total for each in pages if each.total is not None]
    rows = tuple(row for page in pages for row in page.rows)
    return Page(rows=rows, cursor=last.cursor, more=last.more, total=totals[-1] if totals else None)


async def together(
    pages: AsyncIterator[Page], *, apart: bool, now: Callable[[], datetime], rows_max: int = ROWS_MAX
) -> AsyncGenerator[Sequence[Page]]:
    """Yield pages in batches, in their order; with `apart` each comes alone.

    What was read before the reading fails is yielded, and then what failed is raised.
    """
    waiting: list[Page] = []
    ids: set[str] = set()
    taken, began = 0, now()
    try:
        async for page in pages:
            own = {row.external_id for row in page.rows}
            alone = apart or _alone(page)
            if waiting and (alone or not ids.isdisjoint(own) or len(ids) + len(own) > rows_max):
                yield waiting
                waiting, ids = [], set()
            if not waiting:
                began = now()
            waiting.append(page)
            ids |= own
            taken += len(page.rows)
            if alone or (len(ids) + len(own)) * SHARE > taken or now() - began >= WAITS_MAX:
                yield waiting
                waiting, ids = [], set()
    except Exception:
        if waiting:
            yield waiting
        raise
    if waiting:
        yield waiting


async def ahead(batches: AsyncGenerator[Sequence[Page]]) -> AsyncGenerator[Sequence[Page]]:
    """Yield the same batches; of a long reading the next one is read while the last one is stored."""

    async def following() -> Sequence[Page] | None:
        return await anext(batches, None)

    coming: asyncio.Task[Sequence[Page] | None] | None = None
    try:
        while (batch := await (coming or following())) is not None:
            coming = asyncio.create_task(following()) if len(batch) > 1 else None
            yield batch
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        await batches.aclose()


async def stored(batch: Sequence[Page], store: Callable[[Page], Awaitable[None]]) -> None:
    """Store a batch as one page; where that would change too much at once, page by page as far as it may go."""
    try:
        await store(joined(batch))
    except FuseTripped:
        if len(batch) == 1:
            raise
        for page in batch:
            await store(page)

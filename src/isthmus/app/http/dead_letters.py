"""Routes of dead letters: events whose effect failed, with the reason; tried again, or given up."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from isthmus.app.dead_letters import (
    LETTER_PREFIX,
    ConsumerGone,
    LetterView,
    Retried,
    discard_letter,
    letter_view,
    retry_letter,
)
from isthmus.gateway import Call, Page, Paging, Route
from isthmus.kernel.errors import NotFound
from isthmus.kernel.ids import InvalidId, uuid_of
from isthmus.stream.parked import NothingParked, parked
from isthmus.sync.ingest import Store

_TAGS = ("events",)
_ONE = "/api/v1/dead-letters/{dead_letter_id}"


class LetterQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters."""

    consumer: Annotated[str, Meta(max_length=200)] | None = None


async def list_letters(call: Call) -> Page[LetterView]:
    """List dead letters, by consumer and in the order of the log."""
    wanted, after = call.query(LetterQuery), call.after()
    last = None if after is None else uuid_of(LETTER_PREFIX, after)
    async with call.services.database.transaction(call.scope) as tx:
        found = await parked(tx, consumer=wanted.consumer, after=last, limit=wanted.limit + 1)
    return call.page([letter_view(each) for each in found], limit=wanted.limit, after=lambda each: each.id)


async def retry_one(call: Call) -> Retried:
    """Try a dead letter again."""
    async with call.services.database.transaction(call.scope) as tx:
        return await retry_letter(tx, call.services.of(Store), _id(call))


async def discard_one(call: Call) -> None:
    """Give a dead letter up."""
    async with call.services.database.transaction(call.scope) as tx:
        await discard_letter(tx, _id(call))


def _id(call: Call) -> UUID:
    try:
        return uuid_of(LETTER_PREFIX, call.path["dead_letter_id"])
    except InvalidId as error:
        raise NotFound(error.detail, fix=error.fix) from error


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/dead-letters",
        permission="stream:read",
        handler=list_letters,
        summary="List events whose effect failed, with the reason",
        tags=_TAGS,
        query=LetterQuery,
        response=Page[LetterView],
    ),
    Route(
        method="POST",
        path=f"{_ONE}:retry",
        permission="stream:write",
        handler=retry_one,
        summary="Try what waits for a record again, in order",
        tags=_TAGS,
        response=Retried,
        errors=(NothingParked, ConsumerGone),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:discard",
        permission="stream:write",
        handler=discard_one,
        summary="Give an event up for a consumer: its effect will never be",
        tags=_TAGS,
        status=204,
        errors=(NothingParked,),
    ),
)

"""Routes of dead letters: what could not be done, with the reason; tried again, or given up."""

from typing import Annotated

from msgspec import Meta

from isthmus.app.dead_letters import finder
from isthmus.gateway import Call, Page, Paging, Route
from isthmus.stream.parked import NothingParked
from isthmus.sync.inbound import MessageMissing
from isthmus.sync.ingest import Store
from isthmus.sync.letters import ConsumerGone, LetterView, Retried, discard_letter, letters, retry_letter

_TAGS = ("events",)
_ONE = "/api/v1/dead-letters/{dead_letter_id}"


class LetterQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters."""

    consumer: Annotated[str, Meta(max_length=200)] | None = None


async def list_letters(call: Call) -> Page[LetterView]:
    """List dead letters."""
    wanted = call.query(LetterQuery)
    async with call.services.database.transaction(call.scope) as tx:
        found = await letters(tx, consumer=wanted.consumer, after=call.after(), limit=wanted.limit + 1)
    return call.page(found, limit=wanted.limit, after=lambda each: each.id)


async def retry_one(call: Call) -> Retried:
    """Try a dead letter again."""
    async with call.services.database.transaction(call.scope) as tx:
        return await retry_letter(tx, call.path["dead_letter_id"], find=finder(call.services.of(Store)))


async def discard_one(call: Call) -> None:
    """Give a dead letter up."""
    async with call.services.database.transaction(call.scope) as tx:
        await discard_letter(tx, call.path["dead_letter_id"], vault=call.services.vault)


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/dead-letters",
        permission="stream:read",
        handler=list_letters,
        summary="List events whose effect failed and messages that could not be landed, with the reason",
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
        errors=(NothingParked, MessageMissing, ConsumerGone),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:discard",
        permission="stream:write",
        handler=discard_one,
        summary="Give a dead letter up: its effect will never be",
        tags=_TAGS,
        status=204,
        errors=(NothingParked, MessageMissing),
    ),
)

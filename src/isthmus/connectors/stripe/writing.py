"""Writing to Stripe: customers and their contact, the end of a subscription, and metadata; money is only read.

Stripe takes no condition on a write, so each object is looked at just before, and left alone where it has moved. Every
request carries an idempotency key, so that a lost answer never makes a customer twice.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import cast

from isthmus.connectors.stripe.mapping import (
    ACCOUNT,
    CUSTOMERS,
    MARK,
    PERSON,
    SUBSCRIPTION,
    SUBSCRIPTIONS,
    express,
    parameters,
    version,
)
from isthmus.connectors.stripe.transport import EXPANDED, FORBIDDEN, StripeFault, Transport
from isthmus.connectors.stripe.wire import digest, own_id, rows
from isthmus.kernel.marks import Json
from isthmus.kernel.words import text
from isthmus.sync.connector import Change, ConnectorError, KeyRefused, Outcome, Raw, Throttled, Written

CONFLICT, BUSY, BROKEN = 409, 429, 500
ENDED = ("canceled", "incomplete_expired")
LATER = "Stripe took no more writes for now."
GONE = "It is no longer in Stripe."
Row = dict[str, Json]
Raws = Callable[[str, Sequence[Row]], Awaitable[tuple[Raw, ...]]]


class Refusal(Exception):
    """What is wanted is not done in Stripe; the sentence says why and what to do there."""


class Writer:
    """Writes changes one after the other; `raws` makes what the engine takes of objects of a feed."""

    def __init__(self, transport: Transport, *, raws: Raws) -> None:
        """Nothing is remembered between changes."""
        self._transport, self._raws = transport, raws

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Return one answer for each change; after a lost connection the rest is not tried.

        Raises Throttled and KeyRefused while nothing has been written.
        """
        if feed not in (CUSTOMERS, SUBSCRIPTIONS):
            return [Written(outcome=Outcome.REFUSED, reason=f"{feed} is only read.") for _ in changes]
        answers: list[Written] = []
        lost = ""
        for change in changes:
            if not lost:
                try:
                    answers.append(await self._one(feed, change))
                    continue
                except (Throttled, KeyRefused):
                    if not answers:
                        raise
                    lost = LATER
                except ConnectorError as error:
                    lost = str(error)
            answers.append(Written(outcome=Outcome.FAILED, external_id=change.external_id, reason=lost))
        return answers

    async def _one(self, feed: str, change: Change) -> Written:
        try:
            if change.external_id is None:
                return await self._make(feed, change)
            return await self._change(feed, change, change.external_id)
        except Refusal as refusal:
            return Written(outcome=Outcome.REFUSED, external_id=change.external_id, reason=str(refusal))
        except StripeFault as fault:
            return Written(outcome=_outcome(fault), external_id=change.external_id, reason=fault.sentence)

    async def _change(self, feed: str, change: Change, number: str) -> Written:
        row = await self._look(feed, number)
        if row is None:
            outcome = Outcome.WRITTEN if change.deleted else Outcome.MOVED
            return Written(outcome=outcome, external_id=number, raw=_gone(change), reason=GONE)
        if change.version not in (None, version(row)):
            return Written(outcome=Outcome.MOVED, external_id=number, reason="It has changed in Stripe.")
        if change.deleted:
            return await self._delete(change, row)
        return await self._update(feed, change, row)

    async def _look(self, feed: str, number: str) -> Row | None:
        """Return how an object stands now; nothing when it is gone."""
        expand = [("expand[]", name) for name in EXPANDED.get(feed, ())]
        try:
            told = await self._transport.get(f"/v1/{feed}/{number}", expand)
        except StripeFault as fault:
            if fault.missing:
                return None
            raise
        return None if told.body.get("deleted") is True else told.body

    async def _send(self, feed: str, number: str | None, values: Mapping[str, Json], *, key: str) -> Row:
        path = f"/v1/{feed}/{number}" if number else f"/v1/{feed}"
        expand: Json = list(EXPANDED.get(feed, ()))
        told = await self._transport.post(path, {**values, "expand": expand} if expand else values, key=key)
        return told.body

    async def _written(self, feed: str, row: Row) -> Written:
        [raw] = await self._raws(feed, [row])
        return Written(outcome=Outcome.WRITTEN, external_id=raw.external_id, raw=raw)

    async def _make(self, feed: str, change: Change) -> Written:
        """Make a customer; a person becomes the contact of the customer that is its account."""
        if feed != CUSTOMERS:
            raise Refusal("A subscription begins in Stripe: sell it there.")
        wanted = express(change.type, change.fields, links=change.links, new=True)
        if not wanted:
            raise Refusal("A person without e-mail address has no place in Stripe: enter the address.")
        owner = wanted.pop("customer", None)
        if change.type == PERSON:
            found = await self._contact_of(text(owner), wanted)
            if found is not None:
                return await self._written(feed, found)
        values = parameters(wanted, current={})
        values["metadata"] = {**cast("Row", values.get("metadata") or {}), MARK: change.key}
        try:
            return await self._written(feed, await self._send(feed, None, values, key=change.key))
        except StripeFault as fault:
            if fault.kind != "idempotency_error":
                raise
            # An earlier attempt said something else with this key; what it made is found by its mark.
            return await self._made_before(change, wanted)

    async def _contact_of(self, owner: str | None, wanted: Row) -> Row | None:
        """Write the contact into the customer it belongs to; nothing when it is to have one of its own."""
        if owner is None:
            same = [("email", str(wanted["email"])), ("limit", "1")]
            return next(iter(rows((await self._transport.get("/v1/customers", same)).body)), None)
        row = await self._look(CUSTOMERS, owner)
        if row is None:
            raise Refusal("Its account is no longer in Stripe.")
        there = text(row.get("email"))
        if there is not None and there.lower() != str(wanted["email"]).lower():
            raise Refusal(f"The customer {owner} has another contact in Stripe, and holds one.")
        if there is not None and "preferred_locales" not in wanted:
            return row
        values = parameters(wanted, current=row)
        return await self._send(CUSTOMERS, owner, values, key=_key(f"contact-{owner}", values, row))

    async def _made_before(self, change: Change, wanted: Row) -> Written:
        query = [("query", f'metadata["{MARK}"]:"{change.key}"'), ("limit", "1")]
        found = rows((await self._transport.get("/v1/customers/search", query)).body)
        if not found:
            reason = "An attempt to make it is still under way in Stripe; it is looked for again."
            return Written(outcome=Outcome.FAILED, reason=reason)
        row = found[0]
        values = parameters(wanted, current=row)
        row = await self._send(CUSTOMERS, str(row["id"]), values, key=_key(change.key, values, row))
        return await self._written(CUSTOMERS, row)

    async def _update(self, feed: str, change: Change, row: Row) -> Written:
        wanted = express(change.type, change.fields, links=change.links, new=False)
        if change.type == SUBSCRIPTION:
            return await self._subscription(change, wanted, row)
        if not wanted:
            raise Refusal("Stripe has no place for this; countries, for instance, are two letters there.")
        values = parameters(wanted, current=row)
        row = await self._send(feed, str(row["id"]), values, key=_key(change.key, values, row))
        return await self._written(feed, row)

    async def _subscription(self, change: Change, wanted: Row, row: Row) -> Written:
        """Cancel a subscription at once, or write its metadata; how it stands otherwise is Stripe's to say."""
        status, number = text(wanted.pop("status", None)), str(row["id"])
        details = wanted.pop("cancellation_details", None)
        ends = status == "canceled" and row.get("status") not in ENDED
        if status is not None and status not in ("canceled", row.get("status")):
            raise Refusal(f"A subscription becomes {status} in Stripe itself: from here it can only be canceled.")
        if wanted:
            values = parameters(wanted, current=row)
            row = await self._send(SUBSCRIPTIONS, number, values, key=_key(change.key, values, row))
        if ends:
            more: Row = {"cancellation_details": details} if details else {}
            row = (await self._transport.delete(f"/v1/{SUBSCRIPTIONS}/{number}", more)).body
        return await self._written(SUBSCRIPTIONS, row)

    async def _delete(self, change: Change, row: Row) -> Written:
        """Delete a customer that buys nothing; of a person only the contact is taken off its customer."""
        number = str(row["id"])
        if change.type == SUBSCRIPTION:
            raise Refusal("Stripe keeps subscriptions for ever: cancel it instead.")
        if change.type == PERSON:
            values: Row = {"email": ""}
            await self._send(CUSTOMERS, number, values, key=_key(change.key, values, row))
        elif change.type == ACCOUNT:
            await self._refuse_while_buying(number)
            await self._transport.delete(f"/v1/{CUSTOMERS}/{number}")
        return Written(outcome=Outcome.WRITTEN, external_id=number, raw=_gone(change))

    async def _refuse_while_buying(self, number: str) -> None:
        """Raise Refusal for a customer with a living subscription, which Stripe would end with the customer."""
        query = [("customer", number), ("limit", "1")]
        found = rows((await self._transport.get(f"/v1/{SUBSCRIPTIONS}", query)).body)
        if any(own_id(each.get("customer")) == number and each.get("status") not in ENDED for each in found):
            raise Refusal("Deleting the customer in Stripe would end its subscriptions: cancel them first.")


def _key(key: str, values: Mapping[str, Json], row: Row) -> str:
    """Return the idempotency key of an update: Stripe refuses a key whose parameters have changed."""
    return f"{key}-{digest([dict(values), version(row)])}"


def _gone(change: Change) -> Raw:
    return Raw(external_id=change.external_id or "", body={}, deleted=True)


def _outcome(fault: StripeFault) -> Outcome:
    """Return how a refused write ended: Stripe will never take it, or may later."""
    if fault.status in (CONFLICT, BUSY, FORBIDDEN) or fault.status >= BROKEN:
        return Outcome.FAILED
    return Outcome.MOVED if fault.missing and not fault.param else Outcome.REFUSED

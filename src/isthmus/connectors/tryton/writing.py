"""Writing to Tryton: the values first, under the condition that the record has not moved, then the buttons."""

from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from isthmus.connectors.tryton.mapping import (
    CANCELLING,
    CODES,
    ENDED,
    OPPORTUNITIES,
    PARTIES,
    Refusal,
    buttons,
    express,
    telling,
    values,
)
from isthmus.connectors.tryton.transport import RpcFault, Transport
from isthmus.connectors.tryton.wire import last_change
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Change, ConnectorError, Outcome, Raw, Written

Rows = Callable[[str, Sequence[int]], Awaitable[list[dict[str, Json]]]]
_MOVED, _REFUSED = "ConcurrencyException", "UserError"


def raw(row: dict[str, Json]) -> Raw:
    """Return a row as the engine takes it; a deactivated party counts as deleted."""
    return Raw(
        external_id=str(row["id"]),
        body=row,
        at=last_change(row),
        version=cast("str | None", row.get("_timestamp")),
        deleted=not row.get("active", True),
    )


class Writer:
    """Writes changes one after the other; `rows` reads records of a feed by number."""

    def __init__(self, transport: Transport, *, rows: Rows) -> None:
        """Codes that were looked up are remembered for the session."""
        self._transport, self._rows = transport, rows
        self._numbers: dict[tuple[str, str], int] = {}
        self._made: set[int] = set()

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Return one answer for each change; raises ConnectorError only while nothing has been written."""
        if feed not in (PARTIES, OPPORTUNITIES):
            return [Written(outcome=Outcome.REFUSED, reason=f"{feed} is only read.") for _ in changes]
        await self._transport.sign_in()
        numbers = [int(change.external_id) for change in changes if change.external_id is not None]
        current = {str(row["id"]): row for row in await self._rows(feed, numbers)}
        answers: list[Written] = []
        lost = ""
        for change in changes:
            if lost:
                answers.append(Written(outcome=Outcome.FAILED, external_id=change.external_id, reason=lost))
                continue
            try:
                row = current.get(change.external_id) if change.external_id is not None else None
                answers.append(await self._one(feed, change, row=row))
            except ConnectorError as error:
                lost = str(error)
                answers.append(Written(outcome=Outcome.FAILED, external_id=change.external_id, reason=lost))
        return answers if lost else await self._read_back(feed, answers)

    async def _one(self, feed: str, change: Change, *, row: dict[str, Json] | None) -> Written:
        number = change.external_id
        if number is not None and row is None:
            outcome = Outcome.WRITTEN if change.deleted else Outcome.MOVED
            return Written(outcome=outcome, external_id=number, raw=_gone(number), reason="It is no longer in Tryton.")
        if row is not None and change.version not in (None, row.get("_timestamp")):
            return Written(outcome=Outcome.MOVED, external_id=number, reason="It has changed in Tryton.")
        try:
            if change.deleted:
                return await self._delete(feed, change, row=row or {})
            wanted = express(change.type, change.fields, links=change.links, new=row is None)
            return await self._put(feed, change, wanted=wanted, row=row)
        except Refusal as refusal:
            return Written(outcome=Outcome.REFUSED, external_id=number, reason=str(refusal))
        except RpcFault as fault:
            return Written(outcome=_outcome(fault), external_id=number, reason=fault.sentence)

    async def _put(self, feed: str, change: Change, *, wanted: dict[str, Json], row: dict[str, Json] | None) -> Written:
        state = cast("str | None", wanted.get("state"))
        # Asked before anything is written, so that a stage that cannot be reached leaves no half of a change.
        before = cast("str", (row or {}).get("state", "lead"))
        way = buttons(before, state) if state is not None else ()
        written = values(await self._resolved(wanted), current=row or {})
        steps: list[tuple[str, list[Json]]] = [(button, []) for button in way]
        if row is None:
            number, version = await self._make(feed, wanted, written=written), None
        else:
            number, version = cast("int", row["id"]), change.version
            if written:
                # What has ended cannot be changed in Tryton: it is opened again first, and ended last.
                steps.insert(len(steps) if before in ENDED else 0, ("write", [cast("Json", written)]))
        reason = await self._take(feed, number, steps, version=version, begun=row is None)
        return Written(outcome=Outcome.WRITTEN, external_id=str(number), reason=reason)

    async def _take(
        self, feed: str, number: int, steps: Sequence[tuple[str, list[Json]]], *, version: str | None, begun: bool
    ) -> str:
        """Go step by step; once something was written, what Tryton refuses is told, and not raised."""
        for position, (method, more) in enumerate(steps):
            try:
                await self._change(feed, method, number, *more, version=version)
            except RpcFault as fault:
                if position or begun:
                    return f"Tryton took only a part: {fault.sentence}"
                raise
            last = position == len(steps) - 1
            version = await self._version(feed, number) if version is not None and not last else None
        return ""

    async def _make(self, feed: str, wanted: dict[str, Json], *, written: dict[str, Json]) -> int:
        """Create a record, unless the answer to an earlier attempt was lost and it is there already.

        Tryton takes no idempotency key, so a record of ours that says the same stands for it.
        """
        ours: list[Json] = [["create_uid", "=", self._transport.user_number], ["id", "not in", list(self._made)]]
        same = telling(feed, wanted, written=written)
        found = await self._transport.search(feed, [*ours, *same], fields=("id",), limit=1) if same else []
        if found:
            number = cast("int", found[0]["id"])
        else:
            made = await self._transport.call(f"model.{feed}.create", [cast("Json", written)])
            number = cast("list[int]", made)[0]
        self._made.add(number)
        return number

    async def _delete(self, feed: str, change: Change, *, row: dict[str, Json]) -> Written:
        """Delete; an opportunity is cancelled first, and a party that others point to is deactivated instead."""
        number, version = cast("int", row["id"]), change.version
        for button in CANCELLING.get(cast("str", row.get("state", "")), ()):
            await self._change(feed, button, number, version=version)
            version = await self._version(feed, number)
        if feed == PARTIES and await self._transport.count(OPPORTUNITIES, [["party", "=", number]]):
            # Tryton would delete it and silently take the customer off its opportunities.
            await self._change(feed, "write", number, {"active": False}, version=version)
            return Written(outcome=Outcome.WRITTEN, external_id=str(number), raw=_gone(str(number)))
        try:
            await self._change(feed, "delete", number, version=version)
        except RpcFault as fault:
            if feed != PARTIES or fault.kind != _REFUSED:
                raise
            await self._change(feed, "write", number, {"active": False}, version=version)
        return Written(outcome=Outcome.WRITTEN, external_id=str(number), raw=_gone(str(number)))

    async def _change(self, feed: str, method: str, number: int, *more: Json, version: str | None) -> None:
        unmoved = {f"{feed},{number}": version} if version is not None else None
        await self._transport.call(f"model.{feed}.{method}", [number], *more, unmoved=unmoved)

    async def _version(self, feed: str, number: int) -> str:
        found = await self._transport.call(f"model.{feed}.read", [number], ["_timestamp"], safe=True)
        return cast("list[dict[str, str]]", found)[0]["_timestamp"]

    async def _resolved(self, wanted: dict[str, Json]) -> dict[str, Json]:
        """Return what is wanted with the numbers of the records that codes stand for; raises Refusal."""
        found = dict(wanted)
        for path, (model, names) in CODES.items():
            value = wanted.get(path)
            if isinstance(value, str):
                found[path] = await self._number(model, names, value)
        return found

    async def _number(self, model: str, names: tuple[str, ...], value: str) -> int:
        known = self._numbers.get((model, value))
        if known is not None:
            return known
        anyone: list[Json] = ["OR", *([[name, "=", value]] for name in names)]
        found = await self._transport.search(model, [anyone], fields=("id",), limit=1)
        if found:
            number = cast("int", found[0]["id"])
        elif model == CODES["category"][0]:
            made = await self._transport.call(f"model.{model}.create", [{"name": value}])
            number = cast("list[int]", made)[0]
        else:
            raise Refusal(f"Tryton has no {model} {value!r}: enter it there first.")
        self._numbers[model, value] = number
        return number

    async def _read_back(self, feed: str, answers: list[Written]) -> list[Written]:
        """Return the answers with the records as they stand now in Tryton."""
        numbers = [int(each.external_id) for each in answers if each.external_id is not None and each.raw is None]
        rows = {str(row["id"]): raw(row) for row in await self._rows(feed, numbers)}
        return [
            Written(
                outcome=each.outcome,
                external_id=each.external_id,
                raw=each.raw or rows.get(each.external_id or ""),
                reason=each.reason,
            )
            for each in answers
        ]


def _gone(number: str) -> Raw:
    return Raw(external_id=number, body={}, deleted=True)


def _outcome(fault: RpcFault) -> Outcome:
    return {_MOVED: Outcome.MOVED, _REFUSED: Outcome.REFUSED}.get(fault.kind, Outcome.FAILED)

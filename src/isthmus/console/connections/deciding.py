"""What the buttons on the page of agreement do."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

from msgspec import Meta, Struct

from isthmus.console.connections.acting import REFUSED, Pressed, awake
from isthmus.console.connections.agreeing import Chosen, Kind, State, agreement_page, fitting_of, which_of
from isthmus.console.connections.at import ACT, found, place, viewer_of
from isthmus.console.connections.port import Connecting, Task
from isthmus.console.connections.telling import HERE, Deed, address
from isthmus.gateway import HTML, Call, Response, Route, redirect
from isthmus.kernel.errors import Conflicting
from isthmus.kernel.ids import uuid_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.stream.jobs.board import start
from isthmus.sync.connections import Connection
from isthmus.sync.ingest import Store
from isthmus.sync.reconciling.found import (
    DIFFERENCE_PREFIX,
    PAGE_ROWS_MAX,
    Difference,
    DifferenceMissing,
    Which,
    decide_many,
    differences,
    note_repair,
    tallies,
)

_Text = Annotated[str, Meta(max_length=200)]
_FIX = "Load the page again."


class Sifted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which differences the page shows to which one comes back."""

    type: _Text = ""
    kind: Kind = ""
    field: _Text = ""
    status: State = "open"

    @property
    def chosen(self) -> Chosen:
        """The same as the page is asked for it."""
        return Chosen(type=self.type, kind=self.kind, field=self.field, status=self.status)


class Deciding(Sifted, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of one difference, or of all that the page shows; `count` is how many it said these are."""

    decision: Literal["accept", "ignore", "reopen", "repair"]
    reason: Annotated[str, Meta(max_length=500)] = ""
    difference: _Text = ""
    count: int = 0
    confirmed: bool = False


class MovedOn(Conflicting):
    """There are others by now than the page told."""

    code, title = "differences-moved-on", "There are other differences by now"


async def compare(call: Call) -> Response:
    """Want a comparison."""
    return await _wanted(call, "reconcile", "compared")


async def probe(call: Call) -> Response:
    """Want a probe."""
    return await _wanted(call, "probe", "probed")


async def decide(call: Call) -> Response:
    """Decide one difference, or all that the page shows."""
    given = call.body(Deciding)

    async def act(tx: Transaction) -> str:
        own = await found(call, tx)
        if given.decision == "repair":
            await _repair(call, tx, given)
            return _back(own, given, "repaired")
        which = await _which(call, tx, own, given)
        done = await decide_many(tx, call.services.of(Store), which, given.decision, reason=given.reason)
        if not done:
            raise DifferenceMissing("No difference is like that any more.", fix=_FIX)
        return _back(own, given, "reopened" if given.decision == "reopen" else "decided")

    return await _acted(call, given.chosen, act)


async def _repair(call: Call, tx: Transaction, given: Deciding) -> None:
    own = await awake(call, tx)
    which = await _which(call, tx, own, given)
    some: list[Difference] = await differences(tx, call.services.of(Store), which=which, limit=PAGE_ROWS_MAX)
    if not some:
        raise DifferenceMissing("No difference is like that any more.", fix=_FIX)
    await note_repair(tx, own.name, len(some), reason=given.reason)
    more: dict[str, Json] = {"differences": [str(each.id) for each in some], "confirmed": given.confirmed}
    await start(tx, call.services.of(Connecting).wish("repair", own, more))


async def _which(call: Call, tx: Transaction, own: Connection, given: Deciding) -> Which:
    """Return what is to be decided: one, or all that fit while they are as many as the page said."""
    which = which_of(call, own, given.chosen)
    if given.difference:
        one = uuid_of(DIFFERENCE_PREFIX, given.difference)
        return Which(connection_id=own.id, types=sorted(viewer_of(call).types), status=given.status, ids=[one])
    alike = await tallies(tx, own.id, types=sorted(viewer_of(call).types))
    now = sum(each.count for each in fitting_of(alike, given.chosen))
    if now != given.count:
        raise MovedOn(f"There are {now:,} by now, not {given.count:,}; nothing was done.", fix="Look again.")
    return which


async def _wanted(call: Call, task: Task, did: Deed) -> Response:
    async def act(tx: Transaction) -> str:
        own = await awake(call, tx)
        await start(tx, call.services.of(Connecting).wish(task, own, {}))
        return address(f"{place(own)}/agreement", did)

    return await _acted(call, Chosen(), act)


async def _acted(call: Call, chosen: Chosen, act: Callable[[Transaction], Awaitable[str]]) -> Response:
    try:
        async with call.services.database.transaction(call.scope) as tx:
            to = await act(tx)
    except REFUSED as refused:
        return await agreement_page(call, chosen, refused=refused)
    return redirect(to)


def _back(own: Connection, given: Sifted, did: Deed) -> str:
    chosen = {"type": given.type, "kind": given.kind, "field": given.field, "status": given.status}
    kept = {name: value for name, value in chosen.items() if value and value != "open"}
    return address(f"{place(own)}/agreement", did, **kept)


def _button(
    path: str, handler: Callable[[Call], Awaitable[Response]], summary: str, body: type[Struct] = Pressed
) -> Route:
    return Route(
        method="POST",
        path=f"{HERE}/{{connection}}/agreement{path}",
        permission=ACT,
        handler=handler,
        summary=summary,
        body=body,
        accepts="form",
        media=HTML,
        listed=False,
    )


DECISIONS = (
    _button("/run", compare, "Compare a system with what is held of it"),
    _button("/probe", probe, "Compare some records that are drawn by lot"),
    _button("", decide, "Accept, ignore, reopen or repair differences", Deciding),
)

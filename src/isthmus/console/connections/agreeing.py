"""The pages of agreement: how far all systems agree with what is held of them, and what differs from one of them."""

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.console import words
from isthmus.console.connections.agreement import (
    KINDS,
    STATES,
    agreeing,
    comparison,
    counted,
    difference_row,
    share,
)
from isthmus.console.connections.at import ACT, READ, found, place, shown, viewer_of
from isthmus.console.connections.loading import workspace_name
from isthmus.console.connections.telling import HERE, Deed, told
from isthmus.gateway import HTML, Call, Paging, Response, Route
from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.ids import text_of, uuid_of
from isthmus.kernel.status import Status
from isthmus.store.database import Transaction
from isthmus.sync.connections import Connection
from isthmus.sync.ingest import Store
from isthmus.sync.reconciling.comparing import DifferenceKind
from isthmus.sync.reconciling.found import (
    AGREEING_PROMISED,
    DIFFERENCE_PREFIX,
    PAGE_ROWS_MAX,
    Difference,
    Tally,
    Which,
    differences,
    exactness,
    standings,
    tallies,
)

ROWS_SHOWN = 50
_Text = Annotated[str, Meta(max_length=200)]
Kind = Literal["", "missing", "extra", "field", "duplicate", "late", "aggregate"]
State = Literal["open", "accepted", "ignored", "repaired", "gone"]


class Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing is chosen on the page."""


class Chosen(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which differences are shown; and what a button did, when the page comes after one."""

    type: _Text = ""
    kind: Kind = ""
    field: _Text = ""
    status: State = "open"
    did: Deed | None = None


async def show_all(call: Call) -> Response:
    """Show how far the systems agree."""
    async with call.services.database.transaction(call.scope) as tx:
        rows = await agreeing(tx, sorted(viewer_of(call).types))
        exact = await exactness(tx)
        workspace = await workspace_name(tx)
    values: dict[str, object] = {
        "workspace": workspace,
        "now": call.scope.now,
        "rows": rows,
        "share": share(exact.compared, exact.differing),
        "compared": exact.compared,
        "promised": words.exact_percent(AGREEING_PROMISED),
        "kept": exact.share is not None and exact.share >= AGREEING_PROMISED,
    }
    return shown(call, "agreements", values)


async def show_agreement(call: Call) -> Response:
    """Show how far a system agrees, and what differs."""
    return await agreement_page(call, call.query(Chosen))


async def agreement_page(call: Call, chosen: Chosen, *, refused: IsthmusError | None = None) -> Response:
    """Return the page; raises ConnectionMissing, and InvalidCursor for one that is none."""
    after, types, may_act = call.after() if refused is None else None, viewer_of(call).types, call.may(ACT)
    async with call.services.database.transaction(call.scope) as tx:
        own = await found(call, tx)
        rows = await _rows(call, tx, own, chosen, after)
        alike = await tallies(tx, own.id, types=sorted(types))
        newest = await standings(tx, types=sorted(types), connection_id=own.id)
        exact = await exactness(tx, connection_id=own.id)
        workspace = await workspace_name(tx)
    listed = call.page(rows, limit=ROWS_SHOWN, after=_id_of) if refused is None else None
    fitting = counted(fitting_of(alike, chosen))
    values: dict[str, object] = {
        "name": own.name,
        "at": f"{place(own)}/agreement",
        "back": place(own),
        "workspace": workspace,
        "now": call.scope.now,
        "paused": own.status is Status.PAUSED,
        "share": share(exact.compared, exact.differing),
        "compared": exact.compared,
        "promised": words.exact_percent(AGREEING_PROMISED),
        "kept": exact.share is not None and exact.share >= AGREEING_PROMISED,
        "comparisons": [comparison(each) for each in newest],
        "asked": chosen,
        "sifted": bool(chosen.type or chosen.kind or chosen.field or chosen.status != "open"),
        "types": [(each, words.title(words.kind(each, count=2))) for each in sorted({each.type for each in alike})],
        "kinds": KINDS,
        "fields": [(each, words.plain(each)) for each in sorted({each.field for each in alike if each.field})],
        "states": [(each, sum(one.count for one in alike if one.status == each)) for each in STATES],
        "fitting": fitting,
        "at_once": min(fitting.count, PAGE_ROWS_MAX),
        "rows": [difference_row(call, each, may_act=may_act) for each in rows[:ROWS_SHOWN]],
        "first": after is None,
        "next": listed.next_cursor if listed else None,
        "told": told(chosen.did),
        "may_act": may_act,
    }
    return shown(call, "agreement", values, refused=refused)


def fitting_of(alike: Sequence[Tally], chosen: Chosen) -> list[Tally]:
    """Return those that are chosen."""
    return [
        each
        for each in alike
        if chosen.type in ("", each.type)
        and chosen.kind in ("", each.kind.value)
        and chosen.field in ("", each.field)
        and chosen.status == each.status
    ]


def which_of(call: Call, own: Connection, chosen: Chosen) -> Which:
    """Return which differences are chosen, among those of records that the viewer may read."""
    types = viewer_of(call).types
    return Which(
        connection_id=own.id,
        types=sorted(types if not chosen.type else types & {chosen.type}),
        kind=DifferenceKind(chosen.kind) if chosen.kind else None,
        field=chosen.field or None,
        status=chosen.status,
    )


async def _rows(call: Call, tx: Transaction, own: Connection, chosen: Chosen, after: str | None) -> list[Difference]:
    last: UUID | None = None if after is None else uuid_of(DIFFERENCE_PREFIX, after)
    store = call.services.of(Store)
    return await differences(tx, store, which=which_of(call, own, chosen), after=last, limit=ROWS_SHOWN + 1)


def _id_of(each: Difference) -> str:
    return text_of(DIFFERENCE_PREFIX, each.id)


AGREEMENT = (
    Route(
        method="GET",
        path=f"{HERE}/agreement",
        permission=READ,
        handler=show_all,
        summary="How far the systems agree",
        query=Asked,
        media=HTML,
        listed=False,
    ),
    Route(
        method="GET",
        path=f"{HERE}/{{connection}}/agreement",
        permission=READ,
        handler=show_agreement,
        summary="How far a system agrees, and what differs",
        query=Chosen,
        media=HTML,
        listed=False,
    ),
)

"""The route of money: what two systems add up to by currency and month, and the records by which they differ."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.app.http.readable import named_connection, readable_type
from isthmus.app.reconciliation_views import MoneyView, money_view
from isthmus.gateway import Call, Route
from isthmus.sync.connections import ConnectionMissing
from isthmus.sync.reconciling.pairs import NoMoney, paired

_Name = Annotated[str, Meta(min_length=1, max_length=200)]


class MoneyQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which two connections, by id or name, and which record type."""

    one: _Name
    other: _Name
    type: _Name


async def compare_money(call: Call) -> MoneyView:
    """Compare the money of two systems."""
    wanted = call.query(MoneyQuery)
    record_type = readable_type(call, wanted.type)
    async with call.services.database.transaction(call.scope) as tx:
        names = [(await named_connection(call, tx, each)).name for each in (wanted.one, wanted.other)]
        found = await paired(tx, record_type, one=names[0], other=names[1])
    return money_view(found, call.services.schema)


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/reconciliation-money",
        permission="sync:read",
        handler=compare_money,
        summary="Compare the money of two systems: exact sums by currency and month, and the records that differ",
        description="Nothing is read from the systems: what each said last is compared, without tolerance.",
        tags=("reconciliations",),
        query=MoneyQuery,
        response=MoneyView,
        errors=(ConnectionMissing, NoMoney),
    ),
)

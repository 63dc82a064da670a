"""The route of discrepancies: how far systems agree, counted by pair and field, or listed record by record."""

from typing import Annotated

from msgspec import Meta, Struct

from isthmus.app.discrepancy_views import AgreementView, DiscrepancyView, Wanted, counted, listed
from isthmus.app.http.readable import readable_type, readable_types
from isthmus.gateway import Call, Paging, Route
from isthmus.sync.ingest import Store

_Name = Annotated[str, Meta(min_length=1, max_length=200)]


class DiscrepancyQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which ones; `one` and `other` are systems, in any order. With `records` single records are listed as well."""

    type: _Name | None = None
    field: _Name | None = None
    one: _Name | None = None
    other: _Name | None = None
    records: bool = False


class Discrepancies(Struct, frozen=True, kw_only=True):
    """How far systems agree on fields that are stored in clear; those that differ most come first.

    `accuracy` is the share of all compared fields that agree, null where nothing was compared. `records` is there when
    it was asked for, and speaks of sealed fields too; `next_cursor` goes on with it, also after an empty page. The
    counts are told with its first page only.
    """

    data: list[AgreementView]
    compared: int
    differing: int
    accuracy: float | None
    records: list[DiscrepancyView] | None = None
    next_cursor: str | None = None
    has_more: bool = False


async def list_discrepancies(call: Call) -> Discrepancies:
    """Count, and list if asked for."""
    query, after = call.query(DiscrepancyQuery), call.after()
    types = readable_types(call) if query.type is None else (readable_type(call, query.type).name,)
    wanted = Wanted(types=types, field=query.field, one=query.one, other=query.other)
    store = call.services.of(Store)
    async with call.services.database.transaction(call.scope) as tx:
        sums = await counted(tx, store, wanted if after is None else Wanted(types=()))
        if not query.records:
            return Discrepancies(
                data=sums.data, compared=sums.compared, differing=sums.differing, accuracy=sums.accuracy
            )
        rows, last = await listed(tx, store, wanted, after=after, limit=query.limit, may=call.may)
    return Discrepancies(
        data=sums.data,
        compared=sums.compared,
        differing=sums.differing,
        accuracy=sums.accuracy,
        records=rows,
        next_cursor=None if last is None else call.cursor(last),
        has_more=last is not None,
    )


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/discrepancies",
        permission="sync:read",
        handler=list_discrepancies,
        summary="Tell how far systems agree, by pair, type and field, and which records differ",
        description=(
            "Only types that the caller may read are counted. "
            "Personal values are masked without the permission to read them."
        ),
        tags=("discrepancies",),
        query=DiscrepancyQuery,
        response=Discrepancies,
    ),
)

"""What reconciling found, as it is shown, over HTTP and at the terminal alike."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from isthmus.app.veiling import veiled
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.store.schema import Schema
from isthmus.sync.reconciling.comparing import DifferenceKind
from isthmus.sync.reconciling.found import DIFFERENCE_PREFIX, RESULT_PREFIX, Difference, Result
from isthmus.sync.reconciling.pairs import Paired


class ReconciliationView(Struct, frozen=True, kw_only=True):
    """How far a system and what is held of it agreed on one record type, when they were compared.

    `there` and `here` count records, `compared` and `differing` fields; `accuracy` is the share of fields that agreed.
    `unvisited` counts groups of records that differ and were not looked into; `open` are the differences open now.
    `probed` counts the records that were drawn by lot, and is null where all were read.
    """

    id: str
    connection: str
    type: str
    at: datetime
    there: int
    here: int
    compared: int
    differing: int
    accuracy: float | None
    unvisited: int
    probed: int | None
    open: int


class DifferenceView(Struct, frozen=True, kw_only=True):
    """A difference: `there` is the system's value and `here` what is held of it, null of whole records.

    `stake` is the money that the sides differ by, and `repair` what would mend it.
    """

    id: str
    connection: str
    kind: str
    type: str
    external_id: str
    record: str | None
    field: str | None
    there: Json
    here: Json
    stake: str | None
    status: str
    reason: str | None
    found_at: datetime
    seen_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    repair: str


class MoneySumView(Struct, frozen=True, kw_only=True):
    """What two systems say that a field adds up to, in a currency and a month (`2026-11`, or `undated`), exactly."""

    field: str
    currency: str
    month: str
    one: str
    other: str
    one_records: int
    other_records: int
    agree: bool


class PairDifferenceView(Struct, frozen=True, kw_only=True):
    """A record, or a sum of a month (`key`), on which two systems differ; `…_ids` are what they call the record."""

    kind: str
    key: str
    field: str | None
    one: str | None
    other: str | None
    one_ids: list[str]
    other_ids: list[str]
    stake: str | None


class MoneyView(Struct, frozen=True, kw_only=True):
    """The money of two systems on one record type, from what each said last.

    The month is that of the field `dated_by`. What changed after `watermark`, up to which both were read, is `late`.
    """

    type: str
    one: str
    other: str
    dated_by: str | None
    watermark: datetime | None
    agree: bool
    sums: list[MoneySumView]
    differences: list[PairDifferenceView]


def money_view(found: Paired, schema: Schema) -> MoneyView:
    """Return the money of two systems as it is shown."""
    prefix = schema[found.type].prefix
    sums = [
        MoneySumView(
            field=each.field,
            currency=each.currency,
            month=each.month,
            one=f"{each.one:f}",
            other=f"{each.other:f}",
            one_records=each.one_records,
            other_records=each.other_records,
            agree=each.agree,
        )
        for each in found.sums
    ]
    differences: list[PairDifferenceView] = []
    for each in found.differences:
        called = found.outside.get(each.key)
        of_record = each.kind is not DifferenceKind.AGGREGATE
        differences.append(
            PairDifferenceView(
                kind=each.kind.value,
                key=text_of(prefix, UUID(each.key)) if of_record else each.key,
                field=each.field,
                one=each.one,
                other=each.other,
                one_ids=list(called.one) if called else [],
                other_ids=list(called.other) if called else [],
                stake=None if each.at_stake is None else f"{each.at_stake[0]:f} {each.at_stake[1]}",
            )
        )
    return MoneyView(
        type=found.type,
        one=found.one,
        other=found.other,
        dated_by=found.dated_by,
        watermark=found.watermark,
        agree=found.agree,
        sums=sums,
        differences=differences,
    )


def result_view(found: Result) -> ReconciliationView:
    """Return a comparison as it is shown."""
    names = ("connection", "type", "at", "there", "here", "compared", "differing", "accuracy", "unvisited")
    names += ("probed", "open")
    told = {name: getattr(found, name) for name in names}
    return ReconciliationView(id=text_of(RESULT_PREFIX, found.id), **told)


def difference_view(found: Difference, schema: Schema, *, may: Callable[[str], bool]) -> DifferenceView:
    """Return a difference as it is shown; personal values are masked without the permission of their domain."""
    record_type = schema[found.type]
    personal = may(f"{record_type.domain}:read_personal")
    there, here = (veiled(record_type, found.field, each, personal=personal) for each in (found.there, found.here))
    return DifferenceView(
        id=text_of(DIFFERENCE_PREFIX, found.id),
        connection=found.connection,
        kind=found.kind.value,
        type=found.type,
        external_id=found.external_id,
        record=None if found.record_id is None else text_of(record_type.prefix, found.record_id),
        field=found.field or None,
        there=there,
        here=here,
        stake=None if found.stake is None else f"{found.stake:f} {found.currency}",
        status=found.status,
        reason=found.reason or None,
        found_at=found.found_at,
        seen_at=found.seen_at,
        decided_by=found.decided_by,
        decided_at=found.decided_at,
        repair=found.repair,
    )

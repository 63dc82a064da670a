"""What systems say differently, as it is shown, over HTTP and at the terminal alike."""

from collections.abc import Callable, Sequence
from uuid import UUID

from msgspec import Struct

from isthmus.app.veiling import veiled
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.store.schema import Schema
from isthmus.sync.discrepancies import Agreement, Discrepancy, accuracy, agreements, discrepancies
from isthmus.sync.ingest import Store

LOOKED_MAX = 2_000
LOOKED_AT_ONCE = 500


class AgreementView(Struct, frozen=True, kw_only=True):
    """How often two systems differ on one field, of how many records on which both speak of it.

    `accuracy` is the share that agrees.
    """

    type: str
    field: str
    one: str
    other: str
    compared: int
    differing: int
    accuracy: float


class DiscrepancyView(Struct, frozen=True, kw_only=True):
    """Two systems that say different things of one field of one record now, and what is held here."""

    type: str
    record: str
    field: str
    one: str
    one_value: Json
    other: str
    other_value: Json
    held: Json


class Wanted(Struct, frozen=True, kw_only=True):
    """Which discrepancies; what is None does not matter. `one` and `other` are systems, in any order."""

    types: Sequence[str]
    field: str | None = None
    one: str | None = None
    other: str | None = None

    def fits(self, found: Agreement | Discrepancy) -> bool:
        """Tell whether one of them is wanted."""
        systems = {found.one, found.other}
        return self.field in (None, found.field) and {self.one, self.other} - {None} <= systems


class Counted(Struct, frozen=True, kw_only=True):
    """Agreements, those that differ most first, and the share of all compared fields that agree."""

    data: list[AgreementView]
    compared: int
    differing: int
    accuracy: float | None


async def counted(tx: Transaction, store: Store, wanted: Wanted) -> Counted:
    """Count, for each pair of systems and each field that is stored in clear, how many records differ."""
    found = [each for name in wanted.types for each in await agreements(tx, store, name) if wanted.fits(each)]
    found.sort(key=lambda each: (-each.differing, each.type, each.field, each.one, each.other))
    return Counted(
        data=[_agreement(each) for each in found],
        compared=sum(each.compared for each in found),
        differing=sum(each.differing for each in found),
        accuracy=accuracy(found),
    )


async def listed(
    tx: Transaction, store: Store, wanted: Wanted, *, after: str | None, limit: int, may: Callable[[str], bool]
) -> tuple[list[DiscrepancyView], str | None]:
    """List what differs record by record, sealed fields too, and return where to go on; None when there is no more.

    It stops after 2,000 records were looked at, so that a page may be short, or empty, and more may follow.
    """
    found: list[DiscrepancyView] = []
    place = _read(after)
    looked = 0
    for name in sorted(wanted.types):
        if place is not None and name < place[0]:
            continue
        last = place[1] if place is not None and name == place[0] else None
        while True:
            rows, last = await discrepancies(
                tx, store, name, systems=None, after=last, limit=min(LOOKED_AT_ONCE, limit)
            )
            found += [_discrepancy(each, store.schema, may=may) for each in rows if wanted.fits(each)]
            looked += min(LOOKED_AT_ONCE, limit)
            if last is None:
                break
            if len(found) >= limit or looked >= LOOKED_MAX:
                return found, f"{name} {last}"
    return found, None


def _read(after: str | None) -> tuple[str, UUID] | None:
    if after is None:
        return None
    name, _, last = after.partition(" ")
    return name, UUID(last)


def _agreement(found: Agreement) -> AgreementView:
    return AgreementView(
        type=found.type,
        field=found.field,
        one=found.one,
        other=found.other,
        compared=found.compared,
        differing=found.differing,
        accuracy=1 - found.differing / found.compared,
    )


def _discrepancy(found: Discrepancy, schema: Schema, *, may: Callable[[str], bool]) -> DiscrepancyView:
    record_type = schema[found.type]
    declared = record_type.field(found.field)
    sealed = declared is not None and declared.personal is not None
    personal = sealed and may(f"{record_type.domain}:read_personal")

    def veil(value: Json) -> Json:
        return veiled(record_type, found.field, value, personal=personal)

    return DiscrepancyView(
        type=found.type,
        record=text_of(record_type.prefix, found.record_id),
        field=found.field,
        one=found.one,
        one_value=veil(found.one_value),
        other=found.other,
        other_value=veil(found.other_value),
        held=veil(found.held),
    )

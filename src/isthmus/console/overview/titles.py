"""What a record is called in a line: its name, or what of it the viewer may see."""

from collections.abc import Callable, Iterable
from uuid import UUID

from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.database import Transaction
from isthmus.store.records import Stored, find
from isthmus.store.schema import Schema
from isthmus.vault import Vault

MASK = "•••"
_NAMES = ("name", "subject", "company", "deal_number", "invoice_number", "ticket_number", "plan", "playbook")
_PERSONAL_NAMES = ("first_name", "last_name")


async def titles(
    tx: Transaction,
    vault: Vault,
    schema: Schema,
    records: Iterable[tuple[str, UUID]],
    *,
    may: Callable[[str], bool],
) -> dict[UUID, str]:
    """Return a title for each record, with a question for each type; records that are gone have their id only."""
    by_type: dict[str, list[UUID]] = {}
    for name, record in records:
        by_type.setdefault(name, []).append(record)
    found: dict[UUID, str] = {}
    for name, ids in by_type.items():
        record_type = schema[name]
        stored = await find(tx, vault, record_type, ids)
        personal = may(f"{record_type.domain}:read_personal")
        for record in ids:
            found[record] = _title(record_type, record, stored.get(record), personal=personal)
    return found


def _title(record_type: RecordType, record: UUID, stored: Stored | None, *, personal: bool) -> str:
    if stored is not None:
        sealed = {each.name for each in record_type.personal_fields}
        human = [stored.values.get(name) for name in _PERSONAL_NAMES if name in sealed]
        if any(human):
            return " ".join(str(each) for each in human if each) if personal else MASK
        for name in _NAMES:
            if (value := _text(stored.values.get(name))) and (name not in sealed or personal):
                return value
    return short_id(text_of(record_type.prefix, record))


def short_id(text: str) -> str:
    """Return the prefix of an id and its last characters: enough to recognise it."""
    prefix, _, tail = text.rpartition("_")
    return f"{prefix}_…{tail[-6:]}"


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""

"""Which record types a caller may read and write as a whole, on routes that speak of records of every type."""

from uuid import UUID

from isthmus.app.areas import AREAS
from isthmus.app.inbound_views import CONNECTION_PREFIX
from isthmus.gateway import Call
from isthmus.kernel.errors import Fault, Invalid
from isthmus.kernel.ids import InvalidId, uuid_of
from isthmus.kernel.marks import RecordType
from isthmus.store.database import Transaction
from isthmus.sync.connections import Connection, connection_of


class TypeUnknown(Invalid):
    """There is no such record type, or the caller may not read it."""

    code, title = "unknown-type", "There is no such record type"


def readable_types(call: Call) -> tuple[str, ...]:
    """Return the names of the types of which the caller may read all records."""
    return tuple(each.name for each in call.services.schema if _readable(call, each))


def readable_type(call: Call, name: str) -> RecordType:
    """Return a type that stands in the query; raises TypeUnknown, also for one that the caller may not read."""
    found = call.services.schema.types.get(name)
    if found is None or not _readable(call, found):
        detail = f"There is no record type {name!r} that you may read."
        fault = Fault(pointer="/query/type", code=TypeUnknown.code, detail=detail)
        raise TypeUnknown(detail, fix="Use a name such as sales.deal.", faults=(fault,))
    return found


def is_readable(call: Call, name: str) -> bool:
    """Tell whether the caller may read all records of a type."""
    return _readable(call, call.services.schema[name])


def is_writable(call: Call, name: str) -> bool:
    """Tell whether the caller may write records of a type."""
    return call.may(f"{_area(call.services.schema[name])}:write")


def require_writing(call: Call, name: str) -> None:
    """Raise Denied unless the caller may write records of a type."""
    call.require(f"{_area(call.services.schema[name])}:write")


async def named_connection(call: Call, tx: Transaction, text: str | None = None) -> Connection:
    """Return the connection in the path, or that of a text: by its id (`conn_…`) or its name.

    Raises ConnectionMissing.
    """
    return await connection_of(tx, id_or_name(text if text is not None else call.path["connection"]))


def id_or_name(text: str) -> str | UUID:
    """Return the id that a text is, or else the name."""
    try:
        return uuid_of(CONNECTION_PREFIX, text)
    except InvalidId:
        return text


def _readable(call: Call, record_type: RecordType) -> bool:
    return call.may(f"{_area(record_type)}:read") and call.seen(record_type) is None


def _area(record_type: RecordType) -> str:
    return AREAS.get(record_type.name, record_type.domain)

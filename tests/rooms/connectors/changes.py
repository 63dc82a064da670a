"""What a push would write, made by hand, for tests of clients that write."""

from uuid import UUID

from isthmus.kernel.marks import Json
from isthmus.sync.connector import Change


def change(
    kind: str,
    fields: dict[str, Json] | None = None,
    *,
    of: str | None = None,
    version: str | None = None,
    links: dict[str, str] | None = None,
    deleted: bool = False,
    key: str = "",
) -> Change:
    """Return a change of a record, or a new one."""
    return Change(
        record_id=UUID(int=1),
        type=kind,
        fields=fields or {},
        links=links or {},
        external_id=of,
        version=version,
        deleted=deleted,
        key=key,
    )

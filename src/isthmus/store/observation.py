"""What one system said of one record at one time, before it is stored."""

from datetime import datetime

from msgspec import Struct

from isthmus.kernel.marks import Json, Rule


class Link(Struct, frozen=True, kw_only=True):
    """Names another record by its id in a system; without `system` the observing one is meant."""

    external_id: str
    system: str | None = None


class Observation(Struct, frozen=True, kw_only=True):
    """One system's word on one record.

    `fields` holds JSON values by field name of the record type; a field that is absent was not spoken of, which is not
    the same as null. `links` holds fields that point to other records, named by their external ids; the record type
    they point to is in the field's mark. `at` is the system's own stamp and is evidence, not truth. `seen` is given
    for edits made here: the values the editor saw, which are what the edit is compared with. `version` is the
    system's own token for conditional writes (an ETag, a time stamp). `payload` is the record as received. `rules` says
    by field how conflicts with this word are decided, where that is not as declared.
    """

    type: str
    system: str
    external_id: str
    fields: dict[str, Json] = {}
    links: dict[str, Link] = {}
    at: datetime | None = None
    deleted: bool = False
    seen: dict[str, Json] | None = None
    version: str | None = None
    payload: bytes | None = None
    rules: dict[str, Rule] = {}

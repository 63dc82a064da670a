"""Values of fields in a few words, without what the viewer may not see."""

from isthmus.console.overview.cases import text
from isthmus.console.overview.titles import MASK
from isthmus.gateway import Call
from isthmus.kernel.marks import Json, RecordType

CHARACTERS_MAX = 200
_CUSTOM = "custom"


def said_of(call: Call, record_type: RecordType, name: str, value: Json) -> str:
    """Return a value in words; a mask for a personal one, or what is custom, without the permission to read these."""
    declared = record_type.field(name)
    personal = name == _CUSTOM or (declared is not None and declared.personal is not None)
    if value is not None and personal and not call.may(f"{record_type.domain}:read_personal"):
        return MASK
    said = text(value)
    return said if len(said) <= CHARACTERS_MAX else f"{said[:CHARACTERS_MAX]}…"

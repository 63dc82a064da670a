"""Values of fields as they are shown to whoever may not see personal ones."""

from isthmus.kernel.marks import Json, RecordType

MASK = "•••"


def veiled(record_type: RecordType, name: str, value: Json, *, personal: bool) -> Json:
    """Return the value, or a mask when it is personal and personal values are not to be shown."""
    declared = record_type.field(name)
    hide = declared is not None and declared.personal is not None and not personal and value is not None
    return MASK if hide else value

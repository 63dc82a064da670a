"""Whether the fake takes a value for a field, and what it makes of it: trimmed texts, empty ones as null."""

import re
from collections.abc import Mapping
from datetime import date

from isthmus.connectors.salesforce.fake.faults import Refused
from isthmus.connectors.salesforce.fake.fields import Field, Schema
from isthmus.connectors.salesforce.wire import Row, moment
from isthmus.kernel.marks import Json

STAMP_FORM = "%Y-%m-%dT%H:%M:%S.000+0000"
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_ID = re.compile(r"[0-9A-Za-z]{15}([0-9A-Z]{3})?")
_TEXTS = ("string", "textarea", "email", "phone", "url", "picklist")
_NUMBERS = ("double", "currency", "percent", "int")


def checked(schema: Schema, given: Mapping[str, Json], *, new: bool) -> Row:
    """Return what is kept of values that are sent; raises Refused with what Salesforce says."""
    kept: Row = {}
    for name, value in given.items():
        field = schema.fields.get(name)
        if field is None:
            message = f"No such column '{name}' on sobject of type {schema.name}"
            raise Refused(400, "INVALID_FIELD", message)
        if not (field.creatable if new else field.changeable):
            message = (
                f"Unable to create/update fields: {name}. Please check the security settings of this field and verify "
                "that it is read/write for your profile or permission set."
            )
            raise Refused(400, "INVALID_FIELD_FOR_INSERT_UPDATE", message, name)
        kept[name] = _kept(field, value)
    if new:
        kept = {each.name: each.default for each in schema.fields.values() if each.default is not None} | kept
    lacking = [
        each.name
        for each in schema.fields.values()
        if each.needed and (each.name in kept or new) and kept.get(each.name) is None
    ]
    if lacking:
        message = f"Required fields are missing: [{', '.join(lacking)}]"
        raise Refused(400, "REQUIRED_FIELD_MISSING", message, *lacking)
    return kept


def _kept(field: Field, value: Json) -> Json:
    if value is None or value == "":
        if field.kind == "boolean":
            raise Refused(400, "INVALID_TYPE_ON_FIELD_IN_RECORD", f"{field.name}: value not of required type: ")
        return None
    if field.kind in _TEXTS:
        return _text(field, value)
    if field.kind in _NUMBERS:
        return _number(field, value)
    if field.kind == "boolean":
        if not isinstance(value, bool):
            raise _unread("boolean", value)
        return value
    if field.kind == "reference":
        if not isinstance(value, str) or not _ID.fullmatch(value):
            message = f"{field.name}: id value of incorrect type: {value}"
            raise Refused(400, "MALFORMED_ID", message, field.name)
        return value
    return _time(field, value)


def _text(field: Field, value: Json) -> Json:
    if not isinstance(value, str):
        raise _unread("string", value)
    said = value.strip()
    if len(said) > field.length:
        message = f"{field.name}: data value too large: {said} (max length={field.length})"
        raise Refused(400, "STRING_TOO_LONG", message, field.name)
    if field.kind == "email" and said and not _EMAIL.fullmatch(said):
        message = f"{field.name}: invalid email address: {said}"
        raise Refused(400, "INVALID_EMAIL_ADDRESS", message, field.name)
    if field.restricted and said not in field.words:
        message = f"{field.name}: bad value for restricted picklist field: {said}"
        raise Refused(400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, field.name)
    return said or None


def _number(field: Field, value: Json) -> Json:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise _unread("double", value)
        return int(value) if field.kind == "int" else float(value)
    except ValueError as error:
        raise _unread("double", value) from error


def _time(field: Field, value: Json) -> Json:
    if isinstance(value, str):
        if field.kind == "datetime" and (at := moment(value)) is not None:
            return at.strftime(STAMP_FORM)
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError as error:
            raise _unread(field.kind, value) from error
    raise _unread(field.kind, value)


def _unread(kind: str, value: Json) -> Refused:
    return Refused(400, "JSON_PARSER_ERROR", f"Cannot deserialize instance of {kind} from VALUE_STRING value {value}")

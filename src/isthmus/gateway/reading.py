"""From bytes to checked values: what cannot be read is 400, what is read and wrong is 422 with every fault of it."""

import math
import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import Struct

from isthmus.kernel.errors import Fault, Invalid, Malformed
from isthmus.kernel.faults import fault_of, find_faults, pointer_to
from isthmus.kernel.marks import Json

DEPTH_MAX = 32
PARAMETERS_MAX = 100
_STRINGS = re.compile(rb'"(?:[^"\\]+|\\.)*"', re.DOTALL)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_PLACE = re.compile(r" \(byte (\d+)\)")
_TRAILING = "trailing characters"
_FIXES = (
    ("truncated", "The body ends too early: close every quote, bracket and brace."),
    ("trailing comma", "Leave out the comma after the last item."),
    ("object keys", 'Put each name into double quotes: {"name": "value"}.'),
    ("trailing characters", "Send one JSON value and nothing after it."),
)
_FIX = 'Send JSON such as {"name": "value"}, with names and texts in double quotes.'
_NOT_JSON = re.compile(rb"-?(?:NaN|Infinity)")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
T = TypeVar("T")


def read_json(raw: bytes, kind: type[T]) -> T:
    """Return the value of a JSON text.

    Raises Malformed (with the byte at which reading ended) for what is not JSON of RFC 8259: invalid UTF-8, NaN,
    repeated names, nesting over `DEPTH_MAX`; raises Invalid with every fault for JSON of another shape than `kind`.
    """
    _check_text(raw)
    _check_structure(raw)
    try:
        return _decoder(kind).decode(raw)
    except (msgspec.ValidationError, Invalid) as error:
        raise _invalid(raw, kind, error) from error
    except msgspec.DecodeError as error:
        raise _malformed(raw, str(error)) from error


def read_value(raw: Json, kind: type[T], *, at: str = "") -> T:
    """Return a part of a body, already read as JSON, as a value of `kind`; raises Invalid with pointers below `at`."""
    try:
        return msgspec.convert(raw, kind)
    except (msgspec.ValidationError, Invalid) as error:
        raise _refusal(find_faults(raw, kind, at=at), error, at=at) from error


def read_parameters(text: bytes, kind: type[T], *, at: str = "") -> T:
    """Return query parameters or the fields of a form; a parameter may be repeated where the type is a list.

    Raises Malformed for broken percent escapes and Invalid with every fault, its pointers below `at`.
    """
    repeated: dict[str, list[str]] = {}
    for name, value in _pairs(text):
        repeated.setdefault(name, []).append(value)
    lists = _list_fields(kind)
    faults = [
        Fault(pointer=pointer_to(at, name), code="repeated", detail=f"`{name}` is given {len(values)} times.")
        for name, values in repeated.items()
        if len(values) > 1 and name not in lists
    ]
    given: dict[str, Json] = {}
    for name, values in repeated.items():
        given[name] = [*values] if name in lists else values[0]
    try:
        value = msgspec.convert(given, kind, strict=False)
    except (msgspec.ValidationError, Invalid) as error:
        raise _refusal([*faults, *find_faults(given, kind, at=at, strict=False)], error, at=at) from error
    faults += [*_not_finite(value, at), *_moments_by_number(value, given, at)]
    if faults:
        raise Invalid("A parameter is not valid.", fix="Mend what `errors` names.", faults=tuple(faults))
    return value


def without_parameter(text: bytes, name: str) -> tuple[bytes, str | None]:
    """Return parameters without one of them, and its value; raises Malformed."""
    pairs = _pairs(text)
    value = next((value for own, value in pairs if own == name), None)
    return urlencode([(own, value) for own, value in pairs if own != name]).encode(), value


def _pairs(text: bytes) -> list[tuple[str, str]]:
    try:
        plain = _BROKEN_ESCAPE.sub(_not_escaped, text.decode("ascii"))
        pairs = parse_qsl(plain, keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX)
    except ValueError as error:
        raise Malformed(
            f"The parameters are no UTF-8 text in percent escapes, or more than {PARAMETERS_MAX}.",
            fix="Escape each name and value as URLs demand.",
        ) from error
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise Malformed("A parameter has the character NUL.", fix="Leave it out.")
    return pairs


def _not_escaped(_: re.Match[str]) -> str:
    raise ValueError


def _check_text(raw: bytes) -> None:
    if raw.isascii():
        return
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not UTF-8: byte {error.start}.", fix="Encode the body as UTF-8.") from error


def _check_structure(raw: bytes) -> None:
    """Refuse deep nesting and repeated names, which readers understand differently, before anything is built."""
    bare = _STRINGS.sub(b"", raw)
    brackets = bare.translate(None, _NOT_BRACKETS)
    if brackets.count(b"[") + brackets.count(b"{") > DEPTH_MAX and _depth(brackets) > DEPTH_MAX:
        raise Malformed(f"The JSON is nested more than {DEPTH_MAX} deep.", fix="Send flatter JSON.")
    if _NUL.search(raw):
        raise Malformed("A text has the character NUL (\\u0000).", fix="Leave it out.")
    try:
        names = _count_names(msgspec.json.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    if bare.count(b":") != names:
        raise Malformed("A name is repeated in one of the JSON objects.", fix="Send each name once.")


def _depth(brackets: bytes) -> int:
    depth = deepest = 0
    for byte in brackets:
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _count_names(value: Json) -> int:
    if isinstance(value, dict):
        return len(value) + sum(_count_names(each) for each in value.values() if isinstance(each, dict | list))
    if isinstance(value, list):
        return sum(_count_names(each) for each in value if isinstance(each, dict | list))
    return 0


def _malformed(raw: bytes, message: str) -> Malformed:
    if not raw.strip():
        return Malformed("The body is empty.", fix="Send a JSON object.")
    place = _PLACE.search(message)
    at = int(place[1]) if place else len(raw)
    if _NOT_JSON.match(raw, at) or _NOT_JSON.match(raw, max(at - 1, 0)):
        return Malformed(f"NaN and Infinity are not JSON: byte {at}.", fix="Send a number, or null.")
    said = _PLACE.sub("", message).removeprefix("JSON is malformed: ")
    if said == _TRAILING:
        at -= 1  # The reader names the byte after the one it stumbled over.
    fix = next((fix for part, fix in _FIXES if part in said), _FIX)
    return Malformed(f"The body is not JSON: {said} at byte {at}.", fix=fix)


def _invalid(raw: bytes, kind: type, error: Exception) -> Invalid:
    try:
        tree: Json = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _refusal([], error, at="")
    return _refusal(find_faults(tree, kind), error, at="")


def _refusal(faults: list[Fault], error: Exception, *, at: str) -> Invalid:
    """Return the refusal; what only the whole shows (a rule across fields) is told by the error that was raised."""
    shown = faults or [fault_of(error, at=at)]
    noun = "One value is" if len(shown) == 1 else f"{len(shown)} values are"
    return Invalid(f"{noun} not valid.", fix="Mend what `errors` names, and send it again.", faults=tuple(shown))


def _not_finite(value: object, at: str) -> Iterator[Fault]:
    names = getattr(value, "__struct_fields__", ())
    for name in names:
        number = getattr(value, name)
        if isinstance(number, float) and not math.isfinite(number):
            yield Fault(pointer=pointer_to(at, name), code="not-finite", detail="The number is not finite.")


def _moments_by_number(value: object, given: dict[str, Json], at: str) -> Iterator[Fault]:
    """Find numbers that were taken for seconds since 1970: a year without its day is one."""
    for name in getattr(value, "__struct_fields__", ()):
        written = given.get(name)
        if isinstance(getattr(value, name), date) and isinstance(written, str) and "-" not in written[1:]:
            detail = "A moment is written as 2026-11-22T09:30:00Z, a day as 2026-11-22."
            yield Fault(pointer=pointer_to(at, name), code="invalid", detail=detail)


@lru_cache(maxsize=1024)
def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(kind)


@lru_cache(maxsize=1024)
def _list_fields(kind: type) -> frozenset[str]:
    if not issubclass(kind, Struct):
        return frozenset()
    described = msgspec.inspect.type_info(kind)
    fields = described.fields if isinstance(described, msgspec.inspect.StructType) else ()
    return frozenset(each.encode_name for each in fields if _is_list(each.type))


def _is_list(described: msgspec.inspect.Type) -> bool:
    if isinstance(described, msgspec.inspect.UnionType):
        return any(_is_list(each) for each in described.types)
    return isinstance(
        described, msgspec.inspect.ListType | msgspec.inspect.VarTupleType | msgspec.inspect.CollectionType
    )

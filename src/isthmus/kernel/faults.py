"""Every fault of a value that does not fit its type, each with a JSON pointer (RFC 6901) and a sentence.

The type checker of our JSON reader stops at the first fault, so this walks a value it refused and asks part by part.
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct, UnsetType

from isthmus.kernel.advice import advice
from isthmus.kernel.errors import Fault, IsthmusError
from isthmus.kernel.marks import Json

FAULTS_MAX = 50
_PLACE = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]")
_REGEX = re.compile(r"matching regex .*$")
_CODES = (
    ("matching regex", "wrong-form"),
    ("of length", "wrong-length"),
    ("Invalid enum value", "unknown-value"),
    ("Invalid value", "unknown-value"),
    ("Invalid ", "wrong-form"),
    (">=", "out-of-range"),
    ("<=", "out-of-range"),
    ("out of range", "out-of-range"),
    ("got ", "wrong-type"),
)
_Part = tuple[Json, object, str]


class _How(NamedTuple):
    strict: bool
    echo: bool


def find_faults(value: Json, kind: object, *, at: str = "", strict: bool = True, echo: bool = True) -> list[Fault]:
    """Return up to `FAULTS_MAX` faults of a value, with pointers below `at`; `strict` False reads text as numbers.

    Without `echo` no fault repeats what was sent.
    """
    found: list[Fault] = []
    for fault in _faults(value, kind, at, _How(strict=strict, echo=echo)):
        found.append(fault)
        if len(found) == FAULTS_MAX:
            break
    return found


def pointer_to(at: str, name: str) -> str:
    """Return the JSON pointer of a member."""
    return f"{at}/{name.replace('~', '~0').replace('/', '~1')}"


def fault_of(error: Exception, *, at: str) -> Fault:
    """Return the one fault that an error tells of, with as much of its place as it says."""
    if isinstance(error, IsthmusError):
        return Fault(pointer=at, code=error.code, detail=sentence(error))
    place = _PLACE.search(str(error))
    pointer = at
    for step in _STEP.finditer(place["path"] if place else ""):
        pointer = pointer_to(pointer, step["name"] or step["index"])
    return Fault(pointer=pointer, code=_code(str(error)), detail=sentence(error))


def sentence(error: Exception) -> str:
    """Return what a type error or one of our own says, without the place."""
    if isinstance(error, IsthmusError):
        return f"{error.detail} {error.fix}".strip()
    said = _PLACE.sub("", str(error))
    if _REGEX.search(said):
        return "The text has not the form that is asked for."
    return said if said.endswith(".") else f"{said}."


def _faults(value: Json, kind: object, at: str, how: _How) -> Iterator[Fault]:
    members: list[_Part] = []
    own: list[Fault] = []
    bare = _shape(kind, value)
    if isinstance(bare, type) and issubclass(bare, Struct) and isinstance(value, dict):
        own = [*_names(value, bare, at)]
        hints = _fields(bare)
        members = [(each, hints[name], pointer_to(at, name)) for name, each in value.items() if name in hints]
    elif isinstance(value, list) and get_origin(bare) in {list, tuple, set, frozenset}:
        inner = get_args(bare)[0]
        members = [(each, inner, f"{at}/{index}") for index, each in enumerate(value)]
    elif isinstance(value, dict) and get_origin(bare) is dict:
        inner = get_args(bare)[1]
        members = [(each, inner, pointer_to(at, name)) for name, each in value.items()]
    seen = bool(own)
    yield from own
    for part, part_kind, pointer in members:
        for fault in _faults(part, part_kind, pointer, how):
            seen = True
            yield fault
    if not seen:
        yield from _whole(value, kind, at, how)


def _whole(value: Json, kind: object, at: str, how: _How) -> Iterator[Fault]:
    try:
        msgspec.convert(value, _typed(kind), strict=how.strict)
    except IsthmusError as error:
        yield Fault(pointer=at, code=error.code, detail=sentence(error))
    except msgspec.ValidationError as error:
        yield Fault(pointer=at, code=_code(str(error)), detail=advice(value, kind, strict=how.strict, echo=how.echo))


def _code(said: str) -> str:
    return next((code for part, code in _CODES if part in said), "invalid")


def _names(value: dict[str, Json], kind: type[Struct], at: str) -> Iterator[Fault]:
    fields = msgspec.structs.fields(kind)
    for each in fields:
        if each.required and each.encode_name not in value:
            detail = f"`{each.encode_name}` is required."
            yield Fault(pointer=pointer_to(at, each.encode_name), code="missing", detail=detail)
    if kind.__struct_config__.forbid_unknown_fields:
        known = [each.encode_name for each in fields]
        for name in value.keys() - set(known):
            near = get_close_matches(name, known, n=1)
            meant = f" Did you mean `{near[0]}`?" if near else f" Known are {', '.join(known)}."
            shown = name if len(name) <= max(map(len, known), default=0) * 2 else f"{name[:20]}…"
            yield Fault(
                pointer=pointer_to(at, name), code="unknown-field", detail=f"There is no field `{shown}`.{meant}"
            )


def _shape(kind: object, value: Json) -> object:
    """Return the type below annotations and options that a value was most likely meant to have."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _shape(get_args(kind)[0], value)
    if origin in {Union, UnionType}:
        options = [_shape(each, value) for each in get_args(kind) if each not in {NoneType, UnsetType}]
        return options[0] if len(options) == 1 else None
    if isinstance(origin, type) and issubclass(origin, Struct):
        return origin
    return kind


@lru_cache(maxsize=1024)
def _fields(kind: type[Struct]) -> dict[str, object]:
    hints = get_type_hints(kind, include_extras=True)
    return {each.encode_name: hints.get(each.name, each.type) for each in msgspec.structs.fields(kind)}


def _typed(kind: object) -> type[object]:
    """Pass an annotation where a type is asked for: the converter takes both."""
    return kind  # pyright: ignore[reportReturnType] - annotations such as `int | None` are no classes.

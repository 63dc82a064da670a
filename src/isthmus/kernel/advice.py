"""What a type asks for, in the words of somebody who has to send it: no names of types, no regular expressions."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import cast

from msgspec import inspect

from isthmus.kernel.marks import Json
from isthmus.kernel.money import Money

_SHOWN_MAX = 40
_PLAIN: dict[type, str] = {
    inspect.BoolType: "true or false",
    inspect.NoneType: "null",
    inspect.DateTimeType: "a moment with its time zone, such as 2026-11-22T09:30:00Z",
    inspect.DateType: "a day such as 2026-11-22",
    inspect.DecimalType: 'a decimal in a string, such as "12.50"',
    inspect.UUIDType: "a UUID",
    inspect.BytesType: "base64 text",
}
_COUNTED: tuple[tuple[type, str, str], ...] = (
    (inspect.StrType, "text", "characters"),
    (inspect.DictType, "an object", "members"),
    *(
        (each, "a list", "items")
        for each in (inspect.ListType, inspect.SetType, inspect.FrozenSetType, inspect.VarTupleType)
    ),
)
_NUMBERS: tuple[tuple[type, str], ...] = ((inspect.IntType, "a whole number"), (inspect.FloatType, "a number"))
_TOLD = (inspect.EnumType, inspect.LiteralType, inspect.DateTimeType, inspect.DateType, inspect.DecimalType)


def advice(value: Json, kind: object, *, strict: bool = True, echo: bool = True) -> str:
    """Return what to send where `value` does not fit `kind`, such as: Send a whole number, not the text "12".

    Texts are repeated only where what is asked for is no free text, and never without `echo`. Without `strict` the
    value came as text whatever it stands for.
    """
    described = _described(kind)
    if description := _form(described):
        return description
    listed = _words(described)
    given = _given(value, described, strict=strict, echo=echo)
    near = get_close_matches(value, listed, n=1) if isinstance(value, str) else []
    meant = f" Did you mean {near[0]}?" if near else ""
    return f"Send {_wanted(described)}{given}.{meant}"


@lru_cache(maxsize=1024)
def _described(kind: object) -> inspect.Type:
    return inspect.type_info(kind)


def _parts(described: inspect.Type) -> Sequence[inspect.Type]:
    """Return the alternatives of a type, without their notes, and whole numbers only where no number would do."""
    if isinstance(described, inspect.Metadata):
        return _parts(described.type)
    if not isinstance(described, inspect.UnionType):
        return (described,)
    parts = [each for one in described.types for each in _parts(one)]
    wide = any(isinstance(each, inspect.FloatType) for each in parts)
    return [each for each in parts if not (wide and isinstance(each, inspect.IntType))]


def _form(described: inspect.Type) -> str:
    """Return the description of a type whose texts have a form: it is the one sentence about it."""
    if isinstance(described, inspect.UnionType):
        return next((found for each in described.types if (found := _form(each))), "")
    if isinstance(described, inspect.Metadata):
        told = cast("dict[str, object]", described.extra_json_schema or {}).get("description")
        formed = any(isinstance(each, inspect.StrType) and each.pattern for each in _parts(described))
        return str(told) if told and formed else _form(described.type)
    return ""


def _words(described: inspect.Type) -> list[str]:
    words: list[str] = []
    for each in _parts(described):
        if isinstance(each, inspect.EnumType):
            words += [str(one.value) for one in each.cls]
        elif isinstance(each, inspect.LiteralType):
            words += [str(one) for one in each.values]
    return words


def _wanted(described: inspect.Type) -> str:
    parts = [each for each in _parts(described) if not isinstance(each, inspect.NoneType)]
    named = list(dict.fromkeys(_named(each) for each in parts))
    named += ["null"] if len(parts) < len(_parts(described)) else []
    return f"{', '.join(named[:-1])}{', or ' if named[:-1] else ''}{named[-1]}"


def _named(described: inspect.Type) -> str:
    if isinstance(described, inspect.EnumType | inspect.LiteralType):
        words = _words(described)
        return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    if isinstance(described, inspect.StructType):
        return 'money such as {"amount": "12.50", "currency": "EUR"}' if described.cls is Money else "a JSON object"
    for kind, noun, of in _COUNTED:
        if isinstance(described, kind):
            least, most = cast("_Counted", described).min_length, cast("_Counted", described).max_length
            return f"{noun}{_bounds(least, most, of=of)}"
    for kind, noun in _NUMBERS:
        if isinstance(described, kind):
            return f"{noun}{_range(cast('_Number', described))}"
    return next((words for kind, words in _PLAIN.items() if isinstance(described, kind)), "another value")


_Counted = inspect.StrType
_Number = inspect.IntType | inspect.FloatType


def _bounds(least: int | None, most: int | None, *, of: str) -> str:
    if least and most is not None:
        return f" of {least} to {most:,} {of}"
    if most is not None:
        return f" of at most {most:,} {of}"
    return f" of at least {least} {of}" if least else ""


def _range(number: _Number) -> str:
    if number.ge is not None and number.le is not None:
        return f" from {number.ge:g} to {number.le:g}"
    for bound, words in (
        (number.ge, "of {:g} or more"),
        (number.le, "of {:g} or less"),
        (number.gt, "over {:g}"),
        (number.lt, "below {:g}"),
    ):
        if bound is not None:
            return f" {words.format(bound)}"
    return ""


def _given(value: Json, described: inspect.Type, *, strict: bool, echo: bool) -> str:
    """Return what came instead, as far as it may be repeated."""
    match value:
        case None:
            return ", not null"
        case bool():
            return f", not {str(value).lower()}"
        case list() | dict():
            noun = "a list" if isinstance(value, list) else "an object"
            counted = any(noun == _named(each).partition(" of ")[0] for each in _parts(described))
            return f", not {len(value):,}" if counted else f", not {noun}"
        case str():
            return _text(value, described, strict=strict, echo=echo)
        case _:
            return f", not the number {value}" if echo else ", not this number"


def _text(value: str, described: inspect.Type, *, strict: bool, echo: bool) -> str:
    parts = _parts(described)
    if any(isinstance(each, inspect.StrType) and each.pattern for each in parts):
        return " in the form that is described for it"
    if any(isinstance(each, inspect.StrType) for each in parts):
        return f", not {len(value):,}" if value else ", not an empty one"
    numbers = any(isinstance(each, inspect.IntType | inspect.FloatType) for each in parts)
    if not echo or not (numbers or any(isinstance(each, _TOLD) for each in parts)):
        return ", not text"
    shown = value if len(value) <= _SHOWN_MAX else f"{value[:_SHOWN_MAX]}…"
    return f', not the text "{shown}"' if strict else f', not "{shown}"'

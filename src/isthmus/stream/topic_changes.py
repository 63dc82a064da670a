"""What a change of the catalogue breaks for those who read events. What is added breaks nothing."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from isthmus.kernel.marks import Json
from isthmus.stream.topics import Topics

_Schema = Mapping[str, Json]


class Told(Struct, frozen=True, kw_only=True):
    """A catalogue as it is kept: the schema of each type, and the types of each topic."""

    types: dict[str, dict[str, Json]]
    topics: dict[str, list[str]]


def told(topics: Topics) -> Told:
    """Return a catalogue in the form in which it is kept."""
    return Told(
        types={name: each.schema for name, each in topics.types.items()},
        topics={each.name: list(topics.members(each)) for each in topics.topics},
    )


def breaks(before: Told, after: Told) -> list[str]:
    """Return a sentence for each promise that is broken; a type whose data changes so needs a new version beside it."""
    found: list[str] = []
    for name, schema in before.types.items():
        if name in after.types:
            found += (f"{name}: {each}" for each in _narrowed(schema, after.types[name], at="data"))
        else:
            found.append(f"{name} is gone: keep it beside the new version.")
    for name, types in before.topics.items():
        gone = sorted(set(types) - set(after.topics.get(name, [])))
        if name not in after.topics:
            found.append(f"topic {name} is gone.")
        elif gone:
            found.append(f"topic {name} tells no more of {', '.join(gone)}.")
    return found


def _narrowed(before: _Schema, after: _Schema, *, at: str) -> Iterator[str]:
    for word in ("type", "const", "format"):
        if word in before and before[word] != after.get(word):
            yield f"{at} has another {word}: {before[word]} became {after.get(word)}."
    gone = sorted(set(_texts(before, "enum")) - set(_texts(after, "enum")))
    if gone:
        yield f"{at} can no longer be {', '.join(gone)}."
    missing = sorted(set(_texts(before, "required")) - set(_texts(after, "required")))
    if missing:
        yield f"{at} may lack {', '.join(missing)}."
    old, new = _parts(before, "properties"), _parts(after, "properties")
    for name, schema in old.items():
        if name not in new:
            yield f"{at}.{name} is gone."
        else:
            yield from _narrowed(schema, new[name], at=f"{at}.{name}")
    if isinstance(before.get("items"), dict):
        yield from _narrowed(_part(before, "items"), _part(after, "items"), at=f"{at}[]")


def _texts(schema: _Schema, word: str) -> Sequence[str]:
    found = schema.get(word)
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _part(schema: _Schema, word: str) -> dict[str, Json]:
    found = schema.get(word)
    return found if isinstance(found, dict) else {}


def _parts(schema: _Schema, word: str) -> dict[str, dict[str, Json]]:
    return {name: each for name, each in _part(schema, word).items() if isinstance(each, dict)}

"""What events promise to their readers is kept: a change that breaks it needs a new version beside the old one.

The promises stand in topics.json, which `python -m tests.house.test_topics` writes again; it refuses to break one.
"""

import sys
from pathlib import Path

import msgspec
import pytest

from isthmus.app.topics import topics
from isthmus.kernel.marks import Json
from isthmus.stream.topic_changes import Told, breaks, told

FILE = Path(__file__).with_name("topics.json")
_Map = dict[str, Json]


def kept() -> Told:
    """Return the catalogue as it is kept."""
    return msgspec.json.decode(FILE.read_bytes(), type=Told)


def write() -> list[str]:
    """Keep the catalogue, a line for each type, unless that breaks a promise; returns what it would break."""
    now = told(topics())
    broken = breaks(kept(), now) if FILE.exists() else []
    if not broken:
        parts = [(name, getattr(now, name)) for name in now.__struct_fields__]
        text = ",\n".join(f'"{name}": {{\n{_lines(found)}\n}}' for name, found in parts)
        FILE.write_text(f"{{{text}}}\n", "utf-8")
    return broken


def _lines(found: dict[str, Json]) -> str:
    return ",\n".join(f"  {_text(name)}: {_text(each)}" for name, each in sorted(found.items()))


def _text(value: Json) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def test_no_promise_of_the_catalogue_is_broken() -> None:
    assert breaks(kept(), told(topics())) == []


def test_the_catalogue_is_kept_as_it_is() -> None:
    assert kept() == told(topics()), "write it again: python -m tests.house.test_topics"


def test_no_event_has_a_place_for_values() -> None:
    for schema in kept().types.values():
        assert isinstance(schema["properties"], dict)
        assert set(schema["properties"]) == {"record_type", "changed", "actor", "cause"}


TYPE, TOPIC = "isthmus.making.thing.changed.v1", "things"
SCHEMA: _Map = {
    "type": "object",
    "properties": {
        "record_type": {"const": "making.thing"},
        "changed": {"type": "array", "items": {"type": "string", "enum": ["name", "size"]}},
    },
    "required": ["record_type", "changed"],
}
BEFORE = Told(types={TYPE: SCHEMA}, topics={TOPIC: [TYPE]})


def changed(**parts: Json) -> Told:
    """Return the catalogue with another schema of its one type."""
    properties: _Map = {"record_type": {"const": "making.thing"}, "changed": _changed("name", "size")}
    return Told(types={TYPE: {**SCHEMA, "properties": properties, **parts}}, topics={TOPIC: [TYPE]})


def _changed(*names: str) -> Json:
    return {"type": "array", "items": {"type": "string", "enum": [*names]}}


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (Told(types={}, topics={TOPIC: [TYPE]}), f"{TYPE} is gone: keep it beside the new version."),
        (Told(types={TYPE: SCHEMA}, topics={}), f"topic {TOPIC} is gone."),
        (Told(types={TYPE: SCHEMA}, topics={TOPIC: []}), f"topic {TOPIC} tells no more of {TYPE}."),
        (changed(properties={"record_type": {"const": "making.thing"}}), f"{TYPE}: data.changed is gone."),
        (changed(required=["record_type"]), f"{TYPE}: data may lack changed."),
        (
            changed(properties={"record_type": {"const": "making.part"}, "changed": _changed("name", "size")}),
            f"{TYPE}: data.record_type has another const: making.thing became making.part.",
        ),
        (
            changed(properties={"record_type": {"const": "making.thing"}, "changed": {"type": "string"}}),
            f"{TYPE}: data.changed has another type: array became string.",
        ),
        (
            changed(properties={"record_type": {"const": "making.thing"}, "changed": _changed("name")}),
            f"{TYPE}: data.changed[] can no longer be size.",
        ),
    ],
)
def test_what_breaks_a_promise_is_reported(after: Told, said: str) -> None:
    assert said in breaks(BEFORE, after)


def test_what_is_added_breaks_nothing() -> None:
    properties: _Map = {
        "record_type": {"const": "making.thing"},
        "changed": _changed("name", "size", "weight"),
        "tone": {"type": "string"},
    }
    after = changed(properties=properties, required=["record_type", "changed", "tone"])
    more = Told(
        types={**after.types, TYPE.replace(".v1", ".v2"): SCHEMA}, topics={TOPIC: [TYPE, "more"], "other": [TYPE]}
    )
    assert breaks(BEFORE, more) == []


if __name__ == "__main__":
    sys.exit("\n".join(write()))

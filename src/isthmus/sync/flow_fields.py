"""Which fields a system's records have, so that a person can map them: found in what was received, and described there.

What becomes of a field is found by leaving it out of rows that hold it and mapping them again: mappings are pure. No
value is told.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import msgspec
from msgspec import Struct

from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.sync.connector import Connector, Described, Feed, Raw
from isthmus.sync.drift import kind_of
from isthmus.sync.flow_versions import received
from isthmus.sync.flows import CUSTOM
from isthmus.sync.ingest import Store

FIELDS_LOOKED_MAX, PATHS_MAX, DEPTH_MAX, TRIES_MAX = 1_000, 2_000, 6, 3
_Body = dict[str, Json]


class FoundField(Struct, frozen=True, kw_only=True):
    """A field of a system's rows: where it stands, by dots, and in how many of those looked at it holds something.

    `becomes` names our fields that it becomes part of, as mapped now; none where nothing reads it. `label`, `kind` and
    `own` are as the system describes it, where it was asked; `kinds` are those of its values.
    """

    feed: str
    path: str
    label: str
    kind: str
    own: bool
    kinds: list[str]
    filled: int
    becomes: list[str]


class FoundFields(Struct, frozen=True, kw_only=True):
    """The fields of the rows that carry records of a type, and how many rows were looked at."""

    looked: int
    fields: list[FoundField]


@dataclass(slots=True)
class _Seen:
    """One place in the rows of a feed: kinds of values, how many hold something, and some of those that do."""

    kinds: set[str] = field(default_factory=set[str])
    filled: int = 0
    rows: list[Raw] = field(default_factory=list[Raw])


async def found_fields(
    tx: Transaction,
    store: Store,
    connector: Connector,
    feeds: Sequence[Feed],
    *,
    system: str,
    type_name: str,
    described: Mapping[str, Sequence[Described]],
) -> FoundFields:
    """Return the fields of what was received of a type, and those that the system describes, by feed and path.

    `connector` is as settings and mappings make it.
    """
    looked = 0
    seen: dict[tuple[str, str], _Seen] = defaultdict(_Seen)
    async for some in received(tx, store, feeds, system=system, type_name=type_name):
        for feed, raws in some:
            for raw in raws[: FIELDS_LOOKED_MAX - looked]:
                looked += 1
                _look(seen, feed.name, raw)
        if looked >= FIELDS_LOOKED_MAX:
            break
    told = {(name, each.path): each for name, listed in described.items() for each in listed}
    fields: list[FoundField] = []
    for feed_name, path in sorted(seen.keys() | told.keys()):
        here, about = seen.get((feed_name, path), _Seen()), told.get((feed_name, path), Described(path=path))
        fields.append(
            FoundField(
                feed=feed_name,
                path=path,
                label=about.label,
                kind=about.kind,
                own=about.own,
                kinds=sorted(here.kinds),
                filled=here.filled,
                becomes=_becomes(connector, feed_name, path, here.rows, type_name=type_name),
            )
        )
    return FoundFields(looked=looked, fields=fields)


def _look(seen: dict[tuple[str, str], _Seen], feed: str, raw: Raw) -> None:
    for path, value in _leaves(raw.body, "", 1):
        key = (feed, path)
        if key not in seen and len(seen) >= PATHS_MAX:
            continue
        here = seen[key]
        here.kinds.add(kind_of(value))
        if value not in (None, "", [], {}):
            here.filled += 1
            if len(here.rows) < TRIES_MAX:
                here.rows.append(raw)


def _leaves(body: Mapping[str, Json], before: str, depth: int) -> Iterator[tuple[str, Json]]:
    """Yield values with their places; members of lists of maps that have an `id` stand under that."""
    for name, value in body.items():
        if not name or "." in name:
            continue
        path, members = f"{before}{name}", _members(value)
        if members and depth < DEPTH_MAX:
            yield from _leaves(members, f"{path}.", depth + 1)
        else:
            yield path, value


def _members(value: Json) -> Mapping[str, Json]:
    """Return what is inside of a value by name: the fields of a map, or the maps of a list by their `id`."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list) or not all(isinstance(each, dict) and "id" in each for each in value):
        return {}
    maps = cast("list[_Body]", value)
    return {str(each["id"]): {name: inner for name, inner in each.items() if name != "id"} for each in maps}


def _becomes(connector: Connector, feed: str, path: str, rows: Sequence[Raw], *, type_name: str) -> list[str]:
    """Return our fields that change when a value is left out of rows that hold it."""
    found: set[str] = set()
    for raw in rows:
        less = msgspec.structs.replace(raw, body=cast("_Body", _without(raw.body, path.split("."))))
        whole, rest = _said(connector, feed, raw, type_name), _said(connector, feed, less, type_name)
        found |= {name for name in whole.keys() | rest.keys() if whole.get(name) != rest.get(name)}
    return sorted(found)


def _without(value: Json, parts: Sequence[str]) -> Json:
    """Return a value without what stands at a path in it."""
    first, *others = parts
    if isinstance(value, list):
        return [_without(each, others) if _named(each, first) and others else each for each in value]
    if not isinstance(value, dict):
        return value
    if not others:
        return {name: each for name, each in value.items() if name != first}
    return {name: _without(each, others) if name == first else each for name, each in value.items()}


def _named(value: Json, name: str) -> bool:
    return isinstance(value, dict) and str(value.get("id")) == name


def _said(connector: Connector, feed: str, raw: Raw, type_name: str) -> _Body:
    """Return what a row says of records of a type; custom values by their names. Nothing, where it cannot be mapped."""
    try:
        told = [each for each in connector.normalise(feed, raw) if each.type == type_name]
    except Exception:  # noqa: BLE001 - a mapping may need what is left out; then all of it hangs on that.
        return {}
    said: _Body = {}
    for each in told:
        links: _Body = {name: link.external_id for name, link in each.links.items()}
        said |= {name: value for name, value in each.fields.items() if name != CUSTOM} | links
        custom = each.fields.get(CUSTOM)
        said |= {f"{CUSTOM}.{name}": value for name, value in custom.items()} if isinstance(custom, dict) else {}
    return said

"""The catalog that a tap tells, and what selects one of its streams in it."""

from collections.abc import Iterator, Mapping
from typing import cast

from isthmus.connectors.singer.layouts import Tapped
from isthmus.kernel.marks import Json
from isthmus.sync.connector import FeedTrouble, NotAsDocumented
from isthmus.sync.streams import columns_lacking


def entries(catalog: Json) -> list[dict[str, Json]]:
    """Return the streams of a catalog; raises NotAsDocumented."""
    found = catalog.get("streams") if isinstance(catalog, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise NotAsDocumented("The tap's catalog has no streams.", fix="Run it by hand with --discover.")
    return [cast("dict[str, Json]", each) for each in found]


def named(entry: Mapping[str, Json]) -> str:
    """Return the name of a stream of a catalog."""
    return str(entry.get("tap_stream_id") or entry.get("stream"))


def selected(catalog: Json, name: str, stream: Tapped) -> tuple[dict[str, Json], frozenset[str]]:
    """Return a catalog that selects one stream with the columns that are read, and its names in messages.

    Raises FeedTrouble when there is no such stream, or when it lacks a column.
    """
    wanted = stream.stream or name
    there = entries(catalog)
    mine = [each for each in there if wanted in names_of(each)]
    if not mine:
        names = ", ".join(map(named, there)) or "none"
        raise FeedTrouble(f"The tap has no stream {wanted}; there are: {names}.", fix="Correct `streams`.")
    columns = tuple(_properties(mine[0]))
    lacking = [] if _open(mine[0]) else list(columns_lacking(stream, columns))
    if lacking:
        raise FeedTrouble(
            f"{wanted} has no column {', '.join(lacking)}; it has {', '.join(columns)}.", fix="Correct `streams`."
        )
    found: list[Json] = [_marked(each, stream if each is mine[0] else None) for each in there]
    return {**cast("dict[str, Json]", catalog), "streams": found}, names_of(mine[0])


def names_of(entry: Mapping[str, Json]) -> frozenset[str]:
    """Return by which names a stream of a catalog may be called."""
    return frozenset(str(entry[key]) for key in ("tap_stream_id", "stream") if key in entry)


def _properties(entry: Mapping[str, Json]) -> Mapping[str, Json]:
    schema = entry.get("schema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties if isinstance(properties, dict) else {}


def _open(entry: Mapping[str, Json]) -> bool:
    schema = entry.get("schema")
    return isinstance(schema, dict) and bool(schema.get("additionalProperties"))


def _marked(entry: dict[str, Json], stream: Tapped | None) -> dict[str, Json]:
    """Return a stream of the catalog, selected or not: in its metadata, and in its schema for taps of old."""
    schema = entry.get("schema")
    plain = {**schema, "selected": stream is not None} if isinstance(schema, dict) else schema
    return {**entry, "schema": plain, "selected": stream is not None, "metadata": list(_metadata(entry, stream))}


def _metadata(entry: Mapping[str, Json], stream: Tapped | None) -> Iterator[Json]:
    given = entry.get("metadata")
    said: dict[tuple[str, ...], dict[str, Json]] = {(): {}}
    for each in given if isinstance(given, list) else []:
        if isinstance(each, dict) and isinstance(each.get("breadcrumb"), list):
            crumbs = tuple(map(str, cast("list[Json]", each["breadcrumb"])))
            said[crumbs] = dict(cast("dict[str, Json]", each.get("metadata") or {}))
    top = said[()]
    top["selected"] = stream is not None
    if stream is not None:
        if stream.replication is not None:
            top["replication-method"] = top["forced-replication-method"] = stream.replication
        if stream.replication_key is not None:
            top["replication-key"] = stream.replication_key
        for column in _properties(entry):
            about = said.setdefault(("properties", column), {})
            if about.get("inclusion") not in ("automatic", "unsupported"):
                about["selected"] = stream.reads(column) or column == stream.replication_key
    for crumbs, about in said.items():
        yield {"breadcrumb": list(crumbs), "metadata": cast("Json", about)}

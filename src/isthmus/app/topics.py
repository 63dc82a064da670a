"""The catalogue of events of this program, put together from the records and the `topics.py` of all domains."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar, cast

from isthmus.app.discovery import domains, schema
from isthmus.stream.topics import Declared, Topic, Topics

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


@cache
def topics() -> Topics:
    """Return the catalogue; raises TypeError or ValueError for a declaration that does not fit."""
    return Topics.of(
        schema(), declared=_declared("EVENTS", Declared), topics=_declared("TOPICS", Topic), areas=_areas()
    )


def _areas() -> dict[str, str]:
    """Return by record type what the permission to read it begins with, as its own routes say it."""
    from isthmus.app.http.records import record_routes

    return {
        route.record: route.permission.partition(":")[0]
        for route in record_routes(schema())
        if route.method == "GET" and route.record and route.permission
    }


def _declared(name: str, kind: type[T]) -> Iterator[T]:
    for domain in domains():
        path = f"isthmus.domains.{domain.name}.topics"
        if find_spec(path) is None:
            continue
        for each in cast("tuple[object, ...]", getattr(import_module(path), name, ())):
            if not isinstance(each, kind):
                message = f"{path}: {name} holds {each!r}, which is no {kind.__name__}"
                raise TypeError(message)
            yield each

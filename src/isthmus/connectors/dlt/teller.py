# pyright: basic, reportMissingImports=false, reportMissingTypeStubs=false
# The line above: this runs by a Python of the person who connects, in which alone dlt is.
"""Tells the rows of one resource of a source of dlt, line by line, in Singer's messages: SCHEMA, RECORD and STATE.

python -I teller.py ASKED, where ASKED is a file of JSON: `source` (module:name), `arguments`, `folder`, `do` (discover,
read), `look` (of which resources a row is to be read), `stream` and `state`. What the source prints goes to standard
error. It needs nothing but dlt.
"""

import json
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

Asked = Mapping[str, object]
MESSAGES = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1 << 16)
# What a source prints would stand among the messages.
os.dup2(2, 1)


class CannotTell(Exception):
    """What was asked for is not there; the sentence says what is."""


class Resource(Protocol):
    """What is used of a resource of dlt."""

    name: str

    def compute_table_schema(self) -> Mapping[str, Mapping[str, Mapping[str, object]]]: ...

    def __iter__(self) -> Iterator[object]: ...


class Source(Protocol):
    """What is used of a source of dlt."""

    resources: Mapping[str, Resource]

    def with_resources(self, *names: str) -> Iterable[object]: ...


def _tell(**message: object) -> None:
    from dlt.common.json import json as dlts  # noqa: PLC0415 - dlt is there once it is known that it can be imported.

    MESSAGES.write(dlts.dumps(message) + "\n")


def _attribute(named: str) -> object:
    module, _, name = named.partition(":")
    if not module or not name:
        raise CannotTell(f"{named} is no module:name of a source")
    return getattr(import_module(module), name)


def _resources(asked: Asked) -> tuple[Source | None, dict[str, Resource]]:
    """Return the source, where it is one, and its resources by name."""
    from dlt.extract import DltResource, DltSource  # noqa: PLC0415 - as above.

    found, arguments = _attribute(str(asked["source"])), asked.get("arguments") or {}
    if not isinstance(found, DltResource | DltSource) or arguments:
        if not callable(found) or not isinstance(arguments, dict):
            raise CannotTell(f"{asked['source']} is neither a source of dlt nor makes one")
        found = found(**arguments)
    if isinstance(found, DltSource):
        source = cast("Source", found)
        return source, dict(source.resources)
    listed = [found] if isinstance(found, DltResource) else found
    if not isinstance(listed, list | tuple) or not all(isinstance(each, DltResource) for each in listed):
        raise CannotTell(f"{asked['source']} makes no source of dlt, but {type(found).__name__}")
    return None, {each.name: each for each in cast("list[Resource]", listed)}


def _columns(resource: Resource) -> Mapping[str, Mapping[str, object]]:
    """Return what the resource says of its columns before it is read: what depends on rows is not known."""
    try:
        return resource.compute_table_schema().get("columns", {})
    except Exception:  # noqa: BLE001 - hints that depend on a row fail in as many ways as people wrote them.
        return {}


def _flagged(resource: Resource, hint: str) -> list[str]:
    return [name for name, about in _columns(resource).items() if about.get(hint)]


def _rows(items: Iterable[object]) -> Iterator[dict[str, object]]:
    """Yield rows, whatever they come in: maps, lists of them, tables of Arrow, or frames."""
    for item in items:
        if isinstance(item, dict):
            yield item
        elif (of_arrow := getattr(item, "to_pylist", None)) is not None:
            yield from of_arrow()
        elif (of_frame := getattr(item, "to_dict", None)) is not None:
            yield from of_frame("records")
        elif isinstance(item, list | tuple):
            yield from _rows(item)
        else:
            raise CannotTell(f"a row came as {type(item).__name__}, and not as a map")


def _discovered(asked: Asked, source: Source | None, resources: Mapping[str, Resource]) -> None:
    look = cast("list[str]", asked.get("look") or [])
    streams: list[object] = []
    for name, each in resources.items():
        seen: list[str] = []
        if name in look:
            seen = list(next(_rows(each if source is None else source.with_resources(name)), {}))
        streams.append({"stream": name, "columns": list(_columns(each)), "seen": seen})
    _tell(type="CATALOG", streams=streams)


def _read(asked: Asked, source: Source | None, resources: Mapping[str, Resource]) -> None:
    from dlt.common.configuration.container import Container  # noqa: PLC0415 - as above.
    from dlt.common.json import json as dlts  # noqa: PLC0415 - as above.
    from dlt.common.pipeline import StateInjectableContext  # noqa: PLC0415 - as above.

    name = str(asked["stream"])
    if name not in resources:
        raise CannotTell(f"there is no resource {name}; there are: {', '.join(resources) or 'none'}")
    resource = resources[name]
    told = asked.get("state")
    state = dlts.typed_loads(str(told)) if told else {}
    gone = _flagged(resource, "hard_delete")
    _tell(type="SCHEMA", stream=name, key_properties=_flagged(resource, "primary_key"), schema={})
    with Container().injectable_context(StateInjectableContext(state=state)):
        for row in _rows(resource if source is None else source.with_resources(name)):
            marked = {"_sdc_deleted_at": True} if any(row.get(each) not in (None, False) for each in gone) else {}
            _tell(type="RECORD", stream=name, record={**row, **marked})
    # dlt moves its state with the rows, in whatever order they come: it stands for them only at the end.
    _tell(type="STATE", value=dlts.typed_dumps(state))


def main(path: str) -> int:
    """Do what a file asks; returns the exit code."""
    asked = json.loads(Path(path).read_text("utf-8"))
    if asked.get("folder"):
        sys.path.insert(0, str(asked["folder"]))
    try:
        source, resources = _resources(asked)
        if asked["do"] == "discover":
            _discovered(asked, source, resources)
        else:
            _read(asked, source, resources)
        MESSAGES.flush()
    except Exception as error:  # noqa: BLE001 - whatever a source raises is told, and ends the program.
        MESSAGES.flush()
        traceback.print_exc()
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        sys.stderr.write(f"ERROR {type(cause).__name__}: {' '.join(str(cause).split())}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

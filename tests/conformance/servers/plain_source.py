"""A small source of Airbyte's protocol: it tells the rows of a file of JSON, those that changed since its state.

python plain_source.py spec|check|discover|read --config FILE --catalog FILE --state FILE. It needs nothing but Python.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

ROWS_PER_STATE = 4
NAME, SPACE = "customers", "crm"
_TEXT = {"type": ["string", "null"]}
_STREAM: Mapping[str, object] = {
    "name": NAME,
    "namespace": SPACE,
    "json_schema": {"properties": {**dict.fromkeys(("id", "name", "changed"), _TEXT), "address": {"type": "object"}}},
    "supported_sync_modes": ["full_refresh", "incremental"],
    "source_defined_cursor": True,
    "default_cursor_field": ["changed"],
    "source_defined_primary_key": [["id"]],
}
_SPEC = {"connectionSpecification": {"type": "object", "required": ["rows", "key"]}}


def _tell(**message: object) -> None:
    sys.stdout.write(f"{json.dumps(message)}\n")


def _loaded(path: str) -> object:
    return json.loads(Path(path).read_text("utf-8"))


def _status(status: str) -> None:
    of = {"name": NAME, "namespace": SPACE}
    told = {"type": "STREAM_STATUS", "emitted_at": 0, "stream_status": {"stream_descriptor": of, "status": status}}
    _tell(type="TRACE", trace=told)


def _read(rows: Path, given: Mapping[str, str]) -> None:
    catalog = cast("dict[str, list[dict[str, object]]]", _loaded(given["--catalog"]))
    [wanted] = catalog["streams"]
    assert cast("dict[str, object]", wanted["stream"])["name"] == NAME
    states = cast("list[dict[str, dict[str, dict[str, str]]]]", _loaded(given["--state"]) if "--state" in given else [])
    since = states[0]["stream"]["stream_state"]["changed"] if states and wanted["sync_mode"] == "incremental" else ""
    print("a line that is no message")  # noqa: T201 - sources print such lines, and Airbyte takes them for a log.
    _status("STARTED")
    found = sorted(cast("list[dict[str, str]]", _loaded(str(rows))), key=lambda row: row["changed"])
    told = [row for row in found if row["changed"] >= since]
    for number, row in enumerate(told, 1):
        _tell(type="RECORD", record={"stream": NAME, "namespace": SPACE, "data": row, "emitted_at": 0})
        if number % ROWS_PER_STATE == 0 or number == len(told):
            of = {"name": NAME, "namespace": SPACE}
            state = {"stream_descriptor": of, "stream_state": {"changed": row["changed"]}}
            _tell(type="STATE", state={"type": "STREAM", "stream": state})
    _status("COMPLETE")


def main(arguments: list[str]) -> int:
    """Do what is asked; returns the exit code."""
    asked, given = arguments[0], dict(zip(arguments[1::2], arguments[2::2], strict=True))
    if asked == "spec":
        _tell(type="SPEC", spec=_SPEC)
        return 0
    config = cast("dict[str, str]", _loaded(given["--config"]))
    rows = Path(config.get("rows", "/nowhere"))
    _tell(type="LOG", log={"level": "INFO", "message": f"{asked} for {config.get('key')}"})
    if asked == "check":
        refused = {"status": "FAILED", "message": f"There are no rows for the key {config.get('key')}."}
        _tell(type="CONNECTION_STATUS", connectionStatus={"status": "SUCCEEDED"} if rows.is_file() else refused)
    elif asked == "discover":
        _tell(type="CATALOG", catalog={"streams": [_STREAM, {**_STREAM, "name": "notes"}]})
    else:
        _read(rows, given)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A small tap of Singer, for tests: it tells the rows of a file of JSON, those that changed since its bookmark.

python plain_tap.py --config FILE [--discover] [--catalog FILE] [--state FILE]. It needs nothing but Python.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

ROWS_PER_STATE = 4
COLUMNS = ("id", "name", "city", "country", "changed")
_TEXT = {"type": ["string", "null"]}


def _tell(**message: object) -> None:
    sys.stdout.write(f"{json.dumps(message)}\n")


def _catalog() -> dict[str, object]:
    metadata: list[object] = [
        {"breadcrumb": [], "metadata": {"table-key-properties": ["id"], "valid-replication-keys": ["changed"]}},
        *({"breadcrumb": ["properties", each], "metadata": {"inclusion": "available"}} for each in COLUMNS),
    ]
    schema = {"type": "object", "properties": dict.fromkeys(COLUMNS, _TEXT)}
    stream: dict[str, object] = {
        "tap_stream_id": "crm-customers",
        "stream": "customers",
        "schema": schema,
        "metadata": metadata,
    }
    return {"streams": [stream, {**stream, "tap_stream_id": "crm-notes", "stream": "notes"}]}


def _loaded(path: str) -> dict[str, object]:
    return cast("dict[str, object]", json.loads(Path(path).read_text("utf-8")))


def _chosen(catalog: Mapping[str, object]) -> list[str]:
    """Return the selected columns of the customers; none when the stream is not selected."""
    for stream in cast("list[dict[str, object]]", catalog["streams"]):
        said = cast("list[dict[str, object]]", stream["metadata"])
        by_place = {
            tuple(cast("list[str]", each["breadcrumb"])): cast("dict[str, object]", each["metadata"]) for each in said
        }
        if stream["stream"] == "customers" and by_place[()].get("selected"):
            return [each for each in COLUMNS if by_place["properties", each].get("selected")]
    return []


def main(arguments: list[str]) -> int:
    """Run the tap; returns its exit code."""
    given = dict(zip(arguments, [*arguments[1:], ""], strict=True))
    config = _loaded(given["--config"])
    rows = Path(str(config["rows"]))
    if not rows.is_file():
        sys.stderr.write(f"CRITICAL there are no rows for the key {config.get('key')}\n")
        return 2
    if "--discover" in given:
        sys.stdout.write(json.dumps(_catalog(), indent=1))
        return 0
    columns = _chosen(_loaded(given["--catalog"]))
    if not columns:
        return 0
    state = _loaded(given["--state"]) if "--state" in given else {}
    since = str(state.get("customers", ""))
    _tell(
        type="SCHEMA", stream="customers", schema={"properties": dict.fromkeys(columns, _TEXT)}, key_properties=["id"]
    )
    found = sorted(cast("list[dict[str, str]]", json.loads(rows.read_text("utf-8"))), key=lambda each: each["changed"])
    wanted = [each for each in found if each["changed"] >= since]
    for number, row in enumerate(wanted, 1):
        _tell(type="RECORD", stream="customers", record={each: row.get(each) for each in columns})
        if number % ROWS_PER_STATE == 0 or number == len(wanted):
            _tell(type="STATE", value={"customers": row["changed"]})
    if not since:
        _tell(type="ACTIVATE_VERSION", stream="customers", version=1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""In the place of a Python with dlt: it tells the messages that our teller tells of a source, of a file of rows.

python plain_python.py -I TELLER ASKED. The suite runs a source hundreds of times, and dlt takes seconds to begin.
"""

import json
import sys
from pathlib import Path
from typing import cast


def _tell(**message: object) -> None:
    sys.stdout.write(f"{json.dumps(message)}\n")


def main(path: str) -> int:
    """Do what a file asks; returns the exit code."""
    asked = cast("dict[str, object]", json.loads(Path(path).read_text("utf-8")))
    arguments = cast("dict[str, str]", asked["arguments"])
    rows = Path(arguments["rows"])
    if not rows.is_file():
        sys.stderr.write(f"ERROR FileNotFoundError: there are no rows for the key {arguments['key']}\n")
        return 1
    if asked["do"] == "discover":
        streams = [{"stream": name, "columns": ["id", "changed"], "seen": []} for name in ("customers", "notes")]
        _tell(type="CATALOG", streams=streams)
        return 0
    found = cast("list[dict[str, str]]", json.loads(rows.read_text("utf-8")))
    since = str(asked.get("state") or "")
    wanted = sorted((row for row in found if row["changed"] >= since), key=lambda row: row["changed"])
    _tell(type="SCHEMA", stream=asked["stream"], key_properties=["id"], schema={})
    for row in wanted:
        _tell(type="RECORD", stream=asked["stream"], record=row)
    _tell(type="STATE", value=wanted[-1]["changed"] if wanted else since)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[-1]))

"""The counterpart of the bridge to Airbyte: a source of its protocol that reads a file of rows."""

import json
import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.conformance.servers.rows import PAGE_ROWS, STREAMS, RowsCounterpart

PLAIN = Path(__file__).with_name("plain_source.py")


@contextmanager
def begin(home: Path) -> Generator[RowsCounterpart]:
    """Begin with one customer."""
    rows = home / "rows.json"
    settings = {
        "command": shlex.join((sys.executable, "-I", "-S", str(PLAIN))),
        "config": json.dumps({"rows": str(rows), "key": "key-of-the-shop"}),
        "streams": STREAMS.replace("absent", 'namespace = "crm"\nabsent'),
        "page_rows": str(PAGE_ROWS),
    }
    wrong = {"config": json.dumps({"rows": str(home / "none.json"), "key": "of-nobody-here"})}
    counterpart = RowsCounterpart(rows, settings, wrong)
    counterpart.put(None, {"name": "Lantern Works", "city": "Ghent"})
    yield counterpart

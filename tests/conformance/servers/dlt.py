"""The counterparts of the bridge to dlt: a program that tells what our teller does, and dlt itself when asked for."""

import json
import os
import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.conformance.servers.rows import PAGE_ROWS, STREAMS, RowsCounterpart
from tests.counterparts import DLT, require_libraries

PLAIN = Path(__file__).with_name("plain_python.py")
SHOP = """
import json
from pathlib import Path
import dlt

@dlt.source
def shop(rows, key):
    @dlt.resource(primary_key="id")
    def customers(changed=dlt.sources.incremental("changed", initial_value="", primary_key=())):
        yield sorted(json.loads(Path(rows).read_text("utf-8")), key=lambda row: row["changed"])

    return customers
"""


@contextmanager
def _begun(home: Path, python: str) -> Generator[RowsCounterpart]:
    (home / "shop.py").write_text(SHOP, "utf-8")
    rows = home / "rows.json"
    settings = {
        "python": python,
        "source": "shop:shop",
        "arguments": json.dumps({"rows": str(rows), "key": "key-of-the-shop"}),
        "folder": str(home),
        "streams": STREAMS,
        "page_rows": str(PAGE_ROWS),
    }
    wrong = {"arguments": json.dumps({"rows": str(home / "none.json"), "key": "of-nobody-here"})}
    counterpart = RowsCounterpart(rows, settings, wrong)
    counterpart.put(None, {"name": "Lantern Works", "city": "Ghent"})
    yield counterpart


@contextmanager
def begin_plain(home: Path) -> Generator[RowsCounterpart]:
    """Begin with one customer, told by a program of ours."""
    with _begun(home, shlex.join((sys.executable, "-I", "-S", str(PLAIN)))) as counterpart:
        yield counterpart


@contextmanager
def begin_real(home: Path) -> Generator[RowsCounterpart]:
    """Begin with one customer, told by dlt."""
    with _begun(home, str(require_libraries(DLT) / "python")) as counterpart:
        yield counterpart


KINDS = {"plain": begin_plain} | ({"real": begin_real} if "CONFORMANCE" in os.environ else {})

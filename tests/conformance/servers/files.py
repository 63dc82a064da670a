"""The counterparts of files: a program of others that keeps rows in files, and takes in what is handed over to it.

Folders are always tried; the server of SFTP and that of S3 when CONFORMANCE=1, since their sessions differ only in how
files are listed, fetched and put, which the tests of the connector show.
"""

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.kernel.marks import Json
from tests.rooms.connectors.files_side import Desk, Side, bucket, local, server_of_sftp

PAGE_ROWS = 5
FILES = """
[customers]
type = "sales.account"
match = "customers-*.ndjson"
key = "id"
deleted = "gone"
write = "outgoing"
[customers.fields]
name = "name"
city = "city"
annual_revenue = { column = "revenue", currency = "EUR" }
[orders]
type = "sales.deal"
match = "orders-*.csv"
key = "id"
[orders.fields]
name = "title"
account_id = { column = "customer", link = true }
"""


@dataclass
class FilesCounterpart:
    """Implements `isthmus.sync.conformance.Counterpart`."""

    desk: Desk
    settings: Mapping[str, str]
    wrong: Mapping[str, str]
    feed: str = "customers"
    type: str = "sales.account"
    fields: tuple[str, str] = ("name", "city")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(
        default_factory=lambda: {"annual_revenue": {"amount": "1.00", "currency": "USD"}}
    )

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change a customer."""
        if external_id is None:
            [made] = self.desk.add([_row(values["name"], values["city"])])
            return made
        self.desk.change(external_id, dict(values))
        return external_id

    def burst(self, count: int) -> list[str]:
        """Put many customers into one file."""
        return self.desk.add([_row(f"Burst {number}", "Ghent") for number in range(count)])

    def delete(self, external_id: str) -> None:
        """Mark a customer as gone."""
        self.desk.change(external_id, {"gone": True})

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what a customer holds."""
        row = self.desk.row(external_id)
        return None if row is None else {name: None if row[name] is None else str(row[name]) for name in self.fields}


def _row(name: str, city: str) -> dict[str, Json]:
    return {"id": None, "name": name, "city": city, "revenue": None, "gone": None}


def _counterpart(side: Side) -> FilesCounterpart:
    desk = Desk(side)
    desk.add([_row("Lantern Works", "Ghent")])
    side.write("orders-1.csv", b"id;title;customer\n1;Lamps;1\n")
    given = {"files": FILES, "page_rows": str(PAGE_ROWS), "quiet_s": "0"}
    return FilesCounterpart(desk, dict(side.settings) | given, side.wrong)


@contextmanager
def _folder(home: Path) -> Generator[FilesCounterpart]:
    yield _counterpart(local(home))


@contextmanager
def _sftp(home: Path) -> Generator[FilesCounterpart]:
    with server_of_sftp(home) as side:
        yield _counterpart(side)


@contextmanager
def _s3(_: Path) -> Generator[FilesCounterpart]:
    with bucket() as side:
        yield _counterpart(side)


_ALL: Mapping[str, Callable[[Path], AbstractContextManager[FilesCounterpart]]] = {
    "folder": _folder,
    "sftp": _sftp,
    "s3": _s3,
}
KINDS = _ALL if "CONFORMANCE" in os.environ else {"folder": _folder}

"""The demo's counterpart: its own file, emptied, and changed as its own people would."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from isthmus.connectors.demo.vendor import Kept, Vendor
from isthmus.kernel.marks import Json

FEED = "crm.contacts"
COLUMNS = {"last_name": "LastName", "city": "MailingCity"}
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
PAGE_ROWS = 5


@dataclass
class DemoCounterpart:
    """Implements `isthmus.sync.conformance.Counterpart`."""

    vendor: Vendor
    settings: Mapping[str, str]
    wrong: Mapping[str, str] = field(default_factory=lambda: {"system": "payroll"})
    feed: str = FEED
    type: str = "sales.person"
    fields: tuple[str, str] = ("last_name", "city")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(default_factory=lambda: {"email": "no address"})
    made: int = 0

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change a contact."""
        body: dict[str, Json] = {COLUMNS[name]: value for name, value in values.items()}
        self.made += external_id is None
        return self.vendor.put(FEED, external_id or f"CONF{self.made:08}", body).id

    def burst(self, count: int) -> list[str]:
        """Import contacts, all with one stamp."""
        ids = [f"BURST{self.made + number:08}" for number in range(count)]
        self.made += count
        self.vendor.bring(FEED, {each: {"LastName": f"Burst {each}"} for each in ids})
        return ids

    def delete(self, external_id: str) -> None:
        """Delete a contact."""
        self.vendor.delete(FEED, external_id)

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what a contact holds."""
        kept: Kept | None = self.vendor.get(FEED, external_id)
        if kept is None or kept.deleted:
            return None
        said = {name: kept.body.get(column) for name, column in COLUMNS.items()}
        return {name: value if isinstance(value, str) else None for name, value in said.items()}


@contextmanager
def begin(home: Path) -> Generator[DemoCounterpart]:
    """Yield a system whose contacts were all deleted."""
    settings = {
        "system": "crm",
        "path": str(home / "demo.sqlite"),
        "now": NOW.isoformat(),
        "companies": "12",
        "page_rows": str(PAGE_ROWS),
    }
    vendor = Vendor(home / "demo.sqlite")
    try:
        vendor.fill("crm", seed=1, now=NOW, companies=12)
        vendor.clear(FEED)
        yield DemoCounterpart(vendor, settings)
    finally:
        vendor.close()

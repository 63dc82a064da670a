"""Salesforce's counterpart: a fake organisation, changed as its own people would."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.connectors.salesforce.fake.records import Records
from isthmus.connectors.salesforce.fake.server import SECRET, Fake, running
from isthmus.connectors.salesforce.fake.tokens import CLIENT_ID
from isthmus.kernel.marks import Json

PAGE_ROWS = 5
COLUMNS = {"last_name": "LastName", "city": "MailingCity"}


@dataclass
class SalesforceCounterpart:
    """Implements `isthmus.sync.conformance.Counterpart`."""

    records: Records
    settings: Mapping[str, str]
    wrong: Mapping[str, str] = field(default_factory=lambda: {"client_secret": "secret-of-nobody-at-all"})
    feed: str = "contacts"
    type: str = "sales.person"
    fields: tuple[str, str] = ("last_name", "city")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(default_factory=lambda: {"email": "no address"})

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change a contact."""
        told = {COLUMNS[name]: value for name, value in values.items()}
        if external_id is None:
            return self.records.create("Contact", told, by=self.records.human)
        self.records.change("Contact", external_id, told, by=self.records.human)
        return external_id

    def burst(self, count: int) -> list[str]:
        """Import contacts in one transaction, all with one stamp."""
        told = [{"LastName": f"Burst {number}"} for number in range(count)]
        return self.records.burst("Contact", told, by=self.records.human)

    def delete(self, external_id: str) -> None:
        """Delete a contact."""
        self.records.delete("Contact", external_id, by=self.records.human)

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what a contact holds."""
        row = self.records.find("Contact", external_id)
        if row is None or row["IsDeleted"] is True:
            return None
        said = {name: row[column] for name, column in COLUMNS.items()}
        return {name: value if isinstance(value, str) else None for name, value in said.items()}


def given(fake: Fake, **more: str) -> dict[str, str]:
    """Return the settings that connect to a fake."""
    told = {"url": fake.url, "client_id": CLIENT_ID, "client_secret": SECRET}
    return told | {"page_rows": str(PAGE_ROWS), "overlap_s": "5"} | more


@contextmanager
def begin(home: Path) -> Generator[SalesforceCounterpart]:
    """Serve an organisation without records, all of whose feeds can be read; it keeps nothing on the disk."""
    del home
    with running(Fake()) as fake:
        yield SalesforceCounterpart(fake.records, given(fake))

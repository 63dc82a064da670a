"""HubSpot's counterpart: our own fake of its documented protocol, changed as its people would."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.connectors.hubspot.fake import Fake
from isthmus.connectors.hubspot.fake_http import APP, Site, serving
from isthmus.connectors.hubspot.shapes import CONTACTS, WRITTEN
from isthmus.kernel.marks import Json

PAGE_ROWS = 5
KEY_PROPERTY = "isthmus_key"
COLUMNS = {"last_name": "lastname", "city": "city"}


@dataclass
class HubSpotCounterpart:
    """Implements `isthmus.sync.conformance.Counterpart`."""

    site: Site
    settings: Mapping[str, str]
    wrong: Mapping[str, str] = field(default_factory=lambda: {"refresh_token": "of-nobody-at-all"})
    feed: str = CONTACTS
    type: str = "sales.person"
    fields: tuple[str, str] = ("last_name", "city")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(default_factory=lambda: {"email": "no address"})

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change a contact."""
        given = {COLUMNS[name]: value for name, value in values.items()}
        if external_id is None:
            return str(self.site.fake.make(CONTACTS, given).id)
        return str(self.site.fake.change(CONTACTS, int(external_id), given).id)

    def burst(self, count: int) -> list[str]:
        """Import contacts, all with one stamp."""
        self.site.fake.ms += 1
        made = [self.site.fake.make(CONTACTS, {"lastname": f"Burst {at}"}, still=True) for at in range(count)]
        return [str(each.id) for each in made]

    def delete(self, external_id: str) -> None:
        """Delete a contact."""
        self.site.fake.archive(CONTACTS, int(external_id))

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what a contact holds."""
        record = self.site.fake.alive(CONTACTS, int(external_id))
        return None if record is None else {name: record.values.get(column) for name, column in COLUMNS.items()}


def account(fake: Fake) -> Fake:
    """Give an account the property that keeps the keys of what is made."""
    for kind in WRITTEN:
        fake.definitions.add(kind, KEY_PROPERTY, unique=True)
    return fake


@contextmanager
def begin(home: Path) -> Generator[HubSpotCounterpart]:
    """Yield an account without records, connected as an app of others is."""
    del home
    with serving(Site(fake=account(Fake()))) as site:
        settings = {**APP, "url": site.url, "page_rows": str(PAGE_ROWS), "overlap_s": "1"}
        yield HubSpotCounterpart(site, settings)

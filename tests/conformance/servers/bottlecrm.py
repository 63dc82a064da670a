"""BottleCRM's counterpart: a real server, changed by one of its people."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.kernel.marks import Json
from tests.rooms.connectors.bottlecrm_room import BottleCrm, Row, bottlecrm

PAGE_ROWS = 4
_COPIES = """
insert into contacts
select (jsonb_populate_record(one, jsonb_build_object(
    'id', gen_random_uuid(), 'first_name', each, 'created_at', one.created_at + number * interval '1 microsecond'))).*
from contacts one, unnest(%s::text[]) with ordinality as given(each, number) where one.id = %s
returning id::text, first_name
"""


@dataclass
class BottleCrmCounterpart:
    """Implements `isthmus.sync.conformance.Counterpart`."""

    server: BottleCrm
    settings: Mapping[str, str]
    wrong: Mapping[str, str] = field(default_factory=lambda: {"token": f"bcrm_pat_{'0' * 43}"})
    feed: str = "contacts"
    type: str = "sales.person"
    fields: tuple[str, str] = ("first_name", "city")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(default_factory=lambda: {"phone": "one two three"})
    made: int = 0

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change a contact."""
        said: Row = dict(values)
        if external_id is None:
            return self.server.make("contacts", last_name="Checked", **said)
        self.server.change("contacts", external_id, **said)
        return external_id

    def burst(self, count: int) -> list[str]:
        """Make contacts at once; what earlier checks left goes first, since each reading reads all."""
        self.server.do("delete from contacts")
        self.made += count
        names = [f"Burst {self.made} {number}" for number in range(count)]
        first = self.put(None, {"first_name": names[0]})
        copied = {name: of for of, name in self.server.do(_COPIES, names[1:], first)}
        return [first, *(str(copied[name]) for name in names[1:])]

    def delete(self, external_id: str) -> None:
        """Delete a contact."""
        self.server.delete("contacts", external_id)

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what a contact holds."""
        row = self.server.get("contacts", external_id)
        if not row:
            return None
        city = row["city"]
        return {"first_name": str(row["first_name"]), "city": str(city) if city is not None else None}


@contextmanager
def begin(_: Path) -> Generator[BottleCrmCounterpart]:
    """Run a server."""
    with bottlecrm() as server:
        yield BottleCrmCounterpart(server, server.settings | {"page_rows": str(PAGE_ROWS)})

"""Tryton's counterpart: a real server, changed through its own RPC as its people would."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from isthmus.app.counterparts.tryton import tryton
from isthmus.app.counterparts.tryton_rpc import TrytonLogin
from isthmus.kernel.marks import Json

FEED = "party.party"
PAGE_ROWS = 5


@dataclass
class TrytonCounterpart:
    """Implements `isthmus.sync.conformance.Counterpart`."""

    login: TrytonLogin
    settings: Mapping[str, str]
    wrong: Mapping[str, str] = field(default_factory=lambda: {"key": "0" * 128})
    feed: str = FEED
    type: str = "sales.account"
    fields: tuple[str, str] = ("name", "city")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(default_factory=lambda: {"tax_id": "of a strange kind"})
    made: int = 0

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change a party; its city stands in its first address."""
        written: dict[str, Json] = {"name": values["name"]} if "name" in values else {}
        number = int(external_id) if external_id else self.login.create(FEED, written)[0]
        if external_id and written:
            self.login.call(f"model.{FEED}.write", [number], written)
        if "city" in values:
            there = cast("list[int]", self.login.read(FEED, number, "addresses")["addresses"])
            if there:
                self.login.call("model.party.address.write", [there[0]], {"city": values["city"]})
            else:
                self.login.create("party.address", {"party": number, "city": values["city"]})
        return str(number)

    def burst(self, count: int) -> list[str]:
        """Make parties in one transaction, which has one time."""
        self.made += count
        rows: list[dict[str, Json]] = [{"name": f"Burst {self.made} {number}"} for number in range(count)]
        return [str(number) for number in self.login.create(FEED, *rows)]

    def delete(self, external_id: str) -> None:
        """Delete a party."""
        self.login.call(f"model.{FEED}.delete", [int(external_id)])

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what a party holds."""
        if not self.login.find(FEED, ["id", "=", int(external_id)], ["active", "in", [True]]):
            return None
        row = self.login.read(FEED, int(external_id), "name", "addresses")
        there = cast("list[int]", row["addresses"])
        city = self.login.read("party.address", there[0], "city")["city"] if there else None
        return {"name": cast("str | None", row["name"]), "city": cast("str | None", city) or None}


@contextmanager
def begin(home: Path) -> Generator[TrytonCounterpart]:
    """Run a server."""
    with tryton(home) as server:
        settings = {"url": server.url, "database": server.database, "key": server.key}
        settings |= {"user": server.user, "password": server.password, "page_rows": str(PAGE_ROWS), "overlap_s": "0"}
        yield TrytonCounterpart(server.login(), settings)

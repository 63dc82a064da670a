"""A file of rows that people change, for programs that read it: what the suite changes behind bridges."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.kernel.marks import Json

PAGE_ROWS = 5
STREAMS = """
[customers]
type = "sales.account"
key = "id"
updated_at = "changed"
absent = "deleted"
[customers.fields]
name = "name"
city = "address__city"
"""


@dataclass
class RowsCounterpart:
    """Implements `isthmus.sync.conformance.Counterpart`."""

    rows: Path
    settings: Mapping[str, str]
    wrong: Mapping[str, str]
    feed: str = "customers"
    type: str = "sales.account"
    fields: tuple[str, str] = ("name", "city")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(default_factory=dict[str, Json])
    _held: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    _moments: int = 0

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change a customer."""
        number = external_id or str(self._next())
        self._held[number] = {"id": number} | self._held.get(number, {}) | dict(values) | {"changed": self._stamp()}
        self._write()
        return number

    def burst(self, count: int) -> list[str]:
        """Make customers with one stamp."""
        stamp = self._stamp()
        made = [str(self._next() + each) for each in range(count)]
        self._held |= {each: {"id": each, "name": f"Burst {each}", "city": "Ghent", "changed": stamp} for each in made}
        self._write()
        return made

    def delete(self, external_id: str) -> None:
        """Delete a customer, of whom nothing is said from now on."""
        del self._held[external_id]
        self._write()

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what a customer holds."""
        row = self._held.get(external_id)
        return None if row is None else {name: row.get(name) for name in self.fields}

    def _next(self) -> int:
        # Numbers are not given again when the last one was deleted.
        self._moments += 1
        return self._moments * 1_000

    def _stamp(self) -> str:
        self._moments += 1
        return f"2026-11-23T{self._moments // 3600:02}:{self._moments // 60 % 60:02}:{self._moments % 60:02}Z"

    def _write(self) -> None:
        # A program that reads meanwhile reads the one or the other. The city stands in a map, as it does with vendors.
        rows: list[Json] = [
            {**{name: value for name, value in row.items() if name != "city"}, "address": {"city": row.get("city")}}
            for row in self._held.values()
        ]
        fresh = self.rows.with_suffix(".new")
        fresh.write_text(json.dumps(rows), "utf-8")
        fresh.replace(self.rows)

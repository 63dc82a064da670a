"""One table as it stands in the database: its columns, the rows of a page, and single rows by key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import cast
from zoneinfo import ZoneInfo

import msgspec

from isthmus.connectors.sql.cursor import Place
from isthmus.connectors.sql.dialects import Column
from isthmus.connectors.sql.doors import Door, Row
from isthmus.connectors.sql.faults import Denied, Missing
from isthmus.connectors.sql.tables import Table
from isthmus.connectors.sql.values import Kind, Plain, held, said, stamp_text
from isthmus.kernel.layouts import stamp_moment, truth
from isthmus.kernel.marks import Json
from isthmus.sync.connector import FeedTrouble, Raw

VERSION_BYTES = 12
_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table that was mapped, with the columns that the catalog knows of it."""

    door: Door
    name: str
    table: Table
    columns: Mapping[str, Column]
    read: tuple[str, ...]

    @classmethod
    async def of(cls, door: Door, name: str, table: Table) -> "Sheet":
        """Look a table up in the catalog; raises Missing, Denied and FeedTrouble when it cannot be read as mapped."""
        query, given = door.dialect.catalog(name)
        columns = {each.name: each for each in map(door.dialect.column, await door.rows(query, given))}
        if not columns:
            raise Missing(f"There is no table {name} that this user may see.", fix="Correct `tables`, or grant it.")
        gone = [each for each in table.columns if each not in columns]
        if gone:
            there = ", ".join(columns)
            # MariaDB shows only columns on which there is a right.
            grant = f", or grant select ({', '.join(gone)}) on {name}" if door.dialect.name == "mariadb" else ""
            raise Missing(f"{name} has no column {', '.join(gone)}; it has {there}.", fix=f"Correct `tables`{grant}.")
        shut = [each for each in table.columns if not columns[each].readable]
        if shut:
            raise Denied(
                f"{', '.join(shut)} of {name} may not be read.",
                fix=f"grant select ({', '.join(shut)}) on {name} to the user that connects.",
            )
        raw = [each for each in table.columns if columns[each].kind is Kind.BYTES]
        if raw:
            raise FeedTrouble(f"{', '.join(raw)} of {name} holds bytes.", fix="Map columns that hold text or numbers.")
        more: list[str] = []
        if table.ignored is not None:
            known = {*table.columns, *table.ignored}
            more = [
                each.name
                for each in columns.values()
                if each.name not in known and each.readable and each.kind is not Kind.BYTES
            ]
        return cls(door=door, name=name, table=table, columns=columns, read=(*table.columns, *more))

    @property
    def zone(self) -> ZoneInfo:
        """The zone of times that name none."""
        return ZoneInfo(self.table.zone)

    @property
    def mapped(self) -> str:
        """A digest of how the table is mapped."""
        return blake2b(msgspec.json.encode(self.table), digest_size=VERSION_BYTES // 2).hexdigest()

    def marked(self, cursor: str) -> str:
        """Return a cursor that says how the table is mapped."""
        return msgspec.structs.replace(Place.parse(cursor), mapped=self.mapped).text()

    @property
    def _from(self) -> str:
        dialect = self.door.dialect
        return f"select {dialect.list_of(self.read)} from {dialect.table(self.name)}"  # noqa: S608 - every name is quoted.

    async def page(self, place: Place, *, rows: int) -> list[Row]:
        """Return the next rows after a place, oldest first."""
        dialect, mark = self.door.dialect, self.door.dialect.mark
        key = dialect.named(self.table.key)
        clauses: list[str] = []
        given: list[Plain] = []
        order = key
        if self.table.updated_at is not None and place.phase in ("blank", "stamped"):
            at = dialect.named(self.table.updated_at)
            if place.phase == "blank":
                clauses.append(f"{at} is null")
            else:
                order = f"{at}, {key}"
                clauses.append(f"{at} is not null" if place.at is None else f"{at} >= {mark}")
                given += [place.at] if place.at is not None else []
        if place.key is not None and place.at is not None:
            at = dialect.named(cast("str", self.table.updated_at))
            clauses.append(f"({at} > {mark} or {key} > {mark})")
            given += [place.at, place.key]
        elif place.key is not None:
            clauses.append(f"{key} > {mark}")
            given.append(place.key)
        where = f" where {' and '.join(clauses)}" if clauses else ""
        return await self.door.rows(f"{self._from}{where} order by {order} limit {int(rows)}", given)

    def after(self, row: Row, place: Place) -> Place:
        """Return the place after a row."""
        key = str(self._value(row, self.table.key))
        if place.phase == "stamped":
            at = stamp_text(self._value(row, cast("str", self.table.updated_at)))
            return Place(phase="stamped", at=at, key=key, going=True)
        return Place(phase=place.phase, key=key, going=True, begun=place.begun)

    async def keys(self, *, after: str | None, rows: int) -> list[tuple[str, bool]]:
        """Return the keys after a key, each with whether its row is marked as deleted."""
        dialect, mark = self.door.dialect, self.door.dialect.mark
        key = dialect.named(self.table.key)
        named = [self.table.key, *([self.table.deleted] if self.table.deleted else [])]
        where = f" where {key} > {mark}" if after is not None else ""
        query = (
            f"select {dialect.list_of(named)} from {dialect.table(self.name)}{where} order by {key} limit {int(rows)}"  # noqa: S608 - every name is quoted.
        )
        found = await self.door.rows(query, [after] if after is not None else [])
        return [(str(row[0]), len(row) > 1 and self._gone(row[1])) for row in found]

    async def row(self, key: str, *, lock: bool = False) -> Raw | None:
        """Return the row of a key as it stands now; with `lock` nobody changes it before our transaction ends."""
        return next(iter(await self.rows([key], lock=lock)), None)

    async def rows(self, keys: Sequence[str], *, lock: bool = False) -> list[Raw]:
        """Return the rows of some keys that are there."""
        dialect = self.door.dialect
        marks = ", ".join(dialect.mark for _ in keys)
        ending = " for update" if lock and dialect.locks else ""
        where = f" where {dialect.named(self.table.key)} in ({marks})"
        found = await self.door.rows(f"{self._from}{where}{ending}", list(keys)) if keys else []
        return [self.raw(row) for row in found]

    def raw(self, row: Row) -> Raw:
        """Return a row as the engine takes it."""
        body: dict[str, Json] = {
            name: value if value is None or type(value) is str else said(value, zone=zone)
            for (name, zone), value in zip(self._zones, row, strict=True)
        }
        stamp = self.table.updated_at
        at = self._value(row, stamp) if stamp else None
        gone = self.table.deleted is not None and self._gone(self._value(row, self.table.deleted))
        return Raw(
            external_id=str(self._value(row, self.table.key)),
            body={} if gone else body,
            at=stamp_moment(at, zone=self._zone_of(stamp)) if stamp and at is not None else None,
            version=blake2b(msgspec.json.encode(body), digest_size=VERSION_BYTES).hexdigest(),
            deleted=gone,
        )

    def bound(self, column: str, value: Json) -> Plain:
        """Return what to bind for a value of a column; raises ValueError for what it cannot hold."""
        return held(value, self.columns[column].kind, zone=self.zone, textual=self.door.dialect.textual)

    @cached_property
    def _zones(self) -> tuple[tuple[str, ZoneInfo], ...]:
        return tuple((name, self._zone_of(name)) for name in self.read)

    def _zone_of(self, column: str) -> ZoneInfo:
        """Return the zone of a column's times that name none; what is a moment is told in UTC."""
        return _UTC if self.columns[column].kind is Kind.MOMENT else self.zone

    def _value(self, row: Row, column: str) -> object:
        return row[self.read.index(column)]

    def _gone(self, value: object) -> bool:
        return truth(said(value, zone=self.zone))

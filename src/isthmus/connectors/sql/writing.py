"""Writing to a table: each change in a transaction of its own, on the condition that the row is as it was read."""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID, uuid5

from isthmus.connectors.sql.faults import Busy, RowRefused
from isthmus.connectors.sql.sheet import Sheet
from isthmus.connectors.sql.tables import Table
from isthmus.connectors.sql.values import Kind, Plain
from isthmus.kernel.layouts import columns, unfit
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Change, ConnectorError, Outcome, Raw, Written

OURS = UUID("6f1c9d3e-2b57-5c0a-9a43-71d0e2f8b6c4")
"""The space of names in which the keys of new rows are made, each from the key of its change."""


class Writer:
    """Writes to one table."""

    def __init__(self, *, sheet: Callable[[], Awaitable[Sheet]], feed: str, table: Table) -> None:
        """`sheet` looks the table up, when there is something to write."""
        self._sheet, self._feed, self._table = sheet, feed, table

    async def write(self, changes: Sequence[Change]) -> list[Written]:
        """Return one answer for each change; when the table cannot be written, the rest is answered as failed."""
        if not self._table.write:
            return [_refused(each, f"{self._feed} is only read.") for each in changes]
        answers: list[Written] = []
        lost = ""
        for change in changes:
            if lost:
                answers.append(Written(outcome=Outcome.FAILED, external_id=change.external_id, reason=lost))
                continue
            try:
                sheet = await self._sheet()
                async with sheet.door.transaction():
                    answer = await self._one(sheet, change)
            except (RowRefused, ValueError) as error:
                answer = _refused(change, str(error))
            except ConnectorError as error:
                # A right can be granted and a table mended, so that this is tried again.
                lost = "" if isinstance(error, Busy) else str(error)
                answer = Written(outcome=Outcome.FAILED, external_id=change.external_id, reason=str(error))
            answers.append(answer)
        return answers

    async def _one(self, sheet: Sheet, change: Change) -> Written:
        reason = unfit(self._table, change.fields)
        if reason:
            return _refused(change, reason)
        if change.external_id is None:
            return await self._make(sheet, change)
        before = await sheet.row(change.external_id, lock=True)
        if before is None or (before.deleted and not change.deleted):
            outcome = Outcome.WRITTEN if change.deleted else Outcome.MOVED
            gone = Raw(external_id=change.external_id, body={}, deleted=True)
            reason = f"It is no longer in {self._feed}."
            return Written(outcome=outcome, external_id=change.external_id, raw=gone, reason=reason)
        if change.version is not None and change.version != before.version:
            reason = f"It has changed in {self._feed}."
            return Written(outcome=Outcome.MOVED, external_id=change.external_id, raw=before, reason=reason)
        if change.deleted:
            return await self._delete(sheet, change.external_id)
        values = self._values(sheet, change)
        if values:
            await self._update(sheet, change.external_id, values)
        return await _written(sheet, change.external_id)

    def _values(self, sheet: Sheet, change: Change) -> dict[str, Plain]:
        said = columns(self._table, change.fields, change.links)
        return {name: sheet.bound(name, value) for name, value in said.items()}

    async def _update(self, sheet: Sheet, key: str, values: dict[str, Plain]) -> None:
        dialect, table = sheet.door.dialect, self._table
        parts = [f"{dialect.named(name)} = {dialect.mark}" for name in values]
        parts += self._stamp(sheet)
        where = f"{dialect.named(table.key)} = {dialect.mark}"
        query = f"update {dialect.table(sheet.name)} set {', '.join(parts)} where {where}"  # noqa: S608 - every name is quoted.
        await sheet.door.count(query, [*values.values(), key])

    async def _make(self, sheet: Sheet, change: Change) -> Written:
        """Make a row, unless an earlier attempt at this change made it."""
        table, dialect = self._table, sheet.door.dialect
        known = table.key if table.new_key else table.mark
        assert known is not None
        mark = str(uuid5(OURS, change.key)) if table.new_key else change.key
        where = f"{dialect.named(known)} = {dialect.mark}"
        query = f"select {dialect.named(table.key)} from {dialect.table(sheet.name)} where {where}"  # noqa: S608 - every name is quoted.
        found = await sheet.door.rows(query, [mark])
        if found:
            return await _written(sheet, str(found[0][0]))
        values = self._values(sheet, change) | {known: mark}
        names, marks = dialect.list_of(list(values)), ", ".join(dialect.mark for _ in values)
        if table.stamp and table.updated_at:
            names, marks = f"{names}, {dialect.named(table.updated_at)}", f"{marks}, {self._now(sheet)}"
        into = f"insert into {dialect.table(sheet.name)} ({names}) values ({marks})"  # noqa: S608 - every name is quoted.
        await sheet.door.count(into, [*values.values()])
        [(key, *_)] = await sheet.door.rows(query, [mark])
        return await _written(sheet, str(key))

    async def _delete(self, sheet: Sheet, key: str) -> Written:
        table, dialect = self._table, sheet.door.dialect
        where = f" where {dialect.named(table.key)} = {dialect.mark}"
        if table.deleted is None:
            await sheet.door.count(f"delete from {dialect.table(sheet.name)}{where}", [key])  # noqa: S608 - every name is quoted.
        else:
            column = sheet.columns[table.deleted]
            moment = column.kind in (Kind.MOMENT, Kind.LOCAL, Kind.DAY)
            value = dialect.now if moment else dialect.mark
            parts = [f"{dialect.named(table.deleted)} = {value}", *self._stamp(sheet)]
            query = f"update {dialect.table(sheet.name)} set {', '.join(parts)}{where}"  # noqa: S608 - every name is quoted.
            true: Json = True
            await sheet.door.count(query, [*([] if moment else [sheet.bound(table.deleted, true)]), key])
        return Written(outcome=Outcome.WRITTEN, external_id=key, raw=Raw(external_id=key, body={}, deleted=True))

    def _stamp(self, sheet: Sheet) -> list[str]:
        if not self._table.stamp or self._table.updated_at is None:
            return []
        return [f"{sheet.door.dialect.named(self._table.updated_at)} = {self._now(sheet)}"]

    def _now(self, sheet: Sheet) -> str:
        """Return the database's own time, as the column keeps it."""
        dialect = sheet.door.dialect
        if sheet.zone.key != "UTC" and sheet.columns[self._table.updated_at or ""].kind is Kind.LOCAL:
            raise RowRefused("`stamp` writes times in UTC.", fix="Have a trigger set `updated_at`, or keep it in UTC.")
        return dialect.now


async def _written(sheet: Sheet, key: str) -> Written:
    """Return the answer with the row as it stands now, with what triggers made of it."""
    return Written(outcome=Outcome.WRITTEN, external_id=key, raw=await sheet.row(key))


def _refused(change: Change, reason: str) -> Written:
    return Written(outcome=Outcome.REFUSED, external_id=change.external_id, reason=reason)

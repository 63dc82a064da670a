"""The REST interface of the fake.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import cast

from isthmus.connectors.salesforce.fake.answers import answered, shown
from isthmus.connectors.salesforce.fake.faults import Refused, missing
from isthmus.connectors.salesforce.fake.fields import Schema
from isthmus.connectors.salesforce.fake.records import Records
from isthmus.connectors.salesforce.fake.soql import parse
from isthmus.connectors.salesforce.wire import Row, moment
from isthmus.kernel.marks import Json

ROOT = "/services/data/v62.0"
COLLECTION_MAX, BATCH_ROWS = 200, 2000


class Rest:
    """What is done for requests; `by` is who asks. `batch_rows` is how many rows one answer to a query holds.

    From `slow_from` rows on queries take too long. `meanwhile` happens once, just before a record is changed.
    """

    def __init__(self, records: Records) -> None:
        """Begin without open lists."""
        self.records = records
        self.batch_rows = BATCH_ROWS
        self.slow_from = 0
        self.meanwhile: Callable[[], object] | None = None
        self._lists: dict[str, list[Row]] = {}

    def query(self, text: str, *, deleted: bool) -> Row:
        """Answer a query; raises Refused."""
        query = parse(text)
        # An organisation with too many rows does not get so many of them ordered in time.
        if self.slow_from and (query.limit or BATCH_ROWS) >= self.slow_from and query.order:
            raise Refused(400, "QUERY_TIMEOUT", "Your query request was running for too long.")
        found = answered(self.records, query, deleted=deleted)
        if not query.fields:
            return {"totalSize": len(found), "done": True, "records": []}
        number = f"01ggL{len(self._lists):013}"
        self._lists[number] = found
        return self._part(number, 0, "queryAll" if deleted else "query")

    def more(self, locator: str, kind: str) -> Row:
        """Return the next part of a list; raises Refused."""
        number, _, at = locator.rpartition("-")
        if number not in self._lists or not at.isdecimal():
            raise Refused(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._part(number, int(at), kind)

    def forget_lists(self) -> None:
        """Let all places in lists end, as they do after two days."""
        self._lists.clear()

    def _part(self, number: str, at: int, kind: str) -> Row:
        found = self._lists[number]
        end = at + self.batch_rows
        some: Json = list(found[at:end])
        told: Row = {"totalSize": len(found), "done": end >= len(found), "records": some}
        return told if end >= len(found) else told | {"nextRecordsUrl": f"{ROOT}/{kind}/{number}-{end}"}

    def described(self) -> Row:
        """Name all tables."""
        each: Json = [
            {
                "name": schema.name,
                "label": schema.name,
                "keyPrefix": schema.prefix,
                "queryable": True,
                "createable": schema.writable,
                "updateable": schema.writable,
                "custom": False,
                "urls": {"sobject": f"{ROOT}/sobjects/{schema.name}"},
            }
            for schema in self.records.organisation.tables.values()
        ]
        return {"encoding": "UTF-8", "maxBatchSize": COLLECTION_MAX, "sobjects": each}

    def describe(self, table: str) -> Row:
        """Describe a table; raises Refused."""
        schema = self._table(table)
        told: Json = [each.told() for each in schema.fields.values()]
        return {"name": schema.name, "keyPrefix": schema.prefix, "queryable": True, "fields": told}

    def get(self, table: str, of: str) -> Row:
        """Return a record whole; raises Refused."""
        schema = self._table(table)
        row = self.records.living(schema.name, of)
        return shown(self.records, schema, row, tuple(schema.fields))

    def create(self, table: str, given: Mapping[str, Json], *, by: str) -> Row:
        """Make a record; raises Refused."""
        of = self.records.create(self._table(table, writing=True).name, given, by=by)
        return {"id": of, "success": True, "errors": []}

    def change(self, table: str, of: str, given: Mapping[str, Json], *, by: str, unmodified_since: str | None) -> None:
        """Change a record, under a condition if there is one; raises Refused."""
        at: datetime | None = None
        if unmodified_since is not None:
            try:
                at = parsedate_to_datetime(unmodified_since)
            except ValueError as error:
                message = f"Invalid date specified: {unmodified_since}"
                raise Refused(400, "INVALID_HEADER", message) from error
        schema = self._table(table, writing=True)
        if self.meanwhile is not None:
            happening, self.meanwhile = self.meanwhile, None
            happening()
        self.records.change(schema.name, of, given, by=by, unmodified_since=at)

    def delete(self, table: str, of: str, *, by: str) -> None:
        """Delete a record; raises Refused."""
        self.records.delete(self._table(table, writing=True).name, of, by=by)

    def upsert(self, table: str, key: str, value: str, given: Mapping[str, Json], *, by: str) -> Row:
        """Make or change the record that has a value in an external id field; raises Refused."""
        schema = self._table(table, writing=True)
        column = schema.fields.get(key)
        if column is None or not column.external:
            message = "Provided external ID field does not exist or is not accessible: " + key
            raise Refused(404, "NOT_FOUND", message)
        known = self.records.by_key(schema.name, key, value)
        if known is None:
            made = self.records.create(schema.name, {**given, key: value}, by=by)
            return {"id": made, "success": True, "errors": [], "created": True}
        self.records.change(schema.name, known, given, by=by)
        return {"id": known, "success": True, "errors": [], "created": False}

    def gone(self, table: str, start: str, end: str) -> Row:
        """Return what was deleted within a time; raises Refused."""
        schema, first, last = self._span(table, start, end)
        rows: Json = [
            {"id": row["Id"], "deletedDate": row["SystemModstamp"]}
            for row in self.records.rows(schema.name)
            if row["IsDeleted"] is True and _within(row, first, last)
        ]
        span: Row = {"earliestDateAvailable": start, "latestDateCovered": end}
        return {"deletedRecords": rows, **span}

    def moved(self, table: str, start: str, end: str) -> Row:
        """Return what was changed within a time; raises Refused."""
        schema, first, last = self._span(table, start, end)
        ids: Json = [
            row["Id"]
            for row in self.records.rows(schema.name)
            if row["IsDeleted"] is False and _within(row, first, last)
        ]
        return {"ids": ids, "latestDateCovered": end}

    def collection(self, method: str, given: Json, *, by: str, table: str = "", key: str = "") -> list[Row]:
        """Make, change or upsert up to 200 records, each by itself; raises Refused for the whole."""
        if not isinstance(given, dict) or not isinstance(given.get("records"), list):
            raise Refused(400, "JSON_PARSER_ERROR", "The records are missing.")
        records = cast("list[Row]", given["records"])
        _enough(records)
        if given.get("allOrNone") is True:
            raise Refused(400, "INVALID_INPUT", "The fake does all or none of a collection nowhere.")
        return [self._each(method, each, by=by, table=table, key=key) for each in records]

    def delete_all(self, ids: Sequence[str], *, by: str) -> list[Row]:
        """Delete up to 200 records, each by itself; raises Refused for the whole."""
        _enough(ids)
        answers: list[Row] = []
        for of in ids:
            try:
                self.delete(self._table_of(of).name, of, by=by)
                answers.append({"id": of, "success": True, "errors": []})
            except Refused as refused:
                answers.append({"success": False, "errors": [refused.within()]})
        return answers

    def _each(self, method: str, record: Row, *, by: str, table: str, key: str) -> Row:
        try:
            return self._one(method, record, by=by, table=table, key=key)
        except Refused as refused:
            return {"success": False, "errors": [refused.within()]}

    def _one(self, method: str, record: Row, *, by: str, table: str, key: str) -> Row:
        attributes = record.get("attributes")
        kind = attributes.get("type") if isinstance(attributes, dict) else None
        values = {name: value for name, value in record.items() if name not in ("attributes", "id", "Id")}
        of = record.get("id") or record.get("Id")
        if not isinstance(kind, str) or (table and kind.lower() != table.lower()):
            raise Refused(400, "INVALID_INPUT", "The type of a record is missing, or not that of the address.")
        if key:
            value = values.pop(key, None)
            if not value:
                raise Refused(400, "MISSING_ARGUMENT", f"{key} not specified")
            return self.upsert(kind, key, str(value), values, by=by)
        if method == "POST":
            return self.create(kind, values, by=by)
        if not isinstance(of, str):
            raise Refused(400, "MISSING_ARGUMENT", "Id not specified in an update call")
        self.change(kind, of, values, by=by, unmodified_since=None)
        return {"id": of, "success": True, "errors": []}

    def _table(self, name: str, *, writing: bool = False) -> Schema:
        try:
            schema = self.records.schema(name)
        except Refused:
            raise missing() from None
        if writing and not schema.writable:
            message = "The requested resource does not allow it: entity type cannot be changed"
            raise Refused(405, "METHOD_NOT_ALLOWED", message)
        return schema

    def _table_of(self, of: str) -> Schema:
        for schema in self.records.organisation.tables.values():
            if of.startswith(schema.prefix):
                return schema
        raise Refused(400, "MALFORMED_ID", f"malformed id {of}")

    def _span(self, table: str, start: str, end: str) -> tuple[Schema, datetime, datetime]:
        first, last = moment(start), moment(end)
        if first is None or last is None or first >= last:
            raise Refused(400, "INVALID_REPLICATION_DATE", "startDate must be before endDate")
        return self._table(table), first, last


def _within(row: Row, first: datetime, last: datetime) -> bool:
    at = moment(row["SystemModstamp"])
    return at is not None and first <= at <= last


def _enough(records: Sequence[object]) -> None:
    if len(records) > COLLECTION_MAX:
        message = f"record limit reached. cannot submit more than {COLLECTION_MAX} records in this request"
        raise Refused(400, "LIMIT_EXCEEDED", message)

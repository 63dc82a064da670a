"""The rows of the fake organisation: made, changed, deleted, merged and converted, with stamps of whole seconds."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from threading import RLock

from isthmus.connectors.salesforce.fake.faults import Refused
from isthmus.connectors.salesforce.fake.fields import STAGES, Organisation, Schema
from isthmus.connectors.salesforce.fake.values import STAMP_FORM, checked
from isthmus.connectors.salesforce.wire import Row, http_date, whole_id
from isthmus.kernel.marks import Json

BEGIN = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_WATCHED_IN_HISTORY = ("Amount", "Probability", "StageName", "CloseDate")
_SHORT = 15


class Records:
    """All rows, under one lock; `now` goes on by `tick` with every change, so that several share a second."""

    def __init__(self, organisation: Organisation) -> None:
        """Begin with two users, the one that programs sign in as and one of the people, and the stages."""
        self.lock = RLock()
        self.organisation = organisation
        self.now, self.tick = BEGIN, timedelta(milliseconds=300)
        self.locked: set[str] = set()
        self._tables: dict[str, dict[str, Row]] = {name: {} for name in organisation.tables}
        self._count = 0
        self.robot = self.robot_of("isthmus")
        self.human = self.robot_of("ines")
        for order, (name, (likely, closed, won)) in enumerate(STAGES.items()):
            told: Row = {"IsActive": True, "IsClosed": closed, "IsWon": won, "DefaultProbability": likely}
            self._put("OpportunityStage", {**told, "ApiName": name, "MasterLabel": name, "SortOrder": order})

    def robot_of(self, name: str) -> str:
        """Make a user; returns the id."""
        told: Row = {"Name": name.title(), "Username": f"{name}@quince.example", "Email": f"{name}@quince.example"}
        return self._put("User", {**told, "IsActive": True})

    def schema(self, table: str) -> Schema:
        """Return a table by name, in any case; raises Refused."""
        found = next((each for name, each in self.organisation.tables.items() if name.lower() == table.lower()), None)
        if found is None:
            raise Refused(400, "INVALID_TYPE", f"sObject type '{table}' is not supported.")
        return found

    def rows(self, table: str) -> Iterator[Row]:
        """Yield all rows of a table, deleted ones among them, with what is computed."""
        for row in list(self._tables[table].values()):
            yield _computed(table, row)

    def find(self, table: str, of: str) -> Row | None:
        """Return a row by an id of 15 or 18 characters, deleted or not."""
        row = self._tables[table].get(of[:_SHORT])
        return None if row is None or (len(of) > _SHORT and of != row["Id"]) else _computed(table, row)

    def living(self, table: str, of: str) -> Row:
        """Return a row that is there; raises Refused."""
        row = self.find(table, of)
        if row is None:
            raise Refused(404, "NOT_FOUND", "Provided external ID field does not exist or is not accessible")
        if row["IsDeleted"] is True:
            raise Refused(404, "ENTITY_IS_DELETED", "entity is deleted")
        return row

    def create(self, table: str, given: Mapping[str, Json], *, by: str) -> str:
        """Make a record; returns its id. Raises Refused."""
        with self.lock:
            schema = self.schema(table)
            kept = checked(schema, given, new=True)
            self._fits(schema, kept, of=None)
            self._moves_on()
            if "OwnerId" in schema.fields:
                kept = {"OwnerId": by, **kept}
            of = self._put(schema.name, kept, by=by)
            self._followed(schema.name, of, before={})
            return of

    def change(
        self, table: str, of: str, given: Mapping[str, Json], *, by: str, unmodified_since: datetime | None = None
    ) -> None:
        """Change a record, unless it was changed after a time; raises Refused."""
        with self.lock:
            schema = self.schema(table)
            before = self.living(schema.name, of)
            if unmodified_since is not None and _later(before, unmodified_since):
                raise Refused(412, "PRECONDITION_FAILED", "The record was modified since.")
            if of[:_SHORT] in self.locked:
                raise Refused(400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
            kept = checked(schema, given, new=False)
            self._fits(schema, kept, of=str(before["Id"]))
            self._moves_on()
            row = self._tables[schema.name][of[:_SHORT]]
            row |= kept | self._stamps(by)
            self._followed(schema.name, of, before=before)

    def delete(self, table: str, of: str, *, by: str) -> None:
        """Put a record into the recycle bin, with what belongs to it; raises Refused."""
        with self.lock:
            schema = self.schema(table)
            self.living(schema.name, of)
            self._moves_on()
            self._gone(schema, of, by)

    def purge(self, table: str, of: str) -> None:
        """Take a record out of the recycle bin too: no query finds it again."""
        with self.lock:
            self._tables[table].pop(of[:_SHORT])

    def merge(self, table: str, winner: str, loser: str, *, by: str) -> None:
        """Make one record part of another, as people do there."""
        with self.lock:
            self.living(table, winner)
            self._moves_on()
            self._gone(self.schema(table), loser, by)
            self._tables[table][loser[:_SHORT]]["MasterRecordId"] = whole_id(winner)
            self._tables[table][winner[:_SHORT]] |= self._stamps(by)

    def convert(self, lead: str, *, account: str, contact: str, opportunity: str | None, by: str) -> None:
        """Convert a lead, as people do there."""
        with self.lock:
            self._moves_on()
            into: Row = {"ConvertedAccountId": account, "ConvertedContactId": contact}
            told: Row = {"IsConverted": True, "ConvertedDate": self.now.date().isoformat(), "Status": "Qualified"}
            row = self._tables["Lead"][lead[:_SHORT]]
            row |= into | told | {"ConvertedOpportunityId": opportunity} | self._stamps(by)

    def respond(self, member: str, *, by: str) -> None:
        """Let a member of a campaign respond."""
        with self.lock:
            self._moves_on()
            told: Row = {"HasResponded": True, "FirstRespondedDate": self.now.date().isoformat(), "Status": "Responded"}
            row = self._tables["CampaignMember"][member[:_SHORT]]
            row |= told | self._stamps(by)

    def burst(self, table: str, given: Sequence[Mapping[str, Json]], *, by: str) -> list[str]:
        """Make records in one transaction, all with one stamp."""
        with self.lock:
            tick, self.tick = self.tick, timedelta(0)
            self.now += timedelta(seconds=1)
            made = [self.create(table, each, by=by) for each in given]
            self.tick = tick
            self.now += timedelta(seconds=1)
            return made

    def _moves_on(self) -> None:
        self.now += self.tick

    def _stamps(self, by: str) -> Row:
        now = self.now.strftime(STAMP_FORM)
        return {"LastModifiedDate": now, "SystemModstamp": now, "LastModifiedById": by}

    def _put(self, table: str, kept: Row, *, by: str = "") -> str:
        self._count += 1
        number, said = self._count, ""
        for _ in range(9):
            number, digit = divmod(number, len(_DIGITS))
            said = _DIGITS[digit] + said
        of = whole_id(f"{self.organisation.tables[table].prefix}gL0{said}")
        empty: Row = dict.fromkeys(self.organisation.tables[table].fields)
        made: Row = {"Id": of, "IsDeleted": False, "CreatedDate": self.now.strftime(STAMP_FORM), "CreatedById": by}
        self._tables[table][of[:_SHORT]] = empty | kept | made | self._stamps(by)
        return of

    def _gone(self, schema: Schema, of: str, by: str) -> None:
        self._tables[schema.name][of[:_SHORT]] |= {"IsDeleted": True} | self._stamps(by)
        for table, field in schema.takes_with:
            for row in self.rows(table):
                if row.get(field) == whole_id(of) and row["IsDeleted"] is False:
                    self._gone(self.schema(table), str(row["Id"]), by)

    def _fits(self, schema: Schema, kept: Row, *, of: str | None) -> None:
        """Raise Refused where a reference leads nowhere, or a key is another record's."""
        for name, value in kept.items():
            field = schema.fields[name]
            if field.to and isinstance(value, str):
                found = next((row for table in field.to if (row := self.find(table, value)) is not None), None)
                if found is None or found["IsDeleted"] is True:
                    raise Refused(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", name)
                kept[name] = str(found["Id"])
            if field.external and value is not None:
                other = self.by_key(schema.name, name, str(value))
                if other is not None and other != of:
                    message = f"duplicate value found: {name} duplicates value on record with id: {other}"
                    raise Refused(400, "DUPLICATE_VALUE", message, name)

    def by_key(self, table: str, name: str, value: str) -> str | None:
        """Return the id of the living record that has a value in an external id field, in any case."""
        for row in self.rows(table):
            if str(row.get(name) or "").lower() == value.lower() and row["IsDeleted"] is False:
                return str(row["Id"])
        return None

    def _followed(self, table: str, of: str, *, before: Row) -> None:
        """Do what Salesforce does by itself after a change."""
        row = self._tables[table][of[:_SHORT]]
        now = self.now.strftime(STAMP_FORM)
        if table == "Opportunity":
            self._staged(row, before, now)
        elif table == "Task" and row["Status"] == "Completed" and not row["CompletedDateTime"]:
            row["CompletedDateTime"] = now
        elif table == "Case":
            row["CaseNumber"] = row["CaseNumber"] or f"{self._count:08}"
            row["ClosedDate"] = (row["ClosedDate"] or now) if row["Status"] == "Closed" else None

    def _staged(self, row: Row, before: Row, now: str) -> None:
        if row["StageName"] != before.get("StageName"):
            row["LastStageChangeDate"] = now
            likely = STAGES.get(str(row["StageName"]), (0.0, False, False))[0]
            row["Probability"] = likely if row["Probability"] == before.get("Probability") else row["Probability"]
        if any(row[name] != before.get(name) for name in _WATCHED_IN_HISTORY):
            kept: Row = {name: row[name] for name in _WATCHED_IN_HISTORY}
            kept |= {"OpportunityId": row["Id"]}
            if self.organisation.currencies:
                kept["CurrencyIsoCode"] = row["CurrencyIsoCode"]
            self._put("OpportunityHistory", kept, by=str(row["LastModifiedById"]))


def _later(row: Row, at: datetime) -> bool:
    told = http_date(row["LastModifiedDate"])
    return told is not None and datetime.strptime(str(row["LastModifiedDate"]), "%Y-%m-%dT%H:%M:%S.%f%z") > at


def _computed(table: str, row: Row) -> Row:
    """Return a row with its formulas, which move no stamp."""
    if table == "Opportunity":
        _, closed, won = STAGES.get(str(row["StageName"]), (0.0, False, False))
        return row | {"IsClosed": closed, "IsWon": won}
    if table == "Account":
        staff = row["NumberOfEmployees"]
        return row | {"Seats__c": staff * 2.0 if isinstance(staff, int) else None}
    if table in ("Task", "Case"):
        return row | {"IsClosed": row["Status"] in ("Completed", "Closed")}
    if table in ("Lead", "CampaignMember"):
        name = "IsConverted" if table == "Lead" else "HasResponded"
        return row | {name: row[name] is True}
    return dict(row)

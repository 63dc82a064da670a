"""What a table looks like in one organisation: its fields, own ones among them, and the words of its lists."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from io import StringIO
from typing import cast

from isthmus.connectors.salesforce.strict import REPORT
from isthmus.connectors.salesforce.tables import Table
from isthmus.connectors.salesforce.transport import NOT_FOUND, SalesforceFault, Transport
from isthmus.connectors.salesforce.wire import CUSTOM, OWNER, STAMP, Row, digest, moment, rows, select
from isthmus.kernel.marks import Json
from isthmus.kernel.words import text
from isthmus.sync.connector import Described, FeedTrouble, NotAsDocumented, Raw

# A query stands in the address of a request, which has at most 16,384 characters.
CUSTOM_FIELDS_MAX = 150
_TRUTHS, _NUMBERS, _TIMES = ("boolean",), ("int", "double", "currency", "percent", "long"), ("datetime",)
_COMPOUND = ("address", "location", "base64", "complexvalue", "anyType")
_WATCHED = ("Name", "Email")
_RELATED = {OWNER: "OwnerId", "CreatedBy": "CreatedById"}


@dataclass(frozen=True, slots=True)
class Column:
    """A field as `describe` tells it; `words` are the values of its list that are in use."""

    name: str
    kind: str
    creatable: bool
    changeable: bool
    filterable: bool
    words: tuple[str, ...]
    label: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """A table in one organisation: its columns by name, and the currency where it has only one."""

    table: Table
    columns: Mapping[str, Column]
    currency: str
    key_field: str = ""

    @property
    def own(self) -> tuple[str, ...]:
        """The fields that the organisation made and that hold a single value."""
        found = [name for name in self.columns if name.endswith("__c") and name != self.key_field]
        return tuple(name for name in sorted(found) if self.columns[name].kind not in _COMPOUND)[:CUSTOM_FIELDS_MAX]

    @property
    def selected(self) -> tuple[str, ...]:
        """What queries ask for."""
        wanted = ("Id", STAMP, "IsDeleted", *self.table.fields, *(("CurrencyIsoCode",) if self.table.money else ()))
        found = [name for name in wanted if name in self.columns]
        for relation, column in _RELATED.items():
            if column in self.columns and relation in self.table.expects:
                found += [f"{relation}.{each}" for each in _WATCHED]
        return (*found, *self.own)

    @property
    def described(self) -> list[Described]:
        """What is read, as the organisation describes it."""
        own, selected = set(self.own), set(self.selected)
        return [
            Described(
                path=f"{CUSTOM}.{name}" if name in own else name, label=each.label, kind=each.kind, own=name in own
            )
            for name, each in self.columns.items()
            if name in selected
        ]

    def row(self, told: Row) -> Row:
        """Return a row as the engine keeps it: without addresses, with the organisation's own fields by themselves."""
        own = set(self.own)
        found = {name: _bare(value) for name, value in told.items() if name != "attributes" and name not in own}
        if own:
            found[CUSTOM] = {name: told.get(name) for name in sorted(own)}
        if self.table.money and "CurrencyIsoCode" not in self.columns:
            found["CurrencyIsoCode"] = self.currency or None
        return found

    def rows_of_file(self, content: str) -> list[Row]:
        """Return the rows of a file of a bulk job, with the kinds that rows have elsewhere; empty means null."""
        reader = csv.reader(StringIO(content, newline=""))
        header: list[str] = next(reader, [""])
        return [self.row(self._typed(header, line)) for line in reader]

    def _typed(self, header: list[str], line: list[str]) -> Row:
        if len(header) != len(line):
            raise NotAsDocumented("A line of a bulk job has other columns than its head.", fix=REPORT)
        found: Row = {}
        for name, value in zip(header, line, strict=True):
            relation, _, inner = name.partition(".")
            if inner:
                related = cast("Row", found.setdefault(relation, {}))
                related[inner] = value or None
            else:
                found[name] = _typed(value, self.columns[name].kind if name in self.columns else "string")
        # A relation that leads nowhere is null, and not a record whose fields are.
        return {
            name: None if isinstance(value, dict) and not any(value.values()) else value
            for name, value in found.items()
        }


def _bare(value: Json) -> Json:
    return {name: each for name, each in value.items() if name != "attributes"} if isinstance(value, dict) else value


def _typed(value: str, kind: str) -> Json:
    if not value:
        return None
    if kind in _TRUTHS:
        return value == "true"
    if kind in _NUMBERS:
        told = Decimal(value)
        return int(told) if kind in ("int", "long") else float(told)
    if kind in _TIMES and (at := moment(value)) is not None:
        return at.strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    return value


def raw(shape: Shape, body: Row) -> Raw:
    """Return a row as the engine takes it; of one that was merged it names the one that it became part of."""
    number, at = str(body.get("Id")), moment(body.get(STAMP))
    if body.get("IsDeleted") is True:
        return Raw(external_id=number, body={}, at=at, deleted=True, merged_into=text(body.get("MasterRecordId")))
    return Raw(external_id=number, body=body, at=at, version=version(shape.table, body))


def version(table: Table, body: Row) -> str:
    """Return what tells two states of a record apart, of what may be written and who changed it when.

    Stamps have whole seconds, so that what a record holds stands beside them. The system's own stamp also moves when
    nobody changed anything; the time of the last change does not.
    """
    names = set(table.plain.values())
    said = {name: body.get(name) for name in sorted(names)} | {CUSTOM: body.get(CUSTOM), OWNER: body.get(OWNER)}
    return f"{body.get('LastModifiedDate') or body.get(STAMP)} {digest(said)}"


class Shapes:
    """The shapes of one organisation, each asked for once in a session."""

    def __init__(self, transport: Transport, *, currency: str, key_field: str) -> None:
        """`currency` is that of an organisation with only one; `key_field` holds our keys, and is no field of ours."""
        self._transport, self._currency, self._key_field = transport, currency, key_field
        self._known: dict[str, Shape] = {}
        self._stages: list[Row] | None = None

    async def of(self, table: Table) -> Shape:
        """Return the shape of a table; raises FeedTrouble where our user may not see it."""
        if table.name not in self._known:
            self._known[table.name] = await self._described(table)
        return self._known[table.name]

    async def stages(self) -> list[Row]:
        """Return the organisation's stages in their order, with those that are no longer in use."""
        if self._stages is None:
            names = ("ApiName", "IsActive", "IsClosed", "IsWon", "DefaultProbability")
            soql = select(names, "OpportunityStage", order="SortOrder")
            self._stages = [
                {name: value for name, value in each.items() if name != "attributes"}
                for each in await self._transport.all(soql)
            ]
        return self._stages

    async def _described(self, table: Table) -> Shape:
        try:
            told = await self._transport.get(f"/sobjects/{table.name}/describe")
        except SalesforceFault as fault:
            if fault.status != NOT_FOUND:
                raise
            fix = f"In Salesforce, let the user read {table.name}, or leave {table.feed} out of `feeds`."
            raise FeedTrouble(f"Our user sees no {table.name}.", fix=fix) from fault
        columns = {each.name: each for each in map(_column, rows(told.get("fields")))}
        if missing := [name for name in ("Id", STAMP) if name not in columns]:
            raise NotAsDocumented(f"{table.name} has no {missing[0]}.", fix=REPORT)
        shape = Shape(table, columns, self._currency, self._key_field)
        if table.money and "CurrencyIsoCode" not in columns and not self._currency:
            raise FeedTrouble(
                f"The organisation has one currency, and {table.feed} do not tell which.",
                fix="Set `currency` to its code, such as EUR.",
            )
        return shape


def _column(told: Row) -> Column:
    words = [str(each.get("value")) for each in rows(told.get("picklistValues")) if each.get("active") is True]
    able = {name: told.get(name) is True for name in ("createable", "updateable", "filterable")}
    return Column(
        str(told.get("name")),
        str(told.get("type")),
        able["createable"],
        able["updateable"],
        able["filterable"],
        tuple(words),
        text(told.get("label")) or "",
    )

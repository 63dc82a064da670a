"""What a person says of the tables: which becomes which record type, and which column is which field. Pure."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Literal
from zoneinfo import available_timezones

import msgspec
from msgspec import Struct

from isthmus.kernel.errors import Fault, Invalid

TYPES = (
    *("sales.account", "sales.person", "sales.lead", "sales.deal", "sales.activity"),
    *("marketing.campaign", "marketing.campaign_member", "marketing.touch", "marketing.audience", "marketing.consent"),
    *("product.feature", "product.event", "product.feedback", "product.launch"),
    *("finance.vendor", "finance.budget", "finance.spend", "finance.subscription", "finance.invoice"),
    *("finance.payment", "success.ticket"),
)
SETTLES_S, SCAN_S = 600, 3600
_FIX = "Write it as the page of words shows: a table, its type, key and fields, as TOML or JSON."
_NAME = re.compile(r"[^\x00.]+(\.[^\x00.]+)?")
_CURRENCY = re.compile(r"[A-Z]{3}")
Form = Literal["text", "truth", "json", "moment", "day"]


class TablesRefused(Invalid):
    """The tables that were given do not fit; nothing was connected."""

    code, title = "tables-refused", "The mapping of the tables does not fit"


class Way(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a field is told and said: in which column, in which direction and in which form.

    An amount takes its currency from `currency` or `currency_column`. With `link` the column holds the key of a row of
    another table. `values` names ours by theirs. `form` says how a column that knows no such type is meant.
    """

    column: str
    direction: Literal["both", "in", "out"] = "both"
    link: bool = False
    currency: str | None = None
    currency_column: str | None = None
    values: dict[str, str] = {}
    form: Form | None = None

    @property
    def money(self) -> bool:
        """Whether it is an amount."""
        return self.currency is not None or self.currency_column is not None


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table: the record type of its rows, their key, and what tells of changes.

    `updated_at` is the column that moves with every change; without it everything is read every `scan_s`. `deleted` is
    a column that marks rows as deleted. `zone` (IANA) is that of times which name none. With `write` changes go back:
    `stamp` sets `updated_at` then, where no trigger does. A new row is known again by `mark`, a text column for it, or
    gets a UUID of ours as its key with `new_key`. With `ignored` every other column is kept as received, and new ones
    are told.
    """

    type: str
    key: str
    fields: dict[str, str | Way]
    updated_at: str | None = None
    deleted: str | None = None
    zone: str = "UTC"
    write: bool = False
    stamp: bool = False
    mark: str | None = None
    new_key: Literal["uuid"] | None = None
    settles_s: int | None = SETTLES_S
    scan_s: int | None = None
    ignored: tuple[str, ...] | None = None

    @property
    def ways(self) -> dict[str, Way]:
        """The fields with how each is told and said."""
        return {name: each if isinstance(each, Way) else Way(column=each) for name, each in self.fields.items()}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, each once."""
        named = [self.key, self.updated_at, self.deleted]
        for way in self.ways.values():
            named += [way.column, way.currency_column]
        return tuple(dict.fromkeys(name for name in named if name))


@lru_cache(maxsize=256)
def tables_of(text: str) -> Mapping[str, Table]:
    """Return the tables by name that a text in TOML or JSON declares; raises TablesRefused with every fault."""
    try:
        told: object = msgspec.json.decode(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        tables = msgspec.convert(told, dict[str, Table])
    except (msgspec.DecodeError, msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise TablesRefused(f"`tables` cannot be read: {error}.", fix=_FIX) from error
    faults = [*(fault for name, table in tables.items() for fault in _faults(name, table)), *_twice(tables)]
    if faults:
        raise TablesRefused(" ".join(each.detail for each in faults), fix=_FIX, faults=tuple(faults))
    return tables


def _faults(name: str, table: Table) -> Iterator[Fault]:
    def fault(where: str, detail: str) -> Fault:
        return Fault(pointer=f"/tables/{name}/{where}", code="invalid", detail=f"{name}: {detail}")

    if not _NAME.fullmatch(name):
        yield fault("", "write the table as `table` or `schema.table`.")
    if table.type not in TYPES:
        yield fault("type", f"there is no record type {table.type!r} for tables; there are {', '.join(TYPES)}.")
    if table.zone not in available_timezones():
        yield fault("zone", f"there is no zone {table.zone!r}; write it as Europe/Brussels.")
    if not table.fields:
        yield fault("fields", "map one column at least.")
    if table.write and not table.mark and not table.new_key:
        yield fault("write", "give `mark`, a text column by which a new row is known again, or `new_key`.")
    if table.stamp and not table.updated_at:
        yield fault("stamp", "`stamp` needs `updated_at`.")
    yield from _unfit(name, table)


def _unfit(name: str, table: Table) -> Iterator[Fault]:
    def fault(where: str, detail: str) -> Fault:
        return Fault(pointer=f"/tables/{name}/{where}", code="invalid", detail=f"{name}: {detail}")

    for field, way in table.ways.items():
        if way.link and (way.money or way.values):
            yield fault(f"fields/{field}", f"{field} is a link, and so has neither currency nor values.")
        if way.currency is not None and not _CURRENCY.fullmatch(way.currency):
            yield fault(f"fields/{field}", f"{field} needs a currency of three letters, such as EUR.")
    written = [way.column for way in table.ways.values() if way.direction != "in"]
    for column in sorted({each for each in written if written.count(each) > 1}):
        yield fault("fields", f'{column} is written by more than one field; give all but one `direction = "in"`.')


def _twice(tables: Mapping[str, Table]) -> Iterator[Fault]:
    types = [table.type for table in tables.values()]
    for each in sorted({each for each in types if types.count(each) > 1}):
        # Ids of one type in one system are of one kind: a second table would take over the rows of the first.
        detail = f"{each} comes from more than one table; make a view of them there, or connect twice."
        yield Fault(pointer="/tables", code="invalid", detail=detail)

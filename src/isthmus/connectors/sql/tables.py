"""What a person says of the tables: which becomes which record type, and which column is which field. Pure."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Literal

import msgspec

from isthmus.kernel.errors import Fault, Invalid
from isthmus.kernel.layouts import Layout, faults_of, twice

TYPES = (
    *("sales.account", "sales.person", "sales.lead", "sales.deal", "sales.activity"),
    *("marketing.campaign", "marketing.campaign_member", "marketing.touch", "marketing.audience", "marketing.consent"),
    *("product.feature", "product.event", "product.feedback", "product.launch"),
    *("finance.vendor", "finance.budget", "finance.spend", "finance.subscription", "finance.invoice"),
    *("finance.payment", "success.ticket"),
)
SETTLES_S, SCAN_S = 600, 3600
_FIX = "Write it as the page of words shows: a table, its type, key and fields, as TOML or JSON."
_INSTEAD = "table; make a view of them there, or connect twice."
_NAME = re.compile(r"[^\x00.]+(\.[^\x00.]+)?")


class TablesRefused(Invalid):
    """The tables that were given do not fit; nothing was connected."""

    code, title = "tables-refused", "The mapping of the tables does not fit"


class Table(Layout, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table: the record type of its rows, their key, and what tells of changes.

    Without `updated_at` everything is read every `scan_s`. With `write` changes go back: `stamp` sets `updated_at`
    then, where no trigger does. A new row is known again by `mark`, a text column for it, or gets a UUID of ours as its
    key with `new_key`.
    """

    key: str
    write: bool = False
    stamp: bool = False
    mark: str | None = None
    new_key: Literal["uuid"] | None = None
    settles_s: int | None = SETTLES_S
    scan_s: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, each once."""
        return tuple(dict.fromkeys((self.key, *self.mapped)))


@lru_cache(maxsize=256)
def tables_of(text: str) -> Mapping[str, Table]:
    """Return the tables by name that a text in TOML or JSON declares; raises TablesRefused with every fault."""
    try:
        told: object = msgspec.json.decode(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        tables = msgspec.convert(told, dict[str, Table])
    except (msgspec.DecodeError, msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise TablesRefused(f"`tables` cannot be read: {error}.", fix=_FIX) from error
    faults = [fault for name, table in tables.items() for fault in _faults(name, table)]
    faults += twice(tables, pointer="/tables", instead=_INSTEAD)
    if faults:
        raise TablesRefused(" ".join(each.detail for each in faults), fix=_FIX, faults=tuple(faults))
    return tables


def _faults(name: str, table: Table) -> Iterator[Fault]:
    def fault(where: str, detail: str) -> Fault:
        return Fault(pointer=f"/tables/{name}/{where}", code="invalid", detail=f"{name}: {detail}")

    if not _NAME.fullmatch(name):
        yield fault("", "write the table as `table` or `schema.table`.")
    yield from faults_of(name, table, pointer=f"/tables/{name}", types=TYPES)
    if table.write and not table.mark and not table.new_key:
        yield fault("write", "give `mark`, a text column by which a new row is known again, or `new_key`.")
    if table.stamp and not table.updated_at:
        yield fault("stamp", "`stamp` needs `updated_at`.")

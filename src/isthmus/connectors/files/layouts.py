"""What a person says of the files: which become which record type, and which column is which field. Pure."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from hashlib import blake2b
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
ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz", ".parquet")
OWN = "isthmus-"
"""How the names of the files begin that we write; they are never read."""
_FIX = "Write it as the page of words shows: the files, their type, key and fields, as TOML or JSON."
_INSTEAD = "kind of files; let one `match` find them all, or connect twice."
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
_DIGEST_BYTES = 6


class FilesRefused(Invalid):
    """The files that were described do not fit; nothing was connected."""

    code, title = "files-refused", "The description of the files does not fit"


class Drop(Layout, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """One kind of files: their names, their key, and what is to be made of them.

    `match` is a pattern of names below the place. With `reads = "newest"` only the last by name counts; `absent =
    "deleted"` says that it is everything there is. Rows of NDJSON that are `partial` name only what has changed.
    `write` is the folder into which changes go back, as files of `format`.
    """

    match: str
    key: str | tuple[str, ...]
    reads: Literal["changes", "newest"] = "changes"
    absent: Literal["kept", "deleted"] = "kept"
    partial: bool = False
    encoding: str = "utf-8"
    delimiter: str | None = None
    decimal: Literal[".", ","] = "."
    write: str | None = None
    format: Literal["ndjson", "csv", "parquet"] = "ndjson"

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The columns of the key."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, each once."""
        return tuple(dict.fromkeys((*self.keys, *self.mapped)))

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What the names of the files match; stars stop at slashes."""
        signs = {"*": "[^/]*", "?": "[^/]"}
        return re.compile("".join(signs.get(each) or re.escape(each) for each in self.match))

    @cached_property
    def digest(self) -> str:
        """A digest of how the files are read: with another one they are read from the beginning."""
        return blake2b(msgspec.json.encode(self), digest_size=_DIGEST_BYTES).hexdigest()

    def takes(self, name: str) -> bool:
        """Tell whether a file is one of these: neither hidden nor one of ours."""
        last = name.rpartition("/")[2]
        return not last.startswith((".", OWN)) and self.pattern.fullmatch(name) is not None


@lru_cache(maxsize=256)
def drops_of(text: str) -> Mapping[str, Drop]:
    """Return the kinds of files by name that a text in TOML or JSON describes; raises FilesRefused with every fault."""
    try:
        told: object = msgspec.json.decode(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        drops = msgspec.convert(told, dict[str, Drop])
    except (msgspec.DecodeError, msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise FilesRefused(f"`files` cannot be read: {error}.", fix=_FIX) from error
    faults = [fault for name, drop in drops.items() for fault in _faults(name, drop)]
    faults += twice(drops, pointer="/files", instead=_INSTEAD)
    if faults:
        raise FilesRefused(" ".join(each.detail for each in faults), fix=_FIX, faults=tuple(faults))
    return drops


def _faults(name: str, drop: Drop) -> Iterator[Fault]:  # noqa: C901 - one line for each rule.
    def fault(where: str, detail: str) -> Fault:
        return Fault(pointer=f"/files/{name}/{where}", code="invalid", detail=f"{name}: {detail}")

    if not _NAME.fullmatch(name):
        yield fault("", "the name is of letters, digits, - and _.")
    yield from faults_of(name, drop, pointer=f"/files/{name}", types=TYPES)
    if not drop.match.endswith(ENDINGS):
        yield fault("match", f"`match` ends in one of {', '.join(ENDINGS)}.")
    for where, path in (("match", drop.match), ("write", drop.write or ".")):
        if path.startswith("/") or ".." in path.split("/"):
            yield fault(where, f"`{where}` lies below the place, such as outgoing.")
    if not drop.keys:
        yield fault("key", "name one column at least that tells rows apart.")
    if drop.write is not None and len(drop.keys) != 1:
        yield fault("write", "`write` needs a key of one column, since new rows get one of ours.")
    if drop.absent == "deleted" and (drop.reads != "newest" or drop.write is not None):
        yield fault("absent", '`absent = "deleted"` needs `reads = "newest"`, and goes with no `write`.')
    if drop.partial and drop.reads == "newest":
        yield fault("partial", "the newest file alone cannot be partial.")
    if drop.delimiter is not None and len(drop.delimiter) != 1:
        yield fault("delimiter", "`delimiter` is one character.")

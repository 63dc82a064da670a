"""Bulk goes by column: what one system said of many records, and the same made ready to be stored.

A column is normalised, checked and encoded in a few calls, whatever its length; the values that have no stored form are
found by themselves, so that one bad row costs its own way only.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import compress
from typing import TypeVar, Union, cast

import msgspec

from isthmus.kernel.marks import Field, Json, MoneyForm
from isthmus.kernel.money import InvalidMoney
from isthmus.store.normal import ValueFault, column_normaliser
from isthmus.store.observation import Observation

T = TypeVar("T")
_NUL = b"\\u0000"
_NULL = b"null"
_REPEATS_MIN = 4
_TEXT_KINDS = {str, type(None)}
FAULTS = (msgspec.ValidationError, InvalidMoney, ValueFault)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What one system said of many records of one type: a value for each record in every column.

    `at` is the system's stamp, one for all or one for each. `versions` and `payloads` are those of the records, if any.
    Links and deletions go by Observation.
    """

    type: str
    system: str
    external_ids: Sequence[str]
    fields: Mapping[str, Sequence[Json]]
    at: datetime | Sequence[datetime | None] | None = None
    versions: Sequence[str | None] | None = None
    payloads: Sequence[bytes | None] | None = None

    def __post_init__(self) -> None:
        """Raise ValueError when columns differ in length."""
        stamps = () if self.at is None or isinstance(self.at, datetime) else (self.at,)
        for column in (*self.fields.values(), *stamps, self.versions, self.payloads):
            if column is not None and len(column) != len(self.external_ids):
                message = f"a column has {len(column)} values for {len(self.external_ids)} records"
                raise ValueError(message)

    @classmethod
    def of(cls, observations: Sequence[Observation]) -> "Columns | None":
        """Return observations of one system that all speak plainly of the same fields as columns, or None."""
        first = observations[0] if observations else None
        if first is None or not all(_alike(first, each) for each in observations):
            return None
        return cls(
            type=first.type,
            system=first.system,
            external_ids=[each.external_id for each in observations],
            fields={name: [each.fields[name] for each in observations] for name in first.fields},
            at=[each.at for each in observations],
            versions=_given([each.version for each in observations]),
            payloads=_given([each.payload for each in observations]),
        )

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.external_ids)

    def stamp(self, position: int) -> datetime | None:
        """Return the system's stamp of one record."""
        return self.at if self.at is None or isinstance(self.at, datetime) else self.at[position]

    def observation(self, position: int) -> Observation:
        """Return what was said of one record."""
        return Observation(
            type=self.type,
            system=self.system,
            external_id=self.external_ids[position],
            fields={name: column[position] for name, column in self.fields.items()},
            at=self.stamp(position),
            version=None if self.versions is None else self.versions[position],
            payload=None if self.payloads is None else self.payloads[position],
        )


def _given(column: list[T | None]) -> list[T | None] | None:
    return None if all(each is None for each in column) else column


def _alike(first: Observation, other: Observation) -> bool:
    special = other.links or other.deleted or other.seen is not None or other.rules
    return not special and other.system == first.system and other.fields.keys() == first.fields.keys()


@dataclass(slots=True)
class Block:
    """Columns made ready, a row for each record at `positions` of the source; `indexes` has a column for each handle.

    `ids` are the 16 bytes of the records they will be, `sealed` their personal part (empty: nothing to seal), `copied`
    the rows as they go to the stage: these are there once the rows are known to be strangers; `payloads` are sealed as
    well, where the source has any. `asked` tells that no row's external id is known, `ahead` that all but the records
    themselves is written.
    """

    source: Columns
    positions: list[int]
    hlcs: list[int]
    open_json: list[bytes]
    personal_json: list[bytes]
    digests: list[bytes]
    indexes: list[list[bytes | None]]
    ids: list[bytes] = field(default_factory=list[bytes])
    sealed: list[bytes] = field(default_factory=list[bytes])
    payloads: list[bytes] = field(default_factory=list[bytes])
    copied: list[bytes] = field(default_factory=list[bytes])
    asked: bool = False
    ahead: bool = False

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.positions)

    @property
    def external_ids(self) -> list[str]:
        """The external ids of the rows."""
        given = self.source.external_ids
        return [given[position] for position in self.positions]

    def taken(self, rows: Sequence[int]) -> "Block":
        """Return a block of some rows, in the order given, as it was prepared."""
        return Block(
            source=self.source,
            positions=[self.positions[n] for n in rows],
            hlcs=[self.hlcs[n] for n in rows],
            open_json=[self.open_json[n] for n in rows],
            personal_json=[self.personal_json[n] for n in rows],
            digests=[self.digests[n] for n in rows],
            indexes=[[column[n] for n in rows] for column in self.indexes],
        )

    def drop(self, rows: Iterable[int]) -> None:
        """Take rows out, by their numbers in this block; what was written ahead is void then."""
        wanted = bytearray(b"\1") * len(self)
        for row in rows:
            wanted[row] = 0
        if all(wanted):
            return
        self.ahead = False
        self.positions = list(compress(self.positions, wanted))
        self.hlcs = list(compress(self.hlcs, wanted))
        self.open_json = list(compress(self.open_json, wanted))
        self.personal_json = list(compress(self.personal_json, wanted))
        self.digests = list(compress(self.digests, wanted))
        self.indexes = [list(compress(column, wanted)) for column in self.indexes]
        self.ids = list(compress(self.ids, wanted))
        self.sealed = list(compress(self.sealed, wanted))
        self.payloads = list(compress(self.payloads, wanted))
        self.copied = list(compress(self.copied, wanted))


@dataclass(slots=True)
class Moved:
    """Rows of a block that speak of known records: the 16 bytes of each record, and the place of its reference.

    A place is a `tid` in its binary form, and good as long as nobody else writes there.
    """

    block: Block
    records: list[bytes]
    places: list[bytes]


class ColumnReader:
    """Normalises, checks and encodes the values of one field."""

    def __init__(self, declared: Field) -> None:
        """Prepare for a field."""
        form = MoneyForm if declared.column == "money" else declared.annotation
        self._form = list[Union[form, None]]  # noqa: UP007 - built at run time.
        self._normal = column_normaliser(declared)

    def read(self, column: Sequence[Json]) -> tuple[list[bytes], Sequence[Json], list[int]]:
        """Return the values as JSON, their normal forms, and the positions of those that have no stored form."""
        try:
            repeated = self._repeated(column)
            encoded, normal = repeated or self._read(column)
        except FAULTS:
            return self._one_by_one(column)
        return encoded, normal, []

    def _read(self, column: Sequence[Json]) -> tuple[list[bytes], Sequence[Json]]:
        normal = self._normal(column)
        lines = msgspec.json.Encoder().encode_lines(msgspec.convert(normal, self._form))
        if _NUL in lines:
            raise ValueFault("nul", "")
        encoded = lines.split(b"\n")
        encoded.pop()
        return encoded, normal

    def _repeated(self, column: Sequence[Json]) -> tuple[list[bytes], Sequence[Json]] | None:
        """Read each value of a column of text once, where values repeat."""
        if not set(map(type, column)) <= _TEXT_KINDS:
            return None
        different = list(dict.fromkeys(cast("Sequence[str | None]", column)))
        if len(different) * _REPEATS_MIN > len(column):
            return None
        encoded, normal = self._read(different)
        forms = dict(zip(different, zip(encoded, normal, strict=True), strict=True))
        pairs = [forms[value] for value in cast("Sequence[str | None]", column)]
        return [each for each, _ in pairs], [each for _, each in pairs]

    def _one_by_one(self, column: Sequence[Json]) -> tuple[list[bytes], Sequence[Json], list[int]]:
        encoded: list[bytes] = []
        normal: list[Json] = []
        wrong: list[int] = []
        for position, value in enumerate(column):
            try:
                (own,), (form,) = self._read([value])
            except FAULTS:
                wrong.append(position)
                own, form = _NULL, None
            encoded.append(own)
            normal.append(form)
        return encoded, normal, wrong


def joined(columns: dict[str, list[bytes]], count: int) -> list[bytes]:
    """Return a JSON object for each of `count` rows from encoded columns by field name."""
    if not columns:
        return [b"{}"] * count
    form = b"{%b}" % b",".join(b'"%b":%%b' % name.encode() for name in columns)
    return [form % values for values in zip(*columns.values(), strict=True)]

"""From observations to rows that can be stored: normalised, checked against the record type, digested, indexed.

Pure computation, safe in a thread: the next batch is prepared while the database stores the last one. Observations that
speak of the same fields go column by column; a value that has no stored form sends its row the slow way, on which all
its faults are found.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from uuid import UUID

import msgspec

from isthmus.kernel.errors import Fault, IsthmusError
from isthmus.kernel.hlc import evidence
from isthmus.kernel.marks import Json, RecordType
from isthmus.kernel.money import InvalidMoney
from isthmus.store.normal import ValueFault, canonical_amount, normaliser
from isthmus.store.observation import Observation
from isthmus.vault import WorkspaceKeys, blind_index, normal_form

__all__ = ["Prepared", "Preparer", "Reject", "Rejected", "Row", "canonical_amount"]

DIGEST_BYTES = 16
_EXTERNAL_ID_MAX = 500
_NUL = b"\\u0000"
_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class Row:
    """An observation made ready. `record_id` and `fresh` (a new record) are filled in when it is known who it is.

    `candidate` is the id of the record it will be if nobody else is meant; what it seals is sealed for that record.
    `settles` names fields whose case it decides. `echo` is the interval in which the system kept saying its last word,
    when this word arrives late from inside it.
    """

    observation: Observation
    open_json: bytes
    personal_json: bytes
    digest: bytes
    indexes: tuple[bytes | None, ...]
    hlc: int
    candidate: UUID | None = None
    sealed: bytes | None = None
    sealed_payload: bytes | None = None
    record_id: UUID | None = None
    fresh: bool = False
    known: bool = False
    settles: tuple[str, ...] = ()
    echo: tuple[int, int] | None = None


class Rejected(IsthmusError):
    """An observation has faults."""

    status, code, title = 422, "rejected", "The record cannot be stored"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        """Tell every fault."""
        super().__init__("; ".join(f"{each.pointer}: {each.detail}" for each in faults), faults=faults)


@dataclass(frozen=True, slots=True)
class Reject:
    """An observation that cannot be stored, and why."""

    observation: Observation
    faults: tuple[Fault, ...]

    @property
    def reason(self) -> str:
        """All faults in one sentence each."""
        return " ".join(f"{fault.pointer}: {fault.detail}" for fault in self.faults)

    def error(self) -> IsthmusError:
        """Return the error to raise where one observation stands alone."""
        return Rejected(self.faults)


@dataclass(slots=True)
class Prepared:
    """One batch of one record type."""

    type: RecordType
    rows: list[Row]
    rejects: list[Reject]
    unchanged: int = 0
    merged: list[Row] = field(default_factory=list[Row])


class Preparer:
    """Prepares observations of one record type in one workspace."""

    def __init__(self, record_type: RecordType, keys: WorkspaceKeys) -> None:
        """Derive the keys and the normalisers once."""
        self.type = record_type
        self._digest_key = keys.derived("digest")
        self._handles = [
            (each.name, each.handle.normal, keys.derived(f"index:{record_type.name}.{each.name}"))
            for each in record_type.handles
            if each.handle
        ]
        self._normalisers = {each.name: normaliser(each) for each in record_type.fields}
        self._personal = frozenset(each.name for each in record_type.personal_fields)
        self._open_part, self._personal_part = record_type.open_part, record_type.personal_part

    def prepare(self, observations: Iterable[Observation], *, since: datetime | None, until: datetime) -> Prepared:
        """Return rows and rejects; `since`..`until` is the interval in which the observations were made.

        An observation that is there twice (same id, same time) is taken once.
        """
        prepared = Prepared(self.type, [], [])
        shapes: dict[tuple[str, ...], list[tuple[Observation, int]]] = defaultdict(list)
        stamps: dict[datetime | None, int] = {}
        places: set[tuple[str, str, int]] = set()
        for each in observations:
            hlc = stamps.get(each.at)
            if hlc is None:
                hlc = stamps[each.at] = evidence(claimed_at=each.at, since=since, until=until)
            place = (each.system, each.external_id, hlc)
            if place in places:
                prepared.unchanged += 1
            elif not 0 < len(each.external_id) <= _EXTERNAL_ID_MAX or "\0" in each.external_id:
                prepared.rejects.append(Reject(each, (_BAD_ID,)))
            else:
                places.add(place)
                shapes[tuple(each.fields)].append((each, hlc))
        for names, group in shapes.items():
            self._group(names, group, prepared)
        return prepared

    def index(self, name: str, value: str) -> bytes | None:
        """Return the blind index of a handle, to look a record up by it."""
        for handle, normal, key in self._handles:
            if handle == name:
                return blind_index(normal_form(value, normal), key=key)
        return None

    def _group(self, names: tuple[str, ...], group: list[tuple[Observation, int]], prepared: Prepared) -> None:
        """Prepare observations that speak of the same fields; whatever has a fault goes the slow way by itself."""
        columns = self._columns(names, [each.fields for each, _ in group])
        if columns is None:
            for one in group:
                self._single(names, one, prepared)
            return
        try:
            self._rows(columns, group, prepared)
        except (msgspec.ValidationError, InvalidMoney, ValueFault):
            for one in group:
                self._single(names, one, prepared)

    def _columns(self, names: tuple[str, ...], values: Sequence[dict[str, Json]]) -> dict[str, list[Json]] | None:
        """Return normal columns by field name, or None when some value has no stored form."""
        columns: dict[str, list[Json]] = {}
        for name in names:
            if name not in self._normalisers:
                return None
            column = [each[name] for each in values]
            normal = self._normalisers[name]
            if normal is not None:
                try:
                    column = [None if value is None else normal(value) for value in column]
                except ValueFault:
                    return None
            columns[name] = column
        return columns

    def _single(self, names: tuple[str, ...], one: tuple[Observation, int], prepared: Prepared) -> None:
        try:
            fields = self.normalise(one[0].fields)
            self._rows({name: [fields[name]] for name in names}, [one], prepared)
        except Rejected as error:
            prepared.rejects.append(Reject(one[0], error.faults))
        except (msgspec.ValidationError, InvalidMoney, ValueFault):
            faults = tuple(self._type_faults(one[0].fields)) or (_NUL_FAULT,)
            prepared.rejects.append(Reject(one[0], faults))

    def _rows(self, columns: dict[str, list[Json]], group: list[tuple[Observation, int]], prepared: Prepared) -> None:
        opened = _encoded({name: each for name, each in columns.items() if name not in self._personal}, self._open_part)
        personal = _encoded(
            {name: each for name, each in columns.items() if name in self._personal}, self._personal_part
        )
        opened = opened or [b"{}"] * len(group)
        personal = personal or [b""] * len(group)
        indexes = self._indexes(columns, len(group))
        key = self._digest_key
        for (each, hlc), open_json, personal_json, index in zip(group, opened, personal, indexes, strict=True):
            content = b"%b\0%b\0%d" % (open_json, personal_json, each.deleted)
            if each.links:
                content += repr(
                    sorted((name, link.system, link.external_id) for name, link in each.links.items())
                ).encode()
            digest = blake2b(content, key=key, digest_size=DIGEST_BYTES).digest()
            prepared.rows.append(Row(each, open_json, personal_json, digest, index, hlc))

    def _indexes(self, columns: dict[str, list[Json]], count: int) -> Iterable[tuple[bytes | None, ...]]:
        if not self._handles:
            return [()] * count
        found: list[list[bytes | None]] = []
        for name, _, key in self._handles:
            values = columns.get(name)
            if values is None:
                found.append([None] * count)
            else:
                found.append([blind_index(each, key=key) if isinstance(each, str) else None for each in values])
        return zip(*found, strict=True)

    def normalise(self, fields: dict[str, Json]) -> dict[str, Json]:
        """Return the fields in the one form in which they are stored and compared; raises Rejected with every fault."""
        normal: dict[str, Json] = {}
        faults: list[Fault] = []
        for name, value in fields.items():
            if name not in self._normalisers:
                fix = f"{self.type.name} has no field {name!r}; use `custom` for fields of your own."
                faults.append(Fault(pointer=f"/{name}", code="unknown-field", detail=fix))
                continue
            form = self._normalisers[name]
            try:
                normal[name] = value if value is None or form is None else form(value)
            except ValueFault as error:
                faults.append(Fault(pointer=f"/{name}", code=error.code, detail=error.detail))
        if faults:
            raise Rejected((*faults, *self._type_faults(normal)))
        return normal

    def _type_faults(self, values: dict[str, Json]) -> Iterable[Fault]:
        """Check every field by itself, so that all faults are told at once."""
        for name, value in values.items():
            part = self._personal_part if name in self._personal else self._open_part
            try:
                msgspec.convert({name: value}, part)
            except (msgspec.ValidationError, InvalidMoney) as error:
                yield _fault(f"/{name}", str(error))


def _encoded(columns: dict[str, list[Json]], part: type[msgspec.Struct]) -> list[bytes]:
    """Return one JSON object for each row of the columns, checked against a part of the record type."""
    if not columns:
        return []
    names = tuple(columns)
    rows = [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    lines = _encoder.encode_lines(msgspec.convert(rows, list[part]))
    if _NUL in lines:
        raise ValueFault("nul", _NUL_FAULT.detail)
    return lines.split(b"\n")[: len(rows)]


def _fault(pointer: str, message: str) -> Fault:
    text, _, path = message.partition(" - at `$")
    inner = path.rstrip("`").replace(".", "/").replace("[", "/").replace("]", "")
    return Fault(pointer=inner or pointer, code="invalid-value", detail=f"{text}.")


_BAD_ID = Fault(pointer="/external_id", code="invalid", detail=f"Give 1 to {_EXTERNAL_ID_MAX} characters without NUL.")
_NUL_FAULT = Fault(pointer="/", code="nul", detail="Remove the NUL characters from the text.")

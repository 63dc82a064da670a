"""From observations to rows that can be stored: normalised, checked against the record type, digested, indexed.

Pure computation, safe in a thread: the next batch is prepared while the database stores the last one. Observations that
speak of the same fields go column by column; a value that has no stored form sends its row the slow way, on which all
its faults are found.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import repeat
from uuid import UUID

import msgspec

from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import Fault, IsthmusError
from isthmus.kernel.faults import find_faults
from isthmus.kernel.hlc import evidence
from isthmus.kernel.marks import Json, RecordType
from isthmus.kernel.money import InvalidMoney
from isthmus.store.columns import Block, ColumnReader, Columns, Moved, joined
from isthmus.store.normal import ValueFault, canonical_amount, normaliser
from isthmus.store.observation import Observation
from isthmus.vault import WorkspaceKeys, blind_index, blind_indexes, keyed_digests, normal_form

__all__ = ["Prepared", "Preparer", "Reject", "Rejected", "Row", "canonical_amount"]

_EXTERNAL_ID_MAX = 500
_NUL = b"\\u0000"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(slots=True)
class Row:
    """An observation made ready. `record_id` and `fresh` (a new record) are filled in when it is known who it is.

    `candidate` is the id of the record it will be if nobody else is meant; what it seals is sealed for that record.
    `settles` names fields whose case it decides, `reopens` those of which it takes a decision back. `echo` is the
    interval in which the system kept saying its last word, when this word arrives late from inside it. `span` tells
    when a word that comes with rules can have been said, in Unix milliseconds.
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
    reopens: dict[str, tuple[int, str, str]] | None = None
    echo: tuple[int, int] | None = None
    span: tuple[int, int] | None = None


class Rejected(IsthmusError):
    """An observation has faults."""

    status, code, title = 422, "rejected", "The record cannot be stored"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        """Tell every fault."""
        super().__init__("; ".join(f"{each.pointer}: {each.detail}" for each in faults), faults=faults)


def echo_of(hlc: int, *, spoken: int, seen: int) -> tuple[int, int] | None:
    """Return the interval in which a system kept saying its last word, if another of its words is from inside it."""
    return (spoken, seen) if spoken <= hlc <= seen and spoken < seen else None


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
    """One batch of one record type; `block` holds the rows that came as columns and need nothing special.

    `met` tells that rows of the block turned out to mean records that were there, `moved` holds those whose external
    ids are known.
    """

    type: RecordType
    rows: list[Row]
    rejects: list[Reject]
    unchanged: int = 0
    merged: list[Row] = field(default_factory=list[Row])
    block: Block | None = None
    met: bool = False
    moved: Moved | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    """Columns read: JSON of both parts and blind indexes by handle for each row, and which rows have a fault."""

    open_json: list[bytes]
    personal_json: list[bytes]
    indexes: list[list[bytes | None]]
    wrong: set[int]


class Preparer:
    """Prepares observations of one record type in one workspace."""

    def __init__(self, record_type: RecordType, keys: WorkspaceKeys) -> None:
        """Derive the keys and the normalisers once; `personal` names the sealed fields, `advance_only` more."""
        self.type = record_type
        self._digest_key = keys.derived("digest")
        self._handles = [
            (each.name, each.handle.normal, keys.derived(f"index:{record_type.name}.{each.name}"))
            for each in record_type.handles
            if each.handle
        ]
        self._normalisers = {each.name: normaliser(each) for each in record_type.fields}
        self._readers = {each.name: ColumnReader(each) for each in record_type.fields}
        self.personal = frozenset(each.name for each in record_type.personal_fields)
        self.advance_only = frozenset(each.name for each in record_type.fields if each.rule.name == "advance_only")
        self._open_part, self._personal_part = record_type.open_part, record_type.personal_part

    def prepare(self, observations: Iterable[Observation], *, since: datetime | None, until: datetime) -> Prepared:
        """Return rows and rejects; `since`..`until` is the interval in which the observations were made.

        An observation that is there twice (same id, same time, same word) is taken once.
        """
        prepared = Prepared(self.type, [], [])
        shapes: dict[tuple[str, ...], list[tuple[Observation, int]]] = defaultdict(list)
        stamps: dict[datetime | None, int] = {}
        places: dict[tuple[str, str, int], list[Observation]] = {}
        for each in observations:
            hlc = stamps.get(each.at)
            if hlc is None:
                hlc = stamps[each.at] = evidence(claimed_at=each.at, since=since, until=until)
            place = (each.system, each.external_id, hlc)
            if place in places and any(_says_the_same(each, other) for other in places[place]):
                prepared.unchanged += 1
            elif _is_bad_id(each.external_id):
                prepared.rejects.append(Reject(each, (_BAD_ID,)))
            else:
                places.setdefault(place, []).append(each)
                shapes[tuple(each.fields)].append((each, hlc))
        for names, group in shapes.items():
            self._group(names, group, prepared)
        span = (0 if since is None else milliseconds(since), milliseconds(until))
        for row in prepared.rows:
            row.span = span if row.observation.rules else None
        return prepared

    def prepare_columns(self, columns: Columns, *, since: datetime | None, until: datetime) -> Prepared:
        """Return a block of the rows that can go by column; all others are prepared one by one."""
        count = len(columns)
        if any(name not in self._readers for name in columns.fields):
            every = [columns.observation(position) for position in range(count)]
            return self.prepare(every, since=since, until=until)
        read = self._read(columns.fields, count)
        special = read.wrong | _special_ids(columns.external_ids)
        stamps = [columns.at] * count if columns.at is None or isinstance(columns.at, datetime) else columns.at
        known = {at: evidence(claimed_at=at, since=since, until=until) for at in set(stamps)}
        block = Block(
            source=columns,
            positions=list(range(count)),
            hlcs=[known[at] for at in stamps],
            open_json=read.open_json,
            personal_json=read.personal_json,
            digests=keyed_digests(map(_content, read.open_json, read.personal_json), key=self._digest_key),
            indexes=read.indexes,
        )
        block.drop(special)
        others = [columns.observation(position) for position in sorted(special)]
        prepared = self.prepare(others, since=since, until=until)
        prepared.block = block
        return prepared

    def advancing(self, name: str) -> bool:
        """Tell whether a field may only advance."""
        return name in self.advance_only

    def index(self, name: str, value: str) -> bytes | None:
        """Return the blind index of a handle, to look a record up by it."""
        for handle, normal, key in self._handles:
            if handle == name:
                return blind_index(normal_form(value, normal), key=key)
        return None

    def _group(self, names: tuple[str, ...], group: list[tuple[Observation, int]], prepared: Prepared) -> None:
        """Prepare observations that speak of the same fields."""
        if any(name not in self._readers for name in names):
            prepared.rejects += [self._refuse(each) for each, _ in group]
            return
        read = self._read({name: [each.fields[name] for each, _ in group] for name in names}, len(group))
        spoken = [each for each, _ in group]
        digests = keyed_digests(map(_content, read.open_json, read.personal_json, spoken), key=self._digest_key)
        indexes = zip(*read.indexes, strict=True) if read.indexes else repeat(())
        rows = zip(group, read.open_json, read.personal_json, digests, indexes, strict=False)
        for position, ((each, hlc), open_json, personal_json, digest, index) in enumerate(rows):
            if position in read.wrong:
                prepared.rejects.append(self._refuse(each))
            else:
                prepared.rows.append(Row(each, open_json, personal_json, digest, index, hlc))

    def _read(self, columns: Mapping[str, Sequence[Json]], count: int) -> _Read:
        """Normalise, check and encode columns of known fields, in the order of their declaration."""
        opened: dict[str, list[bytes]] = {}
        personal: dict[str, list[bytes]] = {}
        normal: dict[str, Sequence[Json]] = {}
        wrong: set[int] = set()
        for name, reader in self._readers.items():
            if name in columns:
                encoded, normal[name], bad = reader.read(columns[name])
                (personal if name in self.personal else opened)[name] = encoded
                wrong.update(bad)
        indexes: list[list[bytes | None]] = [
            blind_indexes(normal[name], key=key) if name in normal else [None] * count for name, _, key in self._handles
        ]
        return _Read(joined(opened, count), joined(personal, count) if personal else [b""] * count, indexes, wrong)

    def _refuse(self, observation: Observation) -> Reject:
        """Return an observation that cannot be stored with all its faults."""
        try:
            return Reject(observation, tuple(self._type_faults(self.normalise(observation.fields))))
        except Rejected as error:
            return Reject(observation, error.faults)

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
            part = self._personal_part if name in self.personal else self._open_part
            try:
                if _NUL in msgspec.json.encode(msgspec.convert({name: value}, part)):
                    yield Fault(pointer=f"/{name}", code="nul", detail="Remove the NUL characters from the text.")
            except (msgspec.ValidationError, InvalidMoney) as error:
                yield from self._told(name, value, str(error))

    def _told(self, name: str, value: Json, message: str) -> Iterable[Fault]:
        """Return the faults of a value in words; what is personal is not repeated in them."""
        declared = self.type.field(name)
        kind = declared.annotation if declared is not None else None
        for each in find_faults(value, kind, at=f"/{name}", echo=name not in self.personal):
            yield Fault(pointer=each.pointer, code="invalid-value", detail=each.detail)
            message = ""
        if message:
            yield _fault(f"/{name}", message)


def _says_the_same(one: Observation, other: Observation) -> bool:
    alike = one.fields == other.fields and one.links == other.links
    return alike and one.deleted == other.deleted and one.seen == other.seen


def _fault(pointer: str, message: str) -> Fault:
    text, _, path = message.partition(" - at `$")
    inner = path.rstrip("`").replace(".", "/").replace("[", "/").replace("]", "")
    return Fault(pointer=inner or pointer, code="invalid-value", detail=f"{text}.")


def _content(open_json: bytes, personal_json: bytes, observation: Observation | None = None) -> bytes:
    """Return what the digest of a word is taken of; without an observation it has no links and is no deletion."""
    if observation is None:
        return b"%b\0%b\0%d" % (open_json, personal_json, False)
    content = b"%b\0%b\0%d" % (open_json, personal_json, observation.deleted)
    if observation.links:
        links = sorted((name, link.system, link.external_id) for name, link in observation.links.items())
        content += repr(links).encode()
    return content


def _is_bad_id(external_id: str) -> bool:
    return not 0 < len(external_id) <= _EXTERNAL_ID_MAX or _CONTROL.search(external_id) is not None


def _special_ids(external_ids: Sequence[str]) -> set[int]:
    """Return the positions of ids that cannot be stored, and of those that stand there more than once."""
    special: set[int] = set()
    if len(set(external_ids)) != len(external_ids):
        times = Counter(external_ids)
        special.update(position for position, each in enumerate(external_ids) if times[each] > 1)
    lengths = {len(each) for each in external_ids}
    if 0 in lengths or max(lengths, default=0) > _EXTERNAL_ID_MAX or _CONTROL.search("".join(external_ids)):
        special.update(position for position, each in enumerate(external_ids) if _is_bad_id(each))
    return special


_BAD_ID = Fault(
    pointer="/external_id",
    code="invalid",
    detail=f"Give 1 to {_EXTERNAL_ID_MAX} characters without control characters.",
)

"""A connection reconciled: everything the system holds now against what is held of it here.

The system is read once for the digests of its words. Only when these differ from the kept ones it is read a second
time, for the fields of the records that differ. Nothing is changed on either side.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

import msgspec

from isthmus.kernel.hlc import moment_of
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.database import Transaction
from isthmus.store.fold import fold
from isthmus.store.prepare import Row
from isthmus.store.trail import claims_of
from isthmus.sync.connector import Feed, Page, Raw, Scanning, Session
from isthmus.sync.feeds import feed_states
from isthmus.sync.landing import observe
from isthmus.sync.pull import Work, pages_of
from isthmus.sync.reconciling.comparing import DifferenceKind, differing_keys
from isthmus.sync.reconciling.held import HeldSide, SpokenSide

_Map = dict[str, Json]
_REFS: LiteralString = """
select external_id, record_id, greatest(hlc, seen), deleted or digest is null from ref
where workspace = current_workspace() and type = %s and system = %s and external_id = any(%s)
"""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One difference: `there` is what the system says, `here` what is held of it; of whole records neither is told.

    Missing is a record that the system has and that is not held, extra the reverse. What the system changed since it
    was last read is late: the next run brings it. `at_stake` is (amount, currency). `weight` is how many fields it
    stands for: all of a record that is missing, none of one that is late.
    """

    kind: DifferenceKind
    type: str
    external_id: str
    record_id: UUID | None = None
    field: str = ""
    there: Json = None
    here: Json = None
    at_stake: tuple[Decimal, str] | None = None
    weight: int = 1


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """How far one record type agrees; `compared` counts fields, `differing` those that disagree and are not late.

    `probed` are the external ids that were asked for where not all records were read, else None.
    """

    type: str
    there: int
    here: int
    compared: int
    differing: int
    unvisited: int
    findings: tuple[Finding, ...]
    probed: frozenset[str] | None = None


@dataclass
class _Words:
    """What a system said of one record type: digests by external id, how many fields, and whom we could not read."""

    digests: dict[str, bytes] = field(default_factory=dict[str, bytes])
    fields: int = 0
    refused: set[str] = field(default_factory=set[str])


async def reconcile_types(work: Work) -> list[Reconciled]:
    """Compare every record type of which each feed can tell all its records. Raises ConnectorError."""
    blind = {name for feed in work.feeds if not feed.deletes for name in feed.types}
    feeds = [feed for feed in work.feeds if set(feed.types) - blind]
    began = work.engine.clock.now()
    words = {name: _Words() for feed in feeds for name in feed.types if name not in blind}
    for feed in feeds:
        async for rows, refused in _spoken(work, feed):
            for name, row in rows:
                if name in words:
                    words[name].digests[row.observation.external_id] = row.digest
                    words[name].fields += len(row.observation.fields) + len(row.observation.links)
            for name, external_id in refused:
                if name in words:
                    words[name].refused.add(external_id)
    return [await _of_type(work, feeds, name, own, began=began) for name, own in words.items()]


async def _spoken(work: Work, feed: Feed) -> AsyncIterator[tuple[list[tuple[str, Row]], list[tuple[str, str]]]]:
    """Yield what each page says: rows by type, and the records that could not be mapped or have no stored form."""
    now = work.engine.clock.now()
    async with work.session() as session, aclosing(pages_of(_all(session, feed), feed, None)) as read:
        async for page in read:
            yield said(work, feed, page.rows, now=now)


def said(
    work: Work, feed: Feed, raws: Sequence[Raw], *, now: datetime
) -> tuple[list[tuple[str, Row]], list[tuple[str, str]]]:
    """Return what records say, as (type, row), and those that could not be mapped or have no stored form."""
    store = work.engine.store
    told, rejects = observe(store, work.connector, feed, system=work.connection.name, rows=raws)
    refused = [(name, each.observation.external_id) for each in rejects for name in feed.types]
    rows: list[tuple[str, Row]] = []
    for name in dict.fromkeys(each.type for each in told):
        prepared = store.preparer(name, work.workspace).prepare(
            [each for each in told if each.type == name], since=None, until=now
        )
        rows += [(name, row) for row in prepared.rows]
        refused += [(name, each.observation.external_id) for each in prepared.rejects]
    return rows, refused


def _all(session: Session, feed: Feed) -> AsyncIterator[Page]:
    whole = isinstance(session, Scanning)
    return session.scan(feed.name, cursor=None) if whole else session.read(feed.name, cursor=None)


async def _of_type(work: Work, feeds: Sequence[Feed], name: str, words: _Words, *, began: datetime) -> Reconciled:
    system = work.connection.name
    async with work.engine.store.database.transaction(work.scope()) as tx:
        found = await differing_keys(SpokenSide(system, words.digests), HeldSide(tx, type_name=name, system=system))
    keys = [key for key in found.keys if key not in words.refused]
    wanted, rows = frozenset(keys), dict[str, Row]()
    for feed in feeds if keys else ():
        if name in feed.types:
            async for spoken, _ in _spoken(work, feed):
                found_now = {row.observation.external_id: row for kind, row in spoken if kind == name}
                rows |= {key: row for key, row in found_now.items() if key in wanted}
    findings = await judged(work, name, keys, rows, began=began) if keys else []
    return Reconciled(
        type=name,
        there=found.rows_one,
        here=found.rows_other,
        compared=words.fields,
        differing=sum(each.weight for each in findings),
        unvisited=found.unvisited,
        findings=tuple(findings),
    )


async def judged(
    work: Work, name: str, keys: Sequence[str], rows: Mapping[str, Row], *, began: datetime
) -> list[Finding]:
    """Return what differs of some records, by the words that the system said last."""
    system, record_type = work.connection.name, work.engine.store.schema[name]
    async with work.engine.store.database.transaction(work.scope()) as tx:
        states = await feed_states(tx, work.connection.id)
        last = [state.since for feed in work.feeds if name in feed.types and (state := states.get(feed.name))]
        since = min((each for each in last if each), default=None)
        cursor = await tx.connection.execute(_REFS, (name, system, list(keys)))
        refs = {key: (record, heard, gone) for key, record, heard, gone in await cursor.fetchall()}
        living = {key: record for key, (record, _, gone) in refs.items() if not gone}
        trails = await claims_of(tx, work.engine.store.vault, list(living.values()))
        links = await _linked(tx, system, record_type, rows.values())
    found: list[Finding] = []
    for key in keys:
        row, record = rows.get(key), living.get(key)
        here = fold(record_type, trails[record]).shadows.get((system, key), {}) if record else None
        there = _stored(row, record_type, links) if row else None
        own = list(_apart(name, key, record, there, here))
        at = row.observation.at if row else None
        moved = key in refs and moment_of(refs[key][1]) >= began
        if own and (moved or (at is not None and (since is None or at >= since))):
            own = [Finding(kind=DifferenceKind.LATE, type=name, external_id=key, record_id=record, weight=0)]
        elif own and row is not None and not own[0].field:
            own = [replace(own[0], weight=len(row.observation.fields))]
        found += own
    return found


async def _linked(
    tx: Transaction, system: str, record_type: RecordType, rows: Iterable[Row]
) -> dict[tuple[str, str, str], str]:
    """Return our records by (type, system, external id) of those that some words point to."""
    wanted: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        for name, link in row.observation.links.items():
            declared = record_type.field(name)
            if declared is not None and declared.to is not None:
                wanted.setdefault((declared.to, link.system or system), set()).add(link.external_id)
    found: dict[tuple[str, str, str], str] = {}
    for (to, of), ids in wanted.items():
        cursor = await tx.connection.execute(_REFS, (to, of, list(ids)))
        found |= {(to, of, external_id): str(record) for external_id, record, *_ in await cursor.fetchall()}
    return found


def _apart(name: str, key: str, record: UUID | None, there: _Map | None, here: _Map | None) -> Iterable[Finding]:
    if there is None and here is None:
        return
    if there is None or here is None:
        kind = DifferenceKind.MISSING if here is None else DifferenceKind.EXTRA
        money = next((each for each in map(_money, (there or here or {}).values()) if each), None)
        yield Finding(kind=kind, type=name, external_id=key, record_id=record, at_stake=money)
        return
    for field_name, value in there.items():
        if value != here.get(field_name):
            yield Finding(
                kind=DifferenceKind.FIELD,
                type=name,
                external_id=key,
                record_id=record,
                field=field_name,
                there=value,
                here=here.get(field_name),
                at_stake=_stake(value, here.get(field_name)),
            )


def _money(value: Json) -> tuple[Decimal, str] | None:
    if isinstance(value, dict) and value.keys() == {"amount", "currency"}:
        return Decimal(str(value["amount"])), str(value["currency"])
    return None


def _stake(there: Json, here: Json) -> tuple[Decimal, str] | None:
    one, other = _money(there), _money(here)
    if one is None or other is None or one[1] != other[1]:
        return one or other
    return abs(one[0] - other[0]), one[1]


def _stored(row: Row, record_type: RecordType, links: Mapping[tuple[str, str, str], str]) -> _Map:
    """Return the fields that a word spoke of, in their stored form, links by the ids of our records."""
    said: _Map = msgspec.json.decode(row.open_json, type=_Map)
    if row.personal_json:
        said |= msgspec.json.decode(row.personal_json, type=_Map)
    for name, link in row.observation.links.items():
        declared = record_type.field(name)
        if declared is not None and declared.to is not None:
            said[name] = links.get((declared.to, link.system or row.observation.system, link.external_id))
    return said

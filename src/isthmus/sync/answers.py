"""What a system answered to our writes: outcomes are kept, and what it says now becomes its claim."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import msgspec

from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.store.observation import Link, Observation
from isthmus.store.prepare import Rejected
from isthmus.store.put import PutResult
from isthmus.sync.connector import Feed, Outcome, Raw, Written
from isthmus.sync.feeds import feed_states
from isthmus.sync.ingest import Interval
from isthmus.sync.landing import land_observations, observe, tombstones
from isthmus.sync.ledger import Closing, Entry, Fingerprints, Pairs, adopt_many, settle, unsend
from isthmus.sync.merges import merge_in
from isthmus.sync.planning import Planned, refusal
from isthmus.sync.pull import Work, transacted

Answered = tuple[Planned, Written]
_OUTCOME: LiteralString = """
insert into write_outcome (workspace, connection_id, run_id, type, record_id, external_id, kind, outcome, reason,
                           fields, at)
select current_workspace(), %s, %s, %s, o.record_id, o.external_id, o.kind, o.outcome, o.reason,
       string_to_array(o.fields, ','), %s
from unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
    as o(record_id, external_id, kind, outcome, reason, fields)
"""
_UNANSWERED: LiteralString = """
select record_id from write_ledger
where workspace = current_workspace() and connection_id = %s and type = any(%s) and record_id = any(%s)
  and external_id = '' and state = 'sent' and (%s::timestamptz is null or at >= %s)
"""
_HOLDER: LiteralString = """
select record_id from ref where workspace = current_workspace() and type = %s and system = %s and external_id = %s
"""


async def unanswered(tx: Transaction, work: Work, feed: Feed, planned: Sequence[Planned]) -> set[UUID]:
    """Return records whose making was never answered and that no complete pull has looked for since."""
    creations = [each.change.record_id for each in planned if each.kind == "create"]
    if not creations:
        return set()
    state = (await feed_states(tx, work.connection.id)).get(feed.name)
    since = state.since if state else None
    row = (work.connection.id, list(feed.types), creations, since, since)
    return {record for (record,) in await (await tx.connection.execute(_UNANSWERED, row)).fetchall()}


def entry_of(planned: Planned, *, prints: Fingerprints, at: datetime) -> Entry:
    """Return what the ledger notes of a write before it is made."""
    return Entry(
        external_id=planned.change.external_id or "",
        record_id=planned.change.record_id,
        key=planned.change.key,
        state="sent",
        fields={name: _noted(planned.sent[name], told, prints) for name, told in planned.change.fields.items()},
        at=at,
    )


def _noted(sent: Json, told: Json, prints: Fingerprints) -> tuple[str, str | None]:
    """Return what is noted of a value before its answer: where a mapping tells it in another form, that as well."""
    return prints(sent), None if told == sent else prints(told)


async def take_in(work: Work, feed: Feed, name: str, answered: Sequence[Answered], *, since: datetime) -> None:
    """Keep the answers to some writes of one record type, which were begun at `since`, in one transaction."""

    async def keep(tx: Transaction) -> tuple[int, PutResult]:
        prints = Fingerprints.of(work.engine.store.vault, tx.scope.workspace)
        await _outcomes(tx, work, name, answered)
        for planned, answer in answered:
            if answer.outcome != Outcome.WRITTEN:
                entry = entry_of(planned, prints=prints, at=tx.scope.now)
                refused = refusal(planned, prints) if answer.outcome == Outcome.REFUSED else None
                await unsend(tx, connection_id=work.connection.id, type_name=name, sent=entry, refused=refused)
        written = [each for each in answered if each[1].outcome == Outcome.WRITTEN]
        vanished = [answer.raw for _, answer in answered if answer.outcome == Outcome.MOVED and answer.raw is not None]
        gone = await _bury(tx, work, feed, vanished, since=since)
        return await _claims(tx, work, feed, name, written, since=since, prints=prints), gone

    opened, gone = await transacted(work, keep)
    work.progress.conflicts += opened
    work.progress.add(gone)
    outcomes = [answer.outcome for _, answer in answered]
    work.progress.written += outcomes.count(Outcome.WRITTEN)
    work.progress.rejected += outcomes.count(Outcome.REFUSED) + outcomes.count(Outcome.FAILED)


async def _outcomes(tx: Transaction, work: Work, name: str, answered: Sequence[Answered]) -> None:
    if not answered:
        return
    changes = [planned.change for planned, _ in answered]
    columns = (
        [each.record_id for each in changes],
        [answer.external_id or planned.change.external_id for planned, answer in answered],
        [planned.kind for planned, _ in answered],
        [answer.outcome.value for _, answer in answered],
        [answer.reason for _, answer in answered],
        [",".join((*each.fields, *each.links)) for each in changes],
    )
    await tx.connection.execute(_OUTCOME, (work.connection.id, work.progress.id, name, tx.scope.now, *columns))


async def _bury(tx: Transaction, work: Work, feed: Feed, rows: Sequence[Raw], *, since: datetime) -> PutResult:
    """Put tombstones for records that the system no longer had when they were to be written."""
    system = work.connection.name
    landed = await land_observations(
        tx,
        work.engine.store,
        connection_id=work.connection.id,
        system=system,
        observations=await tombstones(tx, feed, system=system, rows=rows),
        interval=Interval(since=since, until=tx.scope.now),
    )
    return landed.result


async def _claims(
    tx: Transaction,
    work: Work,
    feed: Feed,
    name: str,
    written: Sequence[Answered],
    *,
    since: datetime,
    prints: Fingerprints,
) -> int:
    """Put what the system says after the writes; it moves nothing here, it is our own echo."""
    said: list[Observation] = []
    closing: list[Closing] = []
    made: list[tuple[str, UUID]] = []
    for planned, answer in written:
        observations = _said(work, feed, planned, answer)
        own = next(each for each in observations if each.type == name)
        if planned.kind == "create":
            made.append((own.external_id, planned.change.record_id))
        if planned.kind != "delete":
            entry = entry_of(planned, prints=prints, at=tx.scope.now)
            pairs, seen = _compared(tx, work, own, planned, prints)
            observations = [msgspec.structs.replace(each, seen=seen) if each is own else each for each in observations]
            closing.append(Closing(sent=entry, external_id=own.external_id, pairs=pairs))
        said += observations
    await _adopt(tx, work, name, made)
    landed = await land_observations(
        tx,
        work.engine.store,
        connection_id=work.connection.id,
        system=work.connection.name,
        observations=said,
        interval=Interval(since=since, until=tx.scope.now),
    )
    await settle(tx, closing, connection_id=work.connection.id, type_name=name)
    return landed.result.opened_cases


async def _adopt(tx: Transaction, work: Work, name: str, made: Sequence[tuple[str, UUID]]) -> None:
    """Say that the new ids mean our records; where one already means another record, the two are one."""
    store, system = work.engine.store, work.connection.name
    new = await adopt_many(tx, record_type=store.schema[name], system=system, given=made)
    for external_id, record in (each for each in made if each not in new):
        row = await (await tx.connection.execute(_HOLDER, (name, system, external_id))).fetchone()
        if row is not None and row[0] != record:
            await merge_in(tx, store, name, winner=row[0], loser=record, evidence=f"one record in {system}")


def _said(work: Work, feed: Feed, planned: Planned, answer: Written) -> list[Observation]:
    """Return what the system says after the write; where it does not say so, it is taken at our word."""
    store, system = work.engine.store, work.connection.name
    change = planned.change
    if planned.kind != "delete" and answer.raw is not None and not answer.raw.deleted:
        observations, _ = observe(store, work.connector, feed, system=system, rows=[answer.raw])
        if any(each.type == change.type for each in observations):
            return observations
    return [
        Observation(
            type=change.type,
            system=system,
            external_id=answer.external_id or change.external_id or "",
            fields=change.fields,
            links={name: Link(external_id=target) for name, target in change.links.items()},
            deleted=planned.kind == "delete",
            version=answer.raw.version if answer.raw else None,
        )
    ]


def _compared(
    tx: Transaction, work: Work, own: Observation, planned: Planned, prints: Fingerprints
) -> tuple[Pairs, dict[str, Json]]:
    """Return the pairs (sent, returned), and for what we wrote the value it now says: neither side has moved."""
    change = planned.change
    preparer = work.engine.store.preparer(change.type, tx.scope.workspace)
    try:
        returned = preparer.normalise({name: own.fields[name] for name in change.fields if name in own.fields})
    except Rejected:
        returned = {}
    pairs: Pairs = {name: (prints(planned.sent[name]), prints(value)) for name, value in returned.items()}
    # What it takes and does not tell again stays as it was said last, and is not written once more for that.
    silent = [name for name in change.fields if name not in own.fields]
    silent += [name for name in change.links if name not in own.links and name not in own.fields]
    pairs |= {name: (prints(planned.sent[name]), prints(planned.there.get(name))) for name in silent}
    return pairs, dict(returned) | {name: planned.sent[name] for name in change.links}

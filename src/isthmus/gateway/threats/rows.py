"""The tables of threats, as one workspace sees them."""

from datetime import datetime
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from isthmus.audit.trace import trace
from isthmus.auth.keys import KeyMissing, revoke_key
from isthmus.auth.keytext import KEY_PREFIX
from isthmus.gateway.threats.ladder import DETECTORS, MODES, Detector, Mode, Threat, mode_of
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.errors import NotFound
from isthmus.kernel.ids import mint, text_of, uuid_of
from isthmus.store.database import Transaction
from isthmus.vault import entropy

THREAT_PREFIX = "thr"
_COLUMNS: LiteralString = """
id, detector, subject, mode, step, would, reason, counts, requests, strikes, hits, first_seen, last_seen, until,
released_at, released_by
"""
_WRITE: LiteralString = """
insert into threat as t (workspace, id, detector, subject, mode, step, would, reason, counts, requests, strikes, hits,
                         first_seen, last_seen, struck_at, until)
values (current_workspace(), %(id)s, %(detector)s, %(subject)s, %(mode)s, %(step)s, %(would)s, %(reason)s, %(counts)s,
        %(requests)s, %(strikes)s, %(hits)s, %(first_seen)s, %(last_seen)s, %(struck_at)s, %(until)s)
on conflict (workspace, detector, subject) where released_at is null do update set
    mode = excluded.mode, reason = excluded.reason,
    step = case when excluded.strikes >= t.strikes or excluded.mode <> t.mode then excluded.step else t.step end,
    would = case when excluded.strikes >= t.strikes then excluded.would else t.would end,
    counts = excluded.counts, requests = excluded.requests, strikes = greatest(t.strikes, excluded.strikes),
    hits = t.hits + excluded.hits, first_seen = least(t.first_seen, excluded.first_seen),
    last_seen = greatest(t.last_seen, excluded.last_seen), struck_at = greatest(t.struck_at, excluded.struck_at),
    until = greatest(t.until, excluded.until)
returning id
"""
_LIST: LiteralString = (
    "select "
    + _COLUMNS
    + """from threat where workspace = current_workspace() and (%(all)s or released_at is null)
  and (%(detector)s::text is null or detector = %(detector)s) and (%(after)s::uuid is null or id < %(after)s)
order by id desc limit %(limit)s
"""
)
_FIND: LiteralString = "select " + _COLUMNS + "from threat where workspace = current_workspace() and id = %s"
_RELEASE: LiteralString = """
update threat set released_at = %s, released_by = %s
where workspace = current_workspace() and id = %s and released_at is null returning detector, subject
"""
_MODES: LiteralString = "select detector, mode from threat_mode where workspace = current_workspace()"
_SET_MODE: LiteralString = """
insert into threat_mode (workspace, detector, mode, set_at, set_by) values (current_workspace(), %s, %s, %s, %s)
on conflict (workspace, detector) do update set mode = excluded.mode, set_at = excluded.set_at, set_by = excluded.set_by
"""
_HONEYS: LiteralString = """
select kind, value, note, set_at, set_by from threat_honey where workspace = current_workspace() order by kind, value
"""
_SET_HONEY: LiteralString = """
insert into threat_honey (workspace, kind, value, note, set_at, set_by)
values (current_workspace(), %s, %s, %s, %s, %s) on conflict (workspace, kind, value) do update set note = excluded.note
"""
_DROP_HONEY: LiteralString = """
delete from threat_honey where workspace = current_workspace() and kind = %s and value = %s returning 1
"""


class ThreatMissing(NotFound):
    """There is no such threat."""

    code, title = "threat-missing", "There is no such threat"


class KeptThreat(Struct, frozen=True, kw_only=True):
    """What was found about a subject, and what is done about it. In mode observe, `would` was not done."""

    id: str
    detector: str
    subject: str
    mode: str
    step: str
    would: str
    reason: str
    counts: dict[str, int | str]
    requests: list[str]
    strikes: int
    hits: int
    first_seen: datetime
    last_seen: datetime
    until: datetime
    released_at: datetime | None = None
    released_by: str | None = None


class HoneyRow(Struct, frozen=True, kw_only=True):
    """A key or a record id that nobody has a reason to use."""

    kind: str
    value: str
    note: str
    set_at: datetime
    set_by: str


async def save_threat(tx: Transaction, threat: Threat, *, hits: int) -> UUID:
    """Write down what was found, in the audit log too; `hits` are those that were not written before.

    The last step revokes the key of the subject.
    """
    finding = threat.finding
    own = mint(unix_ms=milliseconds(tx.scope.now), entropy=entropy(10))
    values = {
        "id": own,
        "detector": finding.detector,
        "subject": finding.subject,
        "mode": threat.mode,
        "step": threat.step,
        "would": threat.would,
        "reason": finding.reason,
        "counts": Jsonb(finding.counts),
        "requests": list(finding.requests),
        "strikes": threat.strikes,
        "hits": hits,
        "first_seen": threat.first_seen,
        "last_seen": threat.last_seen,
        "struck_at": threat.struck_at,
        "until": threat.until,
    }
    row = await (await tx.connection.execute(_WRITE, values)).fetchone()
    threat_id: UUID = row[0] if row else own
    if threat.step == "revoke" and finding.subject.startswith("key:"):
        await _revoke(tx, UUID(finding.subject.removeprefix("key:")))
    details = {
        "detector": finding.detector,
        "subject": finding.subject,
        "mode": threat.mode,
        "step": threat.step,
        "would": threat.would,
        "reason": finding.reason,
        "counts": finding.counts,
        "requests": list(finding.requests),
        "strikes": threat.strikes,
        "first_seen": threat.first_seen.isoformat(),
        "last_seen": threat.last_seen.isoformat(),
    }
    await trace(tx, action="threat.found", resource="threat", record_id=threat_id, details=details)
    return threat_id


async def _revoke(tx: Transaction, key_id: UUID) -> None:
    try:
        await revoke_key(tx, key_id)
    except KeyMissing:
        return


async def list_threats(
    tx: Transaction, *, limit: int, every: bool = False, detector: str | None = None, after: UUID | None = None
) -> list[KeptThreat]:
    """Return threats, newest first; released ones with `every`."""
    asked = {"all": every, "detector": detector, "after": after, "limit": limit}
    return [_kept(row) for row in await (await tx.connection.execute(_LIST, asked)).fetchall()]


async def find_threat(tx: Transaction, threat_id: UUID) -> KeptThreat:
    """Return one threat; raises ThreatMissing."""
    row = await (await tx.connection.execute(_FIND, (threat_id,))).fetchone()
    if row is None:
        raise ThreatMissing("There is no threat with this id.", fix="List the threats.")
    return _kept(row)


async def release_threat(tx: Transaction, threat_id: UUID) -> KeptThreat:
    """Let the subject go; within a second no worker holds it back any more. Raises ThreatMissing.

    A key that was revoked stays so.
    """
    row = await (await tx.connection.execute(_RELEASE, (tx.scope.now, tx.scope.actor, threat_id))).fetchone()
    found = await find_threat(tx, threat_id)
    if row is not None:
        details = {"detector": row[0], "subject": row[1]}
        await trace(tx, action="threat.released", resource="threat", record_id=threat_id, details=details)
    return found


async def read_modes(tx: Transaction) -> dict[Detector, Mode]:
    """Return the mode of every detector."""
    own = dict(await (await tx.connection.execute(_MODES)).fetchall())
    return {each: own.get(each, MODES[each]) for each in DETECTORS}


async def set_mode(tx: Transaction, detector: Detector, mode: Mode) -> dict[Detector, Mode]:
    """Set the mode of a detector and return all; within a second it holds on every worker."""
    scope = tx.scope
    before = mode_of(await read_modes(tx), detector)
    await tx.connection.execute(_SET_MODE, (detector, mode, scope.now, scope.actor))
    details = {"detector": detector, "before": before, "after": mode}
    await trace(tx, action="threat.mode_set", resource="threat_mode", record_id=None, details=details)
    return await read_modes(tx)


async def list_honey(tx: Transaction) -> list[HoneyRow]:
    """Return all honey."""
    names = ("kind", "value", "note", "set_at", "set_by")
    rows = await (await tx.connection.execute(_HONEYS)).fetchall()
    return [msgspec.convert(dict(zip(names, row, strict=True)), HoneyRow) for row in rows]


async def set_honey(tx: Transaction, *, kind: str, value: str, note: str = "") -> None:
    """Let the use of a key (by its id) or of a record id be an alarm. Raises InvalidId."""
    if kind == "key":
        uuid_of(KEY_PREFIX, value)
    await tx.connection.execute(_SET_HONEY, (kind, value, note, tx.scope.now, tx.scope.actor))
    details = {"kind": kind, "value": value}
    await trace(tx, action="threat.honey_set", resource="threat_honey", record_id=None, details=details)


async def drop_honey(tx: Transaction, *, kind: str, value: str) -> None:
    """Let it be an ordinary key or id again; raises ThreatMissing."""
    if await (await tx.connection.execute(_DROP_HONEY, (kind, value))).fetchone() is None:
        raise ThreatMissing(f"There is no honey {value!r}.", fix="List it: isthmus threats honey")
    details = {"kind": kind, "value": value}
    await trace(tx, action="threat.honey_dropped", resource="threat_honey", record_id=None, details=details)


def _kept(row: TupleRow) -> KeptThreat:
    names = [each.strip() for each in _COLUMNS.split(",")]
    kept = dict(zip(names, row, strict=True))
    return msgspec.convert({**kept, "id": text_of(THREAT_PREFIX, kept["id"])}, KeptThreat)

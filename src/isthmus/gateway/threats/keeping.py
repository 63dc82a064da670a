"""What one worker found is written down, and every worker follows what stands, four times a second."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import LiteralString, cast
from uuid import UUID

import msgspec
import psycopg
import structlog

from isthmus.auth.keytext import KEY_PREFIX
from isthmus.gateway.threats.ladder import Detector, Mode, Step, Threat
from isthmus.gateway.threats.profile import Profile
from isthmus.gateway.threats.replay import save_windows
from isthmus.gateway.threats.rows import save_threat
from isthmus.gateway.threats.watch import Honey, Threats, Verdict
from isthmus.gateway.threats.window import Window
from isthmus.kernel.errors import Unavailable
from isthmus.kernel.ids import uuid_of
from isthmus.store.database import Database, Scope, Transaction

EVERY_S, SETTINGS_EVERY, WINDOWS_EVERY, PROFILES_EVERY = 0.2, 4, 50, 300
KEPT, TRAFFIC_KEPT = timedelta(days=90), timedelta(days=8)
_VERDICTS: LiteralString = "select workspace, subject, detector, step, since, until from threat_verdicts(%s)"
_RELEASES: LiteralString = "select workspace, detector, subject, released_at from threat_releases(%s)"
_MODES: LiteralString = "select workspace, detector, mode from threat_modes()"
_HONEYS: LiteralString = "select workspace, kind, value from threat_honeys()"
_PROFILES: LiteralString = "select workspace, subject, profile from threat_profiles(%s)"
_READ_PROFILES: LiteralString = """
select subject, profile::text from threat_profile where workspace = current_workspace() and subject = any(%s)
order by subject for update
"""
_SAVE_PROFILES: LiteralString = """
insert into threat_profile (workspace, subject, profile, seen_at)
select current_workspace(), subject, profile, %s
from jsonb_to_recordset(%s::text::jsonb) as given (subject text, profile jsonb) order by subject
on conflict (workspace, subject) do update set profile = excluded.profile, seen_at = excluded.seen_at
"""
_FORGET: LiteralString = "delete from threat_profile where workspace = current_workspace() and seen_at < %s"
_LAG, _TOGETHER = timedelta(seconds=5), 500
_log = structlog.get_logger("isthmus.gateway.threats")


class Keeper:
    """Keeps the threats of one worker in step with those of all."""

    def __init__(self, database: Database, threats: Threats, *, now: Callable[[], datetime]) -> None:
        """`now` is asked for every round."""
        self._database, self._threats, self._now = database, threats, now
        self._written: dict[tuple[int, Detector, str], tuple[Threat, int]] = {}
        self._released: dict[tuple[int, str, str], datetime] = {}

    async def run(self) -> None:
        """Follow and write down until cancelled; while the database is away, what was found waits."""
        turn = 0
        while True:
            try:
                if turn == 0:
                    await self.remember()
                await self.turn(settings=turn % SETTINGS_EVERY == 0)
                turn += 1
                if turn % WINDOWS_EVERY == 0:
                    await self.store()
                if turn % PROFILES_EVERY == 0:
                    await self.learn()
            except (Unavailable, psycopg.Error) as error:
                _log.warning("threats not followed", error=type(error).__name__)
            await asyncio.sleep(EVERY_S)

    async def turn(self, *, settings: bool = True) -> None:
        """Write down what was found, and take over what stands; raises DatabaseAway."""
        await self._write()
        now = self._now()
        async with self._database.plain() as connection:
            verdicts = await (await connection.execute(_VERDICTS, (now,))).fetchall()
            releases = await (await connection.execute(_RELEASES, (now - _LAG,))).fetchall()
            if settings:
                modes = await (await connection.execute(_MODES)).fetchall()
                honey = await (await connection.execute(_HONEYS)).fetchall()
                self._threats.configure(_modes(modes), _honey(honey))
        for workspace, detector, subject, at in releases:
            if self._released.get((workspace, detector, subject)) != at:
                self._released[workspace, detector, subject] = at
                self._threats.forget(workspace, cast("Detector", detector), subject)
                self._written.pop((workspace, cast("Detector", detector), subject), None)
        self._threats.apply(_verdict(row) for row in verdicts)

    async def remember(self) -> None:
        """Read what is usual for callers; raises DatabaseAway."""
        async with self._database.plain() as connection:
            rows = await (await connection.execute(_PROFILES, (self._now() - KEPT,))).fetchall()
        for workspace, subject, profile in rows:
            self._threats.profiles[workspace, subject] = msgspec.convert(profile, Profile)

    async def learn(self) -> None:
        """Write down what became usual, together with what other workers learned; raises DatabaseAway."""
        now = self._now()
        groups: dict[int, dict[str, Profile]] = defaultdict(dict)
        for workspace, subject, profile in self._threats.dirty():
            if subject.startswith("key:"):
                groups[workspace][subject] = profile
        for workspace, profiles in groups.items():
            async with self._database.transaction(self._scope(workspace, now)) as tx:
                subjects = sorted(profiles)
                for start in range(0, len(subjects), _TOGETHER):
                    await _learn(tx, {each: profiles[each] for each in subjects[start : start + _TOGETHER]})
                await tx.connection.execute(_FORGET, (now - KEPT,))

    async def store(self) -> None:
        """Write down the traffic over which other modes are tried; raises DatabaseAway."""
        gathered, self._threats.windows = self._threats.windows, []
        groups: dict[int, list[Window]] = defaultdict(list)
        for workspace, window in gathered:
            groups[workspace].append(window)
        for workspace, windows in groups.items():
            async with self._database.transaction(self._scope(workspace, self._now())) as tx:
                await save_windows(tx, windows, keep=TRAFFIC_KEPT)

    async def close(self) -> None:
        """Write down what waits."""
        try:
            await self._write()
            await self.store()
            await self.learn()
        except (Unavailable, psycopg.Error) as error:
            _log.warning("threats not written", error=type(error).__name__)

    async def _write(self) -> None:
        pending = self._threats.pending
        groups: dict[int, list[tuple[tuple[int, Detector, str], Threat]]] = defaultdict(list)
        for key, threat in pending.items():
            groups[key[0]].append((key, threat))
        for workspace, found in groups.items():
            async with self._database.transaction(self._scope(workspace, self._now())) as tx:
                counted = [(key, threat, threat.hits) for key, threat in found]
                for key, threat, hits in counted:
                    before, written = self._written.get(key, (threat, 0))
                    await save_threat(tx, threat, hits=hits - (written if before is threat else 0))
            for key, threat, hits in counted:
                self._written[key] = (threat, hits)
                if threat.hits == hits:
                    pending.pop(key, None)

    def _scope(self, workspace: int, now: datetime) -> Scope:
        return Scope(workspace=workspace, actor="system:threats", cause="threats", now=now)


def _verdict(row: tuple[object, ...]) -> Verdict:
    workspace, subject, detector, step, since, until = row
    return Verdict(
        workspace=cast("int", workspace),
        subject=str(subject),
        detector=cast("Detector", detector),
        step=cast("Step", step),
        since=cast("datetime", since),
        until=cast("datetime", until),
    )


async def _learn(tx: Transaction, profiles: Mapping[str, Profile]) -> None:
    """Write what became usual for these callers, in the order of the subjects, beside what is written already."""
    rows = await (await tx.connection.execute(_READ_PROFILES, (list(profiles),))).fetchall()
    known = {str(subject): msgspec.json.decode(str(kept), type=Profile) for subject, kept in rows}
    given = [
        {"subject": subject, "profile": own.joined(known[subject]) if subject in known else own}
        for subject, own in profiles.items()
    ]
    await tx.connection.execute(_SAVE_PROFILES, (tx.scope.now, msgspec.json.encode(given).decode()))


def _modes(rows: list[tuple[object, ...]]) -> dict[int, dict[Detector, Mode]]:
    found: dict[int, dict[Detector, Mode]] = defaultdict(dict)
    for workspace, detector, mode in rows:
        found[cast("int", workspace)][cast("Detector", detector)] = cast("Mode", mode)
    return found


def _honey(rows: list[tuple[object, ...]]) -> dict[int, Honey]:
    keys: dict[int, set[UUID]] = defaultdict(set)
    records: dict[int, set[str]] = defaultdict(set)
    for workspace, kind, value in rows:
        if kind == "key":
            keys[cast("int", workspace)].add(uuid_of(KEY_PREFIX, str(value)))
        else:
            records[cast("int", workspace)].add(str(value))
    return {each: Honey(frozenset(keys[each]), frozenset(records[each])) for each in {*keys, *records}}

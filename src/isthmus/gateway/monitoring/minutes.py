"""Traffic by the minute, for each workspace apart: gathered here, kept in PostgreSQL for 35 days.

A cell sums up one minute of everything, of a domain, a route or a key. Every instance of the program writes cells of
its own, so that none waits for another; readers add them up. Long-lived streams are counted and not timed.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, LiteralString, TypeAlias

from isthmus.auth.principal import Principal
from isthmus.gateway.decide import Asked, Standing
from isthmus.gateway.histogram import Timings, merged, place_of
from isthmus.gateway.routes import Route
from isthmus.kernel.ids import text_of
from isthmus.store.database import Database, Scope, Transaction

KEPT = timedelta(days=35)
OBJECTIVE_MICROS = 200_000
CELLS_MAX = 5_000
KEYS_MAX = 20
SYSTEM = "system"
EVERYTHING = "all"
OTHERS = "others"
Kind: TypeAlias = Literal["all", "domain", "route", "key", "probe"]
_PREFIXES = {"key": "key", "token": "tok", "session": "sess"}
_STREAM = "text/event-stream"
_REFUSED_FROM, _FAILED_FROM = 400, 500
_WRITE: LiteralString = """
insert into traffic_minute (workspace, kind, minute, name, instance, calls, refused, failed, slow, timed, micros,
                            places, counts)
values (current_workspace(), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (workspace, kind, minute, name, instance) do update
set calls = traffic_minute.calls + excluded.calls, refused = traffic_minute.refused + excluded.refused,
    failed = traffic_minute.failed + excluded.failed, slow = traffic_minute.slow + excluded.slow,
    timed = traffic_minute.timed + excluded.timed, micros = traffic_minute.micros + excluded.micros,
    places = traffic_minute.places || excluded.places, counts = traffic_minute.counts || excluded.counts
"""
_READ: LiteralString = """
select to_timestamp(floor(extract(epoch from minute) / %(step)s) * %(step)s) as step, name, sum(calls), sum(refused),
       sum(failed), sum(slow), sum(timed), sum(micros), array_agg(array_to_string(places, ',')),
       array_agg(array_to_string(counts, ','))
from traffic_minute
where workspace = current_workspace() and kind = %(kind)s and minute >= %(since)s and minute < %(until)s
  and (%(name)s::text is null or name = %(name)s)
group by 1, 2 order by 1, 2
"""
_SUMS: LiteralString = """
select coalesce(sum(calls), 0), coalesce(sum(failed), 0), coalesce(sum(timed), 0), coalesce(sum(slow), 0)
from traffic_minute
where workspace = current_workspace() and kind = %s and name = %s and minute >= %s and minute < %s
"""
_FORGET: LiteralString = "delete from traffic_minute where workspace = current_workspace() and minute < %s"


@dataclass(kw_only=True, slots=True)
class Cell:
    """Sums of a stretch of time: calls, those refused (4xx) and failed (5xx), those timed and over the objective."""

    calls: int = 0
    refused: int = 0
    failed: int = 0
    timed: int = 0
    slow: int = 0
    micros: int = 0
    counts: dict[int, int] = field(default_factory=dict[int, int])

    def count(self, *, status: int, micros: int, timed: bool = True) -> None:
        """Count one answer."""
        self.count_at(status=status, micros=micros, place=place_of(micros) if timed else None)

    def count_at(self, *, status: int, micros: int, place: int | None) -> None:
        """Count one answer whose place in the histogram is known; None for one that is not timed."""
        self.calls += 1
        if status >= _REFUSED_FROM:
            if status >= _FAILED_FROM:
                self.failed += 1
            else:
                self.refused += 1
        if place is not None:
            self.timed += 1
            if micros > OBJECTIVE_MICROS:
                self.slow += 1
            self.micros += micros
            counts = self.counts
            counts[place] = counts.get(place, 0) + 1

    def count_many(self, timings: Timings) -> None:
        """Count good answers that were timed."""
        self.calls += timings.calls
        self.timed += timings.calls
        self.micros += timings.micros
        if max(timings.times) > OBJECTIVE_MICROS:
            self.slow += sum(count for micros, count in timings.times.items() if micros > OBJECTIVE_MICROS)
        merged(self.counts, timings.counts)

    def add(self, other: "Cell") -> None:
        """Add the sums of another."""
        self.calls += other.calls
        self.refused += other.refused
        self.failed += other.failed
        self.timed += other.timed
        self.slow += other.slow
        self.micros += other.micros
        merged(self.counts, other.counts)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a stretch of time that begins at `at` came to, under one name."""

    at: datetime
    name: str
    cell: Cell


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What an objective is judged by."""

    calls: int
    failed: int
    timed: int
    slow: int


def domain_of(route: Route, *, domains: Collection[str]) -> str:
    """Return the domain that a route's permission belongs to; `system` for all others."""
    area = (route.permission or "").partition(":")[0]
    return area if area in domains else SYSTEM


class Minutes:
    """A stage that hears how calls ended and sums them up until they are written; one for each worker."""

    def __init__(self, *, domains: Collection[str]) -> None:
        """`domains` are the names that traffic is summed up under."""
        self._domains = frozenset(domains)
        self._routes: dict[tuple[int, int, int], tuple[Route, Cell]] = {}
        self._keys: dict[tuple[int, int, int], tuple[str, Cell]] = {}
        self._turn = 0
        self._last: tuple[datetime | None, int] = None, 0

    def admit(self, asked: Asked) -> None:
        """Let every call pass."""
        del asked

    def ended(self, asked: Asked, *, status: int, micros: int) -> None:
        """Add an answer to the cells of its minute."""
        at = place_of(micros) if asked.route.media != _STREAM else None
        for cell in self._cells(asked.route, asked.principal, int(asked.now.timestamp()) // 60):
            cell.count_at(status=status, micros=micros, place=at)

    def standing_for(self, asked: Asked) -> Standing | None:
        """Hear of calls that are the same together."""
        route, principal = asked.route, asked.principal
        if route.media == _STREAM:
            return None
        cells: Sequence[Cell] = ()
        known: tuple[int, int] | None = None

        def hear(at: datetime, timings: Timings) -> None:
            nonlocal cells, known
            minute = self._minute(at)
            if known != (minute, self._turn):
                cells, known = self._cells(route, principal, minute), (minute, self._turn)
            for cell in cells:
                cell.count_many(timings)

        return Standing(hear=hear)

    def refuses(self, asked: Asked) -> bool:
        """Refuse nobody."""
        del asked
        return False

    def _minute(self, at: datetime) -> int:
        """Return the minute of a moment; those who hear together name the same one."""
        if self._last[0] is not at:
            self._last = at, int(at.timestamp()) // 60
        return self._last[1]

    def _cells(self, route: Route, principal: Principal | None, minute: int) -> Sequence[Cell]:
        """Return the cells of a route and of a caller; when nobody takes them, the oldest make room."""
        workspace = 0 if principal is None else principal.workspace
        place = (minute, workspace, id(route))
        found = self._routes.get(place)
        if found is None:
            if len(self._routes) >= CELLS_MAX:
                self._turn += 1
                del self._routes[next(iter(self._routes))]
            found = self._routes[place] = (route, Cell())
        if principal is None:
            return (found[1],)
        key = (minute, workspace, principal.id.int)
        cell = self._keys.get(key)
        if cell is None:
            if len(self._keys) >= CELLS_MAX:
                self._turn += 1
                del self._keys[next(iter(self._keys))]
            prefix = _PREFIXES[principal.kind]
            cell = self._keys[key] = (text_of(prefix, principal.id), Cell())
        return found[1], cell[1]

    def take(self, *, before: datetime | None = None) -> dict[int, list[tuple[Kind, datetime, str, Cell]]]:
        """Take the cells of minutes that began before a moment, by workspace; without one, all there are."""
        self._turn += 1
        end = None if before is None else int(before.timestamp()) // 60
        sums: dict[tuple[int, int, Kind, str], Cell] = {}
        for place in [each for each in self._routes if end is None or each[0] < end]:
            route, cell = self._routes.pop(place)
            names: tuple[tuple[Kind, str], ...] = (
                ("all", EVERYTHING),
                ("domain", domain_of(route, domains=self._domains)),
                ("route", f"{route.method} {route.path}"),
            )
            for kind, name in names:
                sums.setdefault((place[1], place[0], kind, name), Cell()).add(cell)
        for (minute, workspace), best in self._best(end).items():
            for name, cell in best:
                sums.setdefault((workspace, minute, "key", name), Cell()).add(cell)
        found: dict[int, list[tuple[Kind, datetime, str, Cell]]] = {}
        for (workspace, minute, kind, name), cell in sums.items():
            at = datetime.fromtimestamp(minute * 60, tz=UTC)
            found.setdefault(workspace, []).append((kind, at, name, cell))
        return found

    def _best(self, end: int | None) -> dict[tuple[int, int], list[tuple[str, Cell]]]:
        """Return the keys that called most in each minute and workspace; the others are one."""
        by_minute: dict[tuple[int, int], list[tuple[str, Cell]]] = {}
        for place in [each for each in self._keys if end is None or each[0] < end]:
            by_minute.setdefault((place[0], place[1]), []).append(self._keys.pop(place))
        return {place: _ranked(cells) for place, cells in by_minute.items()}


def _ranked(cells: list[tuple[str, Cell]]) -> list[tuple[str, Cell]]:
    cells.sort(key=lambda each: -each[1].calls)
    others = Cell()
    for _, cell in cells[KEYS_MAX:]:
        others.add(cell)
    return [*cells[:KEYS_MAX], *([(OTHERS, others)] if others.calls else [])]


async def write(database: Database, minutes: Minutes, *, now: datetime, instance: str, whole: bool = False) -> int:
    """Write the minutes that are over, or with `whole` all there are; return the number of cells.

    What cannot be written is lost: traffic is watched, and not accounted for, by these cells.
    """
    taken = minutes.take(before=None if whole else now)
    for workspace, cells in taken.items():
        scope = Scope(workspace=workspace, actor="monitoring", cause="minutes", now=now)
        async with database.transaction(scope) as tx:
            await write_cells(tx, cells, instance=instance)
    return sum(map(len, taken.values()))


async def write_cells(tx: Transaction, cells: Iterable[tuple[Kind, datetime, str, Cell]], *, instance: str) -> None:
    """Add cells of the transaction's workspace to what is kept."""
    rows = [
        (
            *(kind, minute, name, instance),
            *(cell.calls, cell.refused, cell.failed, cell.slow, cell.timed, cell.micros),
            *(list(cell.counts.keys()), list(cell.counts.values())),
        )
        for kind, minute, name, cell in cells
    ]
    async with tx.connection.cursor() as cursor:
        await cursor.executemany(_WRITE, rows)


async def steps(
    tx: Transaction, kind: Kind, *, since: datetime, until: datetime, step: timedelta, name: str | None = None
) -> Sequence[Step]:
    """Return what stretches of `step` came to, by name, in order of time."""
    given = {"kind": kind, "since": since, "until": until, "step": step.total_seconds(), "name": name}
    rows = await (await tx.connection.execute(_READ, given)).fetchall()
    return [
        Step(
            at=row[0],
            name=row[1],
            cell=Cell(
                calls=int(row[2]),
                refused=int(row[3]),
                failed=int(row[4]),
                slow=int(row[5]),
                timed=int(row[6]),
                micros=int(row[7]),
                counts=_counts(row[8], row[9]),
            ),
        )
        for row in rows
    ]


async def sums(tx: Transaction, kind: Kind, name: str, *, since: datetime, until: datetime) -> Sums:
    """Return what is needed to judge an objective over a stretch of time."""
    row = await (await tx.connection.execute(_SUMS, (kind, name, since, until))).fetchone()
    calls, failed, timed, slow = (0, 0, 0, 0) if row is None else (int(each) for each in row)
    return Sums(calls=calls, failed=failed, timed=timed, slow=slow)


async def forget(tx: Transaction) -> None:
    """Delete what is older than it is kept."""
    await tx.connection.execute(_FORGET, (tx.scope.now - KEPT,))


def _counts(places: Sequence[str], counts: Sequence[str]) -> dict[int, int]:
    found: dict[int, int] = {}
    for some, many in zip(places, counts, strict=True):
        if some:
            for place, count in zip(some.split(","), many.split(","), strict=True):
                found[int(place)] = found.get(int(place), 0) + int(count)
    return found

"""The measurement of reconciliation put together."""

import asyncio
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import median

from psycopg import sql

from isthmus.app.bench import Bar, Outcome
from isthmus.app.bench.peers import versions_of
from isthmus.app.bench.reconcile.planting import ONE, OTHER, SHAPE, Planted, make_tables, plant
from isthmus.app.bench.reconcile.sides import PEERS, Judged, opened, ours, reladiff, sums
from isthmus.app.bench.reconcile.upkeep import Cost, pairs
from isthmus.app.engines import Engines, EngineSettings, PostgresAccess, start_engines
from isthmus.app.program import migrate_as_owner
from isthmus.sync.reconciling import kept
from isthmus.sync.reconciling.comparing import BUCKET_BITS
from isthmus.sync.reconciling.postgres import PostgresSide
from isthmus.vault import entropy

ROWS, QUICK_ROWS = 10_000_000, 500_000
ROUNDS, QUICK_ROUNDS = 3, 2
PUT_ROWS, QUICK_PUT_ROWS = 50_000, 10_000
PUT_ROUNDS, QUICK_PUT_ROUNDS = 5, 3
COMPUTED_MIN, KEPT_MIN, UPKEEP_MAX = 5.0, 15.0, 0.10
_Rounds = dict[str, list[Judged]]


def measure(*, quick: bool, say: Callable[[str], None]) -> Outcome:
    """Measure on a PostgreSQL of its own; raises PeerMissing."""
    peers = versions_of(*PEERS, group="bench")
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as directory:
        home = Path(directory)
        home.chmod(0o711)
        settings = EngineSettings(data_dir=home / "data", want_valkey=False)
        with start_engines(settings=settings, entropy=entropy, now=lambda: datetime.now(UTC)) as engines:
            migrate_as_owner(engines.postgres)
            outcome = asyncio.run(_measure(engines, home, quick=quick, say=say))
    outcome.peers = {**peers, "PostgreSQL": str(engines.postgres.version)}
    return outcome


async def _measure(engines: Engines, home: Path, *, quick: bool, say: Callable[[str], None]) -> Outcome:
    rows, rounds = (QUICK_ROWS, QUICK_ROUNDS) if quick else (ROWS, ROUNDS)
    put_rows, put_rounds = (QUICK_PUT_ROWS, QUICK_PUT_ROUNDS) if quick else (PUT_ROWS, PUT_ROUNDS)
    bits = max(0, rows.bit_length() - BUCKET_BITS)
    postgres = engines.postgres
    made, rebuilt_s = await prepared(postgres, rows, bits, chance=Random(23))
    say(f"two tables of {rows:,} rows made, {made.differences.total()} differences planted")
    judged = await _rounds(postgres, made, bits=bits, rounds=rounds, say=say)
    upkeep = await pairs(postgres, home, rows=put_rows, rounds=put_rounds, say=say)
    outcome = Outcome(bench="reconcile", rounds=rounds)
    outcome.figures = {"rows": rows, "planted": made.differences.total(), "rebuilt_s": round(rebuilt_s, 2)}
    _tell(outcome, judged, upkeep)
    return outcome


async def prepared(postgres: PostgresAccess, rows: int, bits: int, *, chance: Random) -> tuple[Planted, float]:
    """Make the tables, let them keep digests, and plant; return also how long one table's digests take to rebuild."""
    async with await opened(postgres.owner) as connection:
        await make_tables(connection, rows)
        family = (await PostgresSide("one", SHAPE, connection, sql.Identifier(ONE)).families())[0]
        for table in (ONE, OTHER):
            await kept.install(connection, SHAPE, table, family=family, bits=bits)
        await connection.commit()
        began = time.perf_counter()
        for table in (ONE, OTHER):
            await kept.rebuild(connection, SHAPE, table, family=family, bits=bits)
            await connection.commit()
        rebuilt = (time.perf_counter() - began) / 2
        made = await plant(connection, rows=rows, chance=chance)
    return made, rebuilt


async def _rounds(
    postgres: PostgresAccess, made: Planted, *, bits: int, rounds: int, say: Callable[[str], None]
) -> _Rounds:
    judged: _Rounds = {"computed": [], "kept": [], "sums": [], "reladiff": []}
    login = postgres.owner
    for number in range(rounds):
        judged["computed"].append(await ours(login, made, bits=None))
        judged["kept"].append(await ours(login, made, bits=bits))
        judged["sums"].append(await sums(login, made))
        judged["reladiff"].append(await asyncio.to_thread(reladiff, login, made))
        told = ", ".join(f"{name} {each[-1].took_s:.2f} s" for name, each in judged.items())
        say(f"round {number + 1}: {told}")
    return judged


def _tell(outcome: Outcome, judged: _Rounds, upkeep: list[tuple[Cost, Cost]]) -> None:
    """Write figures and bars down; ratios are of medians, the upkeep is the median of the rounds' own ratios of CPU."""
    middle = {name: median(each.took_s for each in rounds) for name, rounds in judged.items()}
    for name, rounds in judged.items():
        outcome.figures[f"{name}_s"] = round(middle[name], 3)
        outcome.figures[f"{name}_s_min"] = round(min(each.took_s for each in rounds), 3)
        outcome.figures[f"{name}_s_max"] = round(max(each.took_s for each in rounds), 3)
    outcome.figures["reladiff_missed"] = max(each.missed for each in judged["reladiff"])
    outcome.figures["reladiff_invented"] = max(each.invented for each in judged["reladiff"])
    outcome.figures["put_kept_s"] = round(median(with_.wall for with_, _ in upkeep), 3)
    outcome.figures["put_not_kept_s"] = round(median(without.wall for _, without in upkeep), 3)
    own = [each for name in ("computed", "kept", "sums") for each in judged[name]]
    cost = median(with_.cpu / without.cpu for with_, without in upkeep) - 1
    outcome.figures["upkeep_wall"] = round(median(with_.wall / without.wall for with_, without in upkeep) - 1, 3)
    outcome.bars = {
        "missed": Bar(value=max(each.missed for each in own), limit=0),
        "invented": Bar(value=max(each.invented for each in own), limit=0),
        "computed_to_reladiff": _times(middle["reladiff"], middle["computed"], COMPUTED_MIN),
        "kept_to_reladiff": _times(middle["reladiff"], middle["kept"], KEPT_MIN),
        "upkeep": Bar(value=round(cost, 3), limit=UPKEEP_MAX),
    }


def _times(peer: float, own: float, limit: float) -> Bar:
    return Bar(value=round(peer / own, 1), limit=limit, at_most=False)

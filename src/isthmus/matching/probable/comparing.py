"""Rows beside each other: values made comparable, candidates found by blocks, levels told, all in one DuckDB.

The database lives in memory and may spill nothing to disk, for the rows tell of humans. What is asked for one row and
its candidates is what is asked for a million.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

import duckdb
import numpy as np
import pyarrow as pa

from isthmus.matching.probable.cluster import Edges
from isthmus.matching.probable.model import Flags, Floats, Ints, Met, Model, Patterns
from isthmus.matching.probable.nicknames import roots
from isthmus.matching.probable.traits import (
    RARITIES,
    Kind,
    Plan,
    Trait,
    block_keys,
    columns,
    groups,
    level,
    radix,
    sentences,
)

BLOCK_ROWS_MAX = 60
SHARED_NUMBER_MIN = 3
RANDOM_PAIRS_MAX = 1_000_000
LEAST_BITS = -7.0
MEMORY_MIB = 2_048
_GUESS_OTHER = 0.15


class _Asked(Protocol):
    """What we use of an answer of DuckDB, whose own types name packages that need not be here."""

    def fetchnumpy(self) -> dict[str, Ints]: ...


class Rows(Protocol):
    """What we use of a table of Arrow, which has no types of its own."""

    @property
    def num_rows(self) -> int: ...


def arrow(made: Mapping[str, Sequence[object] | Ints | Floats]) -> Rows:
    """Return a table of Arrow of columns."""
    return cast("Rows", pa.table(dict(made)))  # pyright: ignore[reportUnknownMemberType] - Arrow ships no types.


def memory_database(*, threads: int, memory_mib: int) -> duckdb.DuckDBPyConnection:
    """Return a database that touches neither disk nor network."""
    return duckdb.connect(
        ":memory:",
        config={
            "threads": threads,
            "memory_limit": f"{memory_mib}MiB",
            "temp_directory": "",
            "max_temp_directory_size": "0B",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )


def plain_columns(plan: Plan) -> str:
    """Return the SQL of all columns made of `raw_<name>`."""
    return ", ".join(f"{sql} as {name}" for trait in plan.traits for name, sql in columns(trait, plan))


def raw_columns(plan: Plan) -> str:
    """Return the SQL that sets the columns as given apart from those made of them."""
    return ", ".join(f"{each.name} as raw_{each.name}" for each in plan.traits)


def code_of(plan: Plan) -> str:
    """Return the SQL of the pattern of rows `a` and `b` as one number, whether they are of one source included."""
    parts, factor = list[str](), 1
    for trait in plan.traits:
        parts.append(f"({level(trait, plan)})::bigint * {factor}")
        factor *= radix(trait)
    return " + ".join([*parts, f"case when a.sources & b.sources <> 0 then {factor} else 0 end"])


def decoded(plan: Plan, codes: Ints) -> tuple[Ints, Flags]:
    """Return the levels of patterns, a row each, and which are within one source."""
    left = codes.copy()
    found = np.zeros((len(codes), len(plan.traits)), dtype=np.int64)
    for number, trait in enumerate(plan.traits):
        found[:, number] = left % radix(trait)
        left //= radix(trait)
    return found, left > 0


class Comparing:
    """A run over rows: `sources` (a bit mask of where a row comes from) and the columns of the plan."""

    def __init__(self, plan: Plan, rows: Rows, *, threads: int = 2, memory_mib: int = MEMORY_MIB) -> None:
        self._plan, self._count = plan, rows.num_rows
        self._connection = memory_database(threads=threads, memory_mib=memory_mib)
        self._normalise(rows)

    def close(self) -> None:
        """Let go of all rows."""
        self._connection.close()

    def _do(self, sql: str) -> None:
        self._connection.execute(sql)

    def _ask(self, sql: str) -> dict[str, Ints]:
        return cast("_Asked", self._connection.execute(sql)).fetchnumpy()

    def _normalise(self, rows: Rows) -> None:
        forms = roots()
        self._connection.register("roots", arrow({"form": [a for a, _ in forms], "root": [b for _, b in forms]}))
        self._connection.register("given_rows", rows)
        self._do(
            f"create table plain as select row_number() over () - 1 as n, sources, {plain_columns(self._plan)} "  # noqa: S608 - names of the plan.
            f"from (select sources, {raw_columns(self._plan)} from given_rows)"
        )
        self._connection.unregister("given_rows")
        self._drop_shared()
        joins, rarities = list[str](), list[str]()
        for name in (each.name for each in self._plan.traits):
            self._do(
                f"create table often_{name} as select {name} as value, count(*) as times, "  # noqa: S608 - as above.
                f"{rarity_of('count(*)', self._count)} as rarity from plain where {name} is not null group by 1"
            )
            joins.append(f"left join often_{name} on often_{name}.value = plain.{name}")
            rarities.append(f"often_{name}.rarity as {name}_rarity")
        rare, joined = ", ".join(rarities), " ".join(joins)
        self._do(f"create table kept as select plain.*, {rare} from plain {joined}")  # noqa: S608 - as above.
        self._do("drop table plain")

    def _drop_shared(self) -> None:
        """Forget numbers that several families hold: those of a switchboard tell nobody from the next."""
        family = self._plan.of(Kind.FAMILY)
        for name in (each.name for each in self._plan.traits):
            self._do(f"create table shared_{name} as select {name} as value from plain where false")  # noqa: S608 - as above.
        for trait in self._plan.traits:
            if trait.kind is Kind.NUMBER and family is not None:
                self._do(
                    f"insert into shared_{trait.name} select {trait.name} from plain "  # noqa: S608 - as above.
                    f"where {trait.name} is not null group by 1 having count(*) >= {SHARED_NUMBER_MIN} "
                    f"and count(distinct {family}_sound) >= {SHARED_NUMBER_MIN}"
                )
                self._do(
                    f"update plain set {trait.name} = null "  # noqa: S608 - as above.
                    f"where {trait.name} in (select value from shared_{trait.name})"
                )

    def compare(self) -> Patterns:
        """Find the candidates and tell their levels; returns the patterns with how often each occurs."""
        keys = " union all ".join(f"select n, {key} as key from kept" for key in block_keys(self._plan))  # noqa: S608 - as above.
        self._do(f"create table keyed as select n, hash(key) as key from ({keys}) where key is not null")  # noqa: S608 - as above.
        self._do(
            "create table held as select key, n from keyed semi join (select key from keyed group by key "  # noqa: S608 - a constant.
            f"having count(*) between 2 and {BLOCK_ROWS_MAX}) using (key)"
        )
        self._do("drop table keyed")
        self._do(
            f"create table compared as select l, r, {code_of(self._plan)} as code from ("  # noqa: S608 - as above.
            "select distinct x.n as l, y.n as r from held x join held y on x.key = y.key and x.n < y.n"
            ") join kept a on a.n = l join kept b on b.n = r"
        )
        self._do("drop table held")
        got = self._ask("select code, count(*) as times from compared group by code order by code")
        levels, within = decoded(self._plan, got["code"])
        return Patterns(levels, got["times"].astype(np.float64), within)

    def met(self) -> Met:
        """Return what all pairs show: levels of random pairs, equality by how often values occur."""
        rows = max(self._count, 2)
        wanted = min(RANDOM_PAIRS_MAX, rows * 20)
        got = self._ask(
            f"select code, count(*) as times from (select {code_of(self._plan)} as code from ("  # noqa: S608 - above.
            f"select (hash(i, 1) % {rows})::bigint as l, (hash(i, 2) % {rows})::bigint as r "
            f"from range({wanted}) as t(i)"
            ") join kept a on a.n = l join kept b on b.n = r where l <> r) group by code"
        )
        levels, _ = decoded(self._plan, got["code"])
        shares, guess = list[Floats](), list[Floats]()
        for number, trait in enumerate(self._plan.traits):
            told = np.bincount(levels[:, number], weights=got["times"], minlength=radix(trait)).astype(np.float64)
            own, first = self._shares(trait, told)
            shares.append(own)
            guess.append(first)
        counts = self._ask("select count(*) as times from kept group by sources")["times"].astype(np.float64)
        same = float((counts * (counts - 1) / 2).sum())
        all_pairs = (self._count * (self._count - 1) / 2 - same, same)
        return Met(shares, guess, all_pairs, [groups(each) for each in self._plan.traits])

    def _shares(self, trait: Trait, told: Floats) -> tuple[Floats, Floats]:
        """Return how often each level is met among all pairs, and a first guess of it among those that are one.

        A value that t of n rows hold is met by t(t-1) of n(n-1) pairs.
        """
        named = len(sentences(trait))
        got = self._ask(
            f"select rarity, sum((times / t) * (times - 1) / greatest(t - 1, 1)) as both, sum(times / t) as one "  # noqa: S608 - as above.
            f"from often_{trait.name}, (select sum(times)::double as t from often_{trait.name}) group by rarity"
        )
        both, one = np.full(RARITIES, 1e-12), np.full(RARITIES, 1e-6)
        both[got["rarity"]] += got["both"]
        one[got["rarity"]] += got["one"]
        other = told[: named + 1].copy()
        other[0] = 0.0
        other[1:] += 0.5
        other *= (1 - min(float(both.sum()), 0.99)) / other.sum()
        begun = np.full(named + 1, _GUESS_OTHER / named)
        begun[0] = 0.0
        return np.concatenate([other, both]), np.concatenate([begun, one / one.sum() * (1 - _GUESS_OTHER)])

    def weigh(self, model: Model) -> Edges:
        """Return the candidates that anything speaks for."""
        codes = self._ask("select distinct code from compared order by code")["code"]
        levels, within = decoded(self._plan, codes)
        bits = model.bits(levels, within)
        keep = bits >= LEAST_BITS
        self._connection.register(
            "weighed", arrow({"code": codes[keep], "bits": bits[keep], "within_one": within[keep].astype(np.int64)})
        )
        got = self._ask("select l, r, bits, code, within_one from compared join weighed using (code) order by l, r")
        self._connection.unregister("weighed")
        return Edges(got["l"], got["r"], cast("Floats", got["bits"]), got["code"], got["within_one"] > 0)

    def often(self, *, at_least: int, values_max: int) -> list[dict[str, int]]:
        """Return for each trait how often its most frequent values occur."""
        found: list[dict[str, int]] = []
        for name in (each.name for each in self._plan.traits):
            rows = self._connection.execute(
                f"select value, times from often_{name} where times >= {at_least} "  # noqa: S608 - as above.
                f"order by times desc, value limit {values_max}"
            ).fetchall()
            found.append(dict(cast("list[tuple[str, int]]", rows)))
        return found

    def shared(self) -> list[list[str]]:
        """Return for each trait the values that were forgotten because many share them."""
        found: list[list[str]] = []
        for name in (each.name for each in self._plan.traits):
            rows = self._connection.execute(f"select value from shared_{name} order by value").fetchall()  # noqa: S608 - as above.
            found.append([value for (value,) in cast("list[tuple[str]]", rows)])
        return found

    def sources(self) -> Ints:
        """Return where each row comes from."""
        return self._ask("select sources from kept order by n")["sources"].astype(np.int64)


def rarity_of(times: str, total: int) -> str:
    """Return the SQL of the rarity of a value that occurs so many times, in steps of half a decade."""
    return f"least({RARITIES - 1}, greatest(0, floor(-2 * log10({times} / {max(total, 1)}::double))))::tinyint"

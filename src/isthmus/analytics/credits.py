"""Credit over a domain's own rows: declared once, kept packed in memory, asked with any model, window and moment."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import LiteralString, TypeAlias

import numpy as np

from isthmus.analytics import _arrow
from isthmus.analytics._arrow import F64, I64, Table
from isthmus.analytics.asking import Catalog, Kind
from isthmus.analytics.attribution import HALF_LIFE_DAYS, WINDOW_DAYS, Attribution, credit
from isthmus.analytics.catalog import Metric, Relation, UnknownRelation
from isthmus.analytics.intervals import Interval
from isthmus.analytics.journeys import cut
from isthmus.analytics.ledger import UNATTRIBUTED, Ledger
from isthmus.analytics.outcomes import Outcomes
from isthmus.store.database import Transaction

KEPT_MAX = 8
_ANSWERS_MAX, _INTERVALS_MAX = 12, 64
_DRAWS_MAX, _CELLS_MAX = 1_000_000, 4_000_000
_ROUNDS_MIN, _ROUNDS_MAX = 200, 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING_NEW = 2**62
_MARK: LiteralString = """
select coalesce((select seq from event_head where workspace = current_workspace()), 0),
       (select count(*) from events_after(%(seq)s) where record_type = any(%(types)s)),
       count(*), coalesce(sum(id), 0)::text
from event where workspace = current_workspace() and bundle is null and record_type = any(%(types)s)
"""
_STEP_COLUMNS: dict[str, Kind] = {"step": "text", "unit": "text", "at": "moment", "direct": "flag"}
_OUTCOME_COLUMNS: dict[str, Kind] = {
    "outcome": "text",
    "unit": "text",
    "at": "moment",
    "committed_at": "moment",
    "value": "amount",
    "currency": "text",
}


Spans: TypeAlias = dict[str, Interval]
_Spanned: TypeAlias = tuple[int, str, int, str | None]


@dataclass(frozen=True, kw_only=True)
class Credits:
    """How a domain's rows become steps and outcomes.

    `steps` selects step, unit, at, direct and one column for each of `buckets`; `outcomes` selects outcome, unit, at,
    committed_at, value, currency of what was won. Both see what `metric` declares. `publishes` names the credit rows
    for other domains, which ask for them through `Ledgers.published`.
    """

    metric: Metric
    buckets: tuple[str, ...]
    steps: LiteralString
    outcomes: LiteralString
    publishes: Relation | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question: which buckets, by which model, how long before the decision, and what had closed when."""

    by: str
    model: str
    as_of: datetime
    window_days: int | None = WINDOW_DAYS
    half_life_days: float = HALF_LIFE_DAYS


@dataclass(frozen=True)
class _Mark:
    """How far the log of events was: stamped up to `seq`, with these others still waiting for their number."""

    seq: int
    waiting: tuple[int, str]


@dataclass
class _Kept:
    steps: Table
    outcomes: Table
    mark: _Mark
    ledgers: dict[str, Ledger] = field(default_factory=dict[str, Ledger])
    answers: OrderedDict[Asked, Attribution] = field(default_factory=OrderedDict[Asked, Attribution])


class Ledgers:
    """Packed steps and outcomes by workspace, read again when an event says that one of their rows has changed."""

    def __init__(self, published: Mapping[str, Credits] | None = None, *, kept_max: int = KEPT_MAX) -> None:
        """Keep the rows of at most `kept_max` workspaces and questions; `published` are asked for by name."""
        self._published = dict(published or {})
        self._kept: OrderedDict[tuple[int, str], _Kept] = OrderedDict()
        self._kept_max = kept_max
        self._locks: dict[tuple[int, str], asyncio.Lock] = {}
        self._intervals: OrderedDict[_Spanned, tuple[Attribution, Spans]] = OrderedDict()

    async def credit(self, tx: Transaction, catalog: Catalog, credits_: Credits, asked: Asked) -> Attribution:
        """Return the credit that a question gives; raises what `cut` and `credit` raise."""
        kept = await self._current(tx, catalog, credits_)
        return await asyncio.to_thread(_credited, kept, asked)

    async def published(self, tx: Transaction, catalog: Catalog, name: str, asked: Asked) -> Attribution:
        """Return the credit of a domain's question to another domain, which declares in its metric that it reads it.

        Raises UnknownRelation.
        """
        found = self._published.get(name)
        if found is None:
            raise UnknownRelation(
                f"Nobody publishes {name}.", fix=f"Published: {', '.join(self._published) or 'none'}."
            )
        return await self.credit(tx, catalog, found, asked)

    async def intervals(self, found: Attribution, *, currency: str, seed: int, only: str | None = None) -> Spans:
        """Return `revenue_intervals` of an answer, computed once for as long as it is asked for."""
        key = (id(found), currency, seed, only)
        kept = self._intervals.get(key)
        if kept is None:
            spans = await asyncio.to_thread(revenue_intervals, found, currency=currency, seed=seed, only=only)
            kept = self._intervals[key] = (found, spans)
            while len(self._intervals) > _INTERVALS_MAX:
                self._intervals.popitem(last=False)
        return kept[1]

    async def _current(self, tx: Transaction, catalog: Catalog, credits_: Credits) -> _Kept:
        types = [name for name in credits_.metric.reads if name in catalog.schema.types]
        key = (tx.scope.workspace, credits_.metric.name)
        async with self._locks.setdefault(key, asyncio.Lock()):
            kept = self._kept.get(key)
            mark, new = await _marked(tx, types, since=kept.mark.seq if kept else _NOTHING_NEW)
            if kept is None or new or mark.waiting != kept.mark.waiting:
                kept = await _read(tx, catalog, credits_, mark)
                self._kept[key] = kept
            else:
                kept.mark = mark
                self._kept.setdefault(key, kept)
            self._kept.move_to_end(key)
            while len(self._kept) > self._kept_max:
                self._kept.popitem(last=False)
            return kept


async def _marked(tx: Transaction, types: list[str], *, since: int) -> tuple[_Mark, int]:
    row = await (await tx.connection.execute(_MARK, {"seq": since, "types": types})).fetchone()
    if row is None:
        raise AssertionError
    seq, new, waiting, waiting_ids = row
    return _Mark(int(seq), (int(waiting), str(waiting_ids))), int(new)


async def _read(tx: Transaction, catalog: Catalog, credits_: Credits, mark: _Mark) -> _Kept:
    """Read rows after the mark was taken: what is newer than it is read again at the next question, never missed."""
    buckets: dict[str, Kind] = dict.fromkeys(credits_.buckets, "text")
    steps = await catalog.table(tx, credits_.metric, credits_.steps, columns={**_STEP_COLUMNS, **buckets})
    outcomes = await catalog.table(tx, credits_.metric, credits_.outcomes, columns=_OUTCOME_COLUMNS)
    return _Kept(steps, outcomes, mark)


def _credited(kept: _Kept, asked: Asked) -> Attribution:
    """Return the answer, kept from before where nothing that counts has closed since then."""
    closed = _arrow.column(kept.outcomes, name="at", of="the outcomes")
    moments = _arrow.microseconds(closed, name="at", of="the outcomes")
    newest = _moment(int(moments.max())) if moments.size else _EPOCH
    key = replace(asked, as_of=min(asked.as_of, newest))
    found = kept.answers.get(key)
    if found is None:
        found = kept.answers[key] = _computed(kept, asked)
        while len(kept.answers) > _ANSWERS_MAX:
            kept.answers.popitem(last=False)
    return found


def _computed(kept: _Kept, asked: Asked) -> Attribution:
    ledger = kept.ledgers.get(asked.by)
    if ledger is None:
        chosen = {name: _arrow.column(kept.steps, name=name, of="the steps") for name in _STEP_COLUMNS}
        chosen["bucket"] = _arrow.column(kept.steps, name=asked.by, of="the steps")
        ledger = kept.ledgers[asked.by] = Ledger.of(_arrow.table(chosen), roles={})
    outcomes = Outcomes.of(kept.outcomes, as_of=asked.as_of)
    journeys = cut(ledger=ledger, outcomes=outcomes, window_days=asked.window_days)
    return credit(journeys, model=asked.model, half_life_days=asked.half_life_days)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCredit:
    """What one step of a journey received."""

    step: str
    at: datetime
    bucket: str
    share: float
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """One outcome with its steps in order of time; `credited` is what the bucket that was asked for received."""

    outcome: str
    unit: str
    closed_at: datetime
    currency: str
    value: Decimal
    credited: Decimal
    steps: tuple[StepCredit, ...]


def journeys_with(attribution: Attribution, *, bucket: str, limit: int, after: str | None = None) -> list[Journey]:
    """Return the journeys in which a bucket has a step, in order of the outcome's id, from the one after `after`.

    Outcomes without any step are the journeys of the bucket `unattributed`.
    """
    rows = attribution.rows
    ids = rows.journeys.outcomes.ids
    mine = np.unique(rows.outcome[rows.bucket == _code(attribution, bucket)])
    names = _arrow.strings(ids.take(_arrow.array(mine)))
    first = 0 if after is None else next((k for k, name in enumerate(names) if name > after), len(names))
    chosen = range(first, min(first + limit, len(names)))
    return [_journey(attribution, outcome=int(mine[k]), name=names[k], bucket=bucket) for k in chosen]


def credited(attribution: Attribution, *, bucket: str, currency: str) -> F64:
    """Return what a bucket received of each outcome of a currency, in its main unit: float64[outcomes], with zeros."""
    outcomes = attribution.rows.journeys.outcomes
    if currency not in outcomes.currencies:
        return np.zeros(outcomes.count)
    of_currency = outcomes.currency == outcomes.currencies.index(currency)
    scale = 10.0 ** attribution.digits[currency]
    rows = attribution.rows
    mine = rows.bucket == _code(attribution, bucket)
    sums = np.bincount(rows.outcome[mine], weights=rows.minor[mine], minlength=outcomes.count)
    return np.where(of_currency, sums, 0.0)[of_currency] / scale


def dated_credit(attribution: Attribution, *, bucket: str, currency: str) -> Iterator[tuple[datetime, Decimal]]:
    """Yield what a bucket received and when the outcome closed, one pair for each of its steps."""
    rows, outcomes = attribution.rows, attribution.rows.journeys.outcomes
    if currency not in outcomes.currencies:
        return
    own = np.flatnonzero(rows.bucket == _code(attribution, bucket))
    own = own[outcomes.currency[rows.outcome[own]] == outcomes.currencies.index(currency)]
    for k in own:
        at = _moment(int(outcomes.closed_at[rows.outcome[k]]))
        yield at, Decimal(int(rows.minor[k])).scaleb(-attribution.digits[currency])


def revenue_intervals(
    attribution: Attribution, *, currency: str, seed: int, only: str | None = None
) -> dict[str, Interval]:
    """Return the 95 % bootstrap interval of what each bucket received in one currency, when outcomes are drawn anew.

    `only` narrows it to one bucket. The number of rounds shrinks from 1000 with the number of outcomes, to 200 at
    least, so that asking stays quick.
    """
    rows, outcomes = attribution.rows, attribution.rows.journeys.outcomes
    if currency not in outcomes.currencies:
        return {}
    names = [*_arrow.strings(rows.journeys.ledger.buckets), UNATTRIBUTED]
    own = np.flatnonzero(outcomes.currency[rows.outcome] == outcomes.currencies.index(currency))
    drawn_from, owner = np.unique(rows.outcome[own], return_inverse=True)
    times = _drawn(drawn_from.size, seed=seed)
    if only is not None:
        own_bucket = rows.bucket[own] == _code(attribution, only)
        own, owner = own[own_bucket], owner[own_bucket]
    present, bucket = np.unique(rows.bucket[own], return_inverse=True)
    found: dict[str, Interval] = {}
    step = max(1, _CELLS_MAX // max(drawn_from.size, 1))
    for begin in range(0, present.size, step):
        width = min(step, present.size - begin)
        mine = (bucket >= begin) & (bucket < begin + width)
        place = owner[mine] * width + bucket[mine] - begin
        size = drawn_from.size * width
        received = np.bincount(place, weights=rows.minor[own[mine]], minlength=size).reshape(-1, width)
        low, high = np.quantile(times @ received, (0.025, 0.975), axis=0) / 10.0 ** attribution.digits[currency]
        for k in range(width):
            interval = Interval(low=float(low[k]), high=float(high[k]), level=0.95, rounds=len(times))
            found[names[present[begin + k]]] = interval
    return found


def _drawn(count: int, *, seed: int) -> F64:
    """Return how often each of `count` outcomes is drawn in each round: float64[rounds, count]."""
    rounds = max(_ROUNDS_MIN, min(_ROUNDS_MAX, _DRAWS_MAX // max(count, 1)))
    generator = np.random.default_rng(seed)
    times = np.empty((rounds, count))
    for k in range(rounds if count else 0):
        times[k] = np.bincount(generator.integers(count, size=count), minlength=count)
    return times


def _code(attribution: Attribution, bucket: str) -> int:
    names = [*_arrow.strings(attribution.rows.journeys.ledger.buckets), UNATTRIBUTED]
    return names.index(bucket) if bucket in names else -2


def _journey(attribution: Attribution, *, outcome: int, name: str, bucket: str) -> Journey:
    rows, outcomes = attribution.rows, attribution.rows.journeys.outcomes
    ledger = rows.journeys.ledger
    begin, end = (int(k) for k in np.searchsorted(rows.outcome, [outcome, outcome + 1]))
    currency = outcomes.currencies[int(outcomes.currency[outcome])]
    digits = attribution.digits[currency]
    own: I64 = np.arange(begin, end)[rows.row[begin:end] >= 0]
    steps = _arrow.strings(ledger.step_ids(rows.row[own]))
    buckets = _arrow.strings(ledger.buckets.take(_arrow.array(rows.bucket[own])))
    taken = tuple(
        StepCredit(
            step=step,
            at=_moment(int(ledger.at[rows.row[k]])),
            bucket=of,
            share=float(rows.share[k]),
            amount=Decimal(int(rows.minor[k])).scaleb(-digits),
        )
        for k, step, of in zip(own, steps, buckets, strict=True)
    )
    none = Decimal(0).scaleb(-digits)
    value = Decimal(int(outcomes.minor[outcome])).scaleb(-digits)
    return Journey(
        outcome=name,
        unit=_arrow.strings(outcomes.units.take(_arrow.array(np.array([outcome]))))[0],
        closed_at=_moment(int(outcomes.closed_at[outcome])),
        currency=currency,
        value=value,
        credited=value if bucket == UNATTRIBUTED else sum((e.amount for e in taken if e.bucket == bucket), none),
        steps=taken,
    )


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)

"""What the overview shows, as frozen values. A loader fills each; a template draws it."""

from dataclasses import dataclass
from datetime import datetime

from isthmus.console.status import Badge


@dataclass(frozen=True, kw_only=True)
class KindCount:
    """How many records there are of one kind."""

    name: str
    count: int


@dataclass(frozen=True, kw_only=True)
class DomainCount:
    """How many records a domain holds; `kinds` are the largest, `more` counts the rest."""

    name: str
    count: int
    kinds: tuple[KindCount, ...]
    more: int


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run that is going on. `share` is 0..1 of what is expected, if that is known; `rate` is records per second."""

    about: str
    feed: str
    badge: Badge
    read: int
    created: int
    changed: int
    rejected: int
    total: int | None
    share: float | None
    rate: float | None
    left_s: float | None
    started_at: datetime


@dataclass(frozen=True, kw_only=True)
class FreshView:
    """Streams that were last read to their end at about the same time; `finished_at` is the earliest of them."""

    names: tuple[str, ...]
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class SystemView:
    """A connected system with its one status, its streams and its last run. `fake` ones are for demonstrations."""

    name: str
    connector: str
    badge: Badge
    streams: tuple[FreshView, ...]
    next_at: datetime | None
    last: RunView | None
    fake: bool = False


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """What one channel is credited with under the chosen model; `low` and `high` are the extremes of all models."""

    name: str
    amount: str
    share: float
    bar: float
    low: float
    high: float
    unattributed: bool
    by_model: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ModelView:
    """One rule model that can be chosen."""

    name: str
    label: str
    meaning: str
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class CurrencyView:
    """What was won in one currency; one of them is chosen for the picture, for currencies are never added."""

    name: str
    total: str
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class CreditView:
    """Revenue by channel in one currency, the one in which most was won unless another is chosen.

    Without `ready` the first answer is on its way.
    """

    models: tuple[ModelView, ...]
    ready: bool = True
    currencies: tuple[CurrencyView, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    outcomes: int = 0

    @property
    def chosen(self) -> ModelView:
        """The model that was chosen."""
        return next(each for each in self.models if each.chosen)

    @property
    def currency(self) -> CurrencyView:
        """The currency of the picture."""
        return next(each for each in self.currencies if each.chosen)


@dataclass(frozen=True, kw_only=True)
class SideView:
    """One of two values that differ: which system said it, and when. `value` is None when it may not be seen."""

    system: str
    value: str | None
    at: datetime
    kept: bool


@dataclass(frozen=True, kw_only=True)
class CaseView:
    """An open conflict."""

    kind: str
    title: str
    field: str
    sides: tuple[SideView, SideView]
    stake: str
    opened_at: datetime


@dataclass(frozen=True, kw_only=True)
class CasesView:
    """The open conflicts with most at stake, how many there are, and what is at stake in all of them."""

    cases: tuple[CaseView, ...]
    count: int
    stakes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ChangeView:
    """Something that happened: one record, or several of one kind that one cause changed together."""

    kind: str
    count: int
    verb: str
    title: str
    fields: tuple[str, ...]
    by: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class AgreeingView:
    """The share of the compared fields that agreed last, what is promised, and the open differences."""

    share: str
    compared: int
    promised: str
    kept: bool
    open: int


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The whole page; what the viewer may not see is None. `domains` is None while the first count is on its way."""

    now: datetime
    workspace: str
    domains: tuple[DomainCount, ...] | None
    running: tuple[RunView, ...] | None
    systems: tuple[SystemView, ...] | None
    credit: CreditView | None
    cases: CasesView | None
    changes: tuple[ChangeView, ...]
    agreeing: AgreeingView | None = None

    @property
    def records(self) -> int:
        """How many records there are in all domains that the viewer may see."""
        return sum(each.count for each in self.domains or ())

    @property
    def streams(self) -> int:
        """How many streams there are."""
        return sum(len(fresh.names) for each in self.systems or () for fresh in each.streams)

    @property
    def fake(self) -> bool:
        """Tell whether what is shown comes from systems that are made up."""
        return any(each.fake for each in self.systems or ())

    @property
    def headline(self) -> str:
        """How things are, in one sentence."""
        systems = self.systems
        if systems is None:
            return "You see what your role lets you see."
        if not systems and self.domains is not None and not self.records:
            return "Nothing is connected yet. Connect a first system, or look around in the demo company."
        if troubled := [each.name for each in systems if each.badge.tone == "bad"]:
            return f"{_listed(troubled)} {'needs' if len(troubled) == 1 else 'need'} attention."
        if self.running:
            return f"Reading {_listed(list(dict.fromkeys(each.about for each in self.running)))}."
        parts = [*_unsteady(systems), *_waiting(self.cases.count if self.cases else 0)]
        if not parts:
            return "Everything is in step."
        sentence = "; ".join(parts)
        return f"{sentence[:1].upper()}{sentence[1:]}."


def _unsteady(systems: tuple[SystemView, ...]) -> list[str]:
    unsteady = [each.name for each in systems if each.badge.tone == "warn"]
    if not unsteady:
        return [f"all {len(systems)} systems are in step"] if len(systems) > 1 else []
    return [f"{len(unsteady)} of {len(systems)} systems have something left to mend"]


def _waiting(count: int) -> list[str]:
    if not count:
        return []
    return [f"{count} conflict{'' if count == 1 else 's'} wait{'s' if count == 1 else ''} for a decision"]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

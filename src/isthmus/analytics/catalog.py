"""The catalog: relations that domains publish, metrics that read them, and the check that both sides agree.

A metric names what it reads; nothing else of another domain is visible to it. The same declaration is the lineage.
Publishing is a promise about names, so a personal column cannot be published at all.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Self, TypeVar

from isthmus.kernel.errors import IsthmusError


class UnknownRelation(IsthmusError):
    """A metric reads a relation that nobody publishes."""

    code, title = "unknown-relation", "A metric reads a relation that is not published"


class UnknownColumn(IsthmusError):
    """A metric reads a column that its relation does not publish."""

    code, title = "unknown-column", "A metric reads a column that is not published"


class DuplicateName(IsthmusError):
    """Two relations, two metrics, or two columns of a relation carry the same name."""

    code, title = "duplicate-name", "A name is declared twice"


class PersonalColumn(IsthmusError):
    """A column that is personal was to be published."""

    code, title = "personal-column", "A personal column cannot be published"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table that its owner publishes: `name` is `<domain>.<kind>`; `columns` are all that others may read."""

    name: str
    columns: tuple[str, ...]
    meaning: str = ""

    @classmethod
    def publish(cls, *, name: str, columns: Iterable[str], personal: Collection[str], meaning: str = "") -> Self:
        """Publish columns of a record; raises PersonalColumn when one of them is among the personal ones."""
        chosen = tuple(columns)
        leaked = [column for column in chosen if column in personal]
        if leaked:
            raise PersonalColumn(
                f"{name} would publish {', '.join(leaked)}.", fix="Publish a pseudonymous id, or a figure made from it."
            )
        return cls(name=name, columns=chosen, meaning=meaning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A named question: `reads` maps relation to columns, `compute` answers it from what these hold."""

    name: str
    reads: Mapping[str, tuple[str, ...]]
    compute: Callable[..., object]
    permission: str
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Edge:
    """One column that one metric is made from."""

    relation: str
    column: str
    metric: str


_Declared = TypeVar("_Declared", Relation, Metric)


def check(*, relations: Iterable[Relation], metrics: Iterable[Metric]) -> None:
    """Refuse metrics that read what nobody publishes.

    Raises:
        DuplicateName: a name is declared twice.
        UnknownRelation, UnknownColumn: naming metric, relation and the nearest published name.
    """
    published = {relation.name: relation for relation in _once(relations, of="relation")}
    for relation in published.values():
        if len(set(relation.columns)) != len(relation.columns):
            raise DuplicateName(f"{relation.name} lists a column twice.", fix="List every column once.")
    for metric in _once(metrics, of="metric"):
        for name, columns in metric.reads.items():
            _check_reads(metric=metric, relation=published.get(name), name=name, columns=columns, published=published)


def lineage(metrics: Iterable[Metric]) -> tuple[Edge, ...]:
    """Return every edge from a published column to a metric, sorted."""
    return tuple(
        sorted(
            Edge(relation=relation, column=column, metric=metric.name)
            for metric in metrics
            for relation, columns in metric.reads.items()
            for column in columns
        )
    )


def _once(declared: Iterable[_Declared], *, of: str) -> list[_Declared]:
    found = list(declared)
    seen: set[str] = set()
    for each in found:
        if each.name in seen:
            raise DuplicateName(f"Two {of}s are called {each.name}.", fix="Rename one of them.")
        seen.add(each.name)
    return found


def _check_reads(
    *, metric: Metric, relation: Relation | None, name: str, columns: tuple[str, ...], published: Collection[str]
) -> None:
    if relation is None:
        raise UnknownRelation(
            f"Metric {metric.name} reads relation {name}, which nobody publishes.", fix=_nearest(name, among=published)
        )
    for column in columns:
        if column not in relation.columns:
            raise UnknownColumn(
                f"Metric {metric.name} reads column {column} of {name}, which is not published.",
                fix=_nearest(column, among=relation.columns),
            )


def _nearest(name: str, *, among: Collection[str]) -> str:
    close = get_close_matches(name, sorted(among), n=1, cutoff=0.0)
    if not close:
        return "Nothing is published yet; publish it first."
    return f"Did you mean {close[0]}? Published: {', '.join(sorted(among))}."

"""All policies of a workspace, compiled, and found by route."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal, TypeAlias

from isthmus.gateway.policy.evaluate import Compiled, Facts, Outcome, Thing, compile_term, outcome
from isthmus.gateway.policy.facts import Wanted
from isthmus.gateway.policy.filters import seen
from isthmus.gateway.policy.language import Policy
from isthmus.gateway.policy.partial import reduced
from isthmus.gateway.policy.terms import FALSE, Entity, Term
from isthmus.gateway.policy.vocabulary import Vocabulary, entity_type
from isthmus.gateway.routes import Route
from isthmus.kernel.errors import Denied
from isthmus.kernel.marks import RecordType
from isthmus.store.records import Condition
from isthmus.store.schema import Schema

Verdict: TypeAlias = Literal["refused", "would refuse", "permitted", "would permit", ""]


class PolicyRefused(Denied):
    """A policy forbids the call in its circumstances."""

    code, title = "policy-refused", "A policy forbids this"

    def __init__(self, policy: Policy, *, why: str = "") -> None:
        """Name the policy, its reason, and what its author says can be done."""
        super().__init__(
            f"The policy {policy.name} forbids this: {policy.reason}{why}",
            fix=policy.fix or "Meet what the policy asks, or ask the workspace's owner about it.",
        )
        self.policy = policy


@dataclass(frozen=True, eq=False)
class Ready:
    """A policy, compiled."""

    policy: Policy
    compiled: Compiled

    def about(self, facts: Facts) -> Outcome:
        """Return whether it holds; see `refuses` for what an error means."""
        return outcome(self.compiled, facts)

    def verdict(self, facts: Facts) -> Verdict:
        """Return what it says of a call: a forbid that errs refuses, a permit that errs permits nothing."""
        found, shadow = self.about(facts), self.policy.mode == "shadow"
        if self.policy.effect == "forbid":
            return "" if found == "fails" else "would refuse" if shadow else "refused"
        return "" if found != "holds" else "would permit" if shadow else "permitted"


@dataclass(frozen=True)
class OnRoute:
    """The policies that can have a say on a route, in the order of their names."""

    gate: tuple[Ready, ...]
    weighed: tuple[Ready, ...]
    permits: tuple[Ready, ...]
    lists: tuple[tuple[RecordType, tuple[Ready, ...]], ...]
    wanted: Wanted

    @cached_property
    def silent(self) -> bool:
        """Tell whether no policy narrows the route."""
        return not (self.gate or self.weighed or self.lists)


@dataclass
class Book:
    """The policies of one workspace."""

    ready: tuple[Ready, ...]
    vocabulary: Vocabulary
    _routes: dict[int, tuple[Route, OnRoute]] = field(default_factory=dict[int, tuple[Route, OnRoute]])

    @classmethod
    def of(cls, policies: Iterable[Policy], vocabulary: Vocabulary) -> "Book":
        """Compile policies."""
        return cls(tuple(Ready(each, compile_term(each.term)) for each in policies), vocabulary)

    def on(self, route: Route) -> OnRoute:
        """Return the policies that can have a say on a route."""
        found = self._routes.get(id(route))
        if found is None:
            found = self._routes[id(route)] = (route, self._find(route))  # Held, so that its id stays its own.
        return found[1]

    def _find(self, route: Route) -> OnRoute:
        at_gate = [each for each in self.ready if self.vocabulary.applies(each.policy, route, record=None)]
        forbids = [each for each in at_gate if each.policy.effect == "forbid"]
        later = [each for each in forbids if route.amounts and each.policy.about_amounts]
        lists: list[tuple[RecordType, tuple[Ready, ...]]] = []
        for record_type in self._shown_by(route):
            kind = entity_type(record_type)
            there = [each for each in self._about_records() if self.vocabulary.applies(each.policy, route, record=kind)]
            if there:
                lists.append((record_type, tuple(there)))
        mine = [*at_gate, *(each for _, many in lists for each in many)]
        return OnRoute(
            gate=tuple(each for each in forbids if each not in later),
            weighed=tuple(later),
            permits=tuple(each for each in at_gate if each.policy.effect == "permit"),
            lists=tuple(lists),
            wanted=Wanted.of(each.policy.term for each in mine),
        )

    def _about_records(self) -> list[Ready]:
        """Return enforced policies that say more of records than what the gate has asked already."""
        forbids = (each for each in self.ready if each.policy.effect == "forbid" and each.policy.mode == "enforced")
        return [each for each in forbids if self.vocabulary.names_records(each.policy)]

    def _shown_by(self, route: Route) -> Iterable[RecordType]:
        """Return the types whose policies matter on a route: its own and what it points to, or all of its area."""
        if route.record:
            own = self.vocabulary.types[route.record]
            pointed = {each.to for each in own.open_fields if each.to}
            return (own, *(each for name, each in self.vocabulary.types.items() if name in pointed - {own.name}))
        return self.vocabulary.records_of.get((route.permission or "").partition(":")[0], ())


def residuals(ready: Iterable[Ready], record_type: RecordType, facts: Facts) -> list[tuple[Ready, Term]]:
    """Return what is left of each policy for records of a type, those that say nothing left out."""
    about = Facts(facts.principal, facts.action, Thing(Entity(entity_type(record_type), ""), {}), facts.context)
    left = [(each, reduced(each.policy.term, about)) for each in ready]
    return [(each, term) for each, term in left if term != FALSE]


def sight(on: OnRoute, facts: Facts, schema: Schema, record_type: RecordType, *, now: datetime) -> Condition | None:
    """Return the condition under which no policy hides a record of a type."""
    ready = next((many for kind, many in on.lists if kind.name == record_type.name), ())
    return seen([term for _, term in residuals(ready, record_type, facts)], record_type, schema, now=now)


def refuse_unfiltered(on: OnRoute, facts: Facts) -> None:
    """Raise PolicyRefused on a route that cannot leave single records out, where a policy would hide some."""
    for record_type, ready in on.lists:
        for each, _ in residuals(ready, record_type, facts):
            raise PolicyRefused(each.policy, why=" This answer is made from records that it hides from you.")

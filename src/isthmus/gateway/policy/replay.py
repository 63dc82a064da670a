"""What a change of policies would have allowed or denied: decisions of the sample, made again with and without it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec import Struct

from isthmus.gateway.policy.book import Book
from isthmus.gateway.policy.evaluate import Facts
from isthmus.gateway.policy.facts import caller_id, facts_of
from isthmus.gateway.policy.language import Policy
from isthmus.gateway.policy.sample import Decided
from isthmus.gateway.policy.vocabulary import Vocabulary
from isthmus.gateway.routes import ANY_CALLER, Route

SHOWN_MAX = 100


class Changed(Struct, frozen=True, kw_only=True):
    """Alike calls that would be decided otherwise; `because` names the policies that make the difference."""

    caller: str
    route: str
    calls: int
    because: list[str]
    purpose: str = ""
    network: str = ""


class Simulated(Struct, frozen=True, kw_only=True):
    """What would have been: `calls` were tried again, `left_out` could not be. The lists hold the commonest kinds."""

    calls: int
    left_out: int
    would_deny: int
    would_allow: int
    denied: list[Changed]
    allowed: list[Changed]


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a call, and the policies by which it says it."""

    allowed: bool
    by: frozenset[str]


def changed_policies(there: Iterable[Policy], *, added: Sequence[Policy], removed: Sequence[str]) -> list[Policy]:
    """Return the policies as they would be; what is added counts as enforced, and stands for what has its name."""
    gone = {*removed, *(each.name for each in added)}
    return [*(each for each in there if each.name not in gone), *added]


def simulate(decisions: Iterable[Decided], *, before: Sequence[Policy], after: Sequence[Policy], vocabulary: Vocabulary
) -> Simulated:  # fmt: skip
    """Make decisions again under both sets of policies and tell the difference, at the gate (not row by row)."""
    old, new = Book.of(before, vocabulary), Book.of(after, vocabulary)
    denied: dict[tuple[str, ...], Changed] = {}
    allowed: dict[tuple[str, ...], Changed] = {}
    calls = left_out = 0
    for each in decisions:
        situation = each.facts.situation(vocabulary)
        if situation is None:
            left_out += each.seen
            continue
        calls += each.seen
        facts = facts_of(situation)
        was, now = judged(old, situation.route, facts), judged(new, situation.route, facts)
        if was.allowed != now.allowed:
            into = allowed if now.allowed else denied
            because = sorted(now.by ^ was.by)
            caller = caller_id(situation.principal)
            key = (caller, each.facts.route, *because, each.facts.purpose, each.facts.network)
            seen = each.seen + (into[key].calls if key in into else 0)
            into[key] = Changed(
                caller=caller,
                route=each.facts.route,
                calls=seen,
                because=because,
                purpose=each.facts.purpose,
                network=each.facts.network,
            )
    return Simulated(
        calls=calls,
        left_out=left_out,
        would_deny=sum(each.calls for each in denied.values()),
        would_allow=sum(each.calls for each in allowed.values()),
        denied=_commonest(denied.values()),
        allowed=_commonest(allowed.values()),
    )


def _commonest(found: Iterable[Changed]) -> list[Changed]:
    return sorted(found, key=lambda each: (-each.calls, each.caller, each.route))[:SHOWN_MAX]


def judged(book: Book, route: Route, facts: Facts) -> Verdict:
    """Decide as the gate does: grant or permit first, then every forbid."""
    on = book.on(route)
    forbidden = {each.policy.name for each in (*on.gate, *on.weighed) if each.verdict(facts) == "refused"}
    if forbidden:
        return Verdict(allowed=False, by=frozenset(forbidden))
    held = facts.principal.attributes.get("permissions")
    granted = route.permission in {None, ANY_CALLER} or (isinstance(held, frozenset) and route.permission in held)
    permits = {each.policy.name for each in on.permits if each.verdict(facts) == "permitted"}
    return Verdict(allowed=granted or bool(permits), by=frozenset() if granted else frozenset(permits))

"""What is compiled answers as Cedar does: random policies over random facts, each asked of both."""

import os
import random
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from ipaddress import ip_interface

import cedarpy
from hypothesis import HealthCheck, given, reject, seed, settings
from hypothesis import strategies as st

from isthmus.gateway.policy.evaluate import Facts, Thing, compile_term, outcome
from isthmus.gateway.policy.language import PolicyUnsupported, read_policy
from isthmus.gateway.policy.terms import Entity, Value

ROUNDS = int(os.environ.get("POLICY_FUZZ_ROUNDS", "250"))
"""Each round asks one policy of 32 sets of facts; 31,250 rounds make a million requests."""

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
READING = Entity("Action", "making:read")
ROLES = [Entity("Role", each) for each in ("a", "b", 'c"d')]
TEXTS = ["", "a", "b", "ab", "aab", "a*b", "ünïcode", 'q"uote\\']
NUMBERS = [-(2**63), -1, 0, 1, 5, 22, 2**63 - 1]
DECIMALS = ["0.0", "-1.5", "1.50", "1.5", "999.9999", "922337203685477.5807"]
NETWORKS = ["10.0.0.1", "10.0.0.0/8", "10.1.0.0/16", "192.0.2.7", "::1", "2001:db8::/32", "2001:db8::5"]
ATTRIBUTES = ("flag", "number", "text", "texts", "numbers", "money", "net", "gone")


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def written(value: Value) -> str:  # noqa: PLR0911 - one for each kind of value.
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return quoted(value)
        case Decimal():
            return f'decimal("{value}")'
        case Entity(kind, name):
            return f"{kind}::{quoted(name)}"
        case frozenset():
            return "[" + ", ".join(written(each) for each in sorted(value, key=str)) + "]"
        case _:
            return f'ip("{value}")'


def asked(value: Value) -> object:
    match value:
        case Decimal():
            return {"__extn": {"fn": "decimal", "arg": str(value)}}
        case frozenset():
            return [asked(each) for each in value]
        case bool() | int() | str():
            return value
        case Entity(kind, name):
            return {"__entity": {"type": kind, "id": name}}
        case _:
            return {"__extn": {"fn": "ip", "arg": str(value)}}


TEXT = st.sampled_from(TEXTS)
VALUES: dict[str, Callable[[random.Random], Value]] = {
    "flag": lambda chance: chance.random() < 0.5,
    "number": lambda chance: chance.choice(NUMBERS),
    "text": lambda chance: chance.choice(TEXTS),
    "texts": lambda chance: frozenset(chance.sample(TEXTS, chance.randint(0, 3))),
    "numbers": lambda chance: frozenset(chance.sample(NUMBERS, chance.randint(0, 3))),
    "money": lambda chance: Decimal(chance.choice(DECIMALS)),
    "net": lambda chance: ip_interface(chance.choice(NETWORKS)),
}
LITERALS = st.one_of(
    st.booleans().map(written),
    st.integers(-9, 30).map(written),
    TEXT.map(written),
    st.frozensets(TEXT, max_size=3).map(written),
    st.frozensets(st.integers(0, 9), max_size=3).map(written),
    st.sampled_from(DECIMALS).map(lambda each: f'decimal("{each}")'),
    st.sampled_from(NETWORKS).map(lambda each: f'ip("{each}")'),
    st.sampled_from(ROLES).map(written),
    st.sampled_from(["principal", "action", "resource"]),
)
VARIABLES = st.sampled_from(["principal", "action", "resource"])
BASES = st.sampled_from(["principal", "resource", "context"])
NAMES = st.sampled_from(ATTRIBUTES)
ORDERS = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "&&", "||"])
CALLS = st.sampled_from(
    ["contains", "containsAll", "containsAny", "lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"]
)
PATTERNS = st.sampled_from(["*", "a*", "*b", "a*b", "*a*b*", "a\\*b", "", "a**b"])
FORMS = st.sampled_from(
    [*["order"] * 4, *["call"] * 2, "not", "if", "like", "empty", "range", "family", "has", "in", "is"]
)
KINDS = st.sampled_from(["Caller", "Route", "making::thing"])


@st.composite
def paths(draw: st.DrawFn) -> str:
    return f"{draw(BASES)}.{draw(NAMES)}"


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    @st.composite
    def form(draw: st.DrawFn) -> str:
        a, b = f"({draw(inner)})", f"({draw(inner)})"
        forms = {
            "order": lambda: f"{a} {draw(ORDERS)} {b}",
            "call": lambda: f"{a}.{draw(CALLS)}({b})",
            "not": lambda: f"!{a}",
            "if": lambda: f"if {a} then {b} else ({draw(inner)})",
            "like": lambda: f'{a} like "{draw(PATTERNS)}"',
            "empty": lambda: f"{a}.isEmpty()",
            "range": lambda: f"{a}.isInRange({b})",
            "family": lambda: f"{a}.{draw(st.sampled_from(['isIpv4', 'isIpv6']))}()",
            "has": lambda: f"{draw(BASES)} has {draw(NAMES)}",
            "in": lambda: f"{draw(VARIABLES)} in [{', '.join(map(written, draw(st.lists(st.sampled_from(ROLES)))))}]",
            "is": lambda: f"{draw(VARIABLES)} is {draw(KINDS)}",
        }
        return f"({forms[draw(FORMS)]()})"

    return form()


SOUND = {
    "flag": "{}.flag",
    "number": "{}.number < 5",
    "text": '{}.text like "a*"',
    "texts": '{}.texts.containsAny(["a", ""])',
    "numbers": "{}.numbers.contains(1)",
    "money": '{}.money.lessThan(decimal("1.5"))',
    "net": '{}.net.isInRange(ip("10.0.0.0/8"))',
}


@st.composite
def sound(draw: st.DrawFn) -> str:
    """Return what has no error in it, so that not every policy errs."""
    base, name = draw(BASES), draw(st.sampled_from(sorted(SOUND)))
    return f"({base} has {name} && {SOUND[name].format(base)})"


EXPRESSIONS = st.one_of(
    st.recursive(sound(), grown, max_leaves=4), st.recursive(st.one_of(LITERALS, paths(), sound()), grown, max_leaves=9)
)
PRINCIPALS = st.sampled_from(
    [*["principal"] * 5, 'principal == Caller::"k"', 'principal in Role::"a"', "principal is Caller"]
)
ACTIONS = st.sampled_from(
    [*["action"] * 5, 'action == Action::"GET /x"', 'action in [Action::"making:read", Action::"y"]']
)
RESOURCES = st.sampled_from([*["resource"] * 5, "resource is making::thing", 'resource is Route in Role::"b"'])


@st.composite
def policies(draw: st.DrawFn) -> str:
    scope = f"{draw(PRINCIPALS)}, {draw(ACTIONS)}, {draw(RESOURCES)}"
    when = "".join(f"when {{ {draw(EXPRESSIONS)} }} " for _ in range(draw(st.integers(1, 2))))
    unless = f"unless {{ {draw(EXPRESSIONS)} }}" if draw(st.booleans()) else ""
    return f'@id("fuzzed") @reason("r") {draw(st.sampled_from(["forbid", "permit"]))} ({scope}) {when}{unless};'


def attributes(chance: random.Random) -> dict[str, Value]:
    """Return some of all attributes."""
    return {name: value(chance) for name, value in VALUES.items() if chance.random() < 0.5}


def facts_of_calls(seeded: int) -> list[Facts]:
    """Return eight calls of one caller about one thing, made of a number: drawing each part takes long."""
    chance = random.Random(seeded)
    kind, roles = chance.choice(["Route", "making::thing"]), chance.sample(ROLES, chance.randint(0, len(ROLES)))
    principal = Thing(Entity("Caller", "k"), attributes(chance), frozenset(roles))
    resource = Thing(Entity(kind, "r"), attributes(chance))
    return [Facts(principal, chance.choice(CALLS_MADE), resource, attributes(chance)) for _ in range(8)]


CALLS_MADE = [Thing(Entity("Action", each), {}, frozenset({READING})) for each in ("GET /x", "POST /x")]
FACTS = st.integers(0, 2**64 - 1).map(facts_of_calls)


def cedars_outcomes(text: str, many: list[Facts]) -> list[str]:
    """Return for each call whether Cedar finds that the policy applies, or errs."""
    entities = [
        {
            "uid": {"type": each.entity.type, "id": each.entity.id},
            "attrs": {name: asked(value) for name, value in each.attributes.items()},
            "parents": [{"type": one.type, "id": one.id} for one in each.above],
        }
        for each in (many[0].principal, *CALLS_MADE, many[0].resource)
    ]
    requests = [
        {
            "principal": {"type": "Caller", "id": "k"},
            "action": {"type": "Action", "id": facts.action.entity.id},
            "resource": {"type": facts.resource.entity.type, "id": "r"},
            "context": {name: asked(value) for name, value in facts.context.items()},
        }
        for facts in many
    ]
    answers = cedarpy.is_authorized_batch(requests, text, entities)  # pyright: ignore[reportUnknownMemberType]  # Cedar types its arguments loosely.
    return ["errs" if each.diagnostics.errors else "holds" if each.diagnostics.reasons else "fails" for each in answers]


@settings(max_examples=ROUNDS, deadline=None, suppress_health_check=QUIET)
@given(policies(), st.lists(FACTS, min_size=4, max_size=4))
def test_every_policy_that_is_read_answers_as_cedar_does(text: str, callers: list[list[Facts]]) -> None:
    try:
        compiled = compile_term(read_policy(text).term)
    except PolicyUnsupported:
        return reject()
    for many in callers:
        assert [outcome(compiled, facts) for facts in many] == cedars_outcomes(text, many), (text, many)
    return None


def test_the_random_policies_meet_every_outcome() -> None:
    """Fuzzing proves nothing where all policies err."""
    met = Counter[str]()

    @seed(7)
    @settings(max_examples=300, deadline=None, database=None, suppress_health_check=QUIET)
    @given(policies(), FACTS)
    def meet(text: str, many: list[Facts]) -> None:
        met.update(cedars_outcomes(text, many[:1]))

    meet()
    assert set(met) == {"holds", "fails", "errs"}
    assert min(met.values()) > 10, met

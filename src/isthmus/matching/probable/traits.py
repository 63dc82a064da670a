"""What is compared between two rows, and how: SQL for DuckDB that makes values comparable and tells levels of likeness.

A trait has a kind. Each kind makes columns out of the value as given (`email` gives `email`, `email_local`, …), block
keys out of those, and one of several levels for two rows; level 0 always says that a value is absent, and tells
nothing. A level of equal values is told apart by how rare the value is, in steps of half a decade.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from isthmus.matching.probable.words import FREE_MAIL, LEGAL_FORMS, ROLE_ACCOUNTS

RARITIES = 12
OWN_MIN = 3
LIKE_GIVEN, LIKE_FAMILY, LIKE_MAIL, LIKE_COMPANY, LIKE_WORDS = 0.88, 0.91, 0.93, 0.92, 0.9
"""From which Jaro–Winkler similarity two values are alike, by what they are."""
_Made: TypeAlias = list[tuple[str, str]]


class Kind(StrEnum):
    """What sort of value a trait is."""

    GIVEN = "given"
    FAMILY = "family"
    EMAIL = "email"
    NUMBER = "number"
    ORGANISATION = "organisation"
    WORDS = "words"


@dataclass(frozen=True)
class Trait:
    """A column of rows, and what sort of value it holds."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class Plan:
    """What is compared. `blocks` are lists of columns: rows that agree in all columns of one are compared."""

    traits: tuple[Trait, ...]
    blocks: tuple[tuple[str, ...], ...]

    def of(self, kind: Kind) -> str | None:
        """Return the name of the first trait of a kind."""
        return next((each.name for each in self.traits if each.kind is kind), None)


def columns(trait: Trait, plan: Plan) -> _Made:
    """Return the columns made of a trait, each with its SQL over `raw_<name>` and the columns before it."""
    return _COLUMNS[trait.kind](trait.name, plan)


def sentences(trait: Trait) -> tuple[str, ...]:
    """Return what each level of a trait says, from level 1 on; the levels after them say that the values are equal."""
    return tuple(each.format(name=trait.name.replace("_", " ")) for each in _SENTENCES[trait.kind])


def radix(trait: Trait) -> int:
    """Return how many levels a trait has: absent, those of `sentences`, and the rarities of equality."""
    return 1 + len(sentences(trait)) + RARITIES


def groups(trait: Trait) -> tuple[tuple[int, ...], ...]:
    """Return the levels that stand against each other, where another trait tells which group a pair falls in.

    Whether two mailboxes are of one domain is told by the organisation; here the mailbox alone speaks.
    """
    if trait.kind is not Kind.EMAIL:
        return ()
    equal = len(sentences(trait)) + 1
    return ((1, 5, *range(equal, equal + RARITIES)), (2, 3, 4, 6))


def level(trait: Trait, plan: Plan) -> str:
    """Return the SQL that tells the level of two rows `a` and `b`; equality is the last level plus its rarity."""
    name = trait.name
    a, b = f"a.{name}", f"b.{name}"
    absent = f"when {a} is null or {b} is null then 0"
    place = plan.of(Kind.ORGANISATION)
    if trait.kind is Kind.WORDS and place is not None:
        absent += f" when a.{place}_word = b.{place}_word then 0"
    private = f"when {a} = {b} and a.{name}_private then 6 " if trait.kind is Kind.EMAIL else ""
    equal = f"when {a} = {b} then {len(sentences(trait)) + 1} + a.{name}_rarity"
    return f"case {absent} {private}{equal} {_LIKENESS[trait.kind](name, plan)} else 1 end"


def block_keys(plan: Plan) -> Sequence[str]:
    """Return the SQL of each block's key, null where one of its columns is."""
    return [f"'{number}|' || " + " || '|' || ".join(block) for number, block in enumerate(plan.blocks)]


def _given(name: str, plan: Plan) -> _Made:
    del plan
    return [
        (name, f"nullif({_letters(name)}, '')"),
        (f"{name}_root", f"coalesce((select root from roots where form = {name}), {name})"),  # noqa: S608 - names of the plan.
        (f"{name}_letter", f"left({name}, 1)"),
    ]


def _family(name: str, plan: Plan) -> _Made:
    del plan
    rest = f"translate(substr({name}, 2), 'zckqgjdvwbh', 'ssskkkktfff')"
    return [
        (name, f"nullif({_letters(name)}, '')"),
        (f"{name}_sound", f"left({name}, 1) || left(regexp_replace({rest}, '[aeiouy]', '', 'g'), 4)"),
    ]


def _email(name: str, plan: Plan) -> _Made:
    plain = f"lower(trim(raw_{name}))"
    local, domain = f"split_part({plain}, '@', 1)", f"split_part({plain}, '@', 2)"
    free = ", ".join(f"'{each}'" for each in FREE_MAIL)
    roles = ", ".join(f"'{each}'" for each in ROLE_ACCOUNTS)
    return [
        (name, f"case when {plain} like '%_@_%' and {local} not in ({roles}) then {plain} end"),
        (f"{name}_local", f"split_part({name}, '@', 1)"),
        (f"{name}_private", f"split_part({name}, '@', 2) in ({free})"),
        (f"{name}_domain", f"case when {domain} not in ({free}) then nullif({domain}, '') end"),
        (f"{name}_own", f"case when length({_beside_names(name, plan)}) >= {OWN_MIN} then {name}_local end"),
    ]


def _number(name: str, plan: Plan) -> _Made:
    del plan
    digits = f"right(regexp_replace(raw_{name}, '[^0-9]', '', 'g'), 9)"
    return [(name, f"case when length({digits}) >= 4 then {digits} end")]


def _organisation(name: str, plan: Plan) -> _Made:
    del plan
    bare = f"trim(regexp_replace(' ' || {_words(name)} || ' ', '( ({LEGAL_FORMS}))+ ', ' ', 'g'))"
    return [(name, f"nullif({bare}, '')"), (f"{name}_word", f"split_part({name}, ' ', 1)")]


def _plain_words(name: str, plan: Plan) -> _Made:
    del plan
    return [(name, f"nullif({_words(name)}, '')")]


def _letters(name: str) -> str:
    return f"regexp_replace(lower(strip_accents(raw_{name})), '[^\\pL]', '', 'g')"


def _words(name: str) -> str:
    return f"trim(regexp_replace(lower(strip_accents(raw_{name})), '[^\\pL0-9]+', ' ', 'g'))"


def _beside_names(name: str, plan: Plan) -> str:
    """Return the SQL of what a mailbox has beside the names of its holder, who may share them with others."""
    left = f"regexp_replace(strip_accents({name}_local), '[^\\pL0-9]', '', 'g')"
    for trait in plan.traits:
        if trait.kind in (Kind.FAMILY, Kind.GIVEN):
            left = f"replace({left}, coalesce({trait.name}, ' '), '')"
    return left


def _like_given(name: str, plan: Plan) -> str:
    del plan
    return (
        f"when a.{name}_root = b.{name}_root then 4"
        f" when (length(a.{name}) = 1 or length(b.{name}) = 1) and a.{name}_letter = b.{name}_letter then 3"
        f" when jaro_winkler_similarity(a.{name}, b.{name}) >= {LIKE_GIVEN} then 2"
    )


def _like_family(name: str, plan: Plan) -> str:
    del plan
    return f"when jaro_winkler_similarity(a.{name}, b.{name}) >= {LIKE_FAMILY} then 2"


def _like_email(name: str, plan: Plan) -> str:
    del plan
    return (
        f"when a.{name}_own = b.{name}_own and a.{name}_domain is distinct from b.{name}_domain then 4"
        f" when abs(length(a.{name}) - length(b.{name})) <= 1"
        f" and jaro_winkler_similarity(a.{name}, b.{name}) > {LIKE_MAIL}"
        f" and damerau_levenshtein(a.{name}, b.{name}) <= 1 then 5"
        f" when a.{name}_private or b.{name}_private then 3"
        f" when a.{name}_domain <> b.{name}_domain then 2"
    )


def _like_number(name: str, plan: Plan) -> str:
    del plan
    return f"when damerau_levenshtein(a.{name}, b.{name}) <= 1 then 2"


def _like_organisation(name: str, plan: Plan) -> str:
    mail = plan.of(Kind.EMAIL)
    domain = "" if mail is None else f"when a.{mail}_domain = b.{mail}_domain then 3 "
    alike = f"jaro_winkler_similarity(a.{name}, b.{name}) >= {LIKE_COMPANY}"
    return f"{domain}when a.{name}_word = b.{name}_word or {alike} then 2"


def _like_words(name: str, plan: Plan) -> str:
    del plan
    return f"when jaro_winkler_similarity(a.{name}, b.{name}) >= {LIKE_WORDS} then 2"


_COLUMNS: dict[Kind, Callable[[str, Plan], _Made]] = {
    Kind.GIVEN: _given,
    Kind.FAMILY: _family,
    Kind.EMAIL: _email,
    Kind.NUMBER: _number,
    Kind.ORGANISATION: _organisation,
    Kind.WORDS: _plain_words,
}
_LIKENESS: dict[Kind, Callable[[str, Plan], str]] = {
    Kind.GIVEN: _like_given,
    Kind.FAMILY: _like_family,
    Kind.EMAIL: _like_email,
    Kind.NUMBER: _like_number,
    Kind.ORGANISATION: _like_organisation,
    Kind.WORDS: _like_words,
}
_SENTENCES: dict[Kind, tuple[str, ...]] = {
    Kind.GIVEN: ("another {name}", "alike {name}", "same initial of {name}", "another form of the {name}"),
    Kind.FAMILY: ("another {name}", "alike {name}"),
    Kind.EMAIL: (
        "another mailbox of the domain",
        "mailboxes at two organisations",
        "another mailbox",
        "same distinctive mailbox elsewhere",
        "nearly the same {name}",
        "same private {name}",
    ),
    Kind.NUMBER: ("another {name}", "nearly the same {name}"),
    Kind.ORGANISATION: ("another {name}", "alike {name}", "same domain"),
    Kind.WORDS: ("another {name}", "alike {name}"),
}

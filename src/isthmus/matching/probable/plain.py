"""Values made comparable and levels of two rows in Python: the same as the SQL of `traits`, for single rows."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import TypeAlias

from isthmus.matching.probable.likeness import jaro_winkler, within_one_edit
from isthmus.matching.probable.nicknames import roots
from isthmus.matching.probable.traits import (
    LIKE_COMPANY,
    LIKE_FAMILY,
    LIKE_GIVEN,
    LIKE_MAIL,
    LIKE_WORDS,
    OWN_MIN,
    Kind,
    Plan,
    Trait,
    sentences,
)
from isthmus.matching.probable.words import FREE_MAIL, LEGAL_FORMS, ROLE_ACCOUNTS

Columns: TypeAlias = dict[str, str | None]
_ROOTS = dict(roots())
_FREE, _ROLES = frozenset(FREE_MAIL), frozenset(ROLE_ACCOUNTS)
_SOUNDS = str.maketrans("zckqgjdvwbh", "ssskkkktfff")
_LEGAL = re.compile(f"( ({LEGAL_FORMS}))+ ")
_VOWELS = re.compile("[aeiouy]")
_DIGITS_MIN, _DIGITS = 4, 9


def plain(plan: Plan, values: Mapping[str, str | None]) -> Columns:
    """Return the columns that are made of a row's values."""
    made: Columns = {}
    for trait in plan.traits:
        _MADE[trait.kind](trait.name, values.get(trait.name) or "", made)
    for trait in plan.traits:
        local = made.get(f"{trait.name}_local")
        if trait.kind is Kind.EMAIL and local is not None:
            made[f"{trait.name}_own"] = local if len(_beside_names(local, plan, made)) >= OWN_MIN else None
    return made


def keys(plan: Plan, row: Columns) -> list[str]:
    """Return the block keys of a row."""
    found: list[str] = []
    for number, block in enumerate(plan.blocks):
        parts = [part for name in block if (part := row.get(name)) is not None]
        if len(parts) == len(block):
            found.append(f"{number}|" + "|".join(parts))
    return found


def level(trait: Trait, plan: Plan, a: Columns, b: Columns, *, rarity: Callable[[str, str], int]) -> int:
    """Return the level of two rows; `rarity` tells how rare a value of a trait is."""
    name = trait.name
    mine, other = a.get(name), b.get(name)
    place = plan.of(Kind.ORGANISATION)
    if mine is None or other is None:
        return 0
    if trait.kind is Kind.WORDS and place is not None and _same(a, b, f"{place}_word"):
        return 0
    if mine == other:
        private = trait.kind is Kind.EMAIL and a.get(f"{name}_private") is not None
        return len(sentences(trait)) if private else len(sentences(trait)) + 1 + rarity(name, mine)
    if trait.kind is Kind.ORGANISATION:
        mail = plan.of(Kind.EMAIL)
        if mail is not None and _same(a, b, f"{mail}_domain"):
            return 3
    return _LIKENESS[trait.kind](name, a, b, mine, other)


def _same(a: Columns, b: Columns, name: str) -> bool:
    mine = a.get(name)
    return mine is not None and mine == b.get(name)


def _letters(text: str) -> str:
    return "".join(each for each in _bare(text) if each.isalpha())


def _words(text: str) -> str:
    return " ".join("".join(c if c.isalpha() or c in "0123456789" else " " for c in _bare(text)).split())


def _bare(text: str) -> str:
    if text.isascii():
        return text.lower()
    split = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in split if unicodedata.category(c) != "Mn")).lower()


def _given(name: str, text: str, made: Columns) -> None:
    own = _letters(text) or None
    made[name] = own
    made[f"{name}_root"] = None if own is None else _ROOTS.get(own, own)
    made[f"{name}_letter"] = None if own is None else own[0]


def _family(name: str, text: str, made: Columns) -> None:
    own = _letters(text) or None
    made[name] = own
    made[f"{name}_sound"] = None if own is None else own[0] + _VOWELS.sub("", own[1:].translate(_SOUNDS))[:4]


def _email(name: str, text: str, made: Columns) -> None:
    address = text.strip(" ").lower()
    local, _, rest = address.partition("@")
    domain = rest.partition("@")[0]
    known = bool(local) and bool(rest) and local not in _ROLES
    made[name] = address if known else None
    made[f"{name}_local"] = local if known else None
    made[f"{name}_private"] = "yes" if known and domain in _FREE else None
    made[f"{name}_domain"] = None if domain in _FREE or not domain else domain


def _number(name: str, text: str, made: Columns) -> None:
    digits = "".join(each for each in text if each in "0123456789")[-_DIGITS:]
    made[name] = digits if len(digits) >= _DIGITS_MIN else None


def _organisation(name: str, text: str, made: Columns) -> None:
    own = _LEGAL.sub(" ", f" {_words(text)} ").strip() or None
    made[name] = own
    made[f"{name}_word"] = None if own is None else own.split(" ")[0]


def _plain_words(name: str, text: str, made: Columns) -> None:
    made[name] = _words(text) or None


def _beside_names(local: str, plan: Plan, made: Columns) -> str:
    split = unicodedata.normalize("NFD", local)
    left = "".join(c for c in split if c.isalpha() or c in "0123456789")
    for trait in plan.traits:
        if trait.kind in (Kind.FAMILY, Kind.GIVEN) and (own := made[trait.name]):
            left = left.replace(own, "")
    return left


def _like_given(name: str, a: Columns, b: Columns, mine: str, other: str) -> int:
    if _same(a, b, f"{name}_root"):
        return 4
    if (len(mine) == 1 or len(other) == 1) and _same(a, b, f"{name}_letter"):
        return 3
    return 2 if jaro_winkler(mine, other) >= LIKE_GIVEN else 1


def _like_family(name: str, a: Columns, b: Columns, mine: str, other: str) -> int:
    del name, a, b
    return 2 if jaro_winkler(mine, other) >= LIKE_FAMILY else 1


def _like_email(name: str, a: Columns, b: Columns, mine: str, other: str) -> int:
    domain = f"{name}_domain"
    if _same(a, b, f"{name}_own") and a.get(domain) != b.get(domain):
        return 4
    if within_one_edit(mine, other) and jaro_winkler(mine, other) > LIKE_MAIL:
        return 5
    if a.get(f"{name}_private") is not None or b.get(f"{name}_private") is not None:
        return 3
    return 1 if _same(a, b, domain) else 2


def _like_number(name: str, a: Columns, b: Columns, mine: str, other: str) -> int:
    del name, a, b
    return 2 if within_one_edit(mine, other) else 1


def _like_organisation(name: str, a: Columns, b: Columns, mine: str, other: str) -> int:
    return 2 if _same(a, b, f"{name}_word") or jaro_winkler(mine, other) >= LIKE_COMPANY else 1


def _like_words(name: str, a: Columns, b: Columns, mine: str, other: str) -> int:
    del name, a, b
    return 2 if jaro_winkler(mine, other) >= LIKE_WORDS else 1


_MADE: dict[Kind, Callable[[str, str, Columns], None]] = {
    Kind.GIVEN: _given,
    Kind.FAMILY: _family,
    Kind.EMAIL: _email,
    Kind.NUMBER: _number,
    Kind.ORGANISATION: _organisation,
    Kind.WORDS: _plain_words,
}
_LIKENESS: dict[Kind, Callable[[str, Columns, Columns, str, str], int]] = {
    Kind.GIVEN: _like_given,
    Kind.FAMILY: _like_family,
    Kind.EMAIL: _like_email,
    Kind.NUMBER: _like_number,
    Kind.ORGANISATION: _like_organisation,
    Kind.WORDS: _like_words,
}

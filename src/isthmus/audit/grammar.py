"""The language of the audit search: `actor:key_01J… action:key.* since:7d -resource:session "free text"`.

Terms stand side by side and all must hold; of several terms of one field one must hold. A minus before a term turns it
round. `*` stands for any characters. What is no `field:value` is looked for everywhere, without regard to case.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import LiteralString
from uuid import UUID

from isthmus.kernel.errors import Fault, Invalid
from isthmus.kernel.ids import InvalidId, uuid_of

TERMS_MAX = 50
CHARACTERS_MAX = 1_000
FIELDS: tuple[str, ...] = (
    *("actor", "action", "resource", "record", "request", "behalf"),
    *("purpose", "network", "decision", "policy", "status", "since", "until"),
)
_TERM = re.compile(r'(?P<minus>-?+)(?:(?P<field>[A-Za-z_]+):)?(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s"]+))')
_AGE = re.compile(r"(\d{1,6})(s|min|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_YEARS_MAX = timedelta(days=36_500)
_OUTSIDE_ID = re.compile(r"([a-z]+(?:_[a-z]+)*)_([0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{26})")
_KINDS = {"key": "key", "sess": "session", "tok": "token", "user": "user"}
_COLUMNS: dict[str, tuple[LiteralString, LiteralString]] = {
    "actor": ("actor = %s", "actor like %s"),
    "action": ("action = %s", "action like %s"),
    "resource": ("resource = %s", "resource like %s"),
    "request": ("request_id = %s", "request_id like %s"),
    "behalf": ("on_behalf_of = %s", "on_behalf_of like %s"),
    "purpose": ("purpose = %s", "purpose like %s"),
    "network": ("network = %s", "network like %s"),
    "status": ("decision->>'status' = %s", "decision->>'status' like %s"),
    "policy": (
        "coalesce(decision->'reasons', '[]') @> to_jsonb(array[%s::text])",
        "exists (select from jsonb_array_elements_text(coalesce(decision->'reasons', '[]')) r (n) where r.n like %s)",
    ),
}
_ANYWHERE: LiteralString = (
    "concat_ws(' ', actor, on_behalf_of, action, resource, record_id::text, request_id, purpose, details::text)"
    " ilike %s"
)
_DECISIONS: dict[str, LiteralString] = {
    "denied": "coalesce((decision->>'status')::int, 0) >= 400 and %s::text is not null",
    "allowed": "coalesce((decision->>'status')::int, 0) < 400 and %s::text is not null",
}


class InvalidSearch(Invalid):
    """The search is not written as the audit log understands it."""

    code, title = "invalid-search", "The search cannot be read"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition on rows of the log, with the values that are bound into it, in order."""

    sql: LiteralString
    values: tuple[object, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Term:
    field: str
    value: str
    minus: bool
    exact: bool
    place: int


def parse(text: str, *, now: datetime, pointer: str = "/q") -> Condition:
    """Return the condition that a search means; an empty one lets everything through. Raises InvalidSearch."""
    if len(text) > CHARACTERS_MAX:
        raise _wrong(f"The search is over {CHARACTERS_MAX} characters.", pointer, fix="Make it shorter.")
    terms = _terms(text, pointer)
    wanted: dict[str, list[Condition]] = defaultdict(list)
    every: list[Condition] = []
    for term in terms:
        found = _condition(term, now, pointer)
        if term.minus:
            every.append(Condition(sql="not coalesce(" + found.sql + ", false)", values=found.values))
        elif term.field in {"", "since", "until"}:
            every.append(found)
        else:
            wanted[term.field].append(found)
    every += [_joined(each, " or ") for each in wanted.values()]
    return _joined(every, " and ") if every else Condition(sql="true")


def _joined(conditions: Sequence[Condition], word: LiteralString) -> Condition:
    parts: list[LiteralString] = ["(" + each.sql + ")" for each in conditions]
    return Condition(sql=word.join(parts), values=tuple(v for each in conditions for v in each.values))


def _terms(text: str, pointer: str) -> list[_Term]:
    terms: list[_Term] = []
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        match = _TERM.match(text, place)
        if match is None:
            what = "A quotation mark is not closed" if '"' in text[place:] else "Nothing stands after the minus"
            raise _wrong(f"{what}, at character {place + 1}.", pointer, fix='Write "free text" in two marks.')
        terms.append(_term(match, pointer))
        place = match.end()
        if place < len(text) and not text[place].isspace():
            raise _wrong(f"Two terms touch at character {place + 1}.", pointer, fix="Put a space between them.")
        if len(terms) > TERMS_MAX:
            raise _wrong(f"The search has over {TERMS_MAX} terms.", pointer, fix="Use fewer.")
    return terms


def _term(match: re.Match[str], pointer: str) -> _Term:
    name, quoted, place = (match["field"] or "").lower(), match["quoted"], match.start() + 1
    value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match["bare"]
    if quoted is None and not name and value.endswith(":") and value[:-1].lower() in FIELDS:
        raise _wrong(f"{value} at character {place} has no value.", pointer, fix=f"Write it as {value}something.")
    if name and name not in FIELDS:
        known = ", ".join(FIELDS)
        raise _wrong(f"There is no field {name!r}, at character {place}.", pointer, fix=f"Fields are {known}.")
    if not value or "\0" in value:
        raise _wrong(f"A term at character {place} is empty.", pointer, fix="Leave it out.")
    return _Term(field=name, value=value, minus=bool(match["minus"]), exact=quoted is not None, place=place)


def _condition(term: _Term, now: datetime, pointer: str) -> Condition:
    if not term.field:
        return Condition(sql=_ANYWHERE, values=(f"%{_escaped(term.value)}%",))
    if term.field in {"since", "until"}:
        later = term.field == "since"
        return Condition(sql="at >= %s" if later else "at < %s", values=(_moment(term, now, pointer),))
    if term.field == "record":
        return Condition(sql="record_id = %s", values=(_record(term, pointer),))
    if term.field == "decision":
        return Condition(sql=_decision(term, pointer), values=(term.value,))
    equal, like = _COLUMNS[term.field]
    value = _inside(term.value) if term.field in {"actor", "behalf"} else term.value
    if "*" in value and not term.exact:
        return Condition(sql=like, values=(_escaped(value).replace("*", "%"),))
    return Condition(sql=equal, values=(value,))


def _decision(term: _Term, pointer: str) -> LiteralString:
    if (sql := _DECISIONS.get(term.value)) is None:
        detail = f"decision:{term.value} is unknown, at character {term.place}."
        raise _wrong(detail, pointer, fix="Write decision:denied or decision:allowed.")
    return sql


def _inside(value: str) -> str:
    """Return an actor as the log names it, when it is given by the id that people see."""
    found = _OUTSIDE_ID.fullmatch(value)
    if found is None or (kind := _KINDS.get(found[1])) is None:
        return value
    return f"{kind}:{uuid_of(found[1], value)}"


def _record(term: _Term, pointer: str) -> UUID:
    try:
        found = _OUTSIDE_ID.fullmatch(term.value)
        return uuid_of(found[1], term.value) if found else UUID(term.value)
    except (ValueError, InvalidId) as error:
        raise _wrong(
            f"{term.value!r} is no id of a record, at character {term.place}.", pointer, fix="Write record:lead_01J…"
        ) from error


def _moment(term: _Term, now: datetime, pointer: str) -> datetime:
    """Return a moment given as an age (7d, 12h, 30min), a day, or a time; a time without zone is UTC."""
    if age := _AGE.fullmatch(term.value):
        length = timedelta(seconds=int(age[1]) * _SECONDS[age[2]])
        if length <= _YEARS_MAX:
            return now - length
    try:
        found = datetime.fromisoformat(term.value)
    except ValueError as error:
        raise _wrong(
            f"{term.field}:{term.value} is no time, at character {term.place}.",
            pointer,
            fix="Write an age (7d, 12h, 30min), a day (2026-11-22) or a time (2026-11-22T06:00:00Z).",
        ) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _escaped(value: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", value)


def _wrong(detail: str, pointer: str, *, fix: str) -> InvalidSearch:
    fault = Fault(pointer=pointer, code=InvalidSearch.code, detail=detail)
    return InvalidSearch(detail, fix=fix, faults=(fault,))

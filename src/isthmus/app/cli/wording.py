"""How commands write values, ids, moments and lengths of time, and how they read them."""

from __future__ import annotations

import re
import shutil
import textwrap
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import click
import msgspec

from isthmus.console import words
from isthmus.kernel.errors import NotFound
from isthmus.kernel.ids import InvalidId, text_of, uuid_of
from isthmus.store.prepare import canonical_amount

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from isthmus.kernel.marks import Field, Json

_LINE_MIN = 60
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?P<number>\d{1,6})(?P<unit>[smhdw])")
_MONEY = re.compile(r"(?P<amount>-?[\d,_ ]+(?:\.\d+)?) ?(?P<currency>[A-Za-z]{3})")


class NoSuchId(NotFound):
    """The id is of another kind, or mistyped."""

    code, title = "no-such-id", "There is nothing with this id"


class Duration(click.ParamType[timedelta]):
    """A length of time such as 90s, 15m, 12h, 30d or 2w."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the length; fails with the form that is expected."""
        if isinstance(value, timedelta):
            return value
        match = _DURATION.fullmatch(str(value).strip())
        if match is None or not int(match["number"]):
            self.fail(f"{value!r} is no length of time. Give one such as 90s, 15m, 12h, 30d or 2w.", param, ctx)
        return timedelta(seconds=int(match["number"]) * _SECONDS[match["unit"]])


def short_length(seconds: int) -> str:
    """Return a length of time in the form in which it is given: `900` is `15m`."""
    for unit, size in sorted(_SECONDS.items(), key=lambda each: -each[1]):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def moment(at: datetime | None) -> str:
    """Return a moment to the minute, in UTC."""
    return at.strftime("%Y-%m-%d %H:%M") if at is not None else ""


def json_moment(at: datetime | None) -> str | None:
    """Return a moment as RFC 3339 in UTC."""
    return at.isoformat().replace("+00:00", "Z") if at is not None else None


def value_text(value: Json) -> str:
    """Return a value of a field on one line; what is absent is a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict) and isinstance(amount := value.get("amount"), str):
        currency = str(value.get("currency"))
        return f"{Decimal(canonical_amount(Decimal(amount), currency)):,} {currency}"
    if isinstance(value, str):
        return " ".join(value.split())
    return msgspec.json.encode(value).decode()


def value_of(text: str, *, field: Field) -> Json:
    """Return what a person typed as a value of a field; whether it fits is for the store to say."""
    if text.strip().lower() in {"", "null"}:
        return None
    match field.column:
        case "money":
            return _money(text)
        case "bigint" | "double precision" | "jsonb":
            try:
                return msgspec.json.decode(text.encode())
            except msgspec.DecodeError:
                return text
        case "boolean":
            return {"yes": True, "true": True, "no": False, "false": False}.get(text.strip().lower(), text)
        case _:
            return text


def _money(text: str) -> Json:
    match = _MONEY.fullmatch(text.strip())
    try:
        amount = Decimal(re.sub(r"[,_ ]", "", match["amount"])) if match else None
    except InvalidOperation:
        amount = None
    if match is None or amount is None:
        raise click.UsageError(f"{text!r} is no amount of money. Give one such as '48000 EUR'.")
    return {"amount": format(amount, "f"), "currency": match["currency"].upper()}


def id_text(prefix: str, own: UUID) -> str:
    """Return an id as it is shown."""
    return text_of(prefix, own)


def id_of(prefix: str, text: str, *, fix: str) -> UUID:
    """Return the id that was typed, with or without its prefix; raises NoSuchId."""
    whole = text if text.startswith(f"{prefix}_") else f"{prefix}_{text}"
    try:
        return uuid_of(prefix, whole)
    except InvalidId as error:
        raise NoSuchId(f"{text!r} is not an id of the form {prefix}_….", fix=fix) from error


def paragraph(text: str, *, head: str) -> str:
    """Return a head and a text that is wrapped to the terminal, indented under its beginning."""
    width = max(_LINE_MIN, shutil.get_terminal_size().columns)
    return textwrap.fill(
        text,
        width,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


def ago(at: datetime | None, *, now: datetime) -> str:
    """Return how long ago something was."""
    return words.ago(at, now=now)


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """Return a count with its noun."""
    return words.counted(count, singular, plural)

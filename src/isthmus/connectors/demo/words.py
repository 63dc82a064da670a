"""The pieces of a mapping: columns, words, amounts, and how the fake systems write times and shares."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from isthmus.kernel.marks import Json


def as_is(value: Json) -> Json:
    """Return the value."""
    return value


@dataclass(frozen=True)
class Column:
    """A field of ours and the column of theirs; without `write` it is only read."""

    ours: str
    theirs: str
    read: Callable[[Json], Json] = as_is
    write: Callable[[Json], Json] | None = as_is


@dataclass(frozen=True)
class Words:
    """Their words and ours, one to one; a word that is not listed stays as it is, for the store to judge."""

    ours_of: dict[str, str]
    _theirs_of: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Turn the list round once."""
        object.__setattr__(self, "_theirs_of", {ours: theirs for theirs, ours in self.ours_of.items()})

    def read(self, value: Json) -> Json:
        """Return our word."""
        return self.ours_of.get(value, value) if isinstance(value, str) else value

    def write(self, value: Json) -> Json:
        """Return their word."""
        return self._theirs_of.get(value, value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Amount:
    """Money of theirs in two columns. `cents`: whole cents and small letters; `number`: a JSON number, not text."""

    ours: str
    theirs: str
    currency: str
    cents: bool = False
    number: bool = False

    def read(self, body: dict[str, Json]) -> Json:
        """Return money as we write it; an amount that is no number stays as it is."""
        value, currency = body[self.theirs], body.get(self.currency)
        if value is None:
            return None
        try:
            amount = Decimal(str(value)) / 100 if self.cents else Decimal(str(value))
        except InvalidOperation:
            return {"amount": value, "currency": currency}
        code = currency.upper() if self.cents and isinstance(currency, str) else currency
        return {"amount": f"{amount:.2f}" if amount.is_finite() else str(value), "currency": code}

    def write(self, value: Json) -> dict[str, Json]:
        """Return their two columns; no money is null, and leaves their currency alone."""
        if not isinstance(value, dict):
            return {self.theirs: None}
        amount, currency = Decimal(str(value["amount"])), value["currency"]
        if self.cents:
            return {self.theirs: int(amount * 100), self.currency: str(currency).lower()}
        return {self.theirs: float(amount) if self.number else f"{amount:.2f}", self.currency: currency}


def won(value: Json) -> Json:
    """Return whether a stage of the customer system is a won one; null while the deal is open."""
    return {"Closed Won": True, "Closed Lost": False}.get(value) if isinstance(value, str) else None


def percent_read(value: Json) -> Json:
    """Return a share of 0 to 1 from 0 to 100."""
    return value / 100 if isinstance(value, int | float) else value


def percent_write(value: Json) -> Json:
    """Return 0 to 100 from a share of 0 to 1."""
    return round(value * 100) if isinstance(value, int | float) else value


def thousandths(value: Json) -> Json:
    """Return seconds from milliseconds."""
    return value / 1000 if isinstance(value, int | float) else value


def seconds_moment(value: Json) -> Json:
    """Return a moment from Unix seconds."""
    return datetime.fromtimestamp(value, tz=UTC).isoformat() if isinstance(value, int | float) else value


def seconds_day(value: Json) -> Json:
    """Return the day in UTC from Unix seconds."""
    return f"{datetime.fromtimestamp(value, tz=UTC):%Y-%m-%d}" if isinstance(value, int | float) else value


def first(value: Json) -> Json:
    """Return the first of a list."""
    return value[0] if isinstance(value, list) and value else None


def first_word(value: Json) -> Json:
    """Return what stands before the first space."""
    return value.partition(" ")[0] if isinstance(value, str) else value


def other_words(value: Json) -> Json:
    """Return what stands after the first space, or null."""
    return (value.partition(" ")[2] or None) if isinstance(value, str) else value


def rating(value: Json) -> Json:
    """Return satisfaction on our scale of 0 to 10 from the desk's two words."""
    return {"good": 10.0, "bad": 2.0}.get(value) if isinstance(value, str) else None


CRM_STAGES = Words(
    {
        "Qualification": "qualification",
        "Needs Analysis": "needs_analysis",
        "Proposal/Price Quote": "proposal",
        "Negotiation/Review": "negotiation",
        "Closed Won": "closed_won",
        "Closed Lost": "closed_lost",
    }
)
CRM_STATUSES = Words(
    {
        "Open - Not Contacted": "new",
        "Working - Contacted": "working",
        "Qualified": "qualified",
        "Closed - Converted": "converted",
        "Closed - Not Converted": "disqualified",
    }
)
CRM_SOURCES = Words(
    {
        "Web Form": "form_submission",
        "Newsletter": "email_signup",
        "Webinar": "webinar_registration",
        "Purchased List": "list_import",
        "API": "api",
    }
)
CRM_KINDS = Words({"Customer": "customer", "Prospect": "prospect", "Former Customer": "former_customer"})
CRM_ACTIVITIES = Words({"Call": "call", "Email": "email", "Meeting": "meeting", "Task": "task", "Note": "note"})
MARKETING_STATES = Words({"draft": "planned", "running": "active", "stopped": "paused", "finished": "completed"})
MARKETING_SOURCES = Words({"form": "form_submission", "newsletter": "email_signup", "webinar": "webinar_registration"})
MARKETING_CONSENTS = Words({"opted_in": "granted", "opted_out": "withdrawn", "pending": "unknown"})

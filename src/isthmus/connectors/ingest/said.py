"""What an event says, whichever library sent it; and what the libraries' events have in common."""

from collections.abc import Callable, Mapping
from datetime import datetime

from msgspec import Struct

from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.marks import Json

PAGE, SCREEN = "page", "screen"
COMPANY_KEYS = ("company", "organization", "organisation", "account", "customer", "workspace", "team")


class NotUnderstood(IsthmusError):
    """An event says nothing that can be kept; its neighbours are not touched by that."""

    status, code, title = 422, "event-not-understood", "The event cannot be understood"


class Batch(Struct, frozen=True, kw_only=True):
    """Events as they were sent together; `sent` is when, by the sender's clock."""

    events: list[Json]
    sent: datetime | None = None


class Said(Struct, frozen=True, kw_only=True):
    """What one event says.

    `event` is the name of what somebody did, or nothing where it only says who somebody is. `person` is the id under
    which the product knows them, `anonymous` one from before it knew; both together say that they are one. `account`
    is the group that they belong to. Traits say something of the person or the account.
    """

    id: str
    at: datetime
    event: str | None = None
    person: str | None = None
    anonymous: str | None = None
    traits: dict[str, Json] | None = None
    account: str | None = None
    account_traits: dict[str, Json] | None = None
    properties: dict[str, Json] = {}
    session: str | None = None
    duration_s: float | None = None


def named(value: Json, *, what: str = "event") -> str:
    """Return the name of an event; raises NotUnderstood where there is none."""
    if not isinstance(value, str) or not value.strip():
        raise NotUnderstood("The event has no name.", fix=f"Send it with a text as its `{what}`.")
    return value.strip()


def company_in(groups: Mapping[str, Json], read: Callable[[Json], str | None]) -> str | None:
    """Return the id of the company among groups by kind: the one with a usual name, or else the first."""
    kinds = [kind for kind in COMPANY_KEYS if kind in groups] or list(groups)
    for kind in kinds:
        value = groups[kind]
        found = read(value[0] if isinstance(value, list) and value else value)
        if found is not None:
            return found
    return None

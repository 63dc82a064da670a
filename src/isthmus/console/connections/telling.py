"""What a button did, in words, at the section it stands in; the page that follows is told by its address."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlencode

from msgspec import Meta, Struct

HERE = "/connections"
Deed: TypeAlias = Literal[
    "added",
    "changed",
    "removed",
    "consented",
    "run",
    "pushed",
    "paused",
    "resumed",
    "resync",
    "backfill",
    "retried",
    "saved",
    "activated",
    "rolled-back",
    "replayed",
    "compared",
    "probed",
    "decided",
    "reopened",
    "repaired",
]
_SAID: dict[Deed, tuple[str, str]] = {
    "added": ("top", "It is connected. Its secrets are sealed; nobody reads them again."),
    "changed": ("top", "The settings are changed."),
    "removed": ("top", "The connection is taken away and its secrets are destroyed. What it told stays."),
    "consented": ("top", "The consent is kept, sealed. The connection may run."),
    "run": ("top", "A run waits for a worker; it is shown here as soon as it begins."),
    "pushed": ("top", "What is listed is written by the next free worker."),
    "paused": ("top", "It rests. Nothing is read or written until it is resumed."),
    "resumed": ("top", "It may run again."),
    "resync": ("top", "Everything there is read again by the next free worker; what says nothing new changes nothing."),
    "backfill": ("top", "The time is read again by the next free worker; the live reading goes on where it is."),
    "retried": ("rejected", "The rows are tried again by the next free worker, mapped as the connector maps them now."),
    "saved": (
        "versions",
        "The version is kept. Nothing changes until it is put in force: see first what it would change.",
    ),
    "activated": ("versions", "The version is in force for every run that begins from now on."),
    "rolled-back": ("versions", "It is taken back: the version before it is in force, or the connector's own mapping."),
    "compared": ("top", "The next free worker compares both sides; nothing is changed on either."),
    "probed": ("top", "The next free worker asks for some records drawn by lot; nothing is changed on either side."),
    "decided": ("differences", "It is decided, with its reason in the audit log. Reopening takes it back."),
    "reopened": ("differences", "It is open again."),
    "repaired": ("differences", "The next free worker takes in what the system holds now, and compares again."),
    "replayed": ("versions", "What was received is mapped again by the next free worker; nothing is read there."),
}
_Text = Annotated[str, Meta(max_length=100)]


class Choice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs are shown on the page of a connection; and what a button did, when the page comes after one."""

    status: Literal["", "running", "retrying", "healthy", "degraded", "needs attention"] = ""
    before: _Text = ""
    did: Deed | None = None


class Sifting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which connections are listed; and what a button did."""

    q: _Text = ""
    status: Literal["", "pending", "running", "retrying", "healthy", "degraded", "needs attention", "paused"] = ""
    after: _Text = ""
    did: Deed | None = None


@dataclass(frozen=True, kw_only=True)
class Told:
    """What was done, for the section in which it was asked for."""

    section: str
    text: str


def address(at: str, did: Deed, **more: str) -> str:
    """Return the address of the page that tells what was done, at its section."""
    section = _SAID[did][0]
    return f"{at}?{urlencode({**more, 'did': did})}{'' if section == 'top' else f'#{section}'}"


def told(did: Deed | None) -> Told | None:
    """Return what the page says of the button before it."""
    return None if did is None else Told(section=_SAID[did][0], text=_SAID[did][1])

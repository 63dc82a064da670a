"""What the pages of agreement show, as frozen values, and how they are filled."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from isthmus.console import words
from isthmus.console.connections.loading import CONNECTION_PREFIX
from isthmus.console.connections.veiling import said_of
from isthmus.gateway import Call
from isthmus.kernel.ids import text_of
from isthmus.store.database import Transaction
from isthmus.sync.connections import connections
from isthmus.sync.reconciling.comparing import DifferenceKind
from isthmus.sync.reconciling.found import DIFFERENCE_PREFIX, Difference, Result, Tally, standings

REPAIRABLE = (DifferenceKind.MISSING, DifferenceKind.EXTRA, DifferenceKind.FIELD)
KINDS: dict[str, str] = {
    "missing": "is not held here",
    "extra": "is held here alone",
    "field": "a field differs",
    "duplicate": "stands there twice",
    "late": "is not read yet",
    "aggregate": "the sum of a month differs",
}
STATES = ("open", "accepted", "ignored", "repaired", "gone")
_TONES = {
    "open": ("warn", "degraded"),
    "accepted": ("good", "healthy"),
    "ignored": ("idle", "paused"),
    "repaired": ("good", "healthy"),
    "gone": ("idle", "healthy"),
}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a comparison found; `probed` counts the records that were drawn by lot, and is None where all were read."""

    kind: str
    at: datetime
    there: int
    here: int
    compared: int
    differing: int
    share: str
    probed: int | None
    unvisited: int
    open: int


@dataclass(frozen=True, kw_only=True)
class Agreeing:
    """A connection and how far it agreed; `at` is when all of it was read last, `probed_at` when it was probed."""

    id: str
    name: str
    compared: int
    share: str
    open: int
    at: datetime | None
    probed_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class DifferenceRow:
    """A difference, with what may be done about it."""

    id: str
    external_id: str
    kind: str
    about: str
    field: str
    there: str
    here: str
    stake: str
    tone: str
    icon: str
    status: str
    found_at: datetime
    decided: str
    repair: str
    open: bool
    decides: bool
    repairs: bool


@dataclass(frozen=True, kw_only=True)
class Counted:
    """How many differences fit, and the money at stake in them, for each currency."""

    count: int
    stakes: Sequence[str]


def comparison(found: Result) -> Comparison:
    """Return a comparison as it is shown."""
    return Comparison(
        kind=words.title(words.kind(found.type, count=2)),
        at=found.at,
        there=found.there,
        here=found.here,
        compared=found.compared,
        differing=found.differing,
        share=share(found.compared, found.differing),
        probed=found.probed,
        unvisited=found.unvisited,
        open=found.open,
    )


def share(compared: int, differing: int) -> str:
    """Return the share of compared fields that agree in words, empty where nothing was compared."""
    return words.exact_percent(max(0.0, 1 - differing / compared)) if compared else ""


async def agreeing(tx: Transaction, types: Sequence[str]) -> list[Agreeing]:
    """Return all connections, by name, with how far they agreed on records of some types."""
    newest = await standings(tx, types=types)
    found: list[Agreeing] = []
    for each in await connections(tx):
        own = [one for one in newest if one.connection == each.name]
        whole = {one.type: one for one in own if one.probed is None}
        # What was probed counts only where all records were never read.
        counted = [*whole.values(), *(one for one in own if one.type not in whole)]
        found.append(
            Agreeing(
                id=text_of(CONNECTION_PREFIX, each.id),
                name=each.name,
                compared=sum(one.compared for one in counted),
                share=share(sum(one.compared for one in counted), sum(one.differing for one in counted)),
                open=sum(one.open for one in counted),
                at=max((one.at for one in whole.values()), default=None),
                probed_at=max((one.at for one in own if one.probed is not None), default=None),
            )
        )
    return found


def counted(tallies: Sequence[Tally]) -> Counted:
    """Return how many differences these are, and the money at stake in them."""
    stakes: dict[str, Decimal] = {}
    for each in tallies:
        if each.currency and each.stake:
            stakes[each.currency] = stakes.get(each.currency, Decimal(0)) + each.stake
    return Counted(
        count=sum(each.count for each in tallies),
        stakes=[words.exact_money(amount, currency) for currency, amount in sorted(stakes.items())],
    )


def difference_row(call: Call, found: Difference, *, may_act: bool) -> DifferenceRow:
    """Return a difference as it is shown; personal values are masked without the permission of their domain."""
    record_type = call.services.schema[found.type]
    tone, icon = _TONES[found.status]
    there, here = (said_of(call, record_type, found.field, value) for value in (found.there, found.here))
    is_open = found.status == "open"
    return DifferenceRow(
        id=text_of(DIFFERENCE_PREFIX, found.id),
        external_id=found.external_id,
        kind=words.kind(found.type),
        about=KINDS[found.kind.value],
        field=words.plain(found.field),
        there=there,
        here=here,
        stake="" if found.stake is None else words.exact_money(found.stake, found.currency or ""),
        tone=tone,
        icon=icon,
        status=found.status,
        found_at=found.found_at,
        decided=f"{found.reason} ({found.decided_by})" if found.decided_by and found.reason else "",
        repair=found.repair if is_open else "",
        open=is_open,
        decides=may_act and found.status in ("open", "accepted", "ignored"),
        repairs=may_act and is_open and found.kind in REPAIRABLE,
    )

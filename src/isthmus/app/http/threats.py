"""Routes of threats: what was found, letting a subject go, modes of detectors, honey, and what other modes would do."""

from datetime import timedelta
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.gateway import FRESH_S, Call, Page, Paging, Route
from isthmus.gateway.threats.ladder import DETECTORS, Detector, Mode
from isthmus.gateway.threats.networks import NOBODY
from isthmus.gateway.threats.replay import Replayed, read_traffic, replay
from isthmus.gateway.threats.rows import (
    THREAT_PREFIX,
    KeptThreat,
    ThreatMissing,
    find_threat,
    list_threats,
    read_modes,
    release_threat,
    set_mode,
)
from isthmus.kernel.errors import NotFound
from isthmus.kernel.ids import InvalidId, uuid_of
from isthmus.store.database import Scope, Transaction

_TAGS = ("access",)
_PATH = "/api/v1/threats"


class ThreatQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which threats: those of one detector, released ones too, or those of networks of which nobody is known."""

    detector: Detector | None = None
    all: bool = False
    installation: bool = False


class ModesView(Struct, frozen=True, kw_only=True):
    """The mode of each detector."""

    modes: dict[str, Mode]


class NewMode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a detector shall do: `off`, `observe` (write down what it would do), or `enforce`."""

    mode: Mode


class ReplayWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Over how many days of stored traffic the detectors are tried, all of them or some, as if enforced."""

    days: Annotated[int, Meta(ge=1, le=8)] = 7
    detectors: list[Literal["enumeration", "scraping", "volume", "probing", "leakage"]] = []


async def show_threats(call: Call) -> Page[KeptThreat]:
    """List threats."""
    wanted, after = call.query(ThreatQuery), call.after()
    scope = installation(call.scope) if wanted.installation else call.scope
    async with call.services.database.transaction(scope) as tx:
        rows = await list_threats(
            tx,
            limit=wanted.limit + 1,
            every=wanted.all,
            detector=wanted.detector,
            after=uuid_of(THREAT_PREFIX, after) if after else None,
        )
    return call.page(rows, limit=wanted.limit, after=lambda row: row.id)


async def show_threat(call: Call) -> KeptThreat:
    """Show one threat of the workspace."""
    async with call.services.database.transaction(call.scope) as tx:
        return await find_threat(tx, threat_id(call.path["threat_id"]))


async def let_go(call: Call) -> KeptThreat:
    """Release a subject."""
    async with call.services.database.transaction(call.scope) as tx:
        return await release_threat(tx, threat_id(call.path["threat_id"]))


async def show_modes(call: Call) -> ModesView:
    """Show the modes."""
    async with call.services.database.transaction(call.scope) as tx:
        return modes_view(await read_modes(tx))


async def put_mode(call: Call) -> ModesView:
    """Set a mode."""
    detector = detector_of(call.path["detector"])
    async with call.services.database.transaction(call.scope) as tx:
        return modes_view(await set_mode(tx, detector, call.body(NewMode).mode))


async def try_modes(call: Call) -> Replayed:
    """Tell what enforcing would have done."""
    async with call.services.database.transaction(call.scope) as tx:
        return await replayed(tx, call.body(ReplayWish))


async def replayed(tx: Transaction, wish: ReplayWish) -> Replayed:
    """Return what enforcing would have done in the last days."""
    windows = await read_traffic(tx, since=tx.scope.now - timedelta(days=wish.days))
    return replay(windows, workspace=tx.scope.workspace, detectors=wish.detectors or None)


def installation(scope: Scope) -> Scope:
    """Return the scope of what belongs to no workspace: networks from which nobody was known."""
    return Scope(workspace=NOBODY, actor=scope.actor, cause=scope.cause, now=scope.now)


def detector_of(name: str) -> Detector:
    """Return a detector by its name; raises ThreatMissing."""
    for each in DETECTORS:
        if each == name:
            return each
    raise ThreatMissing(f"There is no detector {name!r}.", fix=f"Name one of {', '.join(DETECTORS)}.")


def threat_id(text: str) -> UUID:
    """Return an id as it is stored; raises NotFound."""
    try:
        return uuid_of(THREAT_PREFIX, text)
    except InvalidId as error:
        raise NotFound(error.detail, fix=error.fix) from error


def modes_view(modes: dict[Detector, Mode]) -> ModesView:
    """Return modes as they are shown."""
    return ModesView(modes={str(name): mode for name, mode in modes.items()})


ROUTES = (
    Route(
        method="GET",
        path=_PATH,
        permission="gateway:read",
        handler=show_threats,
        summary="List threats that were found",
        description="Newest first. `installation=true` lists those of networks from which nobody was known.",
        tags=_TAGS,
        query=ThreatQuery,
        response=Page[KeptThreat],
    ),
    Route(
        method="GET",
        path=f"{_PATH}/modes",
        permission="gateway:read",
        handler=show_modes,
        summary="Read the modes of the detectors",
        tags=_TAGS,
        response=ModesView,
    ),
    Route(
        method="PUT",
        path=f"{_PATH}/modes/{{detector}}",
        permission="gateway:write",
        handler=put_mode,
        summary="Set the mode of a detector",
        description="Within a second it holds on every worker. What stood before stands until it ends or is released.",
        tags=_TAGS,
        body=NewMode,
        response=ModesView,
        request_example={"mode": "enforce"},
        errors=(ThreatMissing,),
        fresh_s=FRESH_S,
    ),
    Route(
        method="POST",
        path=f"{_PATH}:replay",
        permission="gateway:read",
        handler=try_modes,
        summary="Tell what enforcing detectors would have done over stored traffic",
        tags=_TAGS,
        body=ReplayWish,
        response=Replayed,
        request_example={"days": 7, "detectors": ["volume"]},
    ),
    Route(
        method="GET",
        path=f"{_PATH}/{{threat_id}}",
        permission="gateway:read",
        handler=show_threat,
        summary="Read a threat with its evidence",
        tags=_TAGS,
        response=KeptThreat,
        errors=(ThreatMissing,),
    ),
    Route(
        method="POST",
        path=f"{_PATH}/{{threat_id}}:release",
        permission="gateway:write",
        handler=let_go,
        summary="Let go whom a threat holds back",
        description="Within a second no worker holds it back any more. A key that was revoked stays so.",
        tags=_TAGS,
        response=KeptThreat,
        errors=(ThreatMissing,),
        fresh_s=FRESH_S,
    ),
)

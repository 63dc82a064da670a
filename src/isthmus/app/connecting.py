"""Asking a system whether it answers, before and after it is connected; what it may be given; parting from it."""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence

from isthmus.app.program import Program
from isthmus.kernel.errors import Fault, Invalid, NotFound
from isthmus.store.database import Scope
from isthmus.sync.connections import Connection, SettingsRefused, checked_settings
from isthmus.sync.connector import Connector, ConnectorError, Described, Describing, Parting
from isthmus.sync.grants import Access, opened
from isthmus.sync.pull import in_a_known_form
from isthmus.sync.runs import Engine

ANSWER_S_MAX = 30
_FILES = ("sqlite:", "file:")
_ADDRESSES = frozenset({"url", "host", "server", "address", "port"})


class NoConnector(NotFound):
    """There is no connector of that name."""

    code, title = "no-connector", "There is no such connector"


class NoAnswer(Invalid):
    """With these settings no system answers as it should."""

    code, title = "no-answer", "No system answers with these settings"


def connector_named(connectors: Mapping[str, Connector], name: str) -> Connector:
    """Return a connector; raises NoConnector."""
    found = connectors.get(name)
    if found is None:
        raise NoConnector(f"There is no connector {name!r}.", fix=f"There are: {', '.join(connectors)}.")
    return found


def access_of(
    program: Engine | Program,
    connection: Connection,
    connector: Connector,
    settings: Mapping[str, str],
    *,
    scope: Scope,
) -> Access:
    """Return a connection's way to current tokens, in the name of who asks."""
    store, clock = program.store, program.clock
    return Access(
        database=store.database,
        vault=store.vault,
        scope=lambda: dataclasses.replace(scope, now=clock.now()),
        connection=connection,
        connector=connector,
        settings=settings,
    )


async def answer_of(connector: Connector, settings: dict[str, str], *, name: str, access: Access | None = None) -> str:
    """Open a session and return who we are there; raises ConnectorError, after half a minute at the latest."""
    try:
        async with asyncio.timeout(ANSWER_S_MAX), opened(connector, settings, access=access) as session:
            with in_a_known_form(name):
                return await session.check()
    except (OSError, TimeoutError) as error:
        fix = f"Check the settings of {name!r} and that the system answers."
        raise ConnectorError(f"{connector.title} does not answer ({type(error).__name__}).", fix=fix) from error


async def described_by(
    connector: Connector, settings: dict[str, str], feeds: Sequence[str], *, name: str, access: Access | None = None
) -> dict[str, list[Described]]:
    """Open a session and return the fields of feeds as the system describes them; none where it does not.

    Raises ConnectorError, after half a minute at the latest.
    """
    try:
        async with asyncio.timeout(ANSWER_S_MAX), opened(connector, settings, access=access) as session:
            if not isinstance(session, Describing):
                return {}
            with in_a_known_form(name):
                return {feed: list(await session.fields(feed)) for feed in feeds}
    except (OSError, TimeoutError) as error:
        fix = f"Check the settings of {name!r} and that the system answers."
        raise ConnectorError(f"{connector.title} does not answer ({type(error).__name__}).", fix=fix) from error


async def parted(connector: Connector | None, settings: dict[str, str], *, access: Access | None = None) -> str:
    """Have a system drop what it keeps for a connection; returns why it could not, in words, and else nothing.

    A connection goes away all the same, since its system may be gone for good.
    """
    if connector is None or not connector.parts:
        return ""
    try:
        async with asyncio.timeout(ANSWER_S_MAX), opened(connector, settings, access=access) as session:
            if isinstance(session, Parting):
                await session.part()
    except ConnectorError as error:
        return str(error)
    except (OSError, TimeoutError) as error:
        return f"{connector.title} does not answer ({type(error).__name__}), and keeps what it kept for the connection."
    return ""


async def tried(connector: Connector, *, name: str, settings: Mapping[str, str], asks: bool) -> None:
    """See that settings fit, and ask the system whether it answers; raises SettingsRefused and NoAnswer.

    Of one that is used by a person's consent that is asked later: nobody has consented with these settings yet.
    """
    try:
        given = checked_settings(connector, name=name, settings=settings)
        if asks and not connector.consents(given):
            await answer_of(connector, given, name=name)
    except ConnectorError as error:
        fault = Fault(pointer="/settings", code=NoAnswer.code, detail=error.detail)
        raise NoAnswer(error.detail, fix=error.fix, faults=(fault,)) from error


def not_local(connector: Connector, settings: Mapping[str, str]) -> None:
    """Refuse settings that name something on this machine: a caller is elsewhere. Raises SettingsRefused."""
    faults = tuple(
        Fault(
            pointer=f"/settings/{each.name}",
            code="local-setting",
            detail=f"{each.name!r} names something on the machine that isthmus runs on.",
        )
        for each in connector.settings
        if (each.local and each.name in settings) or settings.get(each.name, "").casefold().startswith(_FILES)
    )
    if faults:
        fix = f"Give it on that machine: isthmus connect add {connector.name}"
        raise SettingsRefused(" ".join(each.detail for each in faults), fix=fix, faults=faults)


def secrets_stay(connector: Connector, found: Connection, settings: Mapping[str, str]) -> None:
    """Refuse to send sealed secrets elsewhere: who names another address gives them anew. Raises SettingsRefused."""
    moved = any(
        found.settings.get(name, value) != value and (name in _ADDRESSES or "://" in value + found.settings[name])
        for name, value in settings.items()
    )
    missing = [each.name for each in connector.settings if each.secret and each.name not in settings]
    if moved and missing:
        faults = tuple(
            Fault(pointer=f"/settings/{name}", code="missing", detail=f"Give {name!r} anew for the new address.")
            for name in missing
        )
        fix = "A secret is never sent to another address than the one that it was given for."
        raise SettingsRefused("The address changes and the secrets are not given.", fix=fix, faults=faults)

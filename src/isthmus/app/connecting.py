"""Asking a system whether it answers, before and after it is connected, and parting from it."""

import asyncio
import dataclasses
from collections.abc import Mapping

from isthmus.app.program import Program
from isthmus.kernel.errors import NotFound
from isthmus.store.database import Scope
from isthmus.sync.connections import Connection
from isthmus.sync.connector import Connector, ConnectorError, Parting
from isthmus.sync.grants import Access, opened
from isthmus.sync.pull import in_a_known_form
from isthmus.sync.runs import Engine

ANSWER_S_MAX = 30


class NoConnector(NotFound):
    """There is no connector of that name."""

    code, title = "no-connector", "There is no such connector"


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

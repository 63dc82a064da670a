"""What all pages of connections do alike: finding the connection in the path, who looks, and how they begin."""

from collections.abc import Mapping

from isthmus.console.connections.loading import CONNECTION_PREFIX, Viewer
from isthmus.console.connections.port import Connecting
from isthmus.console.connections.telling import HERE
from isthmus.console.pages import page
from isthmus.gateway import Call, Response
from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.ids import text_of
from isthmus.store.database import Transaction
from isthmus.sync.connections import Connection, ConnectionMissing, connection_of
from isthmus.sync.connector import Connector
from isthmus.sync.runs import Engine

READ, ACT = "sync:read", "sync:write"
BYTES_MAX = 262_144


def viewer_of(call: Call) -> Viewer:
    """Return for whom a page is made."""
    may_read = call.services.of(Connecting).may_read
    types = frozenset(each.name for each in call.services.schema if may_read(call, each.name))
    return Viewer(call.principal.permissions, types)


async def found(call: Call, tx: Transaction) -> Connection:
    """Return the connection in the path; raises ConnectionMissing."""
    return await connection_of(tx, call.id_in_path("connection", CONNECTION_PREFIX, missing=ConnectionMissing))


async def opened(call: Call) -> Connection:
    """Return the connection in the path, read in a transaction of its own; raises ConnectionMissing."""
    async with call.services.database.transaction(call.scope) as tx:
        return await found(call, tx)


def place(connection: Connection) -> str:
    """Return the address of a connection's page."""
    return f"{HERE}/{text_of(CONNECTION_PREFIX, connection.id)}"


def connector_of(call: Call, connection: Connection) -> Connector | None:
    """Return what a connection is made with, if that is still installed."""
    return call.services.of(Engine).connectors.get(connection.connector)


def sentence(refused: IsthmusError | None) -> str:
    """Return why something was refused and what to do, in words."""
    return f"{refused.detail} {refused.fix}".strip() if refused else ""


def shown(call: Call, template: str, values: Mapping[str, object], *, refused: IsthmusError | None = None) -> Response:
    """Return a page, with why something was refused, and the status of that."""
    status = refused.status if refused else 200
    return page(call, f"connections/{template}.html", {**values, "refusal": sentence(refused)}, status=status)

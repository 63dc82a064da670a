"""The addresses at which connected systems may call us, as they are shown."""

from collections.abc import Mapping

from msgspec import Struct

from isthmus.kernel.ids import text_of
from isthmus.store.database import Transaction
from isthmus.sync.connections import all_settings, connections
from isthmus.sync.connector import Connector
from isthmus.vault import Vault

CONNECTION_PREFIX = "conn"


class InboundView(Struct, frozen=True, kw_only=True):
    """Where a system may call: the address, how it signs, and whether the secret that it signs with is set."""

    connection: str
    address: str
    signature: str
    secret_setting: str
    ready: bool


async def inbound_views(
    tx: Transaction, vault: Vault, connectors: Mapping[str, Connector], *, at: str
) -> list[InboundView]:
    """Return the addresses of all connections whose vendors may call; `at` is the URL of this server."""
    found: list[InboundView] = []
    for each in await connections(tx):
        connector = connectors.get(each.connector)
        if connector is None or connector.inbound is None:
            continue
        settings = await all_settings(tx, vault, each)
        found.append(
            InboundView(
                connection=each.name,
                address=f"{at}/in/{text_of(CONNECTION_PREFIX, each.id)}",
                signature=type(connector.inbound.verifier).__name__,
                secret_setting=connector.inbound.secret,
                ready=bool(settings.get(connector.inbound.secret, "").strip()),
            )
        )
    return found

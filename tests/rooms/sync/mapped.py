"""Short ways to put mappings in force."""

from isthmus.sync.flow_versions import FlowVersion, activate_flow, save_flow
from isthmus.sync.flows import FieldFlow, Flow
from tests.rooms.sync.conftest import Bench

ACCOUNT = "sales.account"


async def saved(bench: Bench, flow: Flow, *, of: str = "crm") -> FlowVersion:
    """Keep a version of a mapping of a connection."""
    connection = await bench.connection(of)
    bench.tick()
    return await bench.read(lambda tx: save_flow(tx, connection_id=connection.id, flow=flow, reason="A test."))


async def activated(bench: Bench, *, of: str = "crm", **fields: FieldFlow) -> FlowVersion:
    """Put a new version in force."""
    version = await saved(bench, Flow(type=ACCOUNT, fields=fields), of=of)
    return await bench.read(lambda tx: activate_flow(tx, version))

"""The route of probes: some records of a system are drawn by lot and compared with what is held of them."""

from isthmus.app.http.reconciliations import awake, begun
from isthmus.app.scheduling.reconciling import PROBE, comparing
from isthmus.app.scheduling.views import JobView
from isthmus.gateway import Call, Response, Route
from isthmus.sync.connections import ConnectionMissing
from isthmus.sync.running import ConnectionPaused


async def run_probe(call: Call) -> Response:
    """Want a probe."""
    async with call.services.database.transaction(call.scope) as tx:
        found = await awake(call, tx, call.path["connection"])
        return await begun(tx, comparing(found, PROBE))


ROUTES = (
    Route(
        method="POST",
        path="/api/v1/reconciliations/{connection}:probe",
        permission="sync:write",
        handler=run_probe,
        summary="Compare some records of a system, drawn by lot, with what is held of them, and change nothing",
        description=(
            "Answered at once with the job; what differs stands among the differences. "
            "A system that cannot be asked by id is not probed."
        ),
        tags=("reconciliations",),
        response=JobView,
        status=202,
        errors=(ConnectionMissing, ConnectionPaused),
    ),
)

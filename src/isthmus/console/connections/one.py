"""The page of one connection, whether it was asked for or a button of it was refused."""

from isthmus.console.connections.at import connector_of, opened, shown, viewer_of
from isthmus.console.connections.board import draw_present
from isthmus.console.connections.loading import RUN_PREFIX, load_connection
from isthmus.console.connections.port import Connecting, Said
from isthmus.console.connections.telling import Choice, told
from isthmus.console.visiting import place_of
from isthmus.gateway import Call, Response
from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.ids import uuid_of
from isthmus.kernel.status import Status


async def one_page(
    call: Call, choice: Choice, *, refused: IsthmusError | None = None, said: Said | None = None
) -> Response:
    """Return the page; `said` is what the system answered when it was asked. Raises ConnectionMissing and InvalidId."""
    found = await opened(call)
    it = await load_connection(
        call.services,
        call.scope,
        viewer_of(call),
        found,
        status=Status(choice.status) if choice.status else None,
        before=uuid_of(RUN_PREFIX, choice.before) if choice.before else None,
        redirect=f"{place_of(call).origin}{call.services.of(Connecting).callback}",
    )
    connector = connector_of(call, found)
    values: dict[str, object] = {
        "it": it,
        "panels": draw_present(it.present),
        "told": told(choice.did),
        "said": said,
        "title": connector.title if connector else found.connector,
    }
    return shown(call, "one", values, refused=refused)

"""One-time links to the console: the first one comes by itself, further ones are asked for."""

from isthmus.app.engines import Engines
from isthmus.app.program import Program, opened
from isthmus.app.settings import Settings
from isthmus.auth.sessions import create_admin_link


async def new_link(program: Program, *, url: str, actor: str) -> str:
    """Return a link that signs its bearer in once as administrator of the workspace."""
    async with program.database.transaction(program.scope(actor=actor, cause="admin-link")) as tx:
        token = await create_admin_link(tx)
    return f"{url}/enter/{token}"


async def first_link(settings: Settings, engines: Engines, *, url: str) -> str | None:
    """Return a link when nobody was ever given one in this workspace."""
    async with opened(settings, engines, connections_max=2) as program:
        scope = program.scope(actor="system:up", cause="admin-link")
        async with program.database.transaction(scope) as tx:
            cursor = await tx.connection.execute("select exists (select from admin_link)")
            row = await cursor.fetchone()
        if row is not None and row[0]:
            return None
        return await new_link(program, url=url, actor="system:up")

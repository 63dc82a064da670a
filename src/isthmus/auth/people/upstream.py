"""Identity providers of a company at which people sign in (OpenID Connect), as they are set up here."""

from typing import LiteralString
from uuid import UUID

from msgspec import Struct

from isthmus.store.database import Database

_SHOWN: LiteralString = "select id, title from upstream_issuers()"


class ShownIssuer(Struct, frozen=True, kw_only=True):
    """A provider as the sign-in page names it."""

    id: UUID
    title: str


async def list_issuers(database: Database) -> list[ShownIssuer]:
    """Return the providers of all workspaces of this server."""
    async with database.plain() as connection:
        rows = await (await connection.execute(_SHOWN)).fetchall()
    return [ShownIssuer(id=row[0], title=row[1]) for row in rows]

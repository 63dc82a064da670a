"""A process that uses up a pushed request, says so, and waits before it commits, until it is killed.

`python -m tests.rooms.app.http.oauth.killed WORKSPACE CLIENT URI`, with the data directory in the environment.
"""

import asyncio
import sys
from uuid import UUID

from isthmus.app.engines import running_engines
from isthmus.app.program import opened
from isthmus.app.settings import read_settings
from isthmus.auth.oauth.clients import find_client
from isthmus.auth.oauth.requests import use_pushed
from tests.rooms.app.http.conftest import scope_of


async def main(workspace: int, client: UUID, uri: str) -> None:
    """Use it and wait."""
    settings = read_settings()
    running = running_engines(settings=settings.engines)
    assert running is not None
    async with opened(settings, running) as program, program.database.transaction(scope_of(workspace)) as tx:
        await use_pushed(tx, await find_client(tx, client), uri)
        sys.stdout.write("used\n")
        sys.stdout.flush()
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), UUID(sys.argv[2]), sys.argv[3]))

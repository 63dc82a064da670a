"""What is done by the hour: expired rows are deleted, and signing keys are made when their time has come."""

import asyncio
from typing import LiteralString

import structlog

from isthmus.app.program import Program
from isthmus.auth.oauth.keyring import Keyring
from isthmus.auth.oauth.sweeping import sweep
from isthmus.kernel.errors import IsthmusError
from isthmus.store.database import Scope

EVERY_S = 3600
_WORKSPACES: LiteralString = "select id from workspace order by id"
_log = structlog.get_logger()


async def keep_swept(program: Program) -> None:
    """Sweep by the hour until cancelled. A failure is logged and tried again the next hour."""
    keyring = Keyring(program.database, program.vault)
    while True:
        try:
            await keyring.published(now=program.clock.now())
            await sweep_all(program)
        except IsthmusError as error:
            _log.warning("sweeping failed", code=error.code)
        await asyncio.sleep(EVERY_S)


async def sweep_all(program: Program) -> int:
    """Sweep every workspace once, and return how many rows are gone."""
    async with program.database.plain() as connection:
        rows = await (await connection.execute(_WORKSPACES)).fetchall()
    gone = 0
    for (workspace,) in rows:
        scope = Scope(workspace=workspace, actor="system:sweep", cause="sweep", now=program.clock.now())
        async with program.database.transaction(scope) as tx:
            gone += await sweep(tx)
    return gone

"""Signing keys are made when their time has come; they belong to the program and to no workspace."""

import asyncio

import structlog

from isthmus.app.program import Program
from isthmus.auth.oauth.keyring import Keyring
from isthmus.kernel.errors import IsthmusError

EVERY_S = 3600
_log = structlog.get_logger()


async def keep_keys(program: Program) -> None:
    """Look after the signing keys by the hour until cancelled. A failure is logged and tried again the next hour."""
    keyring = Keyring(program.database, program.vault)
    while True:
        try:
            await keyring.published(now=program.clock.now())
        except IsthmusError as error:
            _log.warning("signing keys not looked after", code=error.code)
        await asyncio.sleep(EVERY_S)

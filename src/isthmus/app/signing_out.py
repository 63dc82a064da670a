"""Programs are told, within a second or two, that a person's session ended."""

import asyncio

import psycopg
import structlog

from isthmus.app.alerting.keeping import outbound_of
from isthmus.app.discovery import domain_names
from isthmus.app.program import Program
from isthmus.auth.oauth.provider import Provider
from isthmus.auth.oauth.signing_out import tell_sign_outs, workspaces_with_sign_outs
from isthmus.kernel.errors import IsthmusError
from isthmus.store.database import Scope

EVERY_S = 1.0
_log = structlog.get_logger("isthmus.signing_out")


def provider_of(program: Program) -> Provider:
    """Return the authorisation server as it is known outside."""
    return Provider.over(program.database, program.vault, issuer=program.settings.issuer, domains=domain_names())


async def keep_telling_sign_outs(program: Program) -> None:
    """Tell what is due, again and again, until cancelled."""
    provider, outbound = provider_of(program), outbound_of(program.settings)
    while True:
        try:
            now = program.clock.now()
            for workspace in await workspaces_with_sign_outs(provider, now=now):
                scope = Scope(workspace=workspace, actor="system:sign-out", cause="sign-out", now=now)
                await tell_sign_outs(provider, outbound, scope)
        except (IsthmusError, psycopg.Error) as error:
            _log.warning("sign-outs not told", error=type(error).__name__)
        await asyncio.sleep(EVERY_S)

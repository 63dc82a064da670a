"""The page of one's account, as it is drawn."""

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from isthmus.auth.people.errors import PeopleOnly
from isthmus.auth.people.factors import waiting_totp
from isthmus.auth.people.logins import Login, find_login
from isthmus.auth.people.passkeys import Passkey, list_passkeys
from isthmus.auth.people.totp import enrolment_url
from isthmus.auth.principal import Principal
from isthmus.auth.sessions import OpenSession, list_sessions
from isthmus.console.me.qr import qr_svg
from isthmus.console.pages import page
from isthmus.gateway import Call, Response
from isthmus.kernel.errors import IsthmusError

SESSIONS_SHOWN_MAX = 50


class Account(Struct, frozen=True, kw_only=True):
    """What the page shows."""

    login: Login
    passkeys: list[Passkey]
    sessions: list[OpenSession]
    own: Principal
    now: datetime


async def account_page(call: Call, *, refused: IsthmusError | None = None, at: str = "", said: str = "") -> Response:
    """Show the account; `at` names the panel in which `refused` is told. Raises PeopleOnly for keys."""
    own = call.principal
    if own.kind != "session":
        raise PeopleOnly("A key has no account.", fix="Sign in as a person.")
    status = refused.status if refused else 200
    told = f"{refused.detail} {refused.fix}" if refused else ""
    if own.user is None:
        return page(call, "set_up.html", {"refusal": told}, status=status)
    async with call.services.database.transaction(call.scope) as tx:
        account = Account(
            login=await find_login(tx, call.services.vault, own.user),
            passkeys=await list_passkeys(tx, own.user),
            sessions=await list_sessions(tx, login=own.user, limit=SESSIONS_SHOWN_MAX),
            own=own,
            now=call.scope.now,
        )
    values: dict[str, object] = {"it": account, "at": at, "refusal": told, "said": said}
    return page(call, "me.html", values, status=status)


async def totp_page(call: Call, refused: IsthmusError | None = None) -> Response:
    """Show the QR code of one-time codes that wait for their first one."""
    own = user_of(call)
    async with call.services.database.transaction(call.scope) as tx:
        login = await find_login(tx, call.services.vault, own)
        secret = await waiting_totp(tx, call.services.vault, own)
        row = await (
            await tx.connection.execute("select name from workspace where id = current_workspace()")
        ).fetchone()
    if secret is None:
        return await account_page(call, said="There is nothing to confirm: begin again.")
    url = enrolment_url(secret, account=login.email, workspace=str(row[0]) if row else "")
    values: dict[str, object] = {
        "qr": qr_svg(url, label="QR code of the one-time codes"),
        "secret": " ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        "refusal": f"{refused.detail} {refused.fix}" if refused else "",
    }
    return page(call, "totp.html", values, status=refused.status if refused else 200)


def codes_page(call: Call, codes: list[str]) -> Response:
    """Show recovery codes, this once."""
    return page(call, "recovery.html", {"codes": codes})


def user_of(call: Call) -> UUID:
    """Return the user who calls; raises PeopleOnly for keys and for bearers of a one-time link."""
    own = call.principal
    if own.kind != "session" or own.user is None:
        raise PeopleOnly("This needs an account of your own.", fix="Sign in as a user, or set one up at /me.")
    return own.user

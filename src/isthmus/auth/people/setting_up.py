"""Whoever came in by a one-time link becomes a named user, in the same session."""

from collections.abc import Sequence

from isthmus.auth.people.links import set_password
from isthmus.auth.people.logins import LoginWish, create_login
from isthmus.auth.people.passwords import check_password, context_of, long_enough_alone
from isthmus.auth.people.sign_in import PASSWORD, People
from isthmus.auth.people.visitor import Visitor
from isthmus.auth.principal import Principal
from isthmus.auth.sessions import NewSession, renew_session
from isthmus.kernel.errors import Conflicting
from isthmus.store.database import Scope


class SetUpBefore(Conflicting):
    """The session belongs to a user, or is none."""

    code, title = "set-up-before", "This session has an account"


async def set_up(
    people: People,
    visitor: Visitor,
    scope: Scope,
    *,
    caller: Principal,
    email: str,
    name: str,
    roles: Sequence[str],
    password: str,
) -> NewSession:
    """Make a user of the bearer of a link, with at most what the link allows, and renew the session in their name.

    Raises SetUpBefore, LoginTaken, GrantTooWide, UnknownRole, WeakPassword, SignInBusy and Invalid.
    """
    if caller.kind != "session" or caller.user is not None:
        raise SetUpBefore("This session has an account, or is none.", fix="Go on with the account.")
    checked = check_password(password, alone=True, context=context_of(email=email, name=name))
    hashed = await people.passwords.hashed(checked, workspace=scope.workspace)
    async with people.database.transaction(scope) as tx:
        wish = LoginWish(email=email, name=name, roles=tuple(roles))
        login = await create_login(tx, people.vault, wish, domains=people.domains, giver=caller.permissions)
        await set_password(tx, login.id, hashed, long=long_enough_alone(checked))
        return await renew_session(tx, caller.id, visitor.proof(login.id, PASSWORD, second_factor=False))

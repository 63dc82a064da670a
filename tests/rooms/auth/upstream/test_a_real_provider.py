"""Signing in by npm oidc-provider, out and back."""

import asyncio
from collections.abc import Mapping
from functools import partial

import pytest

from isthmus.auth.credentials import Credentials
from isthmus.auth.people.errors import SignInRefused, UpstreamRefused
from isthmus.auth.people.logins import LoginWish, create_login, disable_login, list_logins
from isthmus.auth.people.sign_in import People
from isthmus.auth.people.visitor import Visitor
from isthmus.auth.sessions import NewSession
from isthmus.auth.upstream.issuers import Issuer, remove_issuer
from isthmus.auth.upstream.signing_in import come_back, go_out
from isthmus.kernel.errors import NotFound
from isthmus.store.database import Scope
from tests.rooms.auth.upstream.conftest import DOMAINS, REDIRECT, Browser, returned, set_up, wish

ADA = {"sub": "ada-1", "email": "ada@northwind.example", "email_verified": True, "name": "Ada Byron"}


async def sign_in(
    people: People, visitor: Visitor, issuer: Issuer, claims: Mapping[str, object]
) -> tuple[NewSession, str]:
    """Go to the provider and come back."""
    out = await go_out(people, visitor, issuer=issuer.id, redirect_uri=REDIRECT, next_page="/me")
    answer = await asyncio.to_thread(Browser(claims).follow, out.url)
    return await come_back(people, visitor, returned(out, answer), redirect_uri=REDIRECT)


async def test_who_has_an_address_of_the_company_becomes_a_user_and_stays_the_same(
    people: People, scope: Scope, visitor: Visitor, provider: str
) -> None:
    issuer = await set_up(people, scope, wish(provider, mail_domains=("Northwind.example",)))
    session, to = await sign_in(people, visitor, issuer, ADA)
    again, _ = await sign_in(people, visitor, issuer, ADA | {"email": "moved@elsewhere.example"})
    ask = partial(Credentials(people.database, domains=DOMAINS, vault=people.vault).session, now=visitor.now)
    own = await ask(session.token)
    assert (own.name, to, own.methods, own.workspace) == ("Ada Byron", "/me", {"sso"}, scope.workspace)
    assert own.may("making:read")
    assert (await ask(again.token)).user == own.user
    async with people.database.transaction(scope) as tx:
        assert [each.email for each in await list_logins(tx, people.vault, limit=9)] == ["ada@northwind.example"]


async def test_a_user_is_known_by_the_verified_address(
    people: People, scope: Scope, visitor: Visitor, provider: str
) -> None:
    issuer = await set_up(people, scope, wish(provider))
    async with people.database.transaction(scope) as tx:
        known = await create_login(
            tx,
            people.vault,
            LoginWish(email="Ada@Northwind.example", name="Ada", roles=("editor",)),
            domains=DOMAINS,
            giver=None,
        )
    session, _ = await sign_in(people, visitor, issuer, ADA)
    own = await Credentials(people.database, domains=DOMAINS).session(session.token, now=visitor.now)
    assert own.user == known.id
    assert own.may("making:write")


@pytest.mark.parametrize(
    ("claims", "mail_domains"),
    [
        (ADA, ()),
        (ADA, ("other.example",)),
        (ADA | {"email_verified": False}, ("northwind.example",)),
        ({"sub": "ada-2"}, ("northwind.example",)),
    ],
)
async def test_nobody_else_gets_in(
    people: People,
    scope: Scope,
    visitor: Visitor,
    provider: str,
    claims: Mapping[str, object],
    mail_domains: tuple[str, ...],
) -> None:
    issuer = await set_up(people, scope, wish(provider, mail_domains=mail_domains))
    with pytest.raises(UpstreamRefused):
        await sign_in(people, visitor, issuer, claims)
    async with people.database.transaction(scope) as tx:
        assert await list_logins(tx, people.vault, limit=9) == []
        rows = await (await tx.connection.execute("select action from audit order by id desc limit 1")).fetchall()
    assert rows == [("sign-in.refused",)]


async def test_who_is_disabled_here_does_not_come_in_from_there(
    people: People, scope: Scope, visitor: Visitor, provider: str
) -> None:
    issuer = await set_up(people, scope, wish(provider, mail_domains=("northwind.example",)))
    session, _ = await sign_in(people, visitor, issuer, ADA)
    own = await Credentials(people.database, domains=DOMAINS).session(session.token, now=visitor.now)
    assert own.user is not None
    async with people.database.transaction(scope) as tx:
        await disable_login(tx, people.vault, own.user, domains=DOMAINS, giver=None)
    with pytest.raises(UpstreamRefused):
        await sign_in(people, visitor, issuer, ADA)


async def test_an_answer_is_taken_once_and_only_from_the_browser_that_asked(
    people: People, scope: Scope, visitor: Visitor, provider: str
) -> None:
    issuer = await set_up(people, scope, wish(provider, mail_domains=("northwind.example",)))
    go = partial(go_out, people, visitor, issuer=issuer.id, redirect_uri=REDIRECT, next_page="/")
    mine, theirs = await go(), await go()
    answer = await asyncio.to_thread(Browser(dict(ADA)).follow, mine.url)
    with pytest.raises(UpstreamRefused):
        await come_back(people, visitor, returned(theirs, answer), redirect_uri=REDIRECT)
    other = await go()
    wrong = await asyncio.to_thread(Browser(dict(ADA)).follow, other.url) | {"iss": "http://127.0.0.1:1"}
    with pytest.raises(UpstreamRefused, match="another issuer"):
        await come_back(people, visitor, returned(other, wrong), redirect_uri=REDIRECT)
    await come_back(people, visitor, returned(mine, answer), redirect_uri=REDIRECT)
    with pytest.raises(SignInRefused):
        await come_back(people, visitor, returned(mine, answer), redirect_uri=REDIRECT)


async def test_a_provider_that_was_removed_lets_nobody_in(
    people: People, scope: Scope, visitor: Visitor, provider: str
) -> None:
    issuer = await set_up(people, scope, wish(provider, mail_domains=("northwind.example",)))
    async with people.database.transaction(scope) as tx:
        await remove_issuer(tx, issuer.id)
    with pytest.raises(NotFound):
        await sign_in(people, visitor, issuer, ADA)

"""Signing in by npm samlp, out and back."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from isthmus.auth.credentials import Credentials
from isthmus.auth.people.errors import SignInRefused, UpstreamRefused
from isthmus.auth.people.logins import LoginWish, create_login, disable_login, list_logins
from isthmus.auth.people.sign_in import People
from isthmus.auth.people.visitor import Visitor
from isthmus.auth.saml.metadata import own_metadata
from isthmus.auth.saml.providers import SamlProvider, remove_saml_provider
from isthmus.auth.saml.signing_in import Ourselves, Out, come_in, go_out, take_response
from isthmus.auth.sessions import NewSession
from isthmus.kernel.errors import NotFound
from isthmus.store.database import Scope
from tests.rooms.auth.saml.conftest import ADA, DOMAINS, ORIGIN, set_up
from tests.rooms.auth.saml.counterpart import fetch, posted


async def leave(people: People, visitor: Visitor, own: SamlProvider, *, again: bool = False) -> Out:
    """Go to the provider."""
    ours = Ourselves.at(ORIGIN, own.id)
    return await go_out(people, visitor, provider=own.id, ours=ours, next_page="/me", again=again)


async def answered(people: People, visitor: Visitor, own: SamlProvider, out: Out, person: Mapping[str, object]) -> str:
    """Let the provider answer, and take its response; return the response."""
    ours = Ourselves.at(ORIGIN, own.id)
    action, response = posted(await asyncio.to_thread(fetch, out.url, person=person))
    assert action == ours.recipient
    await take_response(people, visitor, provider=own.id, ours=ours, response=response)
    return response


async def sign_in(
    people: People, visitor: Visitor, own: SamlProvider, person: Mapping[str, object]
) -> tuple[NewSession, str]:
    """Go to the provider, come back, and come in."""
    out = await leave(people, visitor, own)
    await answered(people, visitor, own, out, person)
    return await come_in(people, visitor, secret=out.secret)


async def test_who_has_an_address_of_the_company_becomes_a_user_and_stays_the_same(
    people: People, scope: Scope, visitor: Visitor, provider: str
) -> None:
    own = await set_up(people, scope, provider)
    session, to = await sign_in(people, visitor, own, ADA)
    moved = {**ADA, "claims": {"email": "moved@elsewhere.example"}}
    again, _ = await sign_in(people, visitor, own, moved)
    ask = partial(Credentials(people.database, domains=DOMAINS, vault=people.vault).session, now=visitor.now)
    known = await ask(session.token)
    assert (known.name, to, known.methods) == ("Ada Byron", "/me", {"sso"})
    assert known.may("making:read")
    assert (await ask(again.token)).user == known.user
    async with people.database.transaction(scope) as tx:
        assert [each.email for each in await list_logins(tx, people.vault, limit=9)] == ["ada@northwind.example"]


async def test_a_response_that_is_signed_twice_is_read(
    people: People, scope: Scope, visitor: Visitor, provider: str
) -> None:
    own = await set_up(people, scope, provider)
    session, _ = await sign_in(people, visitor, own, {**ADA, "signResponse": True})
    assert session.token


async def test_a_second_factor_at_the_provider_counts(
    people: People, scope: Scope, visitor: Visitor, provider: str
) -> None:
    own = await set_up(people, scope, provider)
    session, _ = await sign_in(people, visitor, own, {**ADA, "context": "https://refeds.org/profile/mfa"})
    known = await Credentials(people.database, domains=DOMAINS).session(session.token, now=visitor.now)
    assert known.mfa_at is not None
    assert known.methods == {"sso", "mfa"}


async def test_a_user_is_known_by_the_address(people: People, scope: Scope, visitor: Visitor, provider: str) -> None:
    own = await set_up(people, scope, provider, mail_domains=())
    with pytest.raises(UpstreamRefused):
        await sign_in(people, visitor, own, ADA)
    wish = LoginWish(email="Ada@Northwind.example", name="Ada", roles=("editor",))
    async with people.database.transaction(scope) as tx:
        known = await create_login(tx, people.vault, wish, domains=DOMAINS, giver=None)
    session, _ = await sign_in(people, visitor, own, ADA)
    assert (
        await Credentials(people.database, domains=DOMAINS).session(session.token, now=visitor.now)
    ).user == known.id
    async with people.database.transaction(scope) as tx:
        await disable_login(tx, people.vault, known.id, domains=DOMAINS, giver=None)
    with pytest.raises(UpstreamRefused, match="disabled"):
        await sign_in(people, visitor, own, ADA)


@pytest.mark.parametrize(
    "claims",
    [{}, {"email": "ada@other.example"}, {"email": "ada@northwind.example", "mail": "owner@northwind.example"}],
)
async def test_no_address_another_one_or_two_let_nobody_in(
    people: People, scope: Scope, visitor: Visitor, provider: str, claims: Mapping[str, object]
) -> None:
    own = await set_up(people, scope, provider)
    with pytest.raises(UpstreamRefused):
        await sign_in(people, visitor, own, {"subject": "ada-2", "claims": claims})
    async with people.database.transaction(scope) as tx:
        assert await list_logins(tx, people.vault, limit=9) == []
        rows = await (await tx.connection.execute("select action from audit order by id desc limit 1")).fetchall()
    assert rows == [("sign-in.refused",)]


async def test_a_response_is_taken_once(people: People, scope: Scope, visitor: Visitor, provider: str) -> None:
    own = await set_up(people, scope, provider)
    out = await leave(people, visitor, own)
    ours = Ourselves.at(ORIGIN, own.id)
    _, response = posted(await asyncio.to_thread(fetch, out.url, person=ADA))
    bring = partial(take_response, people, visitor, provider=own.id, ours=ours, response=response)
    outcomes = await asyncio.gather(*(bring() for _ in range(8)), return_exceptions=True)
    assert sum(each is None for each in outcomes) == 1
    assert all(isinstance(each, UpstreamRefused) for each in outcomes if each is not None)
    await come_in(people, visitor, secret=out.secret)
    with pytest.raises(UpstreamRefused):
        await come_in(people, visitor, secret=out.secret)
    with pytest.raises(UpstreamRefused, match="answered before"):
        await bring()


async def test_only_the_browser_that_asked_comes_in(
    people: People, scope: Scope, visitor: Visitor, provider: str
) -> None:
    own = await set_up(people, scope, provider)
    mine, theirs = await leave(people, visitor, own), await leave(people, visitor, own)
    await answered(
        people, visitor, own, theirs, {**ADA, "subject": "mallory", "claims": {"email": "m@northwind.example"}}
    )
    with pytest.raises(UpstreamRefused):
        await come_in(people, visitor, secret=mine.secret)
    with pytest.raises(SignInRefused):
        await come_in(people, visitor, secret="")


async def test_a_response_for_one_provider_is_none_for_another(
    people: People, scope: Scope, visitor: Visitor, provider: str
) -> None:
    one, other = await set_up(people, scope, provider), await set_up(people, scope, provider)
    out = await leave(people, visitor, one)
    _, response = posted(await asyncio.to_thread(fetch, out.url, person=ADA))
    ours = Ourselves.at(ORIGIN, other.id)
    with pytest.raises(UpstreamRefused):
        await take_response(people, visitor, provider=other.id, ours=ours, response=response)


async def test_whoever_was_asked_to_prove_themselves_anew_did_so(
    people: People, scope: Scope, visitor: Visitor, provider: str
) -> None:
    own = await set_up(people, scope, provider)
    out = await leave(people, visitor, own, again=True)
    await answered(people, visitor, own, out, ADA)
    before = replace(visitor, now=visitor.now + timedelta(minutes=4))
    late = await leave(people, before, own, again=True)
    with pytest.raises(UpstreamRefused, match="anew"):
        await answered(people, before, own, late, ADA)


async def test_a_request_is_over_after_its_time(people: People, scope: Scope, visitor: Visitor, provider: str) -> None:
    own = await set_up(people, scope, provider)
    out = await leave(people, replace(visitor, now=visitor.now - timedelta(minutes=16)), own)
    with pytest.raises(UpstreamRefused, match="no request of ours"):
        await answered(people, visitor, own, out, ADA)


async def test_a_provider_that_was_removed_lets_nobody_in(
    people: People, scope: Scope, visitor: Visitor, provider: str
) -> None:
    own = await set_up(people, scope, provider)
    async with people.database.transaction(scope) as tx:
        await remove_saml_provider(tx, people.vault, own.id)
    with pytest.raises(NotFound):
        await leave(people, visitor, own)


async def test_a_provider_that_wants_requests_signed_takes_ours_and_no_other(
    people: People, scope: Scope, visitor: Visitor, provider: str
) -> None:
    own, other = [await set_up(people, scope, provider) for _ in range(2)]
    ours = Ourselves.at(ORIGIN, own.id)
    told = own_metadata(entity=ours.entity, recipient=ours.recipient, certificate=own.signing_certificate).decode()
    assert 'AuthnRequestsSigned="true"' in told
    body = re.search(r"<ds:X509Certificate>([^<]*)</ds:X509Certificate>", told)
    assert body is not None
    wanting = {**ADA, "requestCertificate": body[1]}
    session, _ = await sign_in(people, visitor, own, wanting)
    assert session.token
    out = await leave(people, visitor, own)
    elsewhere = await leave(people, visitor, other)
    unsigned = out.url.partition("&SigAlg")[0]
    foreign = re.search("SAMLRequest=[^&]*", elsewhere.url)
    assert foreign is not None
    changed = re.sub("SAMLRequest=[^&]*", foreign[0], out.url)
    for url in (elsewhere.url, unsigned, changed):
        with pytest.raises(AssertionError, match="500"):
            await asyncio.to_thread(fetch, url, person=wanting)


async def test_a_provider_that_was_set_up_before_is_asked_without_a_signature(
    people: People, scope: Scope, visitor: Visitor, provider: str
) -> None:
    own = await set_up(people, scope, provider)
    async with people.database.transaction(scope) as tx:
        await tx.connection.execute("update saml_provider set signing_certificate = null, signing_key = null")
    session, _ = await sign_in(people, visitor, own, ADA)
    assert session.token
    assert b'AuthnRequestsSigned="false"' in own_metadata(entity="e", recipient="r")


async def test_the_key_of_a_provider_that_is_removed_is_gone(people: People, scope: Scope, provider: str) -> None:
    own = await set_up(people, scope, provider)
    assert own.signing_key is not None
    async with people.database.transaction(scope) as tx:
        await remove_saml_provider(tx, people.vault, own.id)
    assert people.vault.open_many(workspace=scope.workspace, values=[(own.id, own.signing_key)]) == [None]

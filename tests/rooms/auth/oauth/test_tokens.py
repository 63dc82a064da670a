"""A token follows what stands behind it: the person, their roles, their session, the program, the grant."""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

import pytest

from isthmus.auth.credentials import Credentials
from isthmus.auth.oauth.clients import CODE, MACHINE, REFRESH, Client, ClientWish, register_client, remove_client
from isthmus.auth.oauth.errors import InvalidToken
from isthmus.auth.oauth.grants import Grant, end_grants, find_grant, of_client, of_person, store_grant, subject_of
from isthmus.auth.oauth.issuing import Issue, issue
from isthmus.auth.oauth.keyring import Keyring
from isthmus.auth.oauth.provider import Provider
from isthmus.auth.people.logins import Login, LoginWish, create_login, disable_login, set_roles
from isthmus.auth.principal import Principal
from isthmus.auth.sessions import Proof, end_sessions, open_login_session
from isthmus.auth.tokens import Presented, Tokens
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.conftest import NOW

DOMAINS = ("sales", "finance")
WISH = ClientWish(
    name="Portal",
    scopes=("openid", "offline_access", "sales:*", "finance:read"),
    redirects=("https://app.test/back",),
    grants=(CODE, REFRESH, MACHINE),
)


@dataclass(frozen=True)
class Room:
    """A workspace with one program, one person who is signed in, and what proves tokens."""

    store: Store
    scope: Scope
    provider: Provider
    client: Client
    login: Login
    person: Principal

    def credentials(self) -> Credentials:
        """Return a worker that remembers nothing yet."""
        tokens = Tokens(self.provider)
        return Credentials(self.store.database, domains=DOMAINS, vault=self.store.vault, tokens=tokens)

    async def token(self, scopes: tuple[str, ...], *, by: Principal | None = None) -> tuple[str, Grant]:
        """Return a token of the person, and its grant."""
        person = by or self.person
        grant = of_person(
            person,
            client=self.client,
            kind="code",
            scopes=scopes,
            resources=(),
            proven_at=NOW,
            now=NOW,
        )
        async with self.store.database.transaction(self.scope) as tx:
            await store_grant(tx, grant)
        made = await issue(self.provider, self.client, grant, Issue(scopes=scopes), now=NOW)
        return made.access_token, grant


async def proven(credentials: Credentials, token: str, *, now: datetime = NOW) -> Principal:
    """Show a bearer token."""
    shown = Presented(text=token, scheme="bearer", method="GET", path="/api/v1/me")
    return await credentials.token(shown, cause="test", now=now)


@pytest.fixture
async def room(store: Store, scope: Scope) -> Room:
    """All of it."""
    provider = Provider(
        database=store.database,
        vault=store.vault,
        keyring=Keyring(store.database, store.vault),
        issuer="https://hub.test",
        domains=DOMAINS,
    )
    async with store.database.transaction(scope) as tx:
        client, _ = await register_client(tx, WISH, domains=DOMAINS, giver=None)
        wish = LoginWish(email=f"{secrets.token_hex(4)}@example.com", name="Ada Byron", roles=("sales.editor",))
        login = await create_login(tx, store.vault, wish, domains=DOMAINS, giver=None)
        proof = Proof(login=login.id, methods=frozenset({"pwd", "otp"}), second_factor=True)
        session = await open_login_session(tx, proof)
    person = await Credentials(store.database, domains=DOMAINS, vault=store.vault).session(session.token, now=NOW)
    return Room(store, scope, provider, client, login, person)


async def test_a_token_is_its_person_as_far_as_its_scopes_go(room: Room) -> None:
    token, grant = await room.token(("openid", "sales:read"))
    found = await proven(room.credentials(), token)
    assert (found.kind, found.id, found.user, found.name) == ("token", grant.id, room.login.id, "Ada Byron")
    assert found.permissions == {"sales:read"}
    assert found.client == room.client.client_id
    assert found.methods == {"pwd", "otp"}
    assert found.mfa_at == NOW
    assert subject_of(room.person).startswith("user_")


async def test_no_name_of_a_person_is_stored_with_the_grant(room: Room) -> None:
    _, grant = await room.token(("openid",))
    assert grant.name == ""


async def test_who_loses_a_role_loses_it_in_tokens(room: Room) -> None:
    token, _ = await room.token(("sales:*",))
    credentials = room.credentials()
    assert "sales:write" in (await proven(credentials, token)).permissions
    async with room.store.database.transaction(room.scope) as tx:
        await set_roles(tx, room.store.vault, room.login.id, roles=("sales.viewer",), domains=DOMAINS, giver=None)
    later = NOW + timedelta(seconds=1)
    assert (await proven(credentials, token, now=later)).permissions == {"sales:read"}


async def test_who_gains_a_role_gains_nothing_in_old_tokens(room: Room) -> None:
    token, _ = await room.token(("sales:*", "finance:read"))
    async with room.store.database.transaction(room.scope) as tx:
        await set_roles(tx, room.store.vault, room.login.id, roles=("owner",), domains=DOMAINS, giver=None)
    assert "finance:read" not in (await proven(room.credentials(), token)).permissions


@pytest.mark.parametrize("scopes", [("sales:read",), ("sales:read", "offline_access")])
async def test_who_is_disabled_has_no_tokens(room: Room, scopes: tuple[str, ...]) -> None:
    token, _ = await room.token(scopes)
    async with room.store.database.transaction(room.scope) as tx:
        await disable_login(tx, room.store.vault, room.login.id, domains=DOMAINS, giver=None)
    with pytest.raises(InvalidToken):
        await proven(room.credentials(), token)


async def test_who_is_disabled_refreshes_nothing(room: Room) -> None:
    _, grant = await room.token(("sales:read", "offline_access"))
    async with room.store.database.transaction(room.scope) as tx:
        before = await find_grant(tx, grant.id)
        await disable_login(tx, room.store.vault, room.login.id, domains=DOMAINS, giver=None)
        after = await find_grant(tx, grant.id)
    assert before is not None
    assert after is not None
    assert (before.is_alive(NOW), after.is_alive(NOW)) == (True, False)


async def test_a_session_that_ends_takes_what_was_not_allowed_offline(room: Room) -> None:
    online, _ = await room.token(("sales:read",))
    offline, _ = await room.token(("sales:read", "offline_access"))
    async with room.store.database.transaction(room.scope) as tx:
        await end_sessions(tx, room.login.id)
    with pytest.raises(InvalidToken):
        await proven(room.credentials(), online)
    assert (await proven(room.credentials(), offline)).permissions == {"sales:read"}


async def test_an_ended_grant_and_a_removed_program_are_refused_within_a_second(room: Room) -> None:
    credentials = room.credentials()
    one, grant = await room.token(("sales:read",))
    two, _ = await room.token(("sales:read",))
    await proven(credentials, one)
    await proven(credentials, two)
    async with room.store.database.transaction(room.scope) as tx:
        await end_grants(tx, [grant.id], why="test")
    later = NOW + timedelta(seconds=1)
    with pytest.raises(InvalidToken):
        await proven(credentials, one, now=later)
    await proven(credentials, two, now=later)
    async with room.store.database.transaction(room.scope) as tx:
        await remove_client(tx, room.client.id)
    with pytest.raises(InvalidToken):
        await proven(credentials, two, now=later + timedelta(seconds=1))


async def test_a_token_is_remembered_while_the_key_that_signed_it_is_published(room: Room) -> None:
    credentials = room.credentials()
    token, _ = await room.token(("sales:read",))
    await proven(credentials, token)
    digest, later = sha256(token.encode()).digest(), NOW + timedelta(seconds=61)
    tokens = Tokens(room.provider)
    await tokens.read(token, now=NOW)
    assert tokens.recalls(digest, now=NOW + timedelta(seconds=59))
    assert not tokens.recalls(digest, now=later), "nobody looked lately which keys there are"
    await room.provider.keyring.published(now=later)
    assert tokens.recalls(digest, now=later)
    ring, key = room.provider.keyring, await room.provider.keyring.signing(now=later)
    assert [ring.publishes(kid, now=later) for kid in (key.kid, "another", None)] == [True, False, False]
    assert not ring.publishes(key.kid, now=later + timedelta(seconds=30))
    assert (await tokens.read(token, now=later + timedelta(seconds=100))).digest == digest


async def test_a_token_ends_in_time_also_where_it_is_remembered(room: Room) -> None:
    credentials = room.credentials()
    token, _ = await room.token(("sales:read",))
    await proven(credentials, token, now=NOW + timedelta(seconds=599))
    with pytest.raises(InvalidToken):
        await proven(credentials, token, now=NOW + timedelta(seconds=600))


async def test_a_person_limited_to_some_records_lets_programs_see_no_others(room: Room) -> None:
    only = {"sales.deal": frozenset({UUID(int=7)})}
    token, _ = await room.token(("sales:read",), by=replace(room.person, only=only))
    assert (await proven(room.credentials(), token)).only == only


async def test_a_token_of_a_workspace_that_is_elsewhere_or_altered_is_refused(room: Room) -> None:
    token, _ = await room.token(("sales:read",))
    head, body, signature = token.split(".")
    other = Provider(
        database=room.store.database,
        vault=room.store.vault,
        keyring=room.provider.keyring,
        issuer="https://other.test",
        domains=DOMAINS,
    )
    elsewhere = Credentials(room.store.database, domains=DOMAINS, vault=room.store.vault, tokens=Tokens(other))
    with pytest.raises(InvalidToken):
        await proven(elsewhere, token)
    for forged in (f"{head}.{body}.{signature[:-4]}AAAA", f"{head}.{body}x.{signature}", "a.b.c"):
        with pytest.raises(InvalidToken):
            await proven(room.credentials(), forged)


async def test_an_id_token_opens_nothing(room: Room) -> None:
    _, grant = await room.token(("openid", "sales:read"))
    made = await issue(room.provider, room.client, grant, Issue(scopes=("openid", "sales:read")), now=NOW)
    assert made.id_token is not None
    with pytest.raises(InvalidToken):
        await proven(room.credentials(), made.id_token)


async def test_a_program_of_its_own_has_what_it_was_registered_for(room: Room) -> None:
    grant = of_client(room.client, domains=DOMAINS)
    async with room.store.database.transaction(room.scope) as tx:
        await store_grant(tx, grant)
        await store_grant(tx, grant)
    made = await issue(room.provider, room.client, grant, Issue(scopes=("finance:read",)), now=NOW)
    found = await proven(room.credentials(), made.access_token)
    assert (found.permissions, found.user, found.name) == ({"finance:read"}, None, "Portal")

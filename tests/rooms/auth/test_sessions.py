"""A one-time link opens one session; sessions end by themselves."""

import asyncio
from datetime import timedelta

import pytest

from isthmus.auth.credentials import REMEMBERED, Credentials
from isthmus.auth.sessions import (
    IDLE,
    LINK_LIFE,
    SESSION_LIFE,
    LinkSpent,
    NewSession,
    SessionEnded,
    create_admin_link,
    end_session,
    open_session,
)
from isthmus.kernel.errors import Unauthenticated
from isthmus.store.database import Database, Scope
from tests.conftest import NOW

DOMAINS = ("making",)


@pytest.fixture
async def link(database: Database, scope: Scope) -> str:
    """The token of a fresh link."""
    async with database.transaction(scope) as tx:
        return await create_admin_link(tx)


@pytest.fixture
async def session(database: Database, link: str) -> NewSession:
    """An open session."""
    return await open_session(database, link, request_id="req", now=NOW)


async def test_a_link_opens_a_session_of_the_owner(database: Database, scope: Scope, session: NewSession) -> None:
    principal = await Credentials(database, domains=DOMAINS).session(session.token, now=NOW)
    assert principal.workspace == session.workspace == scope.workspace
    assert principal.kind == "session"
    assert "gateway:write" in principal.permissions


async def test_of_32_who_use_a_link_at_once_one_gets_in(database: Database, link: str) -> None:
    tries = [open_session(database, link, request_id=f"req{index}", now=NOW) for index in range(32)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(each, NewSession) for each in results) == 1
    assert sum(isinstance(each, LinkSpent) for each in results) == 31


async def test_a_link_is_spent_after_a_day(database: Database, link: str) -> None:
    with pytest.raises(LinkSpent):
        await open_session(database, link, request_id="req", now=NOW + LINK_LIFE)


@pytest.mark.parametrize("token", ["", "x", "a" * 43])
async def test_what_is_no_link_opens_nothing(database: Database, token: str) -> None:
    with pytest.raises(LinkSpent):
        await open_session(database, token, request_id="req", now=NOW)


async def test_tokens_are_stored_as_digests_only(
    database: Database, scope: Scope, link: str, session: NewSession
) -> None:
    async with database.transaction(scope) as tx:
        for table in ("admin_link", "session", "audit"):
            rows = await (await tx.connection.execute(f"select {table}::text from {table}")).fetchall()  # noqa: S608 - three names.
            assert rows
            assert all(link not in row[0] and session.token not in row[0] for row in rows)


async def test_a_session_ends_after_an_hour_without_use(database: Database, session: NewSession) -> None:
    credentials = Credentials(database, domains=DOMAINS)
    await credentials.session(session.token, now=NOW + timedelta(minutes=59))
    await credentials.session(session.token, now=NOW + timedelta(minutes=118))
    with pytest.raises(SessionEnded):
        await credentials.session(session.token, now=NOW + timedelta(minutes=118) + IDLE)


async def test_a_session_ends_after_a_day_whatever_its_use(database: Database, session: NewSession) -> None:
    credentials = Credentials(database, domains=DOMAINS)
    at = NOW
    while at + timedelta(minutes=50) < NOW + SESSION_LIFE:
        at += timedelta(minutes=50)
        await credentials.session(session.token, now=at)
    with pytest.raises(Unauthenticated):
        await credentials.session(session.token, now=NOW + SESSION_LIFE)


async def test_a_session_that_was_ended_is_refused_after_a_second(
    database: Database, scope: Scope, session: NewSession
) -> None:
    credentials = Credentials(database, domains=DOMAINS)
    await credentials.session(session.token, now=NOW)
    async with database.transaction(scope) as tx:
        assert await end_session(tx, session.token)
        assert not await end_session(tx, session.token)
    with pytest.raises(SessionEnded):
        await credentials.session(session.token, now=NOW + REMEMBERED)


async def test_opening_and_ending_are_audited(database: Database, scope: Scope, session: NewSession) -> None:
    async with database.transaction(scope) as tx:
        await end_session(tx, session.token)
        rows = await (await tx.connection.execute("select action from audit order by id")).fetchall()
    assert [row[0] for row in rows] == ["link.created", "session.opened", "session.ended"]

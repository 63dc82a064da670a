"""A person's consent, at npm oidc-provider: out and back, renewed by one program at a time, and withdrawn."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from isthmus.app.engines import Engines
from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.status import Status
from isthmus.store.database import Database
from isthmus.sync import consenting
from isthmus.sync.connections import Connection, all_settings, change_connection, connect, remove
from isthmus.sync.connector import Connector
from isthmus.sync.consenting import Consent, ConsentOver, NoConsentHere, Returned
from isthmus.sync.grants import Access, Grant, endings, grant_of, opened, record
from isthmus.sync.ingest import Store
from isthmus.sync.oauth import ClientRefused, ConsentNeeded, Granted, Tokens, renew
from isthmus.sync.runs import Engine
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.consent_room import CLIENT, REDIRECT, SECRET, books, consented, running_vendor, used
from tests.rooms.sync.vendor import EPOCH

SOON = timedelta(minutes=30)


@pytest.fixture(scope="module")
def vendor() -> Iterator[str]:
    """The vendor's address."""
    with running_vendor() as address:
        yield address


@pytest.fixture
async def room(store: Store, workspace: int, vendor: str) -> "Room":
    """A connection that nobody has consented to yet."""
    clock = FrozenClock(EPOCH)
    known = books()

    async def pause(seconds: float) -> None:
        clock.move(timedelta(seconds=seconds))

    engine = Engine(store=store, clock=clock, chance=Random(7), connectors={"books": known}, pause=pause)
    bench = Bench(store, engine, clock, workspace, [])
    settings = {"url": vendor, "client_id": CLIENT, "client_secret": SECRET}
    connection = await bench.read(lambda tx: connect(tx, store.vault, known, name="books", settings=settings))
    return Room(bench, known, connection, vendor)


class Room:
    """A workspace with one connection, and short ways to consent to it and to use it."""

    def __init__(self, bench: Bench, connector: Connector, connection: Connection, vendor: str) -> None:
        """The clock of `bench` stands until it is moved."""
        self.bench, self.connector, self.connection, self.vendor = bench, connector, connection, vendor

    async def begin(self) -> Consent:
        """Begin a consent."""
        vault = self.bench.store.vault
        return await self.bench.read(
            lambda tx: consenting.begin(tx, vault, self.connector, self.connection, redirect_uri=REDIRECT)
        )

    async def consent(self) -> None:
        """Consent, out and back."""
        begun = await self.begin()
        answer = await asyncio.to_thread(consented, begun.url)
        await self.complete(answer)

    async def complete(self, answer: dict[str, str], *, actor: str = "user:tester") -> None:
        """Come back with an answer."""
        returned = Returned(**{name: answer.get(name, "") for name in ("state", "code", "error", "iss")})
        await consenting.complete(self.bench.engine, self.bench.scope(actor), returned)

    async def access(self, database: Database | None = None) -> Access:
        """Return a way to current tokens."""
        store = self.bench.store
        settings = await self.bench.read(lambda tx: all_settings(tx, store.vault, self.connection))
        return Access(
            database=database or store.database,
            vault=store.vault,
            scope=self.bench.scope,
            connection=self.connection,
            connector=self.connector,
            settings=settings,
        )

    async def grant(self) -> Grant:
        """Return what is held."""
        found = await self.bench.read(lambda tx: grant_of(tx, self.bench.store.vault, self.connection.id))
        assert found is not None
        return found

    async def who(self) -> str:
        """Return who we are at the vendor."""
        access = await self.access()
        async with opened(self.connector, dict(access.settings), access=access) as session:
            return await session.check()

    async def withdraw(self) -> None:
        """Use a refresh token twice, at which the vendor withdraws the whole consent."""
        access, stolen = await self.access(), (await self.grant()).tokens
        now = self.bench.clock.now()
        await renew(self.connector, access.settings, stolen, dies_at=None, now=now)
        with pytest.raises(ConsentNeeded):
            await renew(self.connector, access.settings, stolen, dies_at=None, now=now)


async def test_after_consent_a_run_reads_in_the_persons_name(room: Room) -> None:
    with pytest.raises(ConsentNeeded, match="Nobody has consented"):
        await room.who()
    (before,) = await room.bench.sync("books")
    assert (before.status, "connect authorize books" in str(before.error)) == (Status.NEEDS_ATTENTION, True)
    await room.consent()
    assert (await room.bench.connection("books")).status == Status.PENDING
    assert await room.who() == "ada"
    (run,) = await room.bench.sync("books")
    assert run.status == Status.HEALTHY
    audited = await room.bench.rows("select action from audit where workspace = current_workspace() order by id")
    assert [row[0] for row in audited] == ["connect", "ask-consent", "authorise"]


async def test_nothing_that_opens_something_is_kept_in_clear(room: Room) -> None:
    begun = await room.begin()
    assert SECRET not in begun.url
    assert "code_challenge_method=S256" in begun.url
    answer = await asyncio.to_thread(consented, begun.url)
    (kept,) = await room.bench.rows("select connection_consent::text from connection_consent")
    await room.complete(answer)
    tokens = (await room.grant()).tokens
    rows = await room.bench.rows(
        "select connection_grant::text from connection_grant union all select connection::text from connection"
        " union all select audit::text from audit"
    )
    shown = " ".join(str(row[0]) for row in [kept, *rows])
    for secret in (begun.state, answer["code"], tokens.access, tokens.refresh):
        assert secret not in shown
        assert secret.encode().hex() not in shown


async def test_an_answer_is_taken_once_from_who_asked_and_for_ten_minutes(room: Room) -> None:
    answer = await asyncio.to_thread(consented, (await room.begin()).url)
    with pytest.raises(ConsentOver):
        await room.complete(answer, actor="session:another")
    await room.complete(answer)
    with pytest.raises(ConsentOver):
        await room.complete(answer)
    late = await asyncio.to_thread(consented, (await room.begin()).url)
    room.bench.tick(600)
    with pytest.raises(ConsentOver):
        await room.complete(late)
    refused = await room.begin()
    with pytest.raises(ConsentNeeded, match="access_denied"):
        await room.complete({"state": refused.state, "error": "access_denied"})
    with pytest.raises(NoConsentHere):
        await room.bench.read(
            lambda tx: consenting.begin(
                tx, room.bench.store.vault, room.connector, room.connection, redirect_uri="http://evil.example/back"
            )
        )


async def test_of_many_programs_one_uses_the_refresh_token_and_the_others_read_what_it_got(
    room: Room, engines: Engines
) -> None:
    await room.consent()
    first, before = await room.grant(), used(room.vendor)["refresh_token"]
    room.bench.clock.move(SOON)
    another = Database(engines.postgres.app.conninfo)
    await another.open()
    try:
        ways = [await room.access(database) for database in (None, another) for _ in range(16)]
        headers = await asyncio.gather(*(each.authorise(False) for each in ways))  # noqa: FBT003 - as Calls asks it.
        # What was taken a moment ago is refused now: again one of them renews it for all.
        again = await asyncio.gather(*(each.authorise(True) for each in ways))  # noqa: FBT003 - as Calls asks it.
    finally:
        await another.close()
    assert used(room.vendor)["refresh_token"] == before + 2
    assert len({each["Authorization"] for each in headers}) == 1
    assert len({each["Authorization"] for each in again}) == 1
    assert headers[0] != again[0]
    assert (await room.grant()).tokens.refresh != first.tokens.refresh
    assert await room.who() == "ada"


async def test_a_token_that_the_vendor_takes_no_more_is_renewed_in_the_middle_of_a_call(room: Room) -> None:
    await room.consent()
    held, before = await room.grant(), used(room.vendor)["refresh_token"]
    tokens = Tokens(access="spoiled", refresh=held.tokens.refresh)
    spoiled = Granted(tokens=tokens, renew_at=held.renew_at, refresh_expires_at=None)
    await room.bench.read(lambda tx: record(tx, room.bench.store.vault, room.connection, spoiled))
    assert await room.who() == "ada"
    assert used(room.vendor)["refresh_token"] == before + 1
    assert await room.who() == "ada"
    assert used(room.vendor)["refresh_token"] == before + 1


async def test_a_program_that_died_while_it_renewed_is_waited_for_a_minute(room: Room) -> None:
    await room.consent()
    room.bench.clock.move(SOON)
    held = "update connection_grant set held_until = %s where workspace = current_workspace()"
    until = room.bench.clock.now() + timedelta(seconds=60)
    await room.bench.read(lambda tx: tx.connection.execute(held.encode(), (until,)))
    waiting = asyncio.create_task((await room.access()).current())
    await asyncio.sleep(0.3)
    assert not waiting.done()
    room.bench.tick(60)
    assert (await waiting).version == 2


async def test_a_consent_that_was_withdrawn_is_said_and_asked_for_again(room: Room) -> None:
    await room.consent()
    await room.withdraw()
    room.bench.clock.move(SOON)
    before = used(room.vendor)["refresh_token"]
    (run,) = await room.bench.sync("books")
    found = await room.bench.connection("books")
    assert (run.status, found.status) == (Status.NEEDS_ATTENTION, Status.NEEDS_ATTENTION)
    assert "invalid_grant" in found.reason
    assert "isthmus connect authorize books" in found.reason
    (ending,) = await room.bench.read(endings)
    assert (ending.connection, ending.refused_at is not None) == ("books", True)
    await room.bench.sync("books")
    assert used(room.vendor)["refresh_token"] == before
    await room.consent()
    assert await room.bench.read(endings) == []
    (after,) = await room.bench.sync("books")
    assert after.status == Status.HEALTHY


async def test_a_wrong_secret_of_the_program_is_told_apart_from_a_withdrawn_consent(room: Room) -> None:
    await room.consent()
    room.bench.clock.move(SOON)
    store = room.bench.store
    await room.bench.read(
        lambda tx: change_connection(
            tx, store.vault, room.connector, room.connection, settings={"client_secret": "another"}
        )
    )
    with pytest.raises(ClientRefused):
        await room.who()
    await room.bench.read(
        lambda tx: change_connection(
            tx, store.vault, room.connector, room.connection, settings={"client_secret": SECRET}
        )
    )
    assert await room.who() == "ada"


async def test_a_consent_goes_with_its_connection_and_is_not_taken_to_another_address(room: Room) -> None:
    await room.consent()
    store = room.bench.store
    moved = {"url": "http://127.0.0.1:9"}
    await room.bench.read(
        lambda tx: change_connection(tx, store.vault, room.connector, room.connection, settings=moved)
    )
    with pytest.raises(ConsentNeeded, match="Nobody has consented"):
        await (await room.access()).current()
    back = {"url": room.vendor}
    await room.bench.read(lambda tx: change_connection(tx, store.vault, room.connector, room.connection, settings=back))
    await room.consent()
    await room.bench.read(lambda tx: remove(tx, store.vault, room.connection))
    assert await room.bench.rows("select 1 from connection_grant") == []


async def test_a_consent_that_ends_is_said_a_week_before(room: Room) -> None:
    room.connector = books(refresh_s=8 * 86_400)
    room.bench.engine = replace(room.bench.engine, connectors={"books": room.connector})
    await room.consent()
    (run,) = await room.bench.sync("books")
    assert (run.status, (await room.bench.connection("books")).reason) == (Status.HEALTHY, "")
    assert await room.bench.read(endings) == []
    old = "update connection_grant set refresh_expires_at = %s where workspace = current_workspace()"
    ends = room.bench.clock.now() + timedelta(days=6)
    await room.bench.read(lambda tx: tx.connection.execute(old.encode(), (ends,)))
    (ending,) = await room.bench.read(endings)
    assert ending.ends_at == ends
    await room.bench.sync("books")
    found = await room.bench.connection("books")
    assert (found.status, f"{ends:%Y-%m-%d}" in found.reason) == (Status.HEALTHY, True)

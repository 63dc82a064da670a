"""What people use once is used once by two processes with 32 tries, also while one of them is killed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pyotp.totp import TOTP

from isthmus.app.program import Program
from isthmus.auth.credentials import Credentials
from isthmus.auth.people.factors import begin_totp, confirm_totp
from isthmus.auth.people.links import create_login_link, use_link
from isthmus.auth.people.logins import LoginWish, create_login
from isthmus.auth.people.recovery import CODES, new_codes
from isthmus.auth.people.sign_in import People
from isthmus.auth.people.steps import begin_step
from isthmus.auth.people.visitor import Visitor
from isthmus.auth.saml.providers import SamlWish, add_saml_provider
from isthmus.auth.saml.signing_in import Ourselves, go_out
from isthmus.auth.sessions import NewSession, create_admin_link
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.store.observation import Observation
from isthmus.sync.ingest import Interval, put
from tests.rooms.app.http.caller import Answered
from tests.rooms.app.http.conftest import Site, scope_of
from tests.rooms.app.http.rivals import (
    ROUNDS,
    Calling,
    Decision,
    Pressing,
    Return,
    Rivals,
    SecondFactor,
    Step,
    one_winner,
)
from tests.rooms.app.http.test_signing import FORM
from tests.rooms.auth.saml.crafting import described

DOMAINS = ("finance", "marketing", "product", "sales", "success")
PASSWORD = "seven unrelated grey lamps"
Count = Callable[[str, int], int]


async def made(tx: Transaction, program: Program, name: str) -> UUID:
    """Return a new user."""
    wish = LoginWish(email=f"{name}@example.com", name="Ada Byron", roles=("viewer",))
    return (await create_login(tx, program.vault, wish, domains=DOMAINS, giver=None)).id


def got_in(answer: Answered) -> bool:
    """Tell whether somebody won."""
    return answer.status in {200, 303}


def test_a_recovery_code(site: Site, two: Rivals, counted: Count) -> None:
    workspace = site.workspace()

    async def make(program: Program) -> list[tuple[UUID, str]]:
        found: list[tuple[UUID, str]] = []
        async with program.database.transaction(scope_of(workspace)) as tx:
            for batch in range(-(-ROUNDS // CODES)):
                login = await made(tx, program, f"recovery{batch}")
                found += [(login, code) for code in await new_codes(tx, program.vault, login)]
        return found

    codes = site.run(make)

    def thing() -> SecondFactor:
        login, code = codes.pop()
        return SecondFactor(workspace, login, code, datetime.now(UTC))

    used = "recovery_code where used_at is not null"
    one_winner(two, thing=thing, won=got_in, traces=lambda: counted(used, workspace))


def test_a_code_of_an_authenticator(site: Site, two: Rivals, counted: Count) -> None:
    workspace, began = site.workspace(), datetime.now(UTC)

    async def make(program: Program) -> tuple[UUID, str]:
        people = People.over(program.database, program.vault, domains=DOMAINS)
        visitor = Visitor(address="192.0.2.7", agent="", request_id="req", now=began)
        async with program.database.transaction(scope_of(workspace)) as tx:
            token = await create_login_link(tx, await made(tx, program, "totp"))
        session = await use_link(people, visitor, token=token, password=PASSWORD)
        assert isinstance(session, NewSession)
        own = await Credentials(program.database, domains=DOMAINS).session(session.token, now=began)
        assert own.user is not None
        async with program.database.transaction(scope_of(workspace)) as tx:
            secret = await begin_totp(tx, program.vault, own.user)
            code = TOTP(secret).at(began)
            await confirm_totp(tx, program.vault, visitor, login=own.user, session=own.id, code=code)
        return own.user, secret

    login, secret = site.run(make)
    minutes = iter(range(5, 5 * ROUNDS + 5, 5))

    def thing() -> SecondFactor:
        at = began + timedelta(minutes=next(minutes))
        return SecondFactor(workspace, login, TOTP(secret).at(at), at)

    opened = "session where created_at > now() + interval '1 minute'"
    one_winner(two, thing=thing, won=got_in, traces=lambda: counted(opened, workspace))


def test_an_invitation(site: Site, two: Rivals, counted: Count) -> None:
    workspace = site.workspace()

    async def make(program: Program) -> list[str]:
        async with program.database.transaction(scope_of(workspace)) as tx:
            logins = [await made(tx, program, f"invited{turn}") for turn in range(ROUNDS)]
            return [await create_login_link(tx, each) for each in logins]

    links = site.run(make)
    opened = "audit where action = 'session.opened'"
    one_winner(
        two,
        thing=lambda: Pressing(links.pop(), PASSWORD),
        won=got_in,
        traces=lambda: counted(opened, workspace),
    )


def test_the_link_of_the_first_start(site: Site, two: Rivals, counted: Count) -> None:
    workspace = site.workspace()

    async def make(program: Program) -> list[str]:
        async with program.database.transaction(scope_of(workspace)) as tx:
            return [await create_admin_link(tx) for _ in range(ROUNDS)]

    links = site.run(make)

    def thing() -> Calling:
        return Calling("POST", f"/enter/{links.pop()}", b"", {"content-type": FORM})

    opened = "audit where action = 'session.opened'"
    one_winner(two, thing=thing, won=got_in, traces=lambda: counted(opened, workspace))


def test_a_step_of_signing_in(site: Site, two: Rivals, counted: Count) -> None:
    """A challenge of a passkey, as the state of a provider, is forgotten by whoever takes it."""
    workspace, began = site.workspace(), datetime.now(UTC)

    async def make(program: Program) -> list[str]:
        async with program.database.transaction(replace(scope_of(workspace), now=began)) as tx:
            return [await begin_step(tx, "passkey", challenge=b"challenge") for _ in range(ROUNDS)]

    steps = site.run(make)
    one_winner(
        two,
        thing=lambda: Step(workspace, steps.pop(), began),
        won=got_in,
        traces=lambda: -counted("sign_in_step where kind = 'passkey'", workspace),
    )


def test_the_way_back_from_a_saml_provider(site: Site, two: Rivals, counted: Count) -> None:
    workspace, began = site.workspace(), datetime.now(UTC)

    async def make(program: Program) -> list[str]:
        people = People.over(program.database, program.vault, domains=DOMAINS)
        visitor = Visitor(address="192.0.2.7", agent="", request_id="req", now=began)
        wish = SamlWish(title="Northwind", metadata=described(), roles=("viewer",), mail_domains=("example.com",))
        async with program.database.transaction(scope_of(workspace)) as tx:
            provider = await add_saml_provider(tx, program.vault, wish, domains=DOMAINS, giver=None)
            login = await made(tx, program, "saml")
        ours = Ourselves.at("https://hub.example", provider.id)
        out = [await go_out(people, visitor, provider=provider.id, ours=ours, next_page="/") for _ in range(ROUNDS)]
        async with program.database.transaction(scope_of(workspace)) as tx:
            proven = "update saml_request set login = %s, methods = '{sso}' where workspace = current_workspace()"
            await tx.connection.execute(proven, (login,))
        return [each.secret for each in out]

    secrets = site.run(make)
    opened = "audit where action = 'session.opened'"
    one_winner(
        two,
        thing=lambda: Return(secrets.pop(), began),
        won=got_in,
        traces=lambda: counted(opened, workspace),
    )


def test_the_decision_of_a_case(site: Site, two: Rivals, counted: Count) -> None:
    workspace, now = site.workspace(), datetime.now(UTC)

    def deal(number: int, system: str, amount: str) -> Observation:
        fields: dict[str, Json] = {"name": "Big", "deal_number": f"D-{number}", "amount": euros(amount)}
        return Observation(type="sales.deal", system=system, external_id=str(number), fields=fields, at=now)

    async def make(program: Program) -> list[UUID]:
        for system, amount in (("crm", "100"), ("erp", "175.50")):
            said = [deal(number, system, amount) for number in range(ROUNDS)]
            await put(program.store, scope_of(workspace), said, interval=Interval(since=None, until=now))
        async with program.database.transaction(scope_of(workspace)) as tx:
            rows = await (await tx.connection.execute("select id from inbox_case where status = 'open'")).fetchall()
            return [row[0] for row in rows]

    cases = site.run(make)
    assert len(cases) == ROUNDS
    one_winner(
        two,
        thing=lambda: Decision(workspace, cases.pop()),
        won=got_in,
        traces=lambda: counted("audit where action = 'resolve'", workspace),
    )


def euros(amount: str) -> Json:
    """Return money."""
    return {"amount": amount, "currency": "EUR"}

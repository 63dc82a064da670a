"""The pages of agreement: how far systems agree, what differs, and what a person does about it."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, LiteralString

import pytest
from playwright.sync_api import Page, expect

from isthmus.kernel.ids import text_of
from isthmus.store.records import page as records
from isthmus.stream.jobs.board import jobs
from isthmus.sync.connections import connection_of
from isthmus.sync.reconciling.comparing import DifferenceKind
from isthmus.sync.reconciling.found import keep
from isthmus.sync.reconciling.systems import Finding, Reconciled
from tests.rooms.console.checks import overflowing, shut_out
from tests.rooms.console.conftest import Window
from tests.rooms.console.stage import Site, Who
from tests.rooms.console.test_connections import picture

Scheme = Literal["light", "dark"]


@dataclass(frozen=True)
class Own:
    """A workspace with a system that was compared, and its page of agreement."""

    workspace: int
    owner: Who
    at: str


@pytest.fixture(scope="module")
def own(site: Site) -> Own:
    """The workspace; the system lacks a deal, names two others otherwise, and has forgotten an account."""
    workspace = site.workspace("Ferry Lines")
    site.fill(workspace, systems=("crm",))
    made = Own(workspace, site.sign_in(workspace, "owner"), place(site, workspace))
    compared(site, made)
    return made


@pytest.fixture
def visit(window: Window, site: Site) -> Callable[..., Page]:
    """Opens a page."""

    def go(who: Who, path: str, *, scheme: Scheme = "light", script: bool = True) -> Page:
        page = window(who, scheme=scheme, script=script).new_page()
        page.goto(path if path.startswith("http") else f"{site.url}{path}")
        return page

    return go


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_shut_nobody_out_and_fit(site: Site, visit: Callable[..., Page], own: Own, scheme: Scheme) -> None:
    for path in (f"{site.url}/connections/agreement", own.at):
        page = visit(own.owner, path, scheme=scheme)
        picture(page, f"agreement-{'one' if path == own.at else 'all'}-{scheme}")
        page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert (path, shut_out(page)) == (path, [])
        for width in (380, 900):
            page.set_viewport_size({"width": width, "height": 900})
            assert (path, overflowing(page)) == (path, [])


def test_one_sees_how_far_all_agree_and_what_differs(visit: Callable[..., Page], own: Own) -> None:
    page = visit(own.owner, "/", script=False)
    page.get_by_role("link", name="open", exact=True).click()
    expect(page.locator(".headline")).to_contain_text("99.5% of 1,000 compared fields agreed")
    expect(page.locator(".headline")).to_contain_text("below the 99.95% that are promised")
    page.get_by_role("link", name="crm").click()
    expect(page.locator(".headline")).to_contain_text("99.5% of 1,000 compared fields")
    expect(page.locator("tbody tr", has_text="Deals")).to_contain_text("all were read")
    expect(page.locator("tbody tr", has_text="People")).to_contain_text("40 drawn by lot")
    expect(page.locator("#differences header")).to_contain_text("5 open, €1,250.50 at stake")
    money = page.locator(".outcomes > li", has_text="D1")
    expect(money).to_contain_text("Amount: there €1,300.50 · here €50")
    expect(money).to_contain_text("Read the system again, so that its value counts here.")
    page.locator("select[name=field]").select_option("amount")
    page.get_by_role("button", name="Find").click()
    expect(page.locator(".outcomes > li")).to_have_count(1)
    page.locator("select[name=status]").select_option("ignored")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("#differences")).to_contain_text("Nothing is like that.")
    page.get_by_role("link", name="Show all that are open").click()
    expect(page.locator(".outcomes > li")).to_have_count(5)


def test_a_difference_is_let_be_with_a_reason_and_reopened_without_script(visit: Callable[..., Page], own: Own) -> None:
    page = visit(own.owner, own.at, script=False)
    row = page.locator(".outcomes > li", has_text="D1")
    row.get_by_text("Let it stay…").click()
    row.get_by_role("button", name="Ignore").click()
    expect(page.get_by_role("alert")).to_contain_text("A decision needs a reason.")
    row.get_by_text("Let it stay…").click()
    row.get_by_label("Why").fill("Booked in December.")
    row.get_by_role("button", name="Accept as right").click()
    expect(page.locator("#differences").get_by_role("status")).to_contain_text("It is decided")
    expect(page.locator(".outcomes > li")).to_have_count(4)
    page.goto(f"{own.at}?status=accepted")
    expect(page.locator(".outcomes > li")).to_contain_text("Booked in December. (")
    page.get_by_role("button", name="Reopen: deal D1").click()
    expect(page.locator("#differences").get_by_role("status")).to_contain_text("It is open again.")
    page.goto(own.at)
    expect(page.locator(".outcomes > li")).to_have_count(5)


def test_many_are_decided_at_once_only_while_they_are_as_many_as_were_shown(
    site: Site, visit: Callable[..., Page], own: Own
) -> None:
    page = visit(own.owner, f"{own.at}?field=stage")
    page.get_by_text("Decide all 2…").click()
    page.locator("details.rest").get_by_label("Why").fill("The stages are renamed in May.")
    run(site, own, "update reconciliation_difference set status = 'gone' where external_id = 'D3'")
    page.get_by_role("button", name="Ignore: all").click()
    expect(page.get_by_role("alert")).to_contain_text("There are 1 by now, not 2; nothing was done.")
    run(site, own, "update reconciliation_difference set status = 'open' where external_id = 'D3'")
    page.goto(f"{own.at}?field=stage")
    page.get_by_text("Decide all 2…").click()
    page.locator("details.rest").get_by_label("Why").fill("The stages are renamed in May.")
    page.get_by_role("button", name="Ignore: all").click()
    expect(page.locator("#differences").get_by_role("status")).to_contain_text("It is decided")
    assert asked(site, own, "select count(*) from reconciliation_difference where status = 'ignored'") == [(2,)]
    told = "select details->>'decision' from audit where action = 'decide-many' order by id desc limit 1"
    assert asked(site, own, told) == [("ignore",)]
    page.goto(f"{own.at}?status=ignored")
    page.get_by_text("Decide all 2…").click()
    page.get_by_role("button", name="Reopen all").click()
    expect(page.locator("#differences").get_by_role("status")).to_contain_text("It is open again.")


def test_comparing_and_repairing_are_asked_for_and_done_by_a_worker(
    site: Site, visit: Callable[..., Page], own: Own
) -> None:
    page = visit(own.owner, own.at)
    page.get_by_role("button", name="Compare now").click()
    expect(page.get_by_role("status")).to_contain_text("compares both sides")
    page.get_by_role("button", name="Compare some, drawn by lot").click()
    expect(page.get_by_role("status")).to_contain_text("drawn by lot")
    page.get_by_role("button", name="Read it again: deal D1").click()
    expect(page.locator("#differences").get_by_role("status")).to_contain_text("takes in what the system holds now")
    assert wanted(site, own, "sync.reconcile") == wanted(site, own, "sync.probe") == [{"connections": ["crm"]}]
    ((given),) = wanted(site, own, "sync.repair")
    (one,) = asked(site, own, "select id::text from reconciliation_difference where field = 'amount'")
    assert given["differences"] == list(one)
    page.get_by_role("button", name="Compare now").click()
    expect(page.get_by_role("alert")).to_contain_text("A job for the same waits or runs.")


def test_who_may_only_look_finds_no_buttons_and_sees_no_personal_value(window: Window, site: Site, own: Own) -> None:
    def opened(*roles: str) -> tuple[Page, int]:
        page = window(site.sign_in(own.workspace, *roles)).new_page()
        answer = page.goto(own.at)
        assert answer is not None
        return page, answer.status

    assert opened("viewer")[1] == 403
    looking, status = opened("sales.editor")
    assert (status, looking.locator("main button:not(.sift button)").count()) == (200, 0)
    masked, _ = opened("sales.viewer", "marketing.admin")
    expect(masked.locator(".outcomes > li", has_text="P1")).to_contain_text("there ••• · here •••")
    assert "ada@bridge.example" not in masked.content()
    owning, _ = opened("owner")
    expect(owning.locator(".outcomes > li", has_text="P1")).to_contain_text("ada@bridge.example")


def test_a_hundred_thousand_differences_are_paged_and_stay_quick(site: Site, visit: Callable[..., Page]) -> None:
    workspace = site.workspace("Many Differences")
    site.fill(workspace, systems=("crm",))
    many = Own(workspace, site.sign_in(workspace, "owner"), place(site, workspace))
    run(
        site,
        many,
        "insert into reconciliation_difference (workspace, id, connection_id, type, external_id, field, kind, weight,"
        " status, found_at, seen_at)"
        " select workspace, gen_random_uuid(), id, 'sales.deal', 'M' || n, '', 'missing', 9, 'open', now(), now()"
        " from connection, generate_series(1, 100000) n",
    )
    page = visit(many.owner, many.at)
    expect(page.locator("#differences header")).to_contain_text("100,000 open")
    expect(page.locator(".outcomes > li")).to_have_count(50)
    seen = set(page.locator(".outcomes h3").all_inner_texts())
    began = site.clock.now()
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("link", name="Oldest")).to_be_visible()
    assert (site.clock.now() - began).total_seconds() < 5
    assert not seen & set(page.locator(".outcomes h3").all_inner_texts())
    page.get_by_text("Decide all 100,000…").click()
    expect(page.locator("main")).to_contain_text("The first 500 of these are decided")


def test_before_the_first_comparison_the_page_says_when_it_comes(
    site: Site, visit: Callable[..., Page], newcomer: Who, owner: Who, full: int
) -> None:
    page = visit(newcomer, "/connections/agreement")
    expect(page.locator("main")).to_contain_text("No system was compared with what is held of it yet.")
    expect(page.locator("main")).to_contain_text("Nothing is connected yet.")
    page = visit(owner, place(site, full))
    expect(page.locator("main")).to_contain_text("All systems are compared each Saturday")
    expect(page.locator("#differences")).to_contain_text("What differs stands here once both sides were compared.")


def compared(site: Site, own: Own) -> None:
    """Keep what a comparison found."""

    async def do() -> None:
        store = site.store
        async with site.database.transaction(site.scope(own.workspace)) as tx:
            deals = await records(tx, store.vault, store.schema["sales.deal"], limit=3)
            people = await records(tx, store.vault, store.schema["sales.person"], limit=1)
            stages = [
                Finding(
                    kind=DifferenceKind.FIELD,
                    type="sales.deal",
                    external_id=f"D{n}",
                    record_id=deals[n - 1].id,
                    field="stage",
                    there="closing",
                    here="close",
                )
                for n in (2, 3)
            ]
            money = Finding(
                kind=DifferenceKind.FIELD,
                type="sales.deal",
                external_id="D1",
                record_id=deals[0].id,
                field="amount",
                there={"amount": "1300.50", "currency": "EUR"},
                here={"amount": "50.00", "currency": "EUR"},
                at_stake=(Decimal("1250.50"), "EUR"),
            )
            gone = Finding(kind=DifferenceKind.EXTRA, type="sales.deal", external_id="D4", field="")
            mail = Finding(
                kind=DifferenceKind.FIELD,
                type="sales.person",
                external_id="P1",
                record_id=people[0].id,
                field="email",
                there="ada@bridge.example",
                here="ada@harbour.example",
            )
            of_deals = Reconciled(
                type="sales.deal",
                there=99,
                here=100,
                compared=900,
                differing=4,
                unvisited=0,
                findings=(*stages, money, gone),
            )
            of_people = Reconciled(
                type="sales.person",
                there=80,
                here=80,
                compared=100,
                differing=1,
                unvisited=0,
                findings=(mail,),
                probed=frozenset(f"P{n}" for n in range(40)),
            )
            found = await connection_of(tx, "crm")
            await keep(tx, store, found.id, [of_deals, of_people])

    site.do(do())


def place(site: Site, workspace: int) -> str:
    """Return the address of the page of agreement of the CRM."""

    async def ask() -> str:
        async with site.database.transaction(site.scope(workspace)) as tx:
            return text_of("conn", (await connection_of(tx, "crm")).id)

    return f"{site.url}/connections/{site.do(ask())}/agreement"


def run(site: Site, own: Own, query: LiteralString) -> None:
    """Run a statement in the workspace."""

    async def do() -> None:
        async with site.database.transaction(site.scope(own.workspace)) as tx:
            await tx.connection.execute(query)

    site.do(do())


def asked(site: Site, own: Own, query: LiteralString) -> list[tuple[object, ...]]:
    """Return what a query gives in the workspace."""

    async def do() -> list[tuple[object, ...]]:
        async with site.database.transaction(site.scope(own.workspace)) as tx:
            return await (await tx.connection.execute(query)).fetchall()

    return site.do(do())


def wanted(site: Site, own: Own, kind: str) -> list[dict[str, object]]:
    """Return what the jobs of a kind that wait are given, apart from the connection."""

    async def ask() -> list[dict[str, object]]:
        async with site.database.transaction(site.scope(own.workspace)) as tx:
            found = await jobs(tx, kind=kind)
        return [{name: value for name, value in each.arguments.items() if name != "connection"} for each in found]

    return site.do(ask())

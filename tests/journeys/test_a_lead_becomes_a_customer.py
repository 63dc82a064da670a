"""From a campaign to money: a lead is captured over HTTP, becomes a customer, and the campaign gets its credit."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from isthmus.app.http.server import HttpServer
from isthmus.app.program import Program, migrate_as_owner
from isthmus.app.reacting import consumers
from isthmus.app.settings import Settings
from isthmus.app.syncing import sync_engine
from isthmus.app.workflows import stepper
from isthmus.kernel.marks import Json
from isthmus.store.observation import Link, Observation
from isthmus.stream.consume import consume
from isthmus.stream.relay import stamp
from isthmus.sync.ingest import Interval, put
from tests.rooms.app.engines import stage
from tests.rooms.app.http.caller import Answered, Caller
from tests.rooms.app.http.conftest import Site, free_port, scope_of

SALES, FINANCE = "/api/v1/integrations/sales", "/api/v1/integrations/finance"


@pytest.fixture(scope="module")
def served() -> Iterator[Site]:
    """A real server on engines of its own."""
    with stage.directory() as data_dir, stage.start(data_dir) as engines:
        migrate_as_owner(engines.postgres)
        settings = Settings(data_dir=Path(data_dir), port=free_port(), workers=2)
        server = HttpServer.start(settings)
        try:
            yield Site(settings, engines, server)
        finally:
            server.stop()


def ago(**by: float) -> str:
    """A moment in the past."""
    return (datetime.now(UTC) - timedelta(**by)).isoformat().replace("+00:00", "Z")


def money(amount: str) -> dict[str, Json]:
    """Euros as they stand in JSON."""
    return {"amount": amount, "currency": "EUR"}


def at(answer: Answered, path: str) -> Json:
    """The value at a path such as `lead.pipeline.0.state`."""
    value: object = answer.json
    for step in path.split("."):
        place = cast("dict[str | int, object]", value)
        value = place[int(step)] if step.isdecimal() else place[step]
    return cast("Json", value)


def says(site: Site, workspace: int, *observations: Observation) -> None:
    """Let the CRM say something."""

    async def work(program: Program) -> None:
        scope = scope_of(workspace)
        await put(program.store, scope, observations, interval=Interval(since=None, until=scope.now))

    site.run(work)


def work_on(site: Site, workspace: int) -> None:
    """Do what the relay and the worker do as time passes."""

    async def work(program: Program) -> None:
        scope = scope_of(workspace)
        async with program.database.transaction(scope) as tx:
            await stamp(tx.connection)
        for consumer in consumers(program.store):
            while await consume(program.database, consumer, scope):
                pass
        await stepper(sync_engine(program), program.clock, only=frozenset({workspace})).drain()

    site.run(work)


def begun(caller: Caller) -> tuple[str, str]:
    """The campaign, and the lead that it brought."""
    wish: Json = {"name": "Webinar", "channel": "webinar", "status": "active", "audience_size": 500}
    campaign = str(at(caller.post("/api/v1/campaigns", wish), "id"))
    lead: dict[str, Json] = {
        "email": "ada@lovelace.example",
        "first_name": "Ada",
        "last_name": "Lovelace",
        "company": "Analytical Engines",
        "title": "Founder",
        "source": "webinar_registration",
        "campaign_id": campaign,
    }
    first = caller.post(f"{SALES}/leads", lead)
    assert first.status == 201, first.body
    assert [at(first, f"lead.pipeline.{n}.state") for n in range(6)] == [
        *("done", "done", "done", "skipped", "done", "done"),
    ]
    again = caller.post(f"{SALES}/leads", {**lead, "phone": "+44 20 7946 0000"})
    assert (at(again, "outcome"), at(again, "lead.id")) == ("merged", at(first, "lead.id"))
    return campaign, str(at(first, "lead.id"))


def test_a_lead_becomes_a_customer_and_the_campaign_gets_its_credit(served: Site) -> None:
    workspace = served.workspace()
    caller = served.caller(served.key(workspace, "owner"))
    campaign, lead = begun(caller)

    work_on(served, workspace)
    assert at(caller.get(f"{SALES}/leads/{lead}"), "follow_up.log.0.step") == "task"

    says(
        served,
        workspace,
        Observation(type="sales.account", system="crm", external_id="A1", fields={"name": "Analytical Engines"}),
        Observation(
            type="sales.lead",
            system="crm",
            external_id="L1",
            fields={"email": "ada@lovelace.example", "status": "converted", "converted_at": ago(days=2)},
            links={"account_id": Link(external_id="A1")},
        ),
    )
    work_on(served, workspace)
    customer = caller.get(f"{SALES}/leads/{lead}")
    assert (at(customer, "status"), at(customer, "follow_up.state")) == ("converted", "cancelled")

    account = at(customer, "account_id")
    touches: list[Json] = [
        {"channel": "webinar", "kind": "attended", "at": ago(days=20), "lead_id": lead, "campaign_id": campaign},
        {"channel": "direct", "kind": "visited", "at": ago(days=10), "account_id": account},
    ]
    assert caller.post("/api/v1/touches", {"touches": touches}).status == 201
    won: dict[str, Json] = {"name": "First order", "stage": "closed_won", "won": True, "amount": money("999.99")}
    says(
        served,
        workspace,
        Observation(
            type="sales.deal",
            system="crm",
            external_id="D1",
            fields={**won, "closed_at": ago(days=1)},
            links={"account_id": Link(external_id="A1")},
        ),
    )
    credit = caller.get(f"{SALES}/attribution/{campaign}?model=linear&expand=journeys")
    assert credit.status == 200, credit.body
    assert at(credit, "credit.buckets.0.revenue") == money("500.00")
    assert at(credit, "journeys.0.touches.1.credit") == money("499.99")
    assert at(credit, "credit.unattributed") == [money("0.00")]

    spend: Json = {"amount": money("250.00"), "day": ago(days=25)[:10], "campaign_id": campaign}
    assert caller.post(f"{FINANCE}/spend", spend).status == 201
    returned = caller.get(f"{FINANCE}/roi/{campaign}?model=linear")
    assert at(returned, "returns.0.roi.value") == "1.0000000000"
    assert (at(returned, "returns.0.payback.days"), at(returned, "model"), at(returned, "window_days")) == (
        *(25, "linear", 90),
    )
    performance = caller.get(f"{SALES}/performance?period={ago(days=1)[:4]}")
    assert at(performance, "won.amounts") == [money("999.99")]


def test_nobody_without_the_permission_sees_or_changes_anything(served: Site) -> None:
    workspace = served.workspace()
    viewer = served.caller(served.key(workspace, "marketing.viewer"))
    assert viewer.post(f"{SALES}/leads", {"email": "a@b.example", "first_name": "A", "company": "B"}).status == 403
    assert viewer.get(f"{SALES}/attribution").status == 403
    assert viewer.get(f"{FINANCE}/budget/2026").status == 403
    assert viewer.post("/api/v1/touches", {"touches": [{"channel": "email", "at": ago(days=1)}]}).status == 403
    assert served.caller("ist_live_wrong").get(f"{SALES}/attribution").status == 401

"""Every route of the interface that changes something writes its entry into the audit log, in the name of its caller.

A new route is called with its own example; one whose path names something needs a line in `MAKING`, or this fails.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from isthmus.app.alerting.rules import LATENCY, RULES
from isthmus.app.discovery import schema
from isthmus.app.http.assembly import all_routes
from isthmus.app.topics import topics
from isthmus.audit.entry import Entry
from isthmus.audit.grammar import parse
from isthmus.audit.search import search
from isthmus.auth.sessions import create_admin_link, open_session
from isthmus.gateway import Route
from isthmus.gateway.decide import UNSAFE
from isthmus.gateway.threats.ladder import Finding, Threat
from isthmus.gateway.threats.rows import THREAT_PREFIX, save_threat
from isthmus.kernel.ids import text_of, uuid_of
from isthmus.kernel.marks import Json
from isthmus.matching.candidates import Proposal, propose
from isthmus.store.database import Scope
from isthmus.store.observation import Observation
from isthmus.store.records import page
from isthmus.stream.alerts.rules import Gauge, Reading
from isthmus.stream.alerts.state import evaluate
from isthmus.stream.event import events_after, within
from isthmus.stream.parked import park, parked
from isthmus.stream.relay import stamp
from isthmus.stream.webhooks.deliveries import deliveries, replay_missing
from isthmus.sync.ingest import Store
from tests.access.connected import connection, consentable_connection, difference, ignored, resting_connection
from tests.access.table import name_of
from tests.rooms.auth.saml.crafting import described
from tests.rooms.domains.desk import Answer, Desk, said

PERSON = schema()["sales.person"]
LEADS = "/api/v1/integrations/sales/leads"
LEAD: dict[str, Json] = {
    "email": "ada@lovelace.example",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "company": "Analytical Engines",
}
ASKING = {
    "POST /api/v1/policies:simulate",
    "POST /api/v1/policies:explain",
    "POST /api/v1/threats:replay",
    "POST /api/v1/syncs/{connection}:plan",
    "POST /api/v1/mappings/{mapping_id}:plan",
}
"""Routes that only ask, by a method that can carry a question."""
Made = Callable[[Desk], Awaitable[str]]


async def example(desk: Desk, path: str) -> Answer:
    """Call a route that makes something, with its example."""
    route = next(each for each in all_routes(desk.store.schema) if (each.method, each.path) == ("POST", path))
    made = await desk.post(path, route.request_example)
    assert made.status == 201, made.body
    return made


def first(path: str, at: str = "id") -> Made:
    """Return what makes something with the example of another route, and gives its id."""

    async def make(desk: Desk) -> str:
        return str((await example(desk, path)).at(at))

    return make


async def alert(desk: Desk) -> str:
    """Open an alert."""
    gauge = Gauge(name=LATENCY, about="sales", value=900)
    async with desk.store.database.transaction(desk.now) as tx:
        news = await evaluate(tx, RULES, Reading(gauges=[gauge], names=frozenset({LATENCY})))
    assert news
    return text_of("alrt", news[0].alerts[0].id)


async def session(desk: Desk) -> str:
    """Let somebody sign in."""
    async with desk.store.database.transaction(desk.now) as tx:
        token = await create_admin_link(tx)
    await open_session(desk.store.database, token, request_id="test", now=desk.clock.now())
    async with desk.store.database.transaction(desk.now) as tx:
        row = await (await tx.connection.execute("select id from session")).fetchone()
    assert row is not None
    return text_of("sess", row[0])


async def merge(desk: Desk) -> str:
    """Have a lead merged with another."""
    await desk.post(LEADS, LEAD)
    again = await desk.post(LEADS, {**LEAD, "company": "Engines Ltd", "phone": "+44 20 7946 0000"})
    return str(again.at("merged.undo")).rpartition("/")[2].partition(":")[0]


async def lead(desk: Desk) -> str:
    """Capture a lead that is followed up."""
    return str((await desk.post(LEADS, LEAD)).at("lead.id"))


async def paused(desk: Desk) -> str:
    """Capture a lead whose follow-up rests."""
    found = await lead(desk)
    assert (await desk.post(f"{LEADS}/{found}/follow-up:pause")).status == 200
    return found


async def closed(desk: Desk) -> str:
    """Close a period."""
    assert (await desk.post("/api/v1/integrations/finance/periods/2026-01:close")).status == 200
    return "2026-01"


async def january(_: Desk) -> str:
    """Name a period."""
    return "2026-01"


async def user(desk: Desk) -> str:
    """Invite somebody."""
    return str((await example(desk, "/api/v1/users")).at("id"))


async def disabled_user(desk: Desk) -> str:
    """Shut somebody out."""
    found = await user(desk)
    assert (await desk.post(f"/api/v1/users/{found}:disable")).status == 200
    return found


async def disabled_account(desk: Desk) -> str:
    """Disable a service account."""
    found = await first("/api/v1/service-accounts")(desk)
    assert (await desk.post(f"/api/v1/service-accounts/{found}:disable")).status == 200
    return found


async def volume(_: Desk) -> str:
    """Name a detector."""
    return "volume"


async def threat(desk: Desk) -> str:
    """Find somebody who calls too much."""
    at = desk.now.now
    own = desk.now.workspace
    finding = Finding(workspace=own, detector="volume", subject="key:x", reason="Much.", at=at, since=at)
    async with desk.store.database.transaction(desk.now) as tx:
        return text_of(THREAT_PREFIX, await save_threat(tx, Threat.begun(finding, "observe"), hits=1))


async def job(desk: Desk) -> str:
    """Want a job that nobody does."""
    return str((await example(desk, "/api/v1/jobs")).at("id"))


async def cancelled_job(desk: Desk) -> str:
    """Cancel a job."""
    found = await job(desk)
    assert (await desk.post(f"/api/v1/jobs/{found}:cancel")).status == 200
    return found


async def failed_job(desk: Desk) -> str:
    """Have a job need attention."""
    found = await job(desk)
    query = "update job set status = 'needs attention' where workspace = current_workspace() and id = %s"
    async with desk.store.database.transaction(desk.now) as tx:
        await tx.connection.execute(query, (uuid_of("job", found),))
    return found


async def resting(desk: Desk) -> str:
    """Let a schedule rest."""
    found = await first("/api/v1/schedules", "name")(desk)
    assert (await desk.post(f"/api/v1/schedules/{found}:pause", {})).status == 200
    return found


async def saml_provider(desk: Desk) -> str:
    """Set up an identity provider."""
    made = await desk.post("/api/v1/saml-providers", EXAMPLES["POST /api/v1/saml-providers"])
    assert made.status == 201, made.body
    return str(made.at("id"))


async def webhook(desk: Desk) -> str:
    """Have events told to where nobody is."""
    made = await desk.post("/api/v1/webhooks", {"url": "https://hooks.invalid/", "events": ["lead-capture"]})
    assert made.status == 201, made.body
    return str(made.at("webhook.id"))


async def delivery(desk: Desk) -> str:
    """Have a delivery of a webhook wait."""
    found = await webhook(desk)
    await stamped(desk)
    async with desk.store.database.transaction(desk.now) as tx:
        since = desk.clock.now() - timedelta(days=1)
        endpoint = uuid_of("whep", found)
        await tx.connection.execute("update consumer_offset set seq = 1000 where workspace = current_workspace()")
        store = desk.store
        told = await replay_missing(tx, endpoint, topics=topics(), vault=store.vault, schema=store.schema, since=since)
        assert (told.deliveries, told.has_more) == (2, False)
        waiting, _ = await deliveries(tx, endpoint, limit=5)
    return f"{found}/deliveries/{text_of('whdl', waiting.id)}"


async def playbook(desk: Desk) -> str:
    """The name of a workflow on accounts."""
    assert (await desk.get("/api/v1/workflows/rescue")).status == 200
    return "rescue"


async def resting_playbook(desk: Desk) -> str:
    """One that rests."""
    assert (await desk.post("/api/v1/workflows/rescue:pause", {})).status == 200
    return "rescue"


async def run(desk: Desk) -> str:
    """A run of a workflow."""
    (account,) = await desk.put(said("sales.account", "a2", name="Mills"))
    made = await desk.post("/api/v1/workflows/rescue:start", {"subject_id": account})
    return str(made.at("id"))


async def resting_run(desk: Desk) -> str:
    """One that rests."""
    own = await run(desk)
    assert (await desk.post(f"/api/v1/workflow-runs/{own}:pause")).status == 200
    return own


async def webinar(desk: Desk) -> str:
    """The name of a workflow that is not there yet."""
    del desk
    return "webinar-guests"


async def dead_letter(desk: Desk) -> str:
    """Have an event wait whose effect failed."""
    await stamped(desk)
    async with desk.store.database.transaction(desk.now) as tx:
        event = (await events_after(tx.connection, after=0, limit=1))[0]
        await park(tx, "reactions:sales", event, reason="It failed.")
        return text_of("dead", (await parked(tx))[0].id)


async def conflict(desk: Desk) -> str:
    """Have two systems move the amount of a deal."""
    for amount in ("100.00", "200.00"):
        for system, more in (("crm", "0"), ("erp", "1" if amount == "200.00" else "0")):
            fields: dict[str, Json] = {"name": "Deal", "deal_number": "D-1"}
            money: Json = {"amount": f"{more}{amount}", "currency": "EUR"}
            own = Observation(type="sales.deal", system=system, external_id="1", fields={**fields, "amount": money})
            await desk.put(own)
            desk.later(seconds=1)
    return str((await desk.get("/api/v1/conflicts")).at("data.0.id"))


async def pair(desk: Desk) -> str:
    """Have a pair of people found to be one, probably."""
    fields: dict[str, Json] = {"first_name": "Ada", "last_name": "Lovelace"}
    for system in ("crm", "erp"):
        email = f"ada@{system}.example"
        own = Observation(type="sales.person", system=system, external_id="1", fields={**fields, "email": email})
        await desk.put(own)
    async with desk.store.database.transaction(desk.now) as tx:
        one, other = sorted([each.id for each in await page(tx, desk.store.vault, PERSON, limit=2)])
        await propose(tx, PERSON.name, [Proposal(one=one, other=other, chance=0.7, reasons=[])])
    return str((await desk.get("/api/v1/match-candidates")).at("data.0.id"))


async def decided(desk: Desk) -> str:
    """Decide a conflict."""
    found = await conflict(desk)
    body: Json = {"choice": "claimed", "learn": True}
    assert (await desk.post(f"/api/v1/conflicts/{found}:resolve", body)).status == 200
    return found


async def mapping(desk: Desk) -> str:
    """Save a mapping."""
    await connection(desk)
    return str((await example(desk, "/api/v1/mappings")).at("id"))


async def mapping_in_force(desk: Desk) -> str:
    """Put one in force."""
    found = await mapping(desk)
    assert (await desk.post(f"/api/v1/mappings/{found}:activate")).status == 200
    return found


async def learned(desk: Desk) -> str:
    """Have a rule learned."""
    await decided(desk)
    return str((await desk.get("/api/v1/conflict-rules")).at("data.0.id"))


async def stamped(desk: Desk) -> None:
    """Capture a lead, and give its events their numbers."""
    await lead(desk)
    async with desk.store.database.plain() as connection, within(connection, desk.now.workspace):
        await stamp(connection)


EXAMPLES: Mapping[str, Json] = {
    "POST /api/v1/saml-providers": {
        "title": "Northwind",
        "metadata": described(),
        "mail_domains": ["northwind.example"],
    }
}
"""What is sent where the example of a route only hints at it."""
MAKING: Mapping[str, Made] = {
    "POST /api/v1/jobs/{job_id}:cancel": job,
    "POST /api/v1/jobs/{job_id}:discard": failed_job,
    "POST /api/v1/jobs/{job_id}:retry": cancelled_job,
    "PUT /api/v1/workflows/{name}": webinar,
    "POST /api/v1/workflows/{name}:pause": playbook,
    "POST /api/v1/workflows/{name}:resume": resting_playbook,
    "POST /api/v1/workflows/{name}:start": playbook,
    "POST /api/v1/workflow-runs/{run_id}:cancel": run,
    "POST /api/v1/workflow-runs/{run_id}:pause": run,
    "POST /api/v1/workflow-runs/{run_id}:resume": resting_run,
    "PATCH /api/v1/schedules/{name}": first("/api/v1/schedules", "name"),
    "DELETE /api/v1/schedules/{name}": first("/api/v1/schedules", "name"),
    "POST /api/v1/schedules/{name}:pause": first("/api/v1/schedules", "name"),
    "POST /api/v1/schedules/{name}:resume": resting,
    "POST /api/v1/schedules/{name}:run": first("/api/v1/schedules", "name"),
    "POST /api/v1/schedules/{name}:backfill": first("/api/v1/schedules", "name"),
    "POST /api/v1/integrations/finance/periods/{period}:close": january,
    "POST /api/v1/integrations/finance/periods/{period}:reopen": closed,
    "POST /api/v1/integrations/sales/leads/{lead_id}/follow-up:pause": lead,
    "POST /api/v1/integrations/sales/leads/{lead_id}/follow-up:resume": paused,
    "POST /api/v1/merges/{merge_id}:undo": merge,
    "PATCH /api/v1/users/{user_id}": user,
    "POST /api/v1/users/{user_id}:disable": user,
    "POST /api/v1/users/{user_id}:enable": disabled_user,
    "POST /api/v1/users/{user_id}:link": user,
    "POST /api/v1/users/{user_id}:reset": user,
    "POST /api/v1/sessions/{session_id}:end": session,
    "POST /api/v1/keys/{key_id}:revoke": first("/api/v1/keys"),
    "POST /api/v1/keys/{key_id}:rotate": first("/api/v1/keys"),
    "POST /api/v1/clients/{client_id}:rotate": first("/api/v1/clients", "client_id"),
    "POST /api/v1/clients/{client_id}:remove": first("/api/v1/clients", "client_id"),
    "POST /api/v1/alerts/{alert_id}:acknowledge": alert,
    "POST /api/v1/alerts/{alert_id}:silence": alert,
    "DELETE /api/v1/alert-channels/{channel_id}": first("/api/v1/alert-channels"),
    "DELETE /api/v1/saml-providers/{provider_id}": saml_provider,
    "PUT /api/v1/threats/modes/{detector}": volume,
    "POST /api/v1/threats/{threat_id}:release": threat,
    "PATCH /api/v1/webhooks/{webhook_id}": webhook,
    "DELETE /api/v1/webhooks/{webhook_id}": webhook,
    **{
        f"POST /api/v1/webhooks/{{webhook_id}}:{verb}": webhook
        for verb in ("pause", "resume", "rotate", "test", "recover", "replay")
    },
    "POST /api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}:resend": delivery,
    "POST /api/v1/dead-letters/{dead_letter_id}:retry": dead_letter,
    "POST /api/v1/dead-letters/{dead_letter_id}:discard": dead_letter,
    "PATCH /api/v1/connections/{connection}": connection,
    "DELETE /api/v1/connections/{connection}": connection,
    "POST /api/v1/connections/{connection}:check": connection,
    "POST /api/v1/connections/{connection}:authorize": consentable_connection,
    "POST /api/v1/connections/{connection}:pause": connection,
    "POST /api/v1/connections/{connection}:resume": resting_connection,
    **{f"POST /api/v1/syncs/{{connection}}:{verb}": connection for verb in ("run", "backfill", "resync", "retry")},
    **{f"POST /api/v1/reconciliations/{{connection}}:{verb}": connection for verb in ("run", "repair", "probe")},
    **{
        f"POST /api/v1/reconciliation-differences/{{difference_id}}:{verb}": difference
        for verb in ("accept", "ignore", "repair")
    },
    "POST /api/v1/reconciliation-differences/{difference_id}:reopen": ignored,
    "POST /api/v1/mappings/{mapping_id}:activate": mapping,
    "POST /api/v1/mappings/{mapping_id}:rollback": mapping_in_force,
    "POST /api/v1/mappings/{mapping_id}:replay": mapping_in_force,
    "POST /api/v1/match-candidates/{candidate_id}:accept": pair,
    "POST /api/v1/match-candidates/{candidate_id}:refuse": pair,
    "POST /api/v1/conflicts/{conflict_id}:resolve": conflict,
    "POST /api/v1/conflicts/{conflict_id}:undo": decided,
    "DELETE /api/v1/conflict-rules/{rule_id}": learned,
    "DELETE /api/v1/upstreams/{name}": first("/api/v1/upstreams", "name"),
    "DELETE /api/v1/policies/{name}": first("/api/v1/policies", "name"),
    "DELETE /api/v1/roles/{name}": first("/api/v1/roles", "name"),
    "POST /api/v1/service-accounts/{account_id}:disable": first("/api/v1/service-accounts"),
    "POST /api/v1/service-accounts/{account_id}:enable": disabled_account,
}


def is_edit(route: Route) -> bool:
    """Tell whether it is the one handler that edits records of every type."""
    return route.method == "PATCH" and getattr(route.handler, "__name__", "") == "edit_one"


NEEDING: Mapping[str, Made] = {"POST /api/v1/mappings": connection}
"""What has to be there although the path does not name it."""
CHANGING = [
    route
    for route in all_routes(schema())
    if route.method in UNSAFE and "/api/v1/" in route.path and name_of(route) not in ASKING and not is_edit(route)
]


@pytest.fixture
def desk(store: Store, scope: Scope) -> Desk:
    """Somebody who calls."""
    return Desk.of(store, scope)


async def traced(desk: Desk, method: str, path: str, body: Json = None, **headers: str) -> list[Entry]:
    """Call a route, see that it succeeds, and return the entries of that call."""
    given = {"x-request-id": "the-call", **{name.replace("_", "-"): value for name, value in headers.items()}}
    answer = await desk.call(method, path, body, headers=given)
    assert 200 <= answer.status < 300, (method, path, answer.status, answer.body)
    async with desk.store.database.transaction(desk.now) as tx:
        return list(await search(tx, parse("request:the-call", now=desk.clock.now()), before=None, limit=50))


@pytest.mark.parametrize("route", CHANGING, ids=name_of)
async def test_a_change_is_traced(desk: Desk, route: Route) -> None:
    path = route.path
    if "{" in path:
        assert name_of(route) in MAKING, "say in MAKING how to make what the path names"
        path = path.partition("{")[0] + await MAKING[name_of(route)](desk) + path.rpartition("}")[2]
    elif name_of(route) in NEEDING:
        await NEEDING[name_of(route)](desk)
    example_body = EXAMPLES.get(name_of(route), route.request_example)
    for name in {"account_id", "subject_id"} & (example_body.keys() if isinstance(example_body, dict) else set()):
        account = (await desk.put(said("sales.account", "a1", name="Engines")))[0]
        assert isinstance(example_body, dict)
        example_body = {**example_body, name: account}
    found = await traced(desk, route.method, path, example_body, isthmus_purpose="tidying up")
    assert found
    assert {each.network for each in found} == {"127.0.0.0/24"}
    assert {each.purpose for each in found} == {"tidying up"}
    assert all(each.actor.startswith("key:") for each in found)
    assert all(each.decision is not None and each.decision["permission"] == route.permission for each in found)


async def test_an_edit_of_a_record_is_traced(desk: Desk) -> None:
    edits = [route for route in all_routes(schema()) if is_edit(route)]
    assert len(edits) == len({each.name for each in schema()})
    made = await desk.post(LEADS, LEAD)
    lead_id, version = made.at("lead.id"), made.at("lead.version")
    found = await traced(desk, "PATCH", f"/api/v1/leads/{lead_id}", {"company": "Other"}, if_match=f'"{version}"')
    assert {(each.action, each.resource) for each in found} == {("change", "sales.lead")}


async def test_a_search_by_time_and_by_what_decided_finds_the_change(desk: Desk) -> None:
    await traced(desk, "POST", "/api/v1/integrations/finance/periods/2026-01:close")
    later = replace(desk.now, now=desk.now.now + timedelta(days=8))
    async with desk.store.database.transaction(later) as tx:
        assert await search(tx, parse("action:period.* since:7d", now=later.now), before=None, limit=5) == []
        found = await search(tx, parse('"2026-01" decision:allowed', now=later.now), before=None, limit=5)
    assert [each.action for each in found] == ["period.closed"]

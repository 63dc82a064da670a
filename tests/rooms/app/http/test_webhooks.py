"""Webhooks, the catalogue of events and dead letters over HTTP, and what callers may see of them."""

from dataclasses import replace
from uuid import UUID

import pytest

from isthmus.app.topics import topics
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.stream.event import events_after, within
from isthmus.stream.parked import park
from isthmus.stream.relay import stamp
from isthmus.stream.webhooks.endpoints import endpoints
from isthmus.sync.ingest import Store
from tests.rooms.domains.desk import Desk
from tests.rooms.stream.stage import emit

HOOK: dict[str, Json] = {
    "url": "https://hooks.invalid/isthmus",
    "events": ["lead-capture", "isthmus.finance.payment.*"],
}


@pytest.fixture
def desk(store: Store, scope: Scope) -> Desk:
    """Somebody who calls."""
    return Desk.of(store, scope)


async def test_a_webhook_is_registered_changed_paused_rotated_and_removed(desk: Desk) -> None:
    made = await desk.post("/api/v1/webhooks", HOOK)
    own, secret = made.at("webhook.id"), str(made.at("secret"))
    assert secret.startswith("whsec_")
    assert made.at("webhook.status") == "pending"
    path = f"/api/v1/webhooks/{own}"
    assert secret not in (await desk.get(path)).body.decode()
    changed = await desk.call("PATCH", path, {"ordered": True, "per_second": 5, "events": ["*"]})
    assert (changed.at("ordered"), changed.at("per_second"), changed.at("events")) == (True, 5, ["*"])
    assert changed.at("url") == HOOK["url"]
    assert (await desk.post(f"{path}:pause")).at("status") == "paused"
    assert (await desk.post(f"{path}:resume")).at("status") == "pending"
    rotated = await desk.post(f"{path}:rotate", {"overlap_hours": 1})
    assert str(rotated.at("secret")).startswith("whsec_")
    assert rotated.at("secret") != secret
    assert [each["id"] for each in (await desk.get("/api/v1/webhooks")).rows("data")] == [own]
    assert (await desk.call("DELETE", path)).status == 204
    assert (await desk.get(path)).at("code") == "webhook-missing"


async def test_an_ed25519_webhook_shows_its_public_key(desk: Desk) -> None:
    made = await desk.post("/api/v1/webhooks", {**HOOK, "signature": "ed25519"})
    assert str(made.at("secret")).startswith("whpk_")


@pytest.mark.parametrize(
    ("wanted", "pointer", "code"),
    [
        ({**HOOK, "url": "http://hooks.example.com/"}, None, "outbound-refused"),
        ({**HOOK, "url": "https://169.254.169.254/"}, None, "outbound-refused"),
        ({**HOOK, "events": ["no-such-topic"]}, "/events/0", "unknown-topic"),
        ({**HOOK, "accounts": ["lead_01"]}, "/accounts/0", "invalid-id"),
    ],
)
async def test_what_cannot_be_told_is_refused_when_it_is_registered(
    desk: Desk, wanted: dict[str, Json], pointer: str | None, code: str
) -> None:
    refused = await desk.post("/api/v1/webhooks", wanted)
    assert (refused.status, refused.at("code") if pointer is None else refused.faults[pointer]) == (422, code)


async def test_a_key_that_may_not_read_what_an_event_tells_of_cannot_have_it_told(desk: Desk) -> None:
    granted: Json = ["stream:read", "stream:write", "sales:read"]
    role: Json = {"name": "teller", "permissions": granted}
    assert (await desk.post("/api/v1/roles", role)).status == 201
    key = await desk.post("/api/v1/keys", {"name": "Teller", "roles": ["teller"]})
    own = {"authorization": f"Bearer {key.at('key')}"}
    refused = await desk.call("POST", "/api/v1/webhooks", HOOK, headers=own)
    assert refused.faults == {"/events/1": "unknown-topic"}
    allowed = await desk.call("POST", "/api/v1/webhooks", {**HOOK, "events": ["*"]}, headers=own)
    found = (await desk.get("/api/v1/topics")).rows("types")
    async with desk.store.database.transaction(desk.now) as tx:
        (made,) = await endpoints(tx)
    told = topics().chosen(made.chosen, areas=made.areas)
    assert allowed.status == 201
    assert told == {str(each["type"]) for each in found if each["permission"] == "sales:read"}


async def test_what_a_policy_closes_cannot_be_told(desk: Desk) -> None:
    text = """@id("no-money") @reason("Money is told by people.")
    forbid (principal, action in Action::"finance:read", resource) when { principal.name == "Teller" };"""
    assert (await desk.post("/api/v1/policies", {"text": text})).status == 201
    key = await desk.post("/api/v1/keys", {"name": "Teller", "roles": ["owner"]})
    own = {"authorization": f"Bearer {key.at('key')}"}
    refused = await desk.call("POST", "/api/v1/webhooks", HOOK, headers=own)
    assert refused.faults == {"/events/1": "unknown-topic"}
    feed = await desk.call("GET", "/api/v1/events?topic=payments", headers=own)
    assert "unknown-topic" in feed.body.decode()


async def test_deliveries_are_listed_shown_and_sent_again(desk: Desk) -> None:
    own = (await desk.post("/api/v1/webhooks", {**HOOK, "events": ["isthmus.sales.deal.*"]})).at("webhook.id")
    path = f"/api/v1/webhooks/{own}"
    await happened(desk, 1, 2, 3)
    async with desk.store.database.transaction(desk.now) as tx:
        await tx.connection.execute("update consumer_offset set seq = 3 where workspace = current_workspace()")
    replayed = await desk.post(f"{path}:replay", {"since": "2026-01-01T00:00:00Z", "after": 1})
    assert (replayed.at("deliveries"), replayed.at("has_more")) == (2, False)
    first = await desk.get(f"{path}/deliveries?limit=1")
    assert [each["sequence"] for each in first.rows("data")] == [3]
    second = await desk.get(f"{path}/deliveries?limit=1&cursor={first.at('next_cursor')}")
    assert [each["sequence"] for each in second.rows("data")] == [2]
    delivery = second.at("data.0.id")
    shown = await desk.get(f"{path}/deliveries/{delivery}")
    assert (shown.at("status"), shown.at("tries"), shown.at("type")) == ("pending", [], "isthmus.sales.deal.changed.v1")
    assert str(shown.at("message_id")).startswith(f"{desk.now.workspace}-")
    assert (await desk.post(f"{path}/deliveries/{delivery}:resend")).at("status") == "pending"
    assert (await desk.post(f"{path}:recover", {"since": "2026-01-01T00:00:00Z"})).at("deliveries") == 0
    other = text_of_nobody()
    assert (await desk.get(f"{path}/deliveries/{other}")).at("code") == "delivery-missing"


async def test_a_test_says_why_it_did_not_arrive(desk: Desk) -> None:
    own = (await desk.post("/api/v1/webhooks", HOOK)).at("webhook.id")
    tried = await desk.post(f"/api/v1/webhooks/{own}:test")
    assert (tried.status, tried.at("taken"), tried.at("status")) == (200, False, None)
    assert tried.at("failure")


async def test_the_catalogue_names_topics_and_types_with_the_permission_that_opens_them(desk: Desk) -> None:
    shown = await desk.get("/api/v1/topics")
    found = {str(each["name"]): str(each["types"]) for each in shown.rows("topics")}
    assert "isthmus.sales.lead.created.v1" in found["lead-capture"]
    types = {str(each["type"]): each for each in shown.rows("types")}
    assert types["isthmus.marketing.consent.changed.v1"]["permission"] == "privacy:read"
    assert types["isthmus.sales.lead.notified.v1"]["version"] == 1


async def test_dead_letters_are_listed_tried_again_and_given_up(desk: Desk) -> None:
    await happened(desk, 1, 2)
    async with desk.store.database.transaction(desk.now) as tx:
        for event in await events_after(tx.connection, after=0, limit=2):
            await park(tx, "reactions:sales" if event.seq == 1 else "reactions:gone", event, reason="Boom (here:1)")
    listed = (await desk.get("/api/v1/dead-letters")).rows("data")
    assert [(each["consumer"], each["sequence"], each["reason"]) for each in listed] == [
        ("reactions:gone", 2, "Boom (here:1)"),
        ("reactions:sales", 1, "Boom (here:1)"),
    ]
    gone, waiting = (f"/api/v1/dead-letters/{each['id']}" for each in listed)
    assert (await desk.post(f"{waiting}:retry")).json == {"done": 1, "queued": 0, "reason": None}
    assert (await desk.post(f"{gone}:retry")).at("code") == "consumer-gone"
    assert (await desk.post(f"{gone}:discard")).status == 204
    assert (await desk.post(f"{gone}:discard")).at("code") == "dead-letter-missing"
    assert (await desk.get("/api/v1/dead-letters")).rows("data") == []


async def happened(desk: Desk, *records: int) -> None:
    """Have events of records happen, with their numbers."""
    await emit(desk.store.database, replace(desk.now), records)
    async with desk.store.database.plain() as connection, within(connection, desk.now.workspace):
        await stamp(connection)


def text_of_nobody() -> str:
    """Return an id under which nothing is."""
    return text_of("whdl", UUID(int=1))

"""Policies decide over calls: they refuse with their reason, only count in shadow, permit, filter lists and explain."""

from datetime import UTC, datetime, timedelta

import pytest

from isthmus.gateway.policy.gate import PolicyGate
from isthmus.gateway.policy.sample import read_sample
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.store.observation import Observation
from isthmus.store.records import Stored, page
from isthmus.sync.ingest import Interval, Store, put
from tests.conftest import NOW
from tests.rooms.app.http.inside import code, key, rows, stage
from tests.rooms.gateway.stage import Stage

LEADS = "/api/v1/leads"
NIGHT = datetime(2026, 11, 2, 3, 0, tzinfo=UTC)
NIGHTS = """@id("nights") @reason("Nobody reads leads at night.") @fix("Ask again after six.")
forbid (principal, action in Action::"sales:read", resource) when { context.hour < 6 };"""


@pytest.fixture
def at(store: Store) -> Stage:
    """A gateway of all routes."""
    return stage(store)


async def as_owner(at: Stage, store: Store, scope: Scope) -> Stage:
    return Stage(at.gateway, at.clock, await key(store, scope, "owner"))


async def test_a_policy_refuses_in_its_circumstances_and_says_why_and_what_to_do(
    at: Stage, store: Store, scope: Scope
) -> None:
    owner = await as_owner(at, store, scope)
    reader = Stage(at.gateway, at.clock, await key(store, scope, "sales.viewer"))
    assert (await reader.call("GET", LEADS)).status == 200
    made = await owner.call("POST", "/api/v1/policies", {"text": NIGHTS})
    assert (made.status, made.json["mode"]) == (201, "enforced"), made.body
    assert (await reader.call("GET", LEADS)).status == 200
    at.clock.move(NIGHT - NOW)
    refused = await reader.call("GET", LEADS)
    assert (refused.status, code(refused)) == (403, "policy-refused")
    assert refused.json["detail"] == "The policy nights forbids this: Nobody reads leads at night."
    assert "after six" in str(refused.json)
    assert (await reader.call("GET", "/api/v1/me")).status == 200
    assert (await owner.call("DELETE", "/api/v1/policies/nights")).status == 204
    assert (await reader.call("GET", LEADS)).status == 200


async def test_in_shadow_a_policy_refuses_nothing_and_is_counted(at: Stage, store: Store, scope: Scope) -> None:
    owner = await as_owner(at, store, scope)
    reader = Stage(at.gateway, at.clock, await key(store, scope, "sales.viewer"))
    await owner.call("POST", "/api/v1/policies", {"text": NIGHTS, "mode": "shadow"})
    at.clock.move(NIGHT - NOW)
    assert (await reader.call("GET", LEADS)).status == 200
    await at.gateway.services.of(PolicyGate).close()
    async with store.database.transaction(scope) as tx:
        found = await read_sample(tx, since=NIGHT - timedelta(hours=3))
    assert [(each.allowed, each.shadowed_by, each.seen) for each in found if each.facts.route == f"GET {LEADS}"] == [
        (True, ("nights",), 1)
    ]


async def test_a_forbid_that_cannot_be_decided_refuses(at: Stage, store: Store, scope: Scope) -> None:
    owner = await as_owner(at, store, scope)
    reader = Stage(at.gateway, at.clock, await key(store, scope, "sales.viewer"))
    text = """@id("large") @reason("Large amounts are for two.")
    forbid (principal, action in Action::"sales:read", resource)
    when { context has amount && context.amount.greaterThan(decimal("5.0")) || context.hour > 99 };"""
    assert (await owner.call("POST", "/api/v1/policies", {"text": text})).status == 201
    assert (await reader.call("GET", LEADS)).status == 200


async def test_a_permit_grants_what_no_role_does_and_a_forbid_is_stronger(
    at: Stage, store: Store, scope: Scope
) -> None:
    owner = await as_owner(at, store, scope)
    analyst = Stage(at.gateway, at.clock, await key(store, scope, "finance.viewer"))
    assert code(await analyst.call("GET", LEADS)) == "grant-missing"
    text = """@id("month-end") @reason("Finance reads leads when it closes the month.")
    permit (principal in Role::"finance.viewer", action == Action::"GET /api/v1/leads", resource)
    when { context.purpose == "closing" };"""
    assert (await owner.call("POST", "/api/v1/policies", {"text": text})).status == 201
    assert code(await analyst.call("GET", LEADS)) == "grant-missing"
    closing = {"isthmus-purpose": "closing"}
    assert (await analyst.call("GET", LEADS, headers=closing)).status == 200
    assert code(await analyst.call("GET", "/api/v1/deals", headers=closing)) == "grant-missing"
    await owner.call("POST", "/api/v1/policies", {"text": NIGHTS})
    at.clock.move(NIGHT - NOW)
    assert code(await analyst.call("GET", LEADS, headers=closing)) == "policy-refused"


async def test_only_who_has_every_permission_keeps_a_permit(at: Stage, store: Store, scope: Scope) -> None:
    keeper = Stage(at.gateway, at.clock, await key(store, scope, permissions=("gateway:*",)))
    text = """@id("me") @reason("I want it.") permit (principal, action in Action::"sales:read", resource);"""
    refused = await keeper.call("POST", "/api/v1/policies", {"text": text})
    assert (refused.status, code(refused)) == (403, "grant-too-wide")
    assert (await keeper.call("POST", "/api/v1/policies", {"text": NIGHTS})).status == 201


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("forbid (principal, action, resource", "policy-unreadable"),
        ('@id("x") forbid (principal, action, resource);', "policy-unreadable"),
        (NIGHTS.replace("context.hour", "context.hours"), "policy-unreadable"),
        (NIGHTS.replace("sales:read", "sails:read"), "policy-unreadable"),
        (NIGHTS.replace("context.hour < 6", "context.hour + 1 < 6"), "policy-unsupported"),
        (NIGHTS.replace("forbid", '@mood("bad") forbid'), "policy-unsupported"),
        (NIGHTS + NIGHTS.replace("nights", "more"), "policy-unreadable"),
        ('@id("deals") @reason("y") permit (principal, action, resource is sales::deal);', "policy-unsupported"),
    ],
)
async def test_a_policy_that_cannot_be_evaluated_is_not_kept(
    at: Stage, store: Store, scope: Scope, text: str, wanted: str
) -> None:
    owner = await as_owner(at, store, scope)
    refused = await owner.call("POST", "/api/v1/policies", {"text": text})
    assert (refused.status, code(refused)) == (422, wanted), refused.json
    assert (await owner.call("GET", "/api/v1/policies")).json["data"] == []


async def deals(store: Store, scope: Scope) -> dict[str, str]:
    """Put three deals and return their ids by name."""
    many = [
        Observation(type="sales.deal", system="crm", external_id=name, fields={"name": name, **fields}, at=NOW)
        for name, fields in (("north", {"pipeline": "north"}), ("south", {"pipeline": "south"}), ("bare", {}))
    ]
    await put(store, scope, many, interval=Interval(since=None, until=NOW))
    async with store.database.transaction(scope) as tx:
        found = await page(tx, store.vault, store.schema["sales.deal"], limit=10)
    return {str(each.values["name"]): text_of("deal", each.id) for each in found}


async def test_a_policy_on_records_filters_lists_and_hides_single_ones(at: Stage, store: Store, scope: Scope) -> None:
    ids = await deals(store, scope)
    owner = await as_owner(at, store, scope)
    editor = Stage(at.gateway, at.clock, await key(store, scope, "sales.editor"))
    text = """@id("north-only") @reason("The desk sees the north.")
    forbid (principal in Role::"sales.editor", action in Action::"sales:*", resource is sales::deal)
    unless { principal in Role::"owner" || resource.pipeline == "north" };"""
    assert (await owner.call("POST", "/api/v1/policies", {"text": text})).status == 201
    listed = await editor.call("GET", "/api/v1/deals")
    assert [each["name"] for each in rows(listed)] == ["north"]
    assert (await editor.call("GET", f"/api/v1/deals/{ids['north']}")).status == 200
    for hidden in ("south", "bare"):
        for path in (f"/api/v1/deals/{ids[hidden]}", f"/api/v1/deals/{ids[hidden]}/history"):
            assert (await editor.call("GET", path)).status == 404
        changed = await editor.call("PATCH", f"/api/v1/deals/{ids[hidden]}", {"name": "x"}, headers={"if-match": "*"})
        assert changed.status == 404
    away = await editor.call("PATCH", f"/api/v1/deals/{ids['north']}", {"pipeline": "south"}, headers={"if-match": "*"})
    assert away.status == 404, "a record cannot be changed out of one's own sight"
    unfiltered = await editor.call("GET", "/api/v1/integrations/sales/performance")
    assert code(unfiltered) == "policy-refused"
    assert len(rows(await owner.call("GET", "/api/v1/deals"))) == 3


async def stored_as(store: Store, scope: Scope, kind: str, many: list[dict[str, Json]]) -> list[Stored]:
    """Put records of a type and return them as they are held."""
    found = [
        Observation(type=kind, system="crm", external_id=str(n), fields=each, at=NOW) for n, each in enumerate(many)
    ]
    await put(store, scope, found, interval=Interval(since=None, until=NOW))
    async with store.database.transaction(scope) as tx:
        return await page(tx, store.vault, store.schema[kind], limit=len(many))


async def test_a_policy_that_asks_for_consent_shows_who_agreed_to_the_purpose_that_is_stated(
    at: Stage, store: Store, scope: Scope
) -> None:
    owner = await as_owner(at, store, scope)
    program = Stage(at.gateway, at.clock, await key(store, scope, "sales.viewer"))
    people = await stored_as(store, scope, "sales.person", [{"country": "DE"} for _ in range(3)])
    agrees, once, never = (text_of("pers", each.id) for each in people)
    said = ((0, "email", "granted"), (1, "email", "granted"), (1, "any", "withdrawn"))
    consents: list[dict[str, Json]] = [
        {"purpose": "marketing", "channel": channel, "state": state, "person_id": str(people[whose].id)}
        for whose, channel, state in said
    ]
    await stored_as(store, scope, "marketing.consent", consents)
    text = """@id("consent") @reason("They did not agree.") forbid (principal, action, resource is sales::person)
    when { principal.kind != "session" }
    unless { resource.consents.contains(context.purpose) || principal in Role::"owner" };"""
    assert (await owner.call("POST", "/api/v1/policies", {"text": text})).status == 201
    told = {"isthmus-purpose": "marketing/email"}
    assert [each["id"] for each in rows(await program.call("GET", "/api/v1/people", headers=told))] == [agrees]
    assert rows(await program.call("GET", "/api/v1/people", headers={"isthmus-purpose": "profiling"})) == []
    assert rows(await program.call("GET", "/api/v1/people")) == []
    single = [await program.call("GET", f"/api/v1/people/{one}", headers=told) for one in (agrees, once, never)]
    assert [each.status for each in single] == [200, 404, 404]
    assert len(rows(await owner.call("GET", "/api/v1/people"))) == 3


async def test_an_amount_in_the_body_is_weighed_before_anything_changes(at: Stage, store: Store, scope: Scope) -> None:
    ids = await deals(store, scope)
    owner = await as_owner(at, store, scope)
    text = """@id("large") @reason("Amounts over 5000 are entered by an owner.")
    forbid (principal, action in Action::"sales:write", resource)
    when { context has amount && context.amount.greaterThan(decimal("5000.0")) };"""
    await owner.call("POST", "/api/v1/policies", {"text": text})
    path, any_version = f"/api/v1/deals/{ids['north']}", {"if-match": "*"}
    large: Json = {"amount": {"amount": "5000.01", "currency": "EUR"}}
    refused = await owner.call("PATCH", path, large, headers=any_version)
    assert (refused.status, code(refused)) == (403, "policy-refused")
    assert (await owner.call("GET", path)).json["amount"] is None
    small: Json = {"amount": {"amount": "5000", "currency": "EUR"}}
    assert (await owner.call("PATCH", path, small, headers=any_version)).status == 200


async def test_a_change_is_tried_over_the_decisions_of_the_last_days(at: Stage, store: Store, scope: Scope) -> None:
    owner = await as_owner(at, store, scope)
    reader = Stage(at.gateway, at.clock, await key(store, scope, "sales.viewer"))
    at.clock.move(NIGHT - NOW)
    for _ in range(3):
        await reader.call("GET", LEADS)
    await reader.call("GET", "/api/v1/me")
    await at.gateway.services.of(PolicyGate).close()
    at.clock.move(timedelta(hours=9))
    tried = await owner.call("POST", "/api/v1/policies:simulate", {"add": [NIGHTS]})
    assert (tried.json["calls"], tried.json["would_deny"], tried.json["would_allow"]) == (4, 3, 0)
    assert [(each["route"], each["calls"], each["because"]) for each in rows(tried, "denied")] == [
        (f"GET {LEADS}", 3, ["nights"])
    ]
    assert (await reader.call("GET", LEADS)).status == 200, "trying changes nothing"
    await owner.call("POST", "/api/v1/policies", {"text": NIGHTS})
    undone = await owner.call("POST", "/api/v1/policies:simulate", {"remove": ["nights"]})
    assert (undone.json["would_deny"], undone.json["would_allow"]) == (0, 3)


async def test_a_decision_is_explained_step_by_step(at: Stage, store: Store, scope: Scope) -> None:
    owner = await as_owner(at, store, scope)
    await owner.call("POST", "/api/v1/policies", {"text": NIGHTS})
    text = await key(store, scope, "sales.viewer")
    reader = Stage(at.gateway, at.clock, text)
    own = (await reader.call("GET", "/api/v1/me")).json["id"]
    question = {"key": own, "route": f"GET {LEADS}", "at": NIGHT.isoformat()}
    told = await owner.call("POST", "/api/v1/policies:explain", question)
    steps = {each["step"]: (each["passes"], each["detail"]) for each in rows(told, "steps")}
    assert told.json["allowed"] is False
    assert steps["grant"] == (True, "sales:read is granted by the role sales.viewer.")
    assert steps["policy nights"] == (False, "forbids: Nobody reads leads at night.")
    by_day = await owner.call("POST", "/api/v1/policies:explain", question | {"at": NOW.isoformat()})
    assert by_day.json["allowed"] is True
    wide = await owner.call("POST", "/api/v1/policies:explain", question | {"route": "POST /api/v1/keys"})
    assert wide.json["allowed"] is False

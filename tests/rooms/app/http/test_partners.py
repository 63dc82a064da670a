"""Whoever is limited to named records sees those, what points to them, and nothing else."""

from uuid import UUID

import pytest

from isthmus.auth.credentials import Credentials
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.store.observation import Link, Observation
from isthmus.store.records import page
from isthmus.sync.ingest import Interval, Store, put
from tests.access.table import DOMAINS
from tests.conftest import NOW
from tests.rooms.app.http.inside import code, key, rows, stage
from tests.rooms.gateway.stage import Stage

CAMPAIGN = "marketing.campaign"


async def campaigns(store: Store, scope: Scope) -> dict[str, UUID]:
    """Put two campaigns with a lead each, and a lead of neither; return the campaigns by name."""
    named = [
        Observation(type=CAMPAIGN, system="crm", external_id=name, fields={"name": name}, at=NOW)
        for name in ("ours", "theirs")
    ]
    leads = [
        Observation(
            type="sales.lead",
            system="crm",
            external_id=name,
            fields={"company": f"{name} lead"},
            links={"campaign_id": Link(external_id=name)} if name != "free" else {},
            at=NOW,
        )
        for name in ("ours", "theirs", "free")
    ]
    await put(store, scope, [*named, *leads], interval=Interval(since=None, until=NOW))
    async with store.database.transaction(scope) as tx:
        return {
            str(each.values["name"]): each.id for each in await page(tx, store.vault, store.schema[CAMPAIGN], limit=9)
        }


@pytest.fixture
async def ids(store: Store, scope: Scope) -> dict[str, UUID]:
    """The campaigns."""
    return await campaigns(store, scope)


@pytest.fixture
async def partner(store: Store, scope: Scope, ids: dict[str, UUID]) -> Stage:
    """An agency that may read and edit everything, of one campaign."""
    at = stage(store)
    only = {CAMPAIGN: frozenset({ids["ours"]})}
    return Stage(at.gateway, at.clock, await key(store, scope, "editor", only=only))


async def test_a_partner_sees_its_records_and_what_points_to_them(partner: Stage, ids: dict[str, UUID]) -> None:
    assert [each["name"] for each in rows(await partner.call("GET", "/api/v1/campaigns"))] == ["ours"]
    assert [each["company"] for each in rows(await partner.call("GET", "/api/v1/leads"))] == ["ours lead"]
    assert rows(await partner.call("GET", "/api/v1/vendors")) == []
    ours, theirs = (text_of("camp", ids[name]) for name in ("ours", "theirs"))
    assert (await partner.call("GET", f"/api/v1/campaigns/{ours}")).status == 200
    for path in (f"/api/v1/campaigns/{theirs}", f"/api/v1/campaigns/{theirs}/history"):
        assert (await partner.call("GET", path)).status == 404
    filtered = await partner.call("GET", f"/api/v1/leads?campaign_id={theirs}")
    assert rows(filtered) == []


async def test_a_partner_changes_nothing_else_and_moves_nothing_in_or_out(
    partner: Stage, store: Store, scope: Scope, ids: dict[str, UUID]
) -> None:
    theirs = text_of("camp", ids["theirs"])
    any_version = {"if-match": "*"}
    assert (
        await partner.call("PATCH", f"/api/v1/campaigns/{theirs}", {"name": "x"}, headers=any_version)
    ).status == 404
    (lead,) = rows(await partner.call("GET", "/api/v1/leads"))
    moved = await partner.call("PATCH", f"/api/v1/leads/{lead['id']}", {"campaign_id": theirs}, headers=any_version)
    assert (moved.status, code(moved)) == (422, "unknown-record")
    freed: Json = {"campaign_id": None}
    assert (await partner.call("PATCH", f"/api/v1/leads/{lead['id']}", freed, headers=any_version)).status == 404
    async with store.database.transaction(scope) as tx:
        held = await page(tx, store.vault, store.schema["sales.lead"], limit=9)
    assert sorted(str(each.values["campaign_id"]) for each in held) == sorted(
        [str(ids["ours"]), str(ids["theirs"]), "None"]
    )


async def test_what_shows_more_than_records_is_refused(partner: Stage) -> None:
    for path in ("/api/v1/integrations/sales/performance", "/api/v1/keys", "/metrics", "/", "/api/v1/audit"):
        refused = await partner.call("GET", path)
        assert refused.status == 403, path
    assert (await partner.call("GET", "/api/v1/me")).status == 200


async def test_a_partners_key_is_made_over_http_with_ids_as_people_see_them(
    store: Store, scope: Scope, ids: dict[str, UUID]
) -> None:
    at = stage(store)
    owner = Stage(at.gateway, at.clock, await key(store, scope, "owner"))
    ours = text_of("camp", ids["ours"])
    made = await owner.call(
        "POST", "/api/v1/keys", {"name": "Agency", "roles": ["marketing.viewer"], "only": {CAMPAIGN: [ours]}}
    )
    assert made.status == 201, made.body
    shown = await owner.call("GET", f"/api/v1/keys/{made.json['id']}")
    assert shown.json["only"] == {CAMPAIGN: [ours]}
    principal = await Credentials(store.database, domains=DOMAINS).key(str(made.json["key"]), now=NOW)
    assert principal.only == {CAMPAIGN: frozenset({ids["ours"]})}
    wrong: list[Json] = [{"marketing.unicorn": [ours]}, {CAMPAIGN: ["deal_1"]}, {CAMPAIGN: []}]
    for only in wrong:
        body: Json = {"name": "Agency", "roles": ["marketing.viewer"], "only": only}
        assert (await owner.call("POST", "/api/v1/keys", body)).status == 422

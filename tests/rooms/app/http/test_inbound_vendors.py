"""Vendors call as they document it: proven in their way, kept once, and the record that they name is asked for."""

import base64
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest

from isthmus.app.discovery import connectors
from isthmus.app.webhooks import landed
from isthmus.connectors.hubspot.fake_http import Site as HubSpotSite
from isthmus.connectors.hubspot.fake_http import serving as serving_hubspot
from isthmus.connectors.mailchimp.conformance import begin as begin_mailchimp
from isthmus.connectors.pipedrive.conformance import begin as begin_pipedrive
from isthmus.connectors.xero.vendor_http import Site as XeroSite
from isthmus.connectors.xero.vendor_http import serving as serving_xero
from isthmus.connectors.zendesk.conformance import begin as begin_zendesk
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.sync.connections import Connection, connect
from isthmus.sync.ingest import Store
from isthmus.sync.runs import Engine
from tests.rooms.connectors.hubspot_room import settings as hubspot_settings
from tests.rooms.domains.desk import Answer, Desk, ask

NO_HEADERS: Mapping[str, str] = {}


@pytest.fixture
def desk(store: Store, scope: Scope) -> Desk:
    """Somebody who calls."""
    return Desk.of(store, scope)


async def connected(desk: Desk, name: str, settings: Mapping[str, str]) -> Connection:
    """Connect a vendor."""
    async with desk.store.database.transaction(desk.now) as tx:
        return await connect(tx, desk.store.vault, connectors()[name], name=name, settings=dict(settings))


async def call(
    desk: Desk,
    to: Connection,
    body: bytes,
    headers: Mapping[str, str] = NO_HEADERS,
    *,
    query: str = "",
    way: str = "POST",
) -> Answer:
    """Call as the vendor."""
    return await ask(desk.gateway, way, f"/in/{text_of('conn', to.id)}{query}", body, headers=headers)


async def work(desk: Desk) -> int:
    """Work on what came."""
    return await landed(desk.store.database, desk.services.of(Engine), now=desk.clock.now())


async def names(desk: Desk, path: str, field: str) -> list[str]:
    """Return a field of all records."""
    return sorted(str(each[field]) for each in (await desk.get(f"/api/v1/{path}")).rows("data"))


def basic(pair: str) -> dict[str, str]:
    """Return the header of a name and a password."""
    return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


async def test_pipedrive_shows_a_name_and_a_password_and_a_retry_of_the_same_event_is_known(desk: Desk) -> None:
    with begin_pipedrive(Path()) as fake:
        crm = await connected(desk, "pipedrive", {**fake.settings, "webhook_secret": "hook:s3cret"})
        own = fake.store("organizations", None, {"name": "Quince"})["id"]

        def event(action: str, *, attempt: int = 1, own_id: str = "b1c2") -> bytes:
            meta: dict[str, Json] = {"action": action, "entity": "organization", "entity_id": str(own), "id": own_id}
            meta |= {"timestamp": "2026-11-02T10:00:00.000Z", "attempt": attempt, "version": "2.0"}
            return json.dumps({"data": {"id": own, "name": "Forged"}, "previous": None, "meta": meta}).encode()

        for headers in (NO_HEADERS, basic("hook:other"), {"authorization": "Bearer hook:s3cret"}):
            assert (await call(desk, crm, event("create"), headers)).at("code") == "signature-refused"
        assert (await call(desk, crm, event("create"), basic("hook:s3cret"))).status == 202
        assert await work(desk) == 1
        assert await names(desk, "accounts", "name") == ["Quince"], "what it says itself is not taken"
        assert (await call(desk, crm, event("create", attempt=2), basic("hook:s3cret"))).status == 202
        assert await work(desk) == 0
        assert (await call(desk, crm, event("delete", own_id="d3"), basic("hook:s3cret"))).status == 202
        assert await work(desk) == 1
        assert await names(desk, "accounts", "name") == []


async def test_zendesk_signs_the_time_and_what_was_recorded_or_is_about_an_agent_does_nothing(desk: Desk) -> None:
    with begin_zendesk(Path()) as fake:
        crm = await connected(desk, "zendesk", {**fake.settings, "webhook_secret": "c2lnbmluZw=="})
        own = fake.store("users", None, {"name": "Wren Ashdown", "role": "end-user", "email": "wren@quince.example"})[
            "id"
        ]
        agent = fake.store("users", None, {"name": "Ines Q", "role": "agent", "email": "ines@quince.example"})["id"]

        def signed(body: bytes, *, late: float = 0, invocation: str = "inv-1") -> dict[str, str]:
            at = (desk.clock.now() - timedelta(seconds=late)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            proof = hmac.digest(b"c2lnbmluZw==", at.encode() + body, "sha256")
            return {
                "x-zendesk-webhook-signature": base64.b64encode(proof).decode(),
                "x-zendesk-webhook-signature-timestamp": at,
                "x-zendesk-webhook-invocation-id": invocation,
            }

        def event(what: str, subject: str) -> bytes:
            return json.dumps(
                {"type": f"zen:event-type:{what}", "subject": subject, "time": "2026-11-02T09:30:00Z", "id": "e1"}
            ).encode()

        body = event("user.created", f"zen:user:{own}")
        assert (await call(desk, crm, body, signed(body, late=301))).status == 401
        assert (await call(desk, crm, body + b" ", signed(body))).status == 401
        assert (
            await call(desk, crm, body, signed(body) | {"x-zendesk-webhook-signature-timestamp": "soon"})
        ).status == 401
        for _ in range(2):
            assert (await call(desk, crm, body, signed(body))).status == 202
        of_agent = event("user.name_changed", f"zen:user:{agent}")
        assert (await call(desk, crm, of_agent, signed(of_agent, invocation="inv-2"))).status == 202
        of_trigger = json.dumps({"user_id": own}).encode()
        assert (await call(desk, crm, of_trigger, signed(of_trigger, invocation="inv-3"))).status == 202
        assert await work(desk) == 3
        assert await names(desk, "people", "last_name") == ["Ashdown"]


async def test_mailchimp_looks_whether_somebody_is_there_and_knows_a_secret_in_the_address(desk: Desk) -> None:
    with begin_mailchimp(Path()) as fake:
        crm = await connected(desk, "mailchimp", {**fake.settings, "webhook_secret": "known-to-mailchimp"})
        secret = "?secret=known-to-mailchimp"
        for wrong in ("", "?secret=", "?secret=other", "?secret=a&secret=known-to-mailchimp"):
            assert (await call(desk, crm, b"", query=wrong, way="GET")).status >= 400
        assert (await call(desk, crm, b"", query=secret, way="GET")).status == 200
        form = {"content-type": "application/x-www-form-urlencoded"}
        assert (await call(desk, crm, b"", form, query=secret)).status == 202
        assert await work(desk) == 0, "a look is not kept"
        fake.put(None, {"last_name": "Ashdown", "first_name": "Wren"})
        email = str(next(iter(fake.members.values()))["email_address"])
        said = {
            "type": "profile",
            "fired_at": "2026-11-02 09:30:00",
            "data[email]": email.upper(),
            "data[list_id]": "x",
        }
        body = urlencode({**said, "data[merges][LNAME]": "Forged"}).encode()
        assert (await call(desk, crm, body, form, query="?secret=other")).status == 401
        for _ in range(2):
            assert (await call(desk, crm, body, form, query=secret)).status == 202
        assert await work(desk) == 1
        assert await names(desk, "people", "last_name") == ["Ashdown"]


async def test_xero_gets_200_or_401_without_a_word_and_what_changed_is_asked_for(desk: Desk) -> None:
    with serving_xero(XeroSite()) as site:
        books = await connected(desk, "xero", {**site.custom, "webhook_secret": "xero-webhook-key"})
        own = site.organisation.put("contacts", {"Name": "Quince", "ContactStatus": "ACTIVE"})["ContactID"]

        def signed(body: bytes, key: bytes = b"xero-webhook-key") -> dict[str, str]:
            return {"x-xero-signature": base64.b64encode(hmac.digest(key, body, "sha256")).decode()}

        intent = b'{"events":[],"firstEventSequence":0,"lastEventSequence":0,"entropy":"S0m3r4Nd0mt3xt"}'
        for headers, status in ((signed(intent), 200), (signed(intent, b"other"), 401), (NO_HEADERS, 401)):
            answer = await call(desk, books, intent, headers)
            assert (answer.status, answer.body, "set-cookie" in answer.headers) == (status, b"", False)
        one: dict[str, Json] = {"eventCategory": "CONTACT", "eventType": "UPDATE", "tenantId": "t", "resourceId": own}
        gone = {**one, "resourceId": "00000000-0000-4000-8000-000000000000"}
        other = {**one, "eventCategory": "SUBSCRIPTION"}
        body = json.dumps({"events": [one, one, gone, other], "firstEventSequence": 1, "lastEventSequence": 4}).encode()
        assert (await call(desk, books, body, signed(body))).status == 200
        assert (await call(desk, books, body, signed(body))).status == 200
        assert await work(desk) == 2, "the first look, and the events once"
        assert await names(desk, "accounts", "name") == ["Quince"]


async def test_hubspot_tells_many_properties_of_many_records_in_any_order_and_some_twice(desk: Desk) -> None:
    with serving_hubspot(HubSpotSite()) as site:
        crm = await connected(desk, "hubspot", {**hubspot_settings(site), "client_secret": "app-s3cret"})
        made = site.fake.make("companies", {"name": "Harbour Works", "city": "Lund"}).id
        (shown,) = (await desk.get("/api/v1/inbound-webhooks")).rows("data")
        at = int(desk.clock.now().timestamp() * 1000)

        def change(of: object, name: str, value: str, *, ago: int) -> Json:
            kind = "company" if name == "name" or of == made else "contact"
            told: dict[str, Json] = {"objectId": str(of), "subscriptionType": f"{kind}.propertyChange"}
            return told | {"propertyName": name, "propertyValue": value, "occurredAt": at - ago}

        events: list[Json] = [
            change(901, "city", "Kiel", ago=100),
            change(901, "city", "Bremen", ago=200),
            change(901, "lastname", "Lind", ago=200),
            change(901, "phone", "+49 431 555 0101", ago=150),
            change(901, "city", "Kiel", ago=100),
            change(902, "name", "Pear & Co", ago=50),
            change(made, "city", "an older one", ago=9_000),
            change(903, "lastname", "Ashdown", ago=20),
        ]
        body = json.dumps(events).encode()
        proof = hmac.digest(b"app-s3cret", f"POST{shown['address']}".encode() + body + str(at).encode(), "sha256")
        headers = {
            "x-hubspot-signature-v3": base64.b64encode(proof).decode(),
            "x-hubspot-request-timestamp": str(at),
        }
        assert (await call(desk, crm, body, headers)).status == 202
        assert await work(desk) == 1
        (lind, _) = sorted(
            (await desk.get("/api/v1/people")).rows("data"), key=lambda each: each["last_name"] == "Ashdown"
        )
        assert (lind["last_name"], lind["city"], lind["phone"]) == ("Lind", "Kiel", "+494315550101")
        cities = {each["name"]: each.get("city") for each in (await desk.get("/api/v1/accounts")).rows("data")}
        assert cities == {"Harbour Works": "Lund", "Pear & Co": None}, (
            "a company is asked for when its name is not told"
        )

"""What vendors send is proven, kept sealed, acknowledged at once and landed once; what is not proven leaves nothing."""

import base64
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from standardwebhooks.webhooks import Webhook

from isthmus.app.discovery import connectors
from isthmus.app.webhooks import landed
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.sync.connections import Connection, connect, connection_of, pause, resume
from isthmus.sync.inbound import forget
from isthmus.sync.ingest import Store
from isthmus.sync.runs import Engine
from tests.rooms.domains.desk import Answer, Desk, ask

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
ACCOUNT: dict[str, Json] = {"Name": "Greystone Insurance", "Type": "Customer", "BillingCountry": "DE"}
COUNT = "select count(*) from webhook_inbound where workspace = current_workspace()"


@pytest.fixture
def desk(store: Store, scope: Scope) -> Desk:
    """Somebody who calls."""
    return Desk.of(store, scope)


@pytest.fixture
async def crm(desk: Desk) -> Connection:
    """A connection whose vendor calls us."""
    settings = {"system": "crm", "path": "/nowhere", "now": "2026-11-02T09:00:00Z", "webhook_secret": SECRET}
    async with desk.store.database.transaction(desk.now) as tx:
        return await connect(tx, desk.store.vault, connectors()["demo"], name="crm", settings=settings)


def rows(*bodies: Json, feed: str = "crm.accounts") -> bytes:
    """Return a call of the vendor."""
    told = [
        {"external_id": f"ACC{at}", "body": body, "at": "2026-11-02T08:00:00Z", "version": "1"}
        for at, body in enumerate(bodies)
    ]
    return json.dumps({"feed": feed, "rows": told}).encode()


def signed(body: bytes, at: datetime, *, own: str = "msg_1", secret: str = SECRET) -> Mapping[str, str]:
    """Return the headers of a call."""
    signature = Webhook(secret).sign(own, at, body.decode())
    return {"webhook-id": own, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


async def send(desk: Desk, connection: UUID, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Call as the vendor."""
    return await ask(desk.gateway, "POST", f"/in/{text_of('conn', connection)}", body, headers=headers)


async def kept(desk: Desk) -> int:
    """Return how many messages there are."""
    async with desk.store.database.transaction(desk.now) as tx:
        row = await (await tx.connection.execute(COUNT)).fetchone()
    assert row is not None
    return int(row[0])


async def work(desk: Desk) -> int:
    """Work on what came."""
    return await landed(desk.store.database, desk.services.of(Engine), now=desk.clock.now())


async def accounts(desk: Desk) -> list[str]:
    """Return the names of all accounts."""
    return [str(each["name"]) for each in (await desk.get("/api/v1/accounts")).rows("data")]


async def test_a_proven_message_is_acknowledged_and_lands_once(desk: Desk, crm: Connection) -> None:
    body = rows(ACCOUNT, {**ACCOUNT, "Name": "Northwind"})
    headers = signed(body, desk.clock.now())
    answer = await send(desk, crm.id, body, headers)
    assert (answer.status, answer.body) == (202, b"")
    assert (await send(desk, crm.id, body, headers)).status == 202
    assert await kept(desk) == 1
    assert await accounts(desk) == []
    assert await work(desk) == 1
    assert sorted(await accounts(desk)) == ["Greystone Insurance", "Northwind"]
    assert await work(desk) == 0
    assert (await send(desk, crm.id, body, headers)).status == 202
    assert await work(desk) == 0


async def test_what_is_not_proven_is_refused_and_kept_nowhere(desk: Desk, crm: Connection) -> None:
    body, now = rows(ACCOUNT), desk.clock.now()
    other = "whsec_" + "QUFB" * 11 + "AA=="
    nothing: Mapping[str, str] = {}
    for headers in (
        nothing,
        signed(body, now, secret=other),
        signed(body, now - timedelta(seconds=301)),
        signed(rows({**ACCOUNT, "Name": "Forged"}), now),
    ):
        assert (await send(desk, crm.id, body, headers)).at("code") == "signature-refused"
    assert (await send(desk, UUID(int=7), body, signed(body, now))).status == 401
    assert (await ask(desk.gateway, "POST", "/in/crm", body, headers=signed(body, now))).status == 401
    assert await kept(desk) == 0


async def test_a_vendor_that_signs_its_address_is_proven_by_the_one_that_it_was_given(desk: Desk) -> None:
    settings = {"token": "pat-1", "client_secret": "app-s3cret"}
    async with desk.store.database.transaction(desk.now) as tx:
        hubspot = await connect(tx, desk.store.vault, connectors()["hubspot"], name="hubspot", settings=settings)
    (shown,) = (await desk.get("/api/v1/inbound-webhooks")).rows("data")
    at = str(int(desk.clock.now().timestamp() * 1000))
    told = [
        {"objectId": of, "subscriptionType": word, "propertyName": name, "propertyValue": value, "occurredAt": int(at)}
        for of, word, name, value in (
            (51, "company.propertyChange", "name", "Harbour Works"),
            (51, "company.propertyChange", "city", "Kiel"),
        )
    ]
    body = json.dumps(told).encode()

    def proof(address: str) -> Mapping[str, str]:
        signature = hmac.digest(b"app-s3cret", f"POST{address}".encode() + body + at.encode(), "sha256")
        return {
            "x-hubspot-signature-v3": base64.b64encode(signature).decode(),
            "x-hubspot-request-timestamp": at,
        }

    assert (await send(desk, hubspot.id, body, proof("https://elsewhere.example/in/conn_1"))).status == 401
    assert (await send(desk, hubspot.id, body, proof(str(shown["address"])))).status == 202
    assert await work(desk) == 1
    (account,) = (await desk.get("/api/v1/accounts")).rows("data")
    assert (account["name"], account["city"]) == ("Harbour Works", "Kiel")


async def test_a_connection_without_a_secret_takes_nothing(desk: Desk) -> None:
    settings = {"system": "crm", "path": "/nowhere", "now": "2026-11-02T09:00:00Z"}
    async with desk.store.database.transaction(desk.now) as tx:
        found = await connect(tx, desk.store.vault, connectors()["demo"], name="crm", settings=settings)
    body = rows(ACCOUNT)
    assert (await send(desk, found.id, body, signed(body, desk.clock.now()))).status == 401


async def test_the_addresses_are_listed_and_whether_their_secret_is_set(desk: Desk, crm: Connection) -> None:
    (shown,) = (await desk.get("/api/v1/inbound-webhooks")).rows("data")
    assert str(shown["address"]).endswith(f"/in/{text_of('conn', crm.id)}")
    assert (shown["connection"], shown["signature"], shown["ready"]) == ("crm", "StandardWebhooks", True)


async def test_the_body_is_sealed_and_destroyed_in_time(desk: Desk, crm: Connection) -> None:
    body = rows(ACCOUNT)
    await send(desk, crm.id, body, signed(body, desk.clock.now()))
    query = "select body from webhook_inbound where workspace = current_workspace()"
    async with desk.store.database.transaction(desk.now) as tx:
        row = await (await tx.connection.execute(query)).fetchone()
    assert row is not None
    assert b"Greystone" not in bytes(row[0])
    assert await work(desk) == 1
    desk.later(days=8)
    assert await forget(desk.services.of(Engine), desk.now) == 1
    async with desk.store.database.transaction(desk.now) as tx:
        assert await (await tx.connection.execute(query)).fetchone() == (b"",)
    desk.later(days=90)
    await forget(desk.services.of(Engine), desk.now)
    assert await kept(desk) == 0


async def test_a_message_that_is_not_understood_is_tried_again_and_then_waits_for_a_person(
    desk: Desk, crm: Connection
) -> None:
    body = rows(ACCOUNT, feed="crm.nothing")
    await send(desk, crm.id, body, signed(body, desk.clock.now()))
    good = rows(ACCOUNT)
    await send(desk, crm.id, good, signed(good, desk.clock.now(), own="msg_2"))
    assert await work(desk) == 1
    assert await accounts(desk) == ["Greystone Insurance"]
    for _ in range(7):
        desk.later(days=1)
        assert await work(desk) == 0
    query = """
    select id, status, reason, attempts from webhook_inbound
    where workspace = current_workspace() order by attempts desc
    """
    async with desk.store.database.transaction(desk.now) as tx:
        row = await (await tx.connection.execute(query)).fetchone()
        assert row is not None
        assert (row[1], row[3]) == ("needs attention", 8)
        assert row[2].startswith("not-understood: The message cannot be understood")
    (letter,) = (await desk.get("/api/v1/dead-letters")).rows("data")
    assert (letter["consumer"], letter["sequence"]) == ("inbound:crm", None)
    path = f"/api/v1/dead-letters/{letter['id']}"
    assert (await desk.post(f"{path}:retry")).at("queued") == 1
    assert (await desk.post(f"{path}:retry")).at("code") == "message-missing"
    for _ in range(8):
        assert await work(desk) == 0
        desk.later(days=1)
    assert (await desk.post(f"{path}:discard")).status == 204
    assert (await desk.get("/api/v1/dead-letters")).rows("data") == []


async def test_a_paused_connection_keeps_what_comes_until_it_is_resumed(desk: Desk, crm: Connection) -> None:
    async with desk.store.database.transaction(desk.now) as tx:
        await pause(tx, crm, reason="moving")
    body = rows(ACCOUNT)
    assert (await send(desk, crm.id, body, signed(body, desk.clock.now()))).status == 202
    assert await work(desk) == 0
    async with desk.store.database.transaction(desk.now) as tx:
        await resume(tx, await connection_of(tx, "crm"))
    assert await work(desk) == 1
    assert await accounts(desk) == ["Greystone Insurance"]

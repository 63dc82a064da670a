"""Doors of a connection: who shows its key is taken in, answered in the vendor's words, and counted as who it is."""

import base64
import gzip
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest

from isthmus.app.discovery import connectors
from isthmus.gateway.threats.watch import Threats
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.sync.connections import Connection, SettingsRefused, change_connection, connect
from isthmus.sync.inbound import work_on
from isthmus.sync.ingest import Store
from isthmus.sync.runs import Engine
from tests.rooms.domains.desk import Answer, Desk, ask

CALLS = 60
KEY, OTHER = "wk_the-key-of-a-product", "wk_another-key-of-it"
TRACK: dict[str, Json] = {"type": "track", "userId": "u1", "event": "exported", "messageId": "m1"}


@dataclass
class Product:
    """A product that sends, and somebody who looks what came."""

    desk: Desk
    connection: Connection

    async def send(
        self, path: str, body: Json | bytes, *, key: str = KEY, headers: Mapping[str, str] | None = None, **also: str
    ) -> Answer:
        """Call as a library of Segment does."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"authorization": f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}", **(headers or {}), **also}
        place = f"/in/{text_of('conn', self.connection.id)}/{path}"
        return await ask(self.desk.gateway, "POST", place, content, headers=given)

    async def batch(self, *events: Json) -> None:
        """Send messages of the Segment Spec, and have them land."""
        assert (await self.send("v1/batch", {"batch": list(events)})).status == 200
        await self.land()

    async def land(self) -> int:
        """Work on what came."""
        return await work_on(self.desk.services.of(Engine), self.desk.scope.workspace, self.connection.id)

    async def events(self) -> list[dict[str, Json]]:
        """Return the usage events."""
        return (await self.desk.get("/api/v1/product-events")).rows("data")

    async def person(self, own: str) -> str:
        """Return which person an id means now."""
        record = await self.desk.id_of("sales.person", own, system="product")
        return str((await self.desk.get(f"/api/v1/people/{record}")).at("merged_into") or record)

    async def rows(self, query: str) -> list[tuple[object, ...]]:
        """Return what a query of the tables gives."""
        async with self.desk.store.database.transaction(self.desk.now) as tx:
            return list(await (await tx.connection.execute(query.encode())).fetchall())


@pytest.fixture
async def product(store: Store, scope: Scope) -> AsyncGenerator[Product]:
    """A connection that takes what libraries send."""
    desk = Desk.of(store, scope)
    async with store.database.transaction(desk.now) as tx:
        made = await connect(tx, store.vault, connectors()["ingest"], name="product", settings={"write_key": KEY})
    own = Product(desk, made)
    yield own
    while await own.land():
        pass  # others count what waits in the whole database


def said(**fields: Json) -> dict[str, Json]:
    """Return a message."""
    return {"messageId": str(sorted(map(str, fields.items()))), **fields}


async def test_what_is_sent_is_acknowledged_at_once_and_stored_once(product: Product) -> None:
    answer = await product.send("v1/batch", {"batch": [TRACK], "sentAt": "2026-11-02T09:00:00Z"})
    assert (answer.status, answer.json) == (200, {"success": True})
    assert await product.events() == []
    assert await product.land() == 1
    (event,) = await product.events()
    assert event["name"] == "exported"
    await product.batch({**TRACK, "timestamp": "2026-11-01T09:00:00Z"})
    assert await product.events() == [event]


async def test_a_bad_event_is_rejected_with_its_cause_and_its_neighbours_are_stored(product: Product) -> None:
    await product.batch({"type": "track", "userId": "u1"}, TRACK, 7, {**TRACK, "messageId": "x" * 501})
    assert len(await product.events()) == 1
    found = await product.rows("select reason from rejected where workspace = current_workspace() order by reason")
    assert len(found) == 3
    assert ["has no name" in str(found), "is no object" in str(found), "500 characters" in str(found)] == [True] * 3


async def test_a_wrong_trait_keeps_no_event_away(product: Product) -> None:
    await product.batch({"type": "identify", "userId": "u1", "traits": {"email": "nobody"}}, TRACK)
    assert len(await product.events()) == 1
    assert len(await product.rows("select 1 from rejected where workspace = current_workspace()")) == 1


async def test_a_visitor_becomes_the_person_in_one_batch_and_in_two(product: Product) -> None:
    await product.batch(
        said(type="track", anonymousId="a1", event="looked"), said(type="identify", userId="u1", anonymousId="a1")
    )
    assert await product.person("a1") == await product.person("u1")
    await product.batch(said(type="track", anonymousId="a2", event="looked"))
    visitor = await product.person("a2")
    await product.batch(said(type="alias", userId="u2", previousId="a2"))
    assert await product.person("a2") == await product.person("u2") != visitor


async def test_two_people_are_not_made_one_by_whoever_knows_the_key(product: Product) -> None:
    await product.batch(
        said(type="identify", userId="u1", traits={"email": "ada@lovelace.example"}, anonymousId="a1"),
        said(type="identify", userId="u2", traits={"email": "grace@hopper.example"}),
    )
    for victim in ("u1", "u2", "a1"):
        await product.batch(said(type="alias", userId="attacker", previousId=victim))
        await product.batch(said(type="identify", userId="u2", anonymousId=victim))
    assert len({await product.person(each) for each in ("u1", "u2", "attacker")}) == 3


async def test_each_vendor_is_told_in_its_own_words_that_a_key_is_wrong(product: Product) -> None:
    wrong = "wk_a-key-that-nobody-has"
    segment = await product.send("v1/batch", {"batch": [TRACK]}, key=wrong)
    assert (segment.status, segment.at("code")) == (401, "write-key-unknown")
    posthog = await product.send("batch/", {"api_key": wrong, "batch": []}, key="")
    assert (posthog.status, posthog.at("type")) == (401, "authentication_error")
    mixpanel = await product.send("track", urlencode({"data": "[]"}).encode(), key=wrong)
    assert (mixpanel.status, mixpanel.at("status")) == (401, 0)
    amplitude = await product.send("2/httpapi", {"api_key": wrong, "events": []}, key="")
    assert (amplitude.status, str(amplitude.at("error"))[:16]) == (400, "Invalid API key:")
    snowplow = await product.send(f"{wrong}/com.snowplowanalytics.snowplow/tp2", SNOWPLOW, key="")
    assert snowplow.status == 401
    assert await product.rows("select 1 from webhook_inbound where workspace = current_workspace()") == []


SNOWPLOW: dict[str, Json] = {
    "schema": "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
    "data": [{"e": "pv", "eid": "e1", "duid": "d1", "url": "https://x.example/?id=1' or '1'='1"}],
}


async def test_the_key_may_stand_where_each_vendor_puts_it(product: Product) -> None:
    event: dict[str, Json] = {
        "event": "exported",
        "properties": {"token": KEY, "distinct_id": "u1", "$insert_id": "x1"},
    }
    calls = (
        await product.send("v1/track", {**TRACK, "writeKey": KEY}, key=""),
        await product.send("capture/", {"api_key": KEY, "event": "seen", "distinct_id": "u1"}, key=""),
        await product.send("track", urlencode({"data": json.dumps([event])}).encode(), key=""),
        await product.send("2/httpapi", {"api_key": KEY, "events": [{"event_type": "seen", "user_id": "u1"}]}, key=""),
        await product.send(f"{KEY}/com.snowplowanalytics.snowplow/tp2", SNOWPLOW, key=""),
    )
    assert [each.status for each in calls] == [200] * 5
    place = f"/in/{text_of('conn', product.connection.id)}/{KEY}/i"
    pixel = await ask(
        product.desk.gateway, "GET", f"{place}?e=pp&eid=e2&duid=d1&refr=%27%20or%201=1--", b"", headers={}
    )
    assert (pixel.status, pixel.headers["content-type"]) == (200, "image/gif")
    await product.land()
    assert len(await product.events()) == 6


async def test_a_key_is_replaced_without_a_gap_and_kept_as_its_digest(product: Product) -> None:
    async def change(keys: str) -> None:
        async with product.desk.store.database.transaction(product.desk.now) as tx:
            store, ingest = product.desk.store, connectors()["ingest"]
            await change_connection(tx, store.vault, ingest, product.connection, settings={"write_key": keys})

    assert (await product.send("v1/track", TRACK, key=OTHER)).status == 401
    await change(f"{KEY}\n{OTHER}")
    assert [(await product.send("v1/track", TRACK, key=each)).status for each in (KEY, OTHER)] == [200, 200]
    await change(OTHER)
    assert [(await product.send("v1/track", TRACK, key=each)).status for each in (KEY, OTHER)] == [401, 200]
    (row,) = await product.rows("select secrets from connection where workspace = current_workspace()")
    assert isinstance(row[0], bytes)
    store, scope = product.desk.store, product.desk.scope
    values = [(product.connection.id, row[0])]
    (kept,) = store.vault.open_many(workspace=scope.workspace, values=values)
    assert kept is not None
    assert b"sha256:" in kept
    assert OTHER.encode() not in kept


async def test_a_short_key_is_refused(product: Product) -> None:
    store, ingest, given = product.desk.store, connectors()["ingest"], {"write_key": "short"}
    async with store.database.transaction(product.desk.now) as tx:
        with pytest.raises(SettingsRefused, match="16 characters"):
            await connect(tx, store.vault, ingest, name="other", settings=given)


async def test_pages_of_any_site_may_call_doors_and_nothing_else(product: Product) -> None:
    place = f"/in/{text_of('conn', product.connection.id)}"
    page = {"origin": "https://shop.example", "access-control-request-method": "POST"}
    asked = await ask(product.desk.gateway, "OPTIONS", f"{place}/v1/t", b"", headers=page)
    assert asked.status == 204
    assert asked.headers["access-control-allow-origin"] == "https://shop.example"
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert "content-type" in asked.headers["access-control-allow-headers"]
    from_page = {"origin": "https://shop.example", "sec-fetch-site": "cross-site", "content-type": "text/plain"}
    for key, status in ((KEY, 200), ("", 401)):
        answer = await product.send("v1/t", TRACK, key=key, headers=from_page)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, "https://shop.example")
    for path in (place, "/api/v1/people"):
        other = await ask(product.desk.gateway, "OPTIONS", path, b"", headers=page)
        assert "access-control-allow-origin" not in other.headers


async def test_bodies_may_be_packed_and_stay_within_their_size(product: Product) -> None:
    packed = gzip.compress(json.dumps({"batch": [TRACK]}).encode())
    assert (await product.send("v1/batch", packed, headers={"content-encoding": "gzip"})).status == 200
    bomb = gzip.compress(b" " * 5_000_000)
    assert (await product.send("v1/batch", bomb, headers={"content-encoding": "gzip"})).status == 413
    assert (await product.send("v1/batch", b"{" * 1_000)).status == 400
    assert await product.land() == 1


async def test_payloads_that_look_like_attacks_and_many_senders_are_no_threat(product: Product) -> None:
    event: dict[str, Json] = {**TRACK, "properties": {"q": "' or 1=1 --", "html": "<script>alert(1)</script>"}}
    for number in range(CALLS):
        agent = {"user-agent": f"page {number}"}
        answer = await product.send("flags/", {"api_key": KEY, "q": f"' or {number}=1 --"}, headers=agent)
        assert answer.status == 200
    assert (await product.send("v1/track", event)).status == 200
    place = f"/in/{text_of('conn', product.connection.id)}/{KEY}/i?e=pp&eid=e2&duid=d1&refr=%27%20or%201=1--"
    assert (await ask(product.desk.gateway, "GET", place, b"", headers={})).status == 200
    assert product.desk.gateway.services.of(Threats).pending == {}

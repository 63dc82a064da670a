"""What the Stripe connector does with accidents that Stripe documents; before a localstripe, which has none of them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from time import monotonic

import aiohttp
import pytest
import stripe
from aiohttp import web
from aiohttp.test_utils import TestServer

from isthmus.connectors.stripe import CONNECTOR
from isthmus.connectors.stripe.events import read
from isthmus.connectors.stripe.transport import VERSION
from isthmus.kernel.marks import Json
from isthmus.stream.webhooks.verifying import SignatureRefused
from isthmus.sync.connector import ConnectorError, FeedTrouble, KeyRefused, NotAsDocumented, Outcome, Throttled
from isthmus.sync.inbound import Message
from tests.rooms.connectors.stripe_front import Front, before, refusal
from tests.rooms.connectors.stripe_room import (
    CUSTOMERS,
    KEY,
    SUBSCRIPTIONS,
    StripeServer,
    change,
    opened,
    rows,
)

SECRET = "whsec_of_the_endpoint"
SENT_S_MAX = 30


@pytest.fixture
async def front(stripe_server: StripeServer) -> AsyncIterator[Front]:
    """A localstripe that keeps idempotency keys and meets with accidents."""
    async with before(stripe_server.url) as found:
        yield found


def stripe_time(signature: str) -> datetime:
    """Return when something was signed."""
    return datetime.fromtimestamp(int(signature.partition("t=")[2].partition(",")[0]), UTC)


def named(server: StripeServer, name: str) -> list[str]:
    """Return the ids of the customers of a name."""
    return [each.id for each in server.sdk.v1.customers.list().auto_paging_iter() if each.name == name]


async def test_every_request_says_the_version_and_every_write_a_key(front: Front) -> None:
    async with opened(front.url) as session:
        await rows(session, CUSTOMERS)
        await session.write(CUSTOMERS, [change("sales.account", {"name": "Versioned"}, key="versioned")])
    assert {each["Stripe-Version"] for each in front.headers} == {VERSION}
    assert {each["Authorization"] for each in front.headers} == {f"Bearer {KEY}"}
    assert [each.get("Idempotency-Key") for each in front.headers][-1] == "versioned"


async def test_a_creation_whose_answer_was_lost_is_made_once(stripe_server: StripeServer, front: Front) -> None:
    front.losing = 2
    async with opened(front.url) as session:
        [made] = await session.write(CUSTOMERS, [change("sales.account", {"name": "Once only"}, key="once")])
    assert made.outcome is Outcome.WRITTEN
    assert front.writes == [("POST", "/v1/customers")] * 3
    assert named(stripe_server, "Once only") == [made.external_id]


async def test_a_creation_that_is_tried_again_by_a_later_run_is_made_once(
    stripe_server: StripeServer, front: Front
) -> None:
    wanted = change("sales.account", {"name": "Once a day"}, key="day")
    async with opened(front.url) as session:
        first = await session.write(CUSTOMERS, [wanted])
    async with opened(front.url) as session:
        second = await session.write(CUSTOMERS, [wanted])
    assert [each.external_id for each in first] == [each.external_id for each in second]
    assert len(named(stripe_server, "Once a day")) == 1


async def test_a_creation_that_says_something_else_by_now_is_looked_for_and_else_waits(
    stripe_server: StripeServer, front: Front
) -> None:
    async with opened(front.url) as session:
        await session.write(CUSTOMERS, [change("sales.account", {"name": "Said before"}, key="again")])
        # localstripe cannot search, and Stripe finds what was just made only after a while.
        front.accidents = [lambda _: None, lambda _: web.json_response({"object": "list", "data": []})]
        [waits] = await session.write(CUSTOMERS, [change("sales.account", {"name": "Said now"}, key="again")])
        assert (waits.outcome, "still under way" in waits.reason) == (Outcome.FAILED, True)
        [number] = named(stripe_server, "Said before")
        found: Json = [stripe_server.get(f"customers/{number}")]
        front.accidents = [lambda _: None, lambda _: web.json_response({"object": "list", "data": found})]
        [made] = await session.write(CUSTOMERS, [change("sales.account", {"name": "Said now"}, key="again")])
    assert (made.outcome, made.external_id) == (Outcome.WRITTEN, number)
    assert named(stripe_server, "Said now") == [number]


async def test_a_busy_stripe_is_asked_again_after_the_time_it_names(front: Front) -> None:
    front.accidents = [refusal(429, "api_error", "Too many requests", headers={"Retry-After": "1"}, code="rate_limit")]
    begun = monotonic()
    async with opened(front.url, follow="lists") as session:
        await rows(session, SUBSCRIPTIONS)
    assert monotonic() - begun >= 1
    assert front.asked[:2] == [("GET", "/v1/subscriptions")] * 2


async def test_a_stripe_that_asks_to_wait_for_long_is_left_alone(front: Front) -> None:
    front.accidents = [refusal(429, "api_error", "Too many requests", headers={"Retry-After": "90"})]
    async with opened(front.url) as session:
        with pytest.raises(Throttled) as caught:
            await rows(session, CUSTOMERS)
    assert caught.value.retry_after_s == 90
    assert len(front.asked) == 1


async def test_a_write_that_meets_another_on_the_same_object_is_tried_again(front: Front) -> None:
    conflict = refusal(409, "invalid_request_error", "Another request is in progress", code="lock_timeout")
    broken = refusal(500, "api_error", "Something went wrong")
    front.accidents = [conflict, broken]
    async with opened(front.url) as session:
        [made] = await session.write(CUSTOMERS, [change("sales.account", {"name": "Locked"}, key="locked")])
    assert made.outcome is Outcome.WRITTEN
    assert len(front.writes) == 3


async def test_a_restricted_key_that_may_not_read_a_list_says_which(front: Front) -> None:
    sentence = "The provided key 'rk_test_*' does not have the required permissions for this endpoint."
    for follow, what, fix in (
        ("lists", "customers", "leave customers out of `feeds`"),
        ("events", "events", "`follow` to lists"),
    ):
        front.accidents = [refusal(403, "invalid_request_error", sentence)]
        async with opened(front.url, follow=follow) as session:
            with pytest.raises(FeedTrouble, match=f"may not read {what}.*required permissions") as caught:
                await rows(session, CUSTOMERS)
        assert fix in caught.value.fix


async def test_a_key_that_may_not_write_fails_the_change_and_a_wrong_value_refuses_it(front: Front) -> None:
    async with opened(front.url) as session:
        for accident, outcome in (
            (refusal(403, "invalid_request_error", "No permission"), Outcome.FAILED),
            (refusal(400, "invalid_request_error", "Invalid phone", param="phone"), Outcome.REFUSED),
            (refusal(402, "card_error", "Declined", code="card_declined"), Outcome.REFUSED),
        ):
            front.accidents = [accident]
            [answer] = await session.write(CUSTOMERS, [change("sales.account", {"name": "Never"}, key="never")])
            assert (answer.outcome, bool(answer.reason)) == (outcome, True)


async def test_a_key_that_was_rolled_is_reported(front: Front) -> None:
    front.accidents = [refusal(401, "invalid_request_error", "Expired API Key provided", code="api_key_expired")]
    async with opened(front.url) as session:
        with pytest.raises(KeyRefused) as caught:
            await rows(session, CUSTOMERS)
    assert "make a restricted key" in caught.value.fix


async def test_an_object_of_live_mode_is_not_taken_by_a_connection_for_tests(front: Front) -> None:
    live: Json = {
        "object": "list",
        "has_more": False,
        "data": [{"object": "customer", "id": "cus_1", "livemode": True}],
    }
    front.accidents = [lambda _: web.json_response(live)]
    async with opened(front.url, follow="lists") as session:
        with pytest.raises(NotAsDocumented, match="the other mode"):
            await rows(session, CUSTOMERS)


@pytest.mark.parametrize("body", ["<html>", '"ok"', "[]", '{"object": "customer"}'])
async def test_what_is_no_stripe_is_reported_as_such(front: Front, body: str) -> None:
    front.accidents = [lambda _: web.Response(text=body, content_type="text/html")]
    async with opened(front.url) as session:
        with pytest.raises(ConnectorError, match=r"not Stripe|not JSON|no list of Stripe's"):
            await rows(session, CUSTOMERS)


async def test_after_a_lost_connection_the_rest_of_a_batch_is_not_tried(front: Front) -> None:
    front.losing = 4
    changes = [change("sales.account", {"name": f"Lost {each}"}, key=f"lost-{each}") for each in range(2)]
    async with opened(front.url) as session:
        answers = await session.write(CUSTOMERS, changes)
    assert [each.outcome for each in answers] == [Outcome.FAILED, Outcome.FAILED]
    assert answers[0].reason == answers[1].reason != ""
    assert len(front.writes) == 4


async def call_us(server: StripeServer, url: str) -> None:
    """Have localstripe call us; this is its own interface, and none of Stripe's."""
    wanted = {"url": url, "secret": SECRET, "events": ["customer.created", "customer.deleted"]}
    async with aiohttp.ClientSession() as http, http.post(f"{server.url}/_config/webhooks/ours", json=wanted) as answer:
        assert answer.status == web.HTTPOk.status_code


async def test_a_call_that_is_really_signed_is_proven_and_tells_what_reading_tells(stripe_server: StripeServer) -> None:
    inbound = CONNECTOR.inbound
    assert inbound is not None
    calls: asyncio.Queue[tuple[bytes, dict[str, str]]] = asyncio.Queue()

    async def taken(request: web.Request) -> web.Response:
        calls.put_nowait((await request.read(), {name.lower(): value for name, value in request.headers.items()}))
        return web.Response()

    app = web.Application()
    app.router.add_post("/in", taken)
    async with TestServer(app) as server, opened(stripe_server.url) as session:
        await call_us(stripe_server, str(server.make_url("/in")))
        number = stripe_server.customer(name="Calls us", email="calls@us.example", metadata={"tier": "gold"})
        async with asyncio.timeout(SENT_S_MAX):
            body, headers = await calls.get()
        [now] = [row for row in await rows(session, CUSTOMERS) if row.external_id == number]
        stripe_server.delete(f"customers/{number}")
        async with asyncio.timeout(SENT_S_MAX):
            later, _ = await calls.get()
    event = stripe.Webhook.construct_event(body, headers["stripe-signature"], SECRET)
    moment = stripe_time(headers["stripe-signature"])
    message = Message(body=body, headers=headers)
    assert message.proven(inbound, secrets=[SECRET], now=moment) == event.id
    with pytest.raises(SignatureRefused):
        message.proven(inbound, secrets=["whsec_other"], now=moment)
    [(feed, told)] = read(body)
    assert (feed, told.external_id, told.version) == (CUSTOMERS, number, now.version)
    words = [(each.type, each.fields, each.links) for each in CONNECTOR.normalise(CUSTOMERS, told)]
    assert words == [(each.type, each.fields, each.links) for each in CONNECTOR.normalise(CUSTOMERS, now)]
    assert [(feed, raw.external_id, raw.deleted) for feed, raw in read(later)] == [(CUSTOMERS, number, True)]

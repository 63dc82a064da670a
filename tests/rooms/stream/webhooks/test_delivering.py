"""Events reach endpoints once they happened, signed, under an id that stays, on a schedule, and none is left out."""

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from isthmus.kernel.ids import text_of
from isthmus.stream.webhooks.claiming import Sent, claim, settle
from isthmus.stream.webhooks.deliveries import attempts_of, forget, recover, resend
from isthmus.stream.webhooks.endpoints import EndpointMissing, pause, remove, resume, rotate
from isthmus.stream.webhooks.sending import Answered
from tests.rooms.stream.webhooks.conftest import Post
from tests.rooms.stream.webhooks.receiving import Message, Receiver


async def test_an_event_reaches_an_endpoint_signed_as_a_third_party_checks_it(post: Post, receiving: Receiver) -> None:
    endpoint, secret = await post.register(receiving.url)
    await post.happen(1)
    assert await post.go() == 1
    message = receiving.messages[0]
    assert _signs(secret, message)
    assert message.headers["content-type"] == "application/cloudevents+json"
    assert message.event["type"] == "isthmus.sales.deal.changed.v1"
    assert message.event["id"] == message.id
    assert [each.status for each in await post.deliveries(endpoint)] == ["delivered"]
    assert (await post.of(endpoint)).status == "healthy"


async def test_only_what_was_chosen_is_told_and_nothing_of_before(post: Post, receiving: Receiver) -> None:
    await post.happen(1)
    await post.register(receiving.url, events=["lead-capture", "isthmus.sales.deal.created.v1"])
    await post.happen(2)
    await post.happen(3, kind="isthmus.sales.deal.created.v1")
    await post.happen(4, kind="isthmus.finance.payment.created.v1")
    assert await post.go() == 1
    assert receiving.seqs == [3]


async def test_an_endpoint_limited_to_accounts_hears_of_no_other(post: Post, receiving: Receiver) -> None:
    own, other = "00000000-0000-0000-0000-000000000007", "00000000-0000-0000-0000-000000000008"
    await post.register(receiving.url, accounts=[own])
    deaf, _ = await post.register(receiving.url, accounts=[other])
    await post.happen(1)
    assert await post.go() == 1
    assert await post.deliveries(deaf) == []


async def test_answers_that_are_written_down_together_stand_each_at_its_own_delivery(
    post: Post, receiving: Receiver
) -> None:
    endpoint, _ = await post.register(receiving.url)
    await post.happen(1, 2, 3)
    await post.read()
    async with post.store.database.transaction(post.now) as tx:
        batch = await claim(tx, post.store.vault, endpoint.id)
    assert batch is not None
    sent = [
        Sent(
            taken=each,
            at=post.clock.now() - timedelta(seconds=number),
            answered=Answered(status=200, took_ms=1, answer=b"%d" % each.seq),
        )
        for number, each in enumerate(batch.taken)
    ]
    async with post.store.database.transaction(post.now) as tx:
        await settle(tx, post.store.vault, endpoint.id, sent, chance=Random(1))
        found = {each.seq: await attempts_of(tx, post.store.vault, endpoint.id, each.id) for each in batch.taken}
    assert {seq: [own.answer for own in tries] for seq, tries in found.items()} == {1: [b"1"], 2: [b"2"], 3: [b"3"]}
    assert {each.status for each in await post.deliveries(endpoint)} == {"delivered"}


async def test_a_failure_is_tried_again_on_the_schedule_under_the_same_id_and_given_up_at_its_end(
    post: Post, receiving: Receiver
) -> None:
    receiving.status = 500
    endpoint, _ = await post.register(receiving.url)
    await post.happen(1)
    assert await post.go() == 1
    for wait_s in (5, 300, 1_800, 7_200, 18_000, 36_000, 36_000):
        assert await post.go(seconds=wait_s - 0.5) == 0
        assert await post.go(seconds=wait_s * 0.2 + 400) == 1
    assert await post.go(days=3) == 0
    assert len({each.id for each in receiving.messages}) == 1
    assert len(receiving.messages) == 8
    (given_up,) = await post.deliveries(endpoint)
    assert (given_up.status, given_up.attempts, given_up.reason) == ("needs attention", 8, "It answered 500.")
    assert (await post.of(endpoint)).status == "retrying"


async def test_what_failed_is_recovered_and_what_arrived_is_sent_again_only_when_asked(
    post: Post, receiving: Receiver
) -> None:
    endpoint, _ = await post.register(receiving.url)
    await post.happen(1)
    await post.go()
    receiving.status = 503
    since = post.clock.now() + timedelta(seconds=1)
    post.clock.move(timedelta(seconds=2))
    await post.happen(2)
    await post.go()
    receiving.status = 200
    async with post.store.database.transaction(post.now) as tx:
        assert await recover(tx, endpoint.id, since=since) == 1
    assert await post.go() == 1
    first = (await post.deliveries(endpoint))[0]
    async with post.store.database.transaction(post.now) as tx:
        await resend(tx, endpoint.id, first.id)
    assert await post.go() == 1
    assert receiving.seqs == [1, 2, 2, 1]
    assert receiving.messages[0].id == receiving.messages[-1].id


async def test_events_of_the_past_that_were_never_told_are_replayed_and_only_those(
    post: Post, receiving: Receiver
) -> None:
    await post.happen(1, 2)
    endpoint, _ = await post.register(receiving.url)
    await post.happen(3)
    await post.go()
    assert await post.replay(endpoint) == (2, False, 2)
    assert await post.replay(endpoint) == (0, False, 0)
    assert await post.go() == 2
    assert sorted(receiving.seqs) == [1, 2, 3]


async def test_with_two_live_secrets_receivers_take_either_and_the_old_one_ends(
    post: Post, receiving: Receiver
) -> None:
    endpoint, old = await post.register(receiving.url)
    async with post.store.database.transaction(post.now) as tx:
        _, new = await rotate(tx, post.store.vault, endpoint.id, overlap=timedelta(hours=24))
    await post.happen(1)
    await post.go()
    await post.happen(2)
    await post.go(hours=25)
    during, after = receiving.messages
    assert (_signs(old, during), _signs(new, during)) == (True, True)
    assert (_signs(old, after), _signs(new, after)) == (False, True)


def _signs(secret: str, message: Message) -> bool:
    at = datetime.fromtimestamp(int(message.headers["webhook-timestamp"]), UTC)
    return Webhook(secret).sign(message.id, at, message.body.decode()) in message.headers["webhook-signature"].split()


async def test_a_paused_endpoint_is_told_everything_when_it_is_resumed(post: Post, receiving: Receiver) -> None:
    endpoint, _ = await post.register(receiving.url)
    async with post.store.database.transaction(post.now) as tx:
        assert (await pause(tx, endpoint.id)).status == "paused"
    await post.happen(1, 2)
    assert await post.go() == 0
    async with post.store.database.transaction(post.now) as tx:
        await resume(tx, endpoint.id)
    assert await post.go() == 2
    assert sorted(receiving.seqs) == [1, 2]


async def test_a_removed_endpoint_is_gone_with_what_waited(post: Post, receiving: Receiver) -> None:
    endpoint, _ = await post.register(receiving.url)
    await post.happen(1)
    await post.read()
    async with post.store.database.transaction(post.now) as tx:
        await remove(tx, post.store.vault, endpoint.id)
    assert await post.go() == 0
    with pytest.raises(EndpointMissing):
        await post.of(endpoint)


async def test_within_an_account_an_ordered_endpoint_waits_for_what_was_before(post: Post, receiving: Receiver) -> None:
    failing = True

    async def answer(message: Message) -> web.StreamResponse | None:
        return web.Response(status=500) if message.seq == 1 and failing else None

    receiving.answer = answer
    endpoint, _ = await post.register(receiving.url, ordered=True)
    await post.happen(1)
    await post.happen(2)
    assert await post.go() == 1
    failing = False
    assert await post.go(seconds=7) == 2
    assert receiving.seqs == [1, 1, 2]
    assert [each.status for each in await post.deliveries(endpoint)] == ["delivered", "delivered"]


async def test_what_a_worker_took_and_did_not_settle_is_sent_by_another_after_its_lease(
    post: Post, receiving: Receiver
) -> None:
    endpoint, _ = await post.register(receiving.url)
    await post.happen(1)
    await post.read()
    async with post.store.database.transaction(post.now) as tx:
        taken = await claim(tx, post.store.vault, endpoint.id)
    assert taken is not None
    assert await post.go() == 0
    assert await post.go(seconds=61) == 1
    assert receiving.seqs == [1]


async def test_the_log_of_tries_keeps_status_time_and_the_beginning_of_the_answer(
    post: Post, receiving: Receiver
) -> None:
    async def answer(_: Message) -> web.StreamResponse | None:
        return web.Response(status=418, text="short and stout " * 1_000)

    receiving.answer = answer
    endpoint, _ = await post.register(receiving.url)
    await post.happen(1)
    await post.go()
    (delivery,) = await post.deliveries(endpoint)
    async with post.store.database.transaction(post.now) as tx:
        (tried,) = await attempts_of(tx, post.store.vault, endpoint.id, delivery.id)
    assert (tried.number, tried.status, tried.failure) == (1, 418, "It answered 418.")
    assert tried.answer == (b"short and stout " * 128)
    assert text_of("whdl", delivery.id).startswith("whdl_")


async def test_workers_side_by_side_send_each_event_once(post: Post, receiving: Receiver) -> None:
    await post.register(receiving.url)
    await post.happen(*range(1, 101))
    await asyncio.gather(*(post.webhooks.read() for _ in range(3)))
    while True:
        begun = await asyncio.gather(*(post.webhooks.begin() for _ in range(3)))
        await post.webhooks.idle()
        if not any(begun):
            break
    assert sorted(receiving.seqs) == list(range(1, 101))


async def test_what_was_delivered_long_ago_is_forgotten_and_what_waits_is_not(post: Post, receiving: Receiver) -> None:
    endpoint, _ = await post.register(receiving.url)
    await post.happen(1)
    await post.go()
    await post.happen(2)
    await post.read()
    post.clock.move(timedelta(days=31))
    async with post.store.database.transaction(post.now) as tx:
        assert await forget(tx) == 1
        assert await forget(tx) == 0
    assert [each.seq for each in await post.deliveries(endpoint)] == [2]

"""Whoever sends is stopped in the middle, again and again: every event arrives, and is settled in the end."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from random import Random

from isthmus.stream.webhooks.claiming import LEASE
from isthmus.stream.webhooks.running import Webhooks
from tests.rooms.stream.webhooks.conftest import Post
from tests.rooms.stream.webhooks.receiving import Receiver

EVENTS, STOPS = 120, 8


async def test_every_event_arrives_though_those_who_send_are_stopped_anywhere(post: Post, receiving: Receiver) -> None:
    endpoint, _ = await post.register(receiving.url)
    await post.happen(*range(1, EVENTS + 1))
    chance = Random(7)
    for _ in range(STOPS):
        # A fresh sender each time: that of whoever was stopped is closed.
        sender = type(post.webhooks.serving.sender)(post.rules.outbound, ticks=lambda: 0)
        sending = asyncio.create_task(Webhooks(replace(post.webhooks.serving, sender=sender)).run())
        seen = len(receiving.messages)
        wanted = chance.randint(1, 12)
        for _ in range(2_000):
            if len(receiving.messages) >= min(seen + wanted, EVENTS):
                break
            await asyncio.sleep(0.002)
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        post.clock.move(LEASE + timedelta(seconds=1))
    await post.go()
    assert set(receiving.seqs) == set(range(1, EVENTS + 1))
    assert len({each.id for each in receiving.messages}) == EVENTS
    assert {each.status for each in await post.deliveries(endpoint)} == {"delivered"}

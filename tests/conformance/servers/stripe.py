"""Stripe's counterpart: localstripe, changed by Stripe's own SDK; before it what Stripe documents of keys and lists."""

import asyncio
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import stripe

from isthmus.connectors.stripe.wire import text
from isthmus.kernel.marks import Json
from tests.rooms.connectors.stripe_front import before
from tests.rooms.connectors.stripe_room import CUSTOMERS, REFUNDS, Row, StripeServer, given, localstripe

PAGE_ROWS = 5


@dataclass
class StripeCounterpart:
    """Implements `isthmus.sync.conformance.Counterpart`."""

    server: StripeServer
    settings: Mapping[str, str]
    wrong: Mapping[str, str] = field(default_factory=lambda: {"key": "rk_test_of_nobody"})
    feed: str = CUSTOMERS
    type: str = "sales.account"
    fields: tuple[str, str] = ("name", "city")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(default_factory=lambda: {"country": "Atlantis"})

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change a customer."""
        sent: Row = {"name": values["name"]} if "name" in values else {}
        if "city" in values:
            sent["address"] = {"city": values["city"]}
        path = f"customers/{external_id}" if external_id else "customers"
        return str(self.server.make(path, **sent)["id"])

    def burst(self, count: int) -> list[str]:
        """Make customers one after the other; Stripe stamps by the second."""
        return [self.server.customer(name=f"Burst {number}") for number in range(count)]

    def delete(self, external_id: str) -> None:
        """Delete a customer."""
        self.server.delete(f"customers/{external_id}")

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what a customer holds."""
        try:
            row = self.server.get(f"customers/{external_id}")
        except stripe.InvalidRequestError:
            return None
        address = cast("Row", row["address"] or {})
        return {"name": text(row["name"]), "city": text(address.get("city"))}


@contextmanager
def begin(home: Path) -> Generator[StripeCounterpart]:
    """Run a server, and before it, in a thread of its own, what answers as Stripe documents."""
    with localstripe(home) as server, _front(server) as url:
        yield StripeCounterpart(server, given(url, feeds=f"{CUSTOMERS},{REFUNDS}", page_rows=str(PAGE_ROWS)))


@contextmanager
def _front(server: StripeServer) -> Generator[str]:
    loop, told = asyncio.new_event_loop(), threading.Event()
    url = ""
    over = asyncio.Event()

    async def stand() -> None:
        nonlocal url
        async with before(server.url) as front:
            url = front.url
            told.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(stand(),))
    thread.start()
    try:
        assert told.wait(60)
        yield url
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()

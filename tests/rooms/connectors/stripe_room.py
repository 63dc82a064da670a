"""A Stripe that somebody else wrote: localstripe as a process of its own, and Stripe's own SDK to act on it.

localstripe is GPL: it lives in an environment of its own and is never imported.

python -m tests.rooms.connectors.stripe_room        records the fixtures of the connector anew
"""

import asyncio
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from urllib.error import URLError
from urllib.request import Request, urlopen

import msgspec
import stripe

from isthmus.app.counterparts.tryton_running import LEASH
from isthmus.connectors import stripe as connector
from isthmus.connectors.stripe import CONNECTOR
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Page, Raw, Session
from tests.counterparts import PYTHON, require_python
from tests.rooms.connectors import changes

KEY, FEEDS = "sk_test_isthmus", "customers,subscriptions,invoices,charges,refunds"
CUSTOMERS, SUBSCRIPTIONS, INVOICES, CHARGES, REFUNDS = FEEDS.split(",")
FIXTURES = Path(connector.__file__).parent / "fixtures"
START_S_MAX, STOP_S_MAX = 60.0, 10.0
# What another program's environment must not inherit from ours.
ENVIRONMENT = re.compile(r"PYTHON|VIRTUAL_ENV$|UV_PROJECT")
CARD: Json = {"number": "4242424242424242", "exp_month": "12", "exp_year": "2036", "cvc": "123"}
Row = dict[str, Json]


@dataclass(frozen=True, slots=True)
class StripeServer:
    """A running localstripe, and Stripe's SDK that speaks with it."""

    url: str
    pid: int

    @property
    def sdk(self) -> stripe.StripeClient:
        """Stripe's own client, as a program of a customer would use it."""
        return stripe.StripeClient(KEY, base_addresses={"api": self.url}, max_network_retries=0)

    def make(self, path: str, /, **values: Json) -> Row:
        """Make or change something beside the connector, by Stripe's SDK; return its answer."""
        return self._raw("post", path, values)

    def get(self, path: str, /, **values: Json) -> Row:
        """Ask for something beside the connector."""
        return self._raw("get", path, values)

    def delete(self, path: str) -> Row:
        """Delete something beside the connector."""
        return self._raw("delete", path, {})

    def customer(self, **values: Json) -> str:
        """Make a customer and return its id."""
        return str(self.make("customers", **values)["id"])

    def buyer(self, **values: Json) -> str:
        """Make a customer with a card and return its id."""
        number = self.customer(**values)
        card = self.make("payment_methods", type="card", card=CARD)
        self.make(f"payment_methods/{card['id']}/attach", customer=number)
        self.make(f"customers/{number}", invoice_settings={"default_payment_method": card["id"]})
        return number

    def plan(self, name: str, amount: int, **more: Json) -> str:
        """Make a plan of a product of that name and return its id."""
        values: Row = {"amount": amount, "currency": "eur", "interval": "month", "product": {"name": name}}
        return str(self.make("plans", **(values | more))["id"])

    def subscription(self, customer: str, plan: str, quantity: int = 1) -> str:
        """Sell something and return the id of the subscription."""
        items: Json = [{"plan": plan, "quantity": quantity}]
        return str(self.make("subscriptions", customer=customer, items=items)["id"])

    def charge(self, customer: str, amount: int, currency: str = "eur") -> str:
        """Take money and return the id of the charge."""
        return str(self.make("charges", customer=customer, amount=amount, currency=currency)["id"])

    def flush(self) -> None:
        """Forget everything; this is localstripe's own interface, and none of Stripe's."""
        asked = Request(f"{self.url}/_config/data", method="DELETE")  # noqa: S310 - a server of ours.
        with urlopen(asked, timeout=5):  # noqa: S310 - a server of ours.
            return

    def _raw(self, method: str, path: str, values: Row) -> Row:
        ask = cast("Callable[..., stripe.StripeResponse]", self.sdk.raw_request)
        return msgspec.json.decode(ask(method, f"/v1/{path}", **values).body, type=Row)


@contextmanager
def localstripe(home: Path, *, environment: Mapping[str, str] | None = None) -> Generator[StripeServer]:
    """Run a server without anything in it while the block runs; it ends with us, however we end.

    `environment` is what it is given besides ours.
    """
    programs = require_python("localstripe", version=PYTHON["localstripe"])
    port = _free_port()
    command = [str(programs / "python"), str(LEASH), str(programs / "localstripe"), "--from-scratch", "--port"]
    with (home / "localstripe.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, str(port)],
            cwd=home,
            env={name: value for name, value in os.environ.items() if not ENVIRONMENT.match(name)}
            | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(server, url, home / "localstripe.log")
        yield StripeServer(url=url, pid=server.pid)
    finally:
        if server.stdin is not None:
            server.stdin.close()
        server.terminate()
        server.wait(STOP_S_MAX)


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Wait until the server answers; raises RuntimeError with what it said when it does not."""
    deadline = time.monotonic() + START_S_MAX
    while server.poll() is None and time.monotonic() < deadline:
        try:
            asked = Request(f"{url}/v1/customers", headers={"Authorization": f"Bearer {KEY}"})  # noqa: S310 - a server of ours.
            with urlopen(asked, timeout=5):  # noqa: S310 - a server of ours.
                return
        except (URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"localstripe did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def given(url: str, /, **settings: str) -> dict[str, str]:
    """Return the settings of a connection."""
    return {"url": url, "key": KEY, "mode": "test", "feeds": FEEDS, "overlap_s": "0"} | settings


def opened(url: str, /, **settings: str) -> AbstractAsyncContextManager[Session]:
    """Open a session as a person would connect it."""
    return CONNECTOR.open(given(url, **settings))


async def pages(session: Session, feed: str, cursor: str | None = None) -> list[Page]:
    """Read a feed to its end."""
    return [page async for page in session.read(feed, cursor=cursor)]


async def rows(session: Session, feed: str, cursor: str | None = None) -> list[Raw]:
    """Read the rows of a feed."""
    return [row for page in await pages(session, feed, cursor) for row in page.rows]


async def ids(session: Session, feed: str) -> set[str]:
    """Return every id of a feed."""
    return {each async for some in session.ids(feed) for each in some}


change = partial(changes.change, key="key-1")
"""Return a change of a record, or a new one, with a key."""


def company(server: StripeServer) -> None:
    """Make a small company's billing: somebody who subscribes, somebody who paid once and was paid back, and a lead."""
    lasting = server.buyer(
        name="Quince & Compass Foods",
        email="accounts@quince-compass.example",
        phone="+33 1 55 50 01 02",
        address={
            "line1": "12 rue des Coings",
            "line2": "Cour 3",
            "postal_code": "75011",
            "city": "Paris",
            "country": "FR",
        },
        preferred_locales=["fr"],
        tax_id_data=[{"type": "eu_vat", "value": "FR40303265045"}],
        metadata={"tier": "gold"},
    )
    server.subscription(lasting, server.plan("Orchard", 4_900, nickname="Orchard monthly"), 3)
    ended = server.subscription(lasting, server.plan("Cellar", 12_000, interval="month", interval_count=3))
    server.delete(f"subscriptions/{ended}")
    once = server.buyer(name="Marit Osterloh", email="marit@osterloh.example")
    charge = server.charge(once, 12_340, "kwd")
    server.make("refunds", charge=charge, amount=2_340)
    server.make("refunds", charge=server.charge(once, 500, "jpy"))
    server.customer(email="lead@nobody.example")


async def _record() -> None:
    with TemporaryDirectory() as home, localstripe(Path(home)) as server:
        company(server)
        async with opened(server.url) as session:
            for feed in FEEDS.split(","):
                bodies = [row.body for row in await rows(session, feed)]
                written = json.dumps(bodies, indent=1, ensure_ascii=False, sort_keys=True)
                (FIXTURES / f"{feed}.json").write_text(f"{written}\n", "utf-8")


if __name__ == "__main__":
    asyncio.run(_record())

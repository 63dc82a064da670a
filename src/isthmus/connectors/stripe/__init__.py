"""Stripe: customers, subscriptions, invoices, credit notes, charges and refunds; customers are written too."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from random import Random

from isthmus.connectors.stripe import mapping
from isthmus.connectors.stripe.client import session
from isthmus.connectors.stripe.events import read
from isthmus.connectors.stripe.shapes import EXPECTED
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.limits import Rate
from isthmus.stream.webhooks.verifying import Stripe
from isthmus.sync.connector import (
    Change,
    Connector,
    ConnectorError,
    Feed,
    Inbound,
    Leave,
    Raw,
    Session,
    Setting,
    observations,
)

__all__ = ["CONNECTOR"]

_BOTH, _SOLD = (mapping.ACCOUNT, mapping.PERSON), (mapping.SUBSCRIPTION,)


def _feed(name: str, types: tuple[str, ...], *, writes: tuple[str, ...] = (), deletes: bool = True) -> Feed:
    return Feed(name=name, types=types, writes=writes, deletes=deletes, page_rows_max=100, expects=EXPECTED[name])


FEEDS = (
    _feed(mapping.CUSTOMERS, _BOTH, writes=_BOTH),
    _feed(mapping.SUBSCRIPTIONS, _SOLD, writes=_SOLD, deletes=False),
    _feed(mapping.INVOICES, (mapping.INVOICE,)),
    _feed(mapping.CREDIT_NOTES, (mapping.INVOICE,)),
    _feed(mapping.CHARGES, (mapping.PAYMENT,), deletes=False),
    _feed(mapping.REFUNDS, (mapping.PAYMENT,), deletes=False),
)
SIGNING = "webhook_secret"
ALL = ",".join(feed.name for feed in FEEDS)
_TYPES = {feed.name: feed.types for feed in FEEDS}


def feeds_for(settings: dict[str, str]) -> tuple[Feed, ...]:
    """Return the feeds that a connection is for; raises ConnectorError for a name that is none of them."""
    wanted = {name.strip() for name in (settings.get("feeds") or ALL).split(",")} - {""}
    if unknown := sorted(wanted - set(_TYPES)):
        raise ConnectorError(f"Stripe has no feed {unknown[0]!r} here.", fix=f"Name some of {ALL}.")
    return tuple(feed for feed in FEEDS if feed.name in wanted)


def begin(settings: dict[str, str], leave: Leave) -> AbstractAsyncContextManager[Session]:
    """Open a session; its retries are spread by a generator that is seeded with who speaks."""
    feeds = [feed.name for feed in feeds_for(settings)]
    return session(settings, feeds=feeds, dice=Random(settings.get("key", "")), leave=leave)


def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
    """Return what an object says of our records."""
    return observations("stripe", raw, mapping.words(feed, raw.body))


def express(feed: str, change: Change) -> dict[str, Json]:
    """Return what a change means in Stripe, by parameter; nothing for what is only read."""
    if change.type not in _TYPES.get(feed, ()):
        return {}
    return mapping.express(change.type, change.fields, links=change.links, new=change.external_id is None)


CONNECTOR = Connector(
    name="stripe",
    title="Stripe",
    about="Customers, subscriptions, invoices, credit notes, charges and refunds of a Stripe account.",
    proven="Run against localstripe, both ways, with Stripe's own SDK beside it; never against Stripe itself.",
    feeds=FEEDS,
    feeds_for=feeds_for,
    settings=(
        Setting(name="key", about="Secret key, better a restricted one, such as rk_live_….", secret=True),
        Setting(name="mode", about="Whether this is about real money: live or test.", default="live"),
        Setting(name="feeds", about="What to read, of those that the key may read.", default=ALL),
        Setting(name=SIGNING, about="Signing secret of the endpoint, such as whsec_….", secret=True, default=""),
        Setting(name="follow", about="How changes are found: by events, or by reading all lists.", default="events"),
        Setting(name="overlap_s", about="Seconds each run goes back, for events that are told late.", default="300"),
        Setting(name="page_rows", about="Objects per request, at most 100.", default="100"),
        Setting(name="url", about="Another address than Stripe's, for test servers.", default="https://api.stripe.com"),
    ),
    begin=begin,
    normalise=normalise,
    express=express,
    writable=mapping.WRITABLE,
    allowances=(Rate(count=20, seconds=1),),
    cannot={
        "overlap_is_read_again": "Events that were read are known by their ids, so that going back reads none twice.",
        "expired_token": "A key of Stripe's is no session, and does not expire while it is used.",
    },
    inbound=Inbound(verifier=Stripe(), secret=SIGNING, read=read),
)

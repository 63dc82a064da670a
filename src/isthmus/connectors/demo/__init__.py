"""Five fake systems of one fake company, for demonstrations and tests. Nothing here is real, and nothing leaves."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

import msgspec
from msgspec import Struct

from isthmus.connectors.demo.client import FEEDS, WRITABLE_FEEDS, feeds_for, open_session
from isthmus.connectors.demo.mapping import in_our_words, in_their_words
from isthmus.connectors.demo.names import BANNER
from isthmus.connectors.demo.shapes import SHAPES
from isthmus.kernel.marks import Json
from isthmus.store.observation import Link, Observation
from isthmus.stream.limits import Rate
from isthmus.stream.webhooks.verifying import StandardWebhooks
from isthmus.sync.connector import Change, Connector, Inbound, Leave, Raw, Session, Setting


def begin(settings: dict[str, str], leave: Leave) -> AbstractAsyncContextManager[Session]:
    """Open a session; a system in a file on this machine needs no leave."""
    del leave
    return open_session(settings)


def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
    """Yield the one record that a row stands for."""
    said = in_our_words(feed, raw.body)
    yield Observation(
        type=said.type,
        system=feed.partition(".")[0],
        external_id=raw.external_id,
        fields=said.fields,
        links={name: Link(external_id=to) for name, to in said.links.items()},
        at=raw.at,
        version=raw.version,
    )


def express(feed: str, change: Change) -> dict[str, Json]:
    """Return a change in the system's words."""
    return in_their_words(feed, change.fields, links=change.links)


class Called(Struct, frozen=True, forbid_unknown_fields=True):
    """What the fake systems send when something changed: rows of one feed."""

    feed: str
    rows: tuple[Raw, ...]


def read_call(body: bytes) -> Iterable[tuple[str, Raw]]:
    """Yield the rows of a call; raises ValidationError for one that is none of ours."""
    called = msgspec.json.decode(body, type=Called)
    return ((called.feed, raw) for raw in called.rows)


_FILE = "The fake systems live in a file on this machine: there is no network and no allowance between."
CANNOT = {
    "overlap_is_read_again": "Every change is stamped by one writer at a time: none is committed late.",
    "rows_are_as_expected": "A wrong value is planted on purpose, and refused by the record type itself.",
    **dict.fromkeys(
        (
            *("leave_is_asked", "without_leave_nothing_is_sent", "quota_is_leased", "too_many_requests"),
            *("server_errors", "resets", "truncated_answers", "slow_answers", "expired_token", "skewed_date_header"),
            *("garbage_answers", "storm"),
        ),
        _FILE,
    ),
}
CONNECTOR = Connector(
    name="demo",
    title="Demo company (fake)",
    about=f"{BANNER} One connection stands for one of its five systems.",
    proven="Its own truth: the tests count people, conflicts and rejections against what was planted.",
    feeds=FEEDS,
    settings=(
        Setting(name="system", about="Which of the fake systems: crm, marketing, billing, product or desk."),
        Setting(
            name="path", about="The file in which the fake systems live; made at first, shared by all five.", local=True
        ),
        Setting(name="now", about="The moment at which the fake company stands, such as 2026-11-22T09:00:00Z."),
        Setting(name="seed", about="Another number makes another company.", default="1"),
        Setting(name="companies", about="How many companies it knows, 12 to 600; all else follows.", default="300"),
        Setting(name="webhook_secret", about="Signs what the systems send us (whsec_…).", secret=True, default=""),
        Setting(name="latency_ms", about="How long every answer takes, in milliseconds.", default="0"),
        Setting(name="page_rows", about="Rows of a page, at most 500.", default="500"),
    ),
    begin=begin,
    normalise=normalise,
    express=express,
    fake=True,
    allowances=(Rate(count=1_000, seconds=1),),
    feeds_for=feeds_for,
    writable={SHAPES[feed].type: SHAPES[feed].writable for feed in WRITABLE_FEEDS},
    cannot=CANNOT,
    inbound=Inbound(verifier=StandardWebhooks(), secret="webhook_secret", read=read_call),  # noqa: S106 - a name.
)

"""Product events from the libraries of Segment, RudderStack, PostHog, Mixpanel, Amplitude and Snowplow, unmodified."""

from functools import partial

from isthmus.connectors.ingest.client import begin
from isthmus.connectors.ingest.formats import Format, Path
from isthmus.connectors.ingest.reading import FEEDS, FORMATS, normalise, read
from isthmus.kernel.marks import Json
from isthmus.sync.conformance import CHECKS
from isthmus.sync.connector import Change, Connector, Door, Inbound, Setting
from isthmus.sync.doors import WriteKey

__all__ = ["CONNECTOR"]

KEY = "write_key"
_ABLE = frozenset(
    (
        *("manifest_is_complete", "feeds_name_known_types", "writable_fields_exist", "settings_are_described"),
        *("allowances_are_declared", "lacks_have_reasons", "fixtures_are_there", "check_says_who_we_are"),
        *("foreign_cursor_is_refused", "unknown_feed_is_refused", "read_only_feeds_refuse"),
    )
)


def express(feed: str, change: Change) -> dict[str, Json]:
    """Return nothing: what was sent to us is not changed there."""
    del feed, change
    return {}


def _door(spoken: Format, place: Path) -> Door:
    return Door(
        method="GET" if place.method == "GET" else "POST",
        path=place.path,
        about=f"Take what libraries of {spoken.title} send",
        open=partial(spoken.opened, place),
        refusal=spoken.refusal,
        bytes_max=place.bytes_max,
        kept=place.kept,
    )


CONNECTOR = Connector(
    name="ingest",
    title="Analytics libraries",
    about="Product events from the libraries of Segment, RudderStack, PostHog, Mixpanel, Amplitude and Snowplow.",
    proven="Delivered to by the six vendors' own libraries for Python, unmodified, over a running server.",
    feeds=FEEDS,
    settings=(
        Setting(
            name=KEY,
            about="What the libraries show as their write key, token or API key; several, one a line, while replaced.",
            secret=True,
            proves=True,
        ),
    ),
    begin=begin,
    normalise=normalise,
    express=express,
    cannot=dict.fromkeys(
        (name for name in CHECKS if name not in _ABLE),
        "Libraries send, and there is no server of theirs that could be read from or written to.",
    ),
    inbound=Inbound(
        verifier=WriteKey(),
        secret=KEY,
        read=read,
        doors=tuple(_door(spoken, place) for spoken in FORMATS.values() for place in spoken.paths),
    ),
)

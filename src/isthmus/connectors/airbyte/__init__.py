"""Connectors of Airbyte as systems of record: programs that a person installed, which tell rows of what they read."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from isthmus.connectors.airbyte.client import SETTING, session
from isthmus.connectors.airbyte.layouts import TYPES, Configured
from isthmus.kernel.layouts import words
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.limits import Rate
from isthmus.sync.connector import Change, Connector, Feed, Leave, Raw, Session, Setting, observations
from isthmus.sync.streams import expected, streams_of
from isthmus.sync.taps import READ_ONLY_CANNOT

__all__ = ["CONNECTOR"]


def begin(settings: dict[str, str], leave: Leave) -> AbstractAsyncContextManager[Session]:
    """Open a session; the source is run when it is first needed."""
    return session(settings, leave=leave)


def adapt(settings: dict[str, str]) -> Connector:
    """Return the connector with the streams of a connection; raises StreamsRefused."""
    streams = streams_of(settings.get(SETTING, "{}"), Configured, types=TYPES, setting=SETTING)

    def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
        return observations("airbyte", raw, words(streams[feed], raw.body))

    feeds = tuple(
        Feed(
            name=name,
            types=(stream.type,),
            deletes=stream.absent == "deleted",
            page_rows_max=5_000,
            expects=expected(stream),
        )
        for name, stream in streams.items()
    )
    return replace(CONNECTOR, feeds=feeds, normalise=normalise, adapt=None)


def _unmapped(feed: str, raw: Raw) -> Iterable[Observation]:
    """Say nothing: without the settings of a connection no column means anything."""
    del feed, raw
    return ()


def _inexpressible(feed: str, change: Change) -> dict[str, Json]:
    """Say nothing: a connector of this kind is only read."""
    del feed, change
    return {}


CONNECTOR = Connector(
    name="airbyte",
    title="Airbyte source",
    about="What a source of Airbyte that you installed can read becomes records; it is only read.",
    proven="Run with source-declarative-manifest of airbyte-cdk 7.39.1 as it is, incremental, against a server of ours;"
    " the suite with a program of ours that tells the documented messages. Not run with sources for real vendors.",
    feeds=(Feed(name="stream", types=TYPES, deletes=False, expects={}),),
    settings=(
        Setting(name="command", about="The source, such as /opt/airbyte/bin/source-faker.", local=True),
        Setting(
            name="config", about="What the source takes as its config, in JSON.", secret=True, default="", local=True
        ),
        Setting(name="streams", about="Which stream becomes which record type, as TOML or JSON."),
        Setting(name="page_rows", about="Rows stored at once.", default="1000"),
        Setting(name="quiet_s", about="Seconds that the source may say nothing.", default="300"),
    ),
    begin=begin,
    normalise=_unmapped,
    express=_inexpressible,
    allowances=(Rate(count=100, seconds=1),),
    cannot=READ_ONLY_CANNOT,
    adapt=adapt,
)

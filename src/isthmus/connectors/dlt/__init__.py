"""Sources of dlt as systems of record: Python that a person installed, and that yields rows of what it reads."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from isthmus.connectors.dlt.client import SETTING, session
from isthmus.connectors.dlt.layouts import TYPES
from isthmus.kernel.layouts import words
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.limits import Rate
from isthmus.sync.connector import Change, Connector, Feed, Leave, Raw, Session, Setting, observations
from isthmus.sync.streams import Stream, expected, streams_of
from isthmus.sync.taps import READ_ONLY_CANNOT

__all__ = ["CONNECTOR"]


def begin(settings: dict[str, str], leave: Leave) -> AbstractAsyncContextManager[Session]:
    """Open a session; the source is run when it is first needed."""
    return session(settings, leave=leave)


def adapt(settings: dict[str, str]) -> Connector:
    """Return the connector with the streams of a connection; raises StreamsRefused."""
    streams = streams_of(settings.get(SETTING, "{}"), Stream, types=TYPES, setting=SETTING)

    def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
        return observations("dlt", raw, words(streams[feed], raw.body))

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
    """Say nothing: a source is only read."""
    del feed, change
    return {}


CONNECTOR = Connector(
    name="dlt",
    title="dlt source",
    about="What a source of dlt that you installed yields becomes records; it is only read.",
    proven="Run with dlt 1.31.0 as it is: its REST source, incremental, against a server of our own, and its source for"
    " SQL databases; the suite with a program of ours that tells the same messages.",
    feeds=(Feed(name="stream", types=TYPES, deletes=False, expects={}),),
    settings=(
        Setting(name="python", about="The Python that has dlt, such as /opt/dlt/bin/python.", local=True),
        Setting(name="source", about="The source as module:name.", local=True),
        Setting(name="arguments", about="What the source takes, in JSON.", secret=True, default="", local=True),
        Setting(
            name="environment",
            about="Secrets and settings of dlt by name, in JSON.",
            secret=True,
            default="",
            local=True,
        ),
        Setting(name="folder", about="Folder with modules of yours, and .dlt.", default="", local=True),
        Setting(name="streams", about="Which resource becomes which record type, as TOML or JSON."),
        Setting(name="page_rows", about="Rows stored at once.", default="1000"),
        Setting(name="quiet_s", about="Seconds that the source may yield nothing.", default="300"),
    ),
    begin=begin,
    normalise=_unmapped,
    express=_inexpressible,
    allowances=(Rate(count=100, seconds=1),),
    cannot=READ_ONLY_CANNOT,
    adapt=adapt,
)

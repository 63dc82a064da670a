"""Files as a system of record: CSV, NDJSON and Parquet in a folder, in a bucket of S3 or on a server of SFTP."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from isthmus.connectors.files import mapping
from isthmus.connectors.files.client import session
from isthmus.connectors.files.layouts import TYPES, Drop, drops_of
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.limits import Rate
from isthmus.sync.connector import Change, Connector, Feed, Leave, Raw, Session, Setting, observations

__all__ = ["CONNECTOR"]

ANY_FILES = "files"
_HTTP = (
    "Folders and SFTP speak no HTTP, so that the proxy of the suite cannot stand before them; see the folder's tests."
)
_HANDED = "Changes are handed over as files: what the other side holds meanwhile is told by its own files alone."


def begin(settings: dict[str, str], leave: Leave) -> AbstractAsyncContextManager[Session]:
    """Open a session; the place is opened when it is first needed."""
    return session(settings, leave=leave)


def adapt(settings: dict[str, str]) -> Connector:
    """Return the connector with the files of a connection; raises FilesRefused."""
    drops = drops_of(settings.get("files", "{}"))

    def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
        return observations("files", raw, mapping.told(drops[feed], raw.body))

    def express(feed: str, change: Change) -> dict[str, Json]:
        drop = drops.get(feed)
        if drop is None or drop.write is None or change.type != drop.type:
            return {}
        return mapping.said(drop, change.fields, change.links)

    return replace(
        CONNECTOR,
        feeds=tuple(_feed(name, drop) for name, drop in drops.items()),
        normalise=normalise,
        express=express,
        writable={drop.type: drop.written for drop in drops.values() if drop.write is not None},
        adapt=None,
    )


def _feed(name: str, drop: Drop) -> Feed:
    return Feed(
        name=name,
        types=(drop.type,),
        writes=(drop.type,) if drop.write is not None else (),
        deletes=drop.absent == "deleted",
        page_rows_max=5_000,
        expects=mapping.expected(drop),
    )


def _unmapped(feed: str, raw: Raw) -> Iterable[Observation]:
    """Say nothing: without the settings of a connection no column means anything."""
    del feed, raw
    return ()


def _inexpressible(feed: str, change: Change) -> dict[str, Json]:
    """Say nothing, for the same reason."""
    del feed, change
    return {}


CONNECTOR = Connector(
    name="files",
    title="Files",
    about="CSV, NDJSON and Parquet in a folder, in S3 or on a server of SFTP as a system of record, both ways.",
    proven="Run against OpenSSH's own server of SFTP, moto's server of S3, which checks signatures, and folders.",
    feeds=(Feed(name=ANY_FILES, types=TYPES, writes=TYPES, deletes=False, expects={}),),
    settings=(
        Setting(name="where", about="The place, such as s3://bucket/folder or sftp://user@host/folder.", default=""),
        Setting(name="folder", about="A folder of this machine, in the place of `where`.", default="", local=True),
        Setting(name="files", about="Which files become which record type, as TOML or JSON.", long=True),
        Setting(name="endpoint", about="S3: the server's address, if it is not Amazon's.", default=""),
        Setting(name="region", about="S3: the region of the bucket.", default="us-east-1"),
        Setting(name="key_id", about="S3: the id of the access key.", default=""),
        Setting(name="secret_key", about="S3: the secret of the access key.", secret=True, default=""),
        Setting(name="key", about="SFTP: the private key, in OpenSSH's form.", secret=True, default="", long=True),
        Setting(name="host_key", about="SFTP: the server's host key, such as ssh-ed25519 AAAA….", default=""),
        Setting(name="quiet_s", about="Seconds that a file must lie still before it is read.", default="2"),
        Setting(name="page_rows", about="Rows stored at once.", default="1000"),
    ),
    begin=begin,
    normalise=_unmapped,
    express=_inexpressible,
    allowances=(Rate(count=100, seconds=1),),
    cannot=dict.fromkeys(
        (
            *("too_many_requests", "server_errors", "resets", "truncated_answers", "slow_answers", "expired_token"),
            *("skewed_date_header", "garbage_answers", "storm"),
        ),
        _HTTP,
    )
    | dict.fromkeys(
        (
            *("stale_version_overwrites_nothing", "gone_record_is_told", "what_we_say_is_what_it_holds"),
            *("record_is_deleted_there", "record_made_here_is_made_there_once"),
        ),
        _HANDED,
    )
    | dict.fromkeys(
        ("empty_source_deletes_nothing", "partial_source_deletes_nothing", "rekeyed_source_deletes_nothing"),
        "A file that goes deletes nothing, so that ids are not compared; see the folder's tests for whole snapshots.",
    )
    | {"overlap_is_read_again": "A file is read when it has changed, whatever the times in it, so that none is late."},
    adapt=adapt,
)

"""What is said of a vendor whose interface is REST: frozen values, from which the whole connector follows.

Paths of addresses and parameters may hold names of settings in braces, such as
`/lists/{audience}/members`; `{id}` is the record's.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from isthmus.kernel.marks import Json
from isthmus.kernel.words import Word
from isthmus.sync.connector import OAuth, Setting
from isthmus.sync.rest.columns import Column
from isthmus.sync.rest.paging import Paging
from isthmus.sync.rest.ways import Row, iso

GONES = frozenset({404, 410})


@dataclass(frozen=True, kw_only=True)
class ByHeader:
    """A header proves who we are; `value` is a template of settings."""

    settings: tuple[Setting, ...]
    name: str = "Authorization"
    value: str = "Bearer {token}"

    def headers(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of every request."""
        return {self.name: self.value.format_map(settings)}


@dataclass(frozen=True, kw_only=True)
class ByPassword:
    """A name and a password prove who we are (HTTP Basic); `pair` is a template of settings."""

    settings: tuple[Setting, ...]
    pair: str = "{user}:{password}"

    def headers(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of every request."""
        return {"Authorization": f"Basic {b64encode(self.pair.format_map(settings).encode()).decode()}"}


@dataclass(frozen=True, kw_only=True)
class ByQuery:
    """A parameter of every request proves who we are; `setting` holds the key."""

    settings: tuple[Setting, ...]
    parameter: str = "api_key"
    setting: str = "token"

    def headers(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of every request: none."""
        del settings
        return {}


SignIn: TypeAlias = ByHeader | ByPassword | ByQuery


@dataclass(frozen=True, kw_only=True)
class Since:
    """The vendor lists what changed since a time, oldest first; `of` words the time for the parameter.

    `inclusive` tells that what changed at that very time is listed as well.
    """

    parameter: str
    of: Callable[[datetime], str] = iso
    inclusive: bool = True


@dataclass(frozen=True, kw_only=True)
class Call:
    """A method and what follows the path of the feed's records."""

    method: str
    path: str = "/{id}"


@dataclass(frozen=True, kw_only=True)
class Find:
    """How a new record is looked for before it is made, as the answer to an earlier attempt may have been lost.

    `query` gives a list in which it would be; a row that says all that we would say is taken for it.
    """

    query: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Writes:
    """How records are written. Each write looks first how the record stands, and goes only if it has not moved.

    `wrap` is the name under which the body stands. `in_body` and `in_headers` make the vendor hold the condition as
    well: what to send, and at which path of the record as it stood it is found; `beside` goes along with them.
    `key_header` takes the key that is the same for every attempt. `own_id` computes the id of a new record from what
    is said of it, for vendors whose creation is a replacement. `whole` tells that the answer to a write holds the
    record; else it is read back. `merges` tells that a map that is sent keeps what it does not name. `moved` and `gone`
    are statuses that say so. `new` goes along with new records, and `last` may change what is sent, by type, body and
    the record as it stands.
    """

    create: Call | None = field(default_factory=lambda: Call(method="POST", path=""))
    update: Call | None = field(default_factory=lambda: Call(method="PATCH"))
    delete: Call | None = field(default_factory=lambda: Call(method="DELETE"))
    wrap: str = ""
    in_body: Mapping[str, str] = field(default_factory=dict[str, str])
    beside: Mapping[str, Json] = field(default_factory=dict[str, Json])
    in_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    key_header: str = ""
    find: Find | None = None
    own_id: Callable[[Row], str | None] | None = None
    new: Mapping[str, Json] = field(default_factory=dict[str, Json])
    whole: bool = True
    merges: bool = False
    moved: frozenset[int] = frozenset({409, 412})
    gone: frozenset[int] = GONES
    last: Callable[[str, Row, Row | None], Row] | None = None


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A feed: a list at `path` whose rows become the record types of `types`, by columns.

    `rows` is where the rows stand in an answer ("" when it is the list), `one` where a single record does; `home` is
    where single records are, when it is not `path`. `id`, `stamp` and `version` are paths in a row. `query` goes along
    with every list, `reading` only with lists of changes, `listing` only when ids are listed (`listed` are the paths of
    these lists, when others).
    `deleted` is a path and the value there of a record that is deleted; `hidden` rows are no records of this feed.
    Without `since` everything is read in every run. `hook` says more of a row than columns can.
    `beside` are the names of what rows may hold that becomes nothing here; `kinds` has the last word on what a field
    may hold.
    """

    name: str
    path: str
    types: Mapping[str, tuple[Column, ...]]
    paging: Paging
    rows: str = "data"
    one: str = "data"
    home: str = ""
    id: str = "id"
    stamp: str = ""
    version: str = ""
    since: Since | None = None
    query: tuple[tuple[str, str], ...] = ()
    reading: tuple[tuple[str, str], ...] = ()
    listing: tuple[tuple[str, str], ...] = ()
    listed: tuple[str, ...] = ()
    listed_paging: Paging | None = None
    page_rows_max: int = 100
    deleted: tuple[str, Json] | None = None
    hidden: Callable[[Row], bool] | None = None
    writes: Writes | None = None
    writes_types: tuple[str, ...] = ()
    deletes: bool = True
    hook: Callable[[Row], tuple[Word, ...]] | None = None
    beside: str = ""
    kinds: Mapping[str, str] = field(default_factory=dict[str, str])
    settles_s: int | None = None
    scan_s: int | None = None

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, of all types."""
        return tuple(column for columns in self.types.values() for column in columns)


@dataclass(frozen=True, kw_only=True)
class Check:
    """Whom to ask who we are, and the paths of the names in the answer."""

    path: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """Everything about the interface: how to sign in, whom to ask who we are, and its feeds, in the order of pulling.

    `url` is the address unless a connection has another. `waits` is the header of
    a 429 that says for how many seconds, where it is not `Retry-After`. `headers` go along with every request. `oauth`
    is how a person consents instead of giving a key, such as `partial(OAuth, authorize_url=…, token_url=…)`; `domain`
    is what the token answer calls the address to speak with, if it names one.
    """

    name: str
    title: str
    sign_in: SignIn
    check: Check
    feeds: tuple[Collection, ...]
    url: str = ""
    waits: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    oauth: Callable[..., OAuth] | None = None
    domain: str = ""

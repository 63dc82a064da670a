"""What a connector is. Every folder in `isthmus.connectors` holds `CONNECTOR`, an instance of `Connector`.

The client speaks the vendor's protocol (`Session`); the mapping is pure, both ways (`normalise`, `express`); the engine
does the rest: cursors, checkpoints, retries, limits, matching, conflicts, pushing, echoes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol, TypeAlias, runtime_checkable
from uuid import UUID

from msgspec import Struct

from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.marks import Json
from isthmus.kernel.words import Word
from isthmus.store.observation import Link, Observation
from isthmus.stream.limits import Rate
from isthmus.stream.webhooks.verifying import AddressVerifier, Verifier


class Raw(Struct, frozen=True, kw_only=True):
    """A record as the vendor sent it. `at` is the vendor's stamp, `version` its token for conditional writes.

    For a deleted one the engine makes the tombstones itself, of every record known by that external id in the feed's
    types; the mapping is not asked and `body` may be empty. `merged_into` is, on a deleted one, the external id of the
    record that it became part of there: the two become one here as well, and nothing is deleted.

    A `stranger` is spoken of as long as nothing is known of it: the row is passed over once its id is known, and a
    merge of one is passed over once anything was said of it, or it is one with another already.
    """

    external_id: str
    body: dict[str, Json]
    at: datetime | None = None
    version: str | None = None
    deleted: bool = False
    merged_into: str | None = None
    stranger: bool = False


class Page(Struct, frozen=True, kw_only=True):
    """Some raw records and the cursor from which to go on; the cursor is the connector's own JSON text.

    `emptied` tells that the system threw away all that the feed held at once, without naming it: the ids are compared
    in this run, when what came after it has been read. `note` is a sentence for the status of the connection, of what a
    person should know although all is well.
    """

    rows: tuple[Raw, ...]
    cursor: str
    more: bool
    total: int | None = None
    emptied: bool = False
    note: str = ""


class Change(Struct, frozen=True, kw_only=True):
    """What to write to the vendor: only the fields that differ there. Without `external_id` it is a new record.

    `links` names, for fields that point to other records, their external ids in the same system; such fields are not
    in `fields`, unless they are cleared (null). `key` is the same for every attempt at this change, for vendors that
    take an idempotency key; a session whose vendor takes none, and that can, looks a new record up before it makes it.
    """

    record_id: UUID
    type: str
    fields: dict[str, Json]
    links: dict[str, str] = {}
    external_id: str | None = None
    version: str | None = None
    deleted: bool = False
    key: str = ""


class Outcome(StrEnum):
    """How a write ended."""

    WRITTEN = "written"
    MOVED = "moved"
    REFUSED = "refused"
    FAILED = "failed"


class Written(Struct, frozen=True, kw_only=True):
    """The vendor's answer for one change, in the order of the changes.

    `raw` is the record as the vendor holds it after the write, read back, so that its own normalisation is known and
    the echo of the write is recognised. MOVED: the condition failed, the record changed there meanwhile; a `raw` that
    is deleted tells that it is gone. REFUSED: the vendor will never take it (`reason` says why). FAILED: try again
    later.
    """

    outcome: Outcome
    external_id: str | None = None
    raw: Raw | None = None
    reason: str = ""


class Session(Protocol):
    """An open, authorised conversation with one system."""

    async def check(self) -> str:
        """Return who we are there (a name or an address); raises ConnectorError with the fix when it does not work."""
        ...

    def read(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield pages of what changed since the cursor, oldest first; everything when there is none."""
        ...

    def ids(self, feed: str) -> AsyncIterator[Sequence[str]]:
        """Yield every external id that the feed's records have here, for the sweep that finds deletions."""
        ...

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Write changes, conditionally where `version` is given; one answer for each, no exception for one row."""
        ...


@runtime_checkable
class Scanning(Protocol):
    """A session that can read everything in another way than by `read` from the beginning, such as in bulk."""

    def scan(self, feed: str, *, cursor: str | None) -> AsyncIterator[Page]:
        """Yield pages of everything there is; `cursor` is where an earlier scan was interrupted."""
        ...


@runtime_checkable
class Fetching(Protocol):
    """A session that can be asked for single records by their ids."""

    async def fetch(self, feed: str, external_ids: Sequence[str]) -> Sequence[Raw]:
        """Return the records under these ids, in any order; what is not there is left out."""
        ...


class Described(Struct, frozen=True, kw_only=True):
    """A field as its system describes it: where it stands in a row that is sent, by dots, and what people call it.

    `kind` is the system's word for what it holds; `own` tells that it was made there and is not one that all have.
    """

    path: str
    label: str = ""
    kind: str = ""
    own: bool = False


@runtime_checkable
class Describing(Protocol):
    """A session whose system tells which fields its records have, those made there among them."""

    async def fields(self, feed: str) -> Sequence[Described]:
        """Return the fields of a feed's rows; raises ConnectorError."""
        ...


@runtime_checkable
class Parting(Protocol):
    """A session whose system keeps something for the connection, which goes with it, such as a place in a log."""

    async def part(self) -> None:
        """Remove what the system keeps for the connection; raises ConnectorError with what to do by hand."""
        ...


@dataclass(frozen=True)
class Feed:
    """A vendor-side collection: its name there, the record types it becomes, and what can be done with it.

    Feeds are pulled in the order of the manifest, so that records come after those they point to.

    `expects` names what a row must hold, with its kinds: `text`, `number`, `truth`, `list`, `map`, and `null` where it
    may be empty, such as `"text null"`; a row that holds something else is kept with the reason, and not mapped.
    `settles_s` is for how long after a change the vendor may still fail to tell of it (a search that lags, a
    transaction that ends late): what was read is read a second time that much later. `scan_s` is how often everything
    is read, for changes that move no stamp, such as formulas and associations. `write_rows_max` is how many changes are
    given to a session at once: more than usual where the vendor takes many in another way than few.
    """

    name: str
    types: tuple[str, ...]
    writes: tuple[str, ...] = ()
    deletes: bool = True
    page_rows_max: int = 500
    write_rows_max: int = 100
    expects: Mapping[str, str] = field(default_factory=dict[str, str])
    settles_s: int | None = None
    scan_s: int | None = None


@dataclass(frozen=True)
class Setting:
    """What a person gives to connect: `secret` ones come from a file or the environment, never the command line.

    Of one that `proves` callers only the digest of each of its words is kept: nobody has to read it again. A `local`
    one names something on the machine that isthmus runs on, such as a file: who calls from elsewhere may not give it.
    A `long` one has several lines, such as a key in PEM form.
    """

    name: str
    about: str
    secret: bool = False
    default: str | None = None
    proves: bool = False
    local: bool = False
    long: bool = False


class Sent(Struct, frozen=True, kw_only=True):
    """What a program of others sent to a door: as it came, compressed or not, with the moment at which it came.

    `path` is what stands behind the connection, `headers` are those that say how to read it, in small letters.
    """

    path: str
    at: datetime
    query: bytes = b""
    body: bytes = b""
    headers: dict[str, str] = {}


class Told(Struct, frozen=True, kw_only=True):
    """An answer in the form that a vendor's programs expect."""

    status: int = 200
    body: bytes = b""
    media: str = "application/json"


class Opened(Struct, frozen=True, kw_only=True):
    """What was sent, once it is read: the keys that it shows, of which one must be right, and what is answered."""

    keys: tuple[str, ...]
    told: Told


@dataclass(frozen=True, kw_only=True)
class Door:
    """A path behind a connection's address at which programs of others call, as their vendor's own server is called.

    `open` is pure, and raises for what cannot be read; `refusal` words errors as the vendor does. Without `kept` the
    call is only answered. A parameter of the path, if it has one, is `{write_key}`, which is one of the keys shown.
    """

    method: Literal["GET", "POST"]
    path: str
    about: str
    open: Callable[[Sent], Opened]
    refusal: Callable[[IsthmusError], Told]
    bytes_max: int
    kept: bool = True


@dataclass(frozen=True, kw_only=True)
class Inbound:
    """How a vendor calls us: who proves that it did, with the secrets of which setting, and what its calls hold.

    The setting may hold several secrets, one a line, while they are replaced. `read` is pure: it yields the feed and
    the record for each that a body tells of, and raises what it likes for a body that it does not understand. Where a
    body only tells that a record changed, or is not believed, it yields the id: the record is then asked for, by
    sessions that are `Fetching`. With `greets` the vendor looks by GET, or with an empty body, whether somebody is
    there. With `silent` it wants 200 or 401, and no body in either.

    With `doors` a vendor's programs call at these, and show a key; `read` is given what was sent there as
    `isthmus.sync.doors.kept` writes it.
    """

    verifier: Verifier | AddressVerifier
    secret: str
    read: Callable[[bytes], Iterable[tuple[str, Raw | str]]]
    doors: tuple[Door, ...] = ()
    greets: bool = False
    silent: bool = False


Authorise: TypeAlias = Callable[[bool], Awaitable[Mapping[str, str]]]
"""Returns the headers that prove who we are; called with True when those that were sent are no longer taken."""
Leave: TypeAlias = Callable[[], Awaitable[object]]
"""Asked before every request to the vendor: waits until its quota, which all our workers share, has room."""


async def freely() -> None:
    """Give leave at once."""


@runtime_checkable
class Holding(Protocol):
    """Leave that can be held back: whoever asks for it on the same connection, to read or to write, waits."""

    async def hold(self, seconds: float) -> None:
        """Give nobody leave for so many seconds, since the vendor asked to slow down."""
        ...


@dataclass(frozen=True, kw_only=True)
class OAuth:
    """How a person lets a connection use a vendor's system in their name (RFC 6749, 7636; RFC 9700 on what to mind).

    A connection uses it when it has the setting `client_id`, and none of `unless`, by which it signs in otherwise; with
    `client_secret` the program proves itself at the token address, by `proof`. Both addresses may hold settings in
    braces, such as `https://{domain}/oauth/token`. `parameters` are added to the authorize address. `rotates` tells
    that each refresh brings a new refresh token.
    `refresh_s` is how long a refresh token lives: since it was made where it rotates, else since the consent.
    `access_s` is how long an access token lives where the answer does not say. `issuer` is what answers must name as
    `iss`, if they name one (RFC 9207). `told` names fields of the token answer that become settings of the session,
    such as `instance_url`. `begin` opens a session whose requests carry what its third argument returns.
    """

    authorize_url: str
    token_url: str
    begin: Callable[[dict[str, str], Leave, Authorise], AbstractAsyncContextManager[Session]]
    scopes: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    proof: Literal["basic", "body"] = "basic"
    pkce: bool = True
    rotates: bool = True
    refresh_s: int | None = None
    access_s: int = 1_800
    issuer: str = ""
    told: tuple[str, ...] = ()
    unless: tuple[str, ...] = ("refresh_token",)


@dataclass(frozen=True)
class Connector:
    """A connector: `name` is its folder. `begin` opens a session from the settings by name, and asks leave.

    `allowances` say how many requests the vendor takes in which time, for each connection.
    `feeds` are all that it knows; where settings decide which of them a connection has, `feeds_for` says so. Where they
    decide what is mapped to what as well, `adapt` returns the connector as the settings make it. `parts` tells that its
    sessions are `Parting`.
    `writable` names by record type the fields that may be written, said before by the system or not; of a type that a
    feed writes and that is not in it, only fields that the system itself has spoken of are written. `together` names
    by record type fields that the system holds as one value, such as the halves of a name: they are written together,
    and when the system moves one of them it has moved all.
    `cannot` names checks of the conformance suite that this vendor's system cannot be put to, each with the reason.
    With `oauth` a person may consent there instead of giving a key. `outgoing` is what a mapping of one's own makes of
    a change before it is written.
    """

    name: str
    title: str
    about: str
    proven: str
    feeds: tuple[Feed, ...]
    settings: tuple[Setting, ...]
    begin: Callable[[dict[str, str], Leave], AbstractAsyncContextManager[Session]]
    normalise: Callable[[str, Raw], Iterable[Observation]]
    express: Callable[[str, Change], dict[str, Json]]
    fake: bool = False
    allowances: tuple[Rate, ...] = (Rate(count=10, seconds=1),)
    feeds_for: Callable[[dict[str, str]], tuple[Feed, ...]] | None = None
    writable: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    together: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict[str, tuple[tuple[str, ...], ...]])
    inbound: Inbound | None = None
    cannot: Mapping[str, str] = field(default_factory=dict[str, str])
    adapt: Callable[[dict[str, str]], "Connector"] | None = None
    parts: bool = False
    oauth: OAuth | None = None
    outgoing: Callable[[Change], Change] | None = None

    def told(self, change: Change) -> Change:
        """Return a change as this system is told of it."""
        return change if self.outgoing is None else self.outgoing(change)

    def consents(self, settings: Mapping[str, str]) -> bool:
        """Tell whether a connection with these settings is used by a person's consent, not by a token of its own."""
        if self.oauth is None or not settings.get("client_id"):
            return False
        return not any(settings.get(name) for name in self.oauth.unless)

    def adapted(self, settings: dict[str, str]) -> "Connector":
        """Return the connector as a connection with these settings has it; raises ConnectorError."""
        return self if self.adapt is None else self.adapt(settings)

    def open(self, settings: dict[str, str], *, leave: Leave = freely) -> AbstractAsyncContextManager[Session]:
        """Open a session, which asks leave before each request."""
        return self.begin(settings, leave)

    def feeds_of(self, settings: dict[str, str]) -> tuple[Feed, ...]:
        """Return the feeds that a connection with these settings offers, in the order of pulling."""
        found = self.adapted(settings)
        return found.feeds if found.feeds_for is None else found.feeds_for(settings)


class ConnectorError(IsthmusError):
    """The system cannot be used as connected; `fix` says what to do."""

    status, code, title = 503, "connector", "The connected system cannot be used"


class FeedTrouble(ConnectorError):
    """One feed cannot be read; what the system holds elsewhere can."""

    code, title = "feed-trouble", "One feed cannot be read"


class NotAsDocumented(FeedTrouble):
    """The system answered in a form that the connector does not know."""

    code, title = "not-as-documented", "The system answered in an unknown form"


class KeyRefused(ConnectorError):
    """The system does not take our key, or what it was exchanged for."""

    code, title = "key-refused", "The connected system refuses the key"


class Throttled(ConnectorError):
    """The vendor asks to slow down; `retry_after_s` says for how long."""

    code, title = "throttled", "The connected system asks to slow down"

    def __init__(self, detail: str, *, retry_after_s: float, fix: str = "") -> None:
        """`retry_after_s` is the vendor's own word, or our back-off when it said none."""
        super().__init__(detail, fix=fix)
        self.retry_after_s = retry_after_s


def observations(system: str, raw: Raw, words: Iterable[Word]) -> Iterator[Observation]:
    """Yield the words of a row as observations, with its id, its stamp and its version."""
    for word in words:
        yield Observation(
            type=word.type,
            system=system,
            external_id=raw.external_id,
            fields=word.fields,
            links={name: Link(external_id=number) for name, number in word.links.items()},
            at=raw.at,
            version=raw.version,
        )

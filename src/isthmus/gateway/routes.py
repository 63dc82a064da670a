"""How a route is declared, what its handler is given, and what it may answer."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Generic, Literal, TypeAlias, TypeVar
from uuid import UUID

from msgspec import Meta, Struct

from isthmus.auth.principal import Principal
from isthmus.gateway.cursors import Cursors
from isthmus.gateway.errors import PreconditionRequired, StaleVersion
from isthmus.kernel.clock import Clock
from isthmus.kernel.errors import Denied, Fault, Invalid, IsthmusError, NotFound, Unauthenticated
from isthmus.kernel.ids import InvalidId, uuid_of
from isthmus.kernel.marks import Json, RecordType
from isthmus.store.database import Database, Scope
from isthmus.store.records import Condition, all_of, limited
from isthmus.store.schema import Schema
from isthmus.vault import Vault

HTML = "text/html; charset=utf-8"
BODY_BYTES_MAX = 1 << 20
BATCH_BODY_BYTES_MAX = 8 << 20
ANY_CALLER = "*"
PERSONAL = ":read_personal"
FRESH_S = 900
PAGE_ROWS = 50
PAGE_ROWS_MAX = 200
Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Accepts: TypeAlias = Literal["json", "form", "raw", "stream"]
T = TypeVar("T")


class Paging(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of a list; a list with filters of its own declares a subclass."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX, description="How many at most.")] = PAGE_ROWS
    cursor: Annotated[str, Meta(max_length=2000, description="Where to go on, as `next_cursor` said.")] | None = None


class Page(Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a list."""

    data: list[T]
    next_cursor: str | None = None
    has_more: bool = False


@dataclass(frozen=True, kw_only=True)
class Response:
    """A full answer, for handlers that need more than a value.

    `value` is sent as JSON. `body` is sent as it is, whole or piece by piece (server-sent events, exports), with the
    route's media type unless `media` says another. `version` becomes the ETag and answers If-None-Match.
    """

    value: Struct | None = None
    body: bytes | AsyncIterator[bytes] | None = None
    status: int | None = None
    media: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    version: int | None = None


def needs_version() -> PreconditionRequired:
    """Return the refusal of a change that names no version."""
    return PreconditionRequired(
        "A change needs If-Match.", fix="Read the record and send its ETag as If-Match, or * to overwrite."
    )


def redirect(to: str) -> Response:
    """Send the browser to another page after a form (303 See Other)."""
    return Response(body=b"", status=303, headers=(("location", to),))


@dataclass(frozen=True, kw_only=True)
class Services:
    """What handlers work with. `others` holds one value of a type each, which the assembly put there."""

    schema: Schema
    database: Database
    vault: Vault
    clock: Clock
    others: Mapping[type, object] = field(default_factory=dict[type, object])

    def of(self, kind: type[T]) -> T:
        """Return the service of that type; raises LookupError when the assembly gave none."""
        found = self.others.get(kind)
        if not isinstance(found, kind):
            message = f"the assembly gives no {kind.__name__}"
            raise LookupError(message)  # noqa: TRY004 - it is missing; its type cannot be wrong.
        return found


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call that was let through: read, checked against the route's declaration, and allowed.

    `scope` is what a transaction is opened with: the caller's workspace, the caller, the request id and the moment. On
    a route for everybody it names no workspace, and row-level security shows it nothing. `once` is an id that repeats
    when, and only when, the caller repeats the call with the same Idempotency-Key: as the external id of what is put,
    it makes that exactly once, even when the first attempt was killed before it could answer. `opened` gathers the
    permissions by which personal fields were shown. `client` is the address that the call came from.

    `raw` and `raw_query` are what was sent, as it came; `raw` only on routes that change something or have a `sender`.

    On a route that accepts a `stream`, `passing` is the request as it came with its body (`gateway.upstreams.inflow`).
    """

    route: "Route"
    path: Mapping[str, str]
    services: Services
    scope: Scope
    request_id: str
    once: UUID
    caller: Principal | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    raw: bytes = b""
    raw_query: bytes = b""
    read_query: Struct | None = None
    read_body: Struct | None = None
    version: str = ""
    secure: bool = False
    session: str | None = field(default=None, repr=False)
    opened: set[str] = field(default_factory=set[str], compare=False)
    client: str = ""
    sight: Callable[[RecordType], Condition | None] | None = field(default=None, repr=False, compare=False)
    passing: object = field(default=None, repr=False, compare=False)

    def seen(self, record_type: RecordType) -> Condition | None:
        """Return the condition under which the caller may see a record of a type; None when all may be seen.

        Every read, list and change of records asks for it; it holds what limits the caller, and what policies say.
        """
        limit = limited(record_type, self.caller.only) if self.caller is not None else None
        return all_of(limit, self.sight(record_type) if self.sight is not None else None)

    @property
    def principal(self) -> Principal:
        """The caller; raises Unauthenticated on a route for everybody when nobody is known."""
        if self.caller is None:
            raise Unauthenticated("No credential came with the request.", fix="Sign in.")
        return self.caller

    def body(self, kind: type[T]) -> T:
        """Return the body, which the route declares to be of that type."""
        if not isinstance(self.read_body, kind):
            message = f"{self.route.path} declares another body than {kind.__name__}"
            raise TypeError(message)
        return self.read_body

    def query(self, kind: type[T]) -> T:
        """Return the query parameters, which the route declares to be of that type."""
        if not isinstance(self.read_query, kind):
            message = f"{self.route.path} declares other query parameters than {kind.__name__}"
            raise TypeError(message)
        return self.read_query

    def id_in_path(self, name: str, prefix: str, *, missing: type[NotFound] = NotFound) -> UUID:
        """Return the id that stands in the path; raises `missing` for what is no id with that prefix."""
        try:
            return uuid_of(prefix, self.path[name])
        except InvalidId as error:
            raise missing(error.detail, fix=error.fix) from error

    def record_id(self, name: str, record_type: RecordType) -> UUID:
        """Return the record id that stands in the path; raises NotFound for what is no id of that type."""
        return self.id_in_path(name, record_type.prefix)

    def may(self, permission: str) -> bool:
        """Tell whether the caller has a further permission, such as that to see personal fields.

        Who asks for the latter shows these fields if the answer is yes, so the read is traced before it is answered.
        """
        allowed = self.caller is not None and self.caller.may(permission)
        if allowed and permission.endswith(PERSONAL):
            self.opened.add(permission)
        return allowed

    def require(self, permission: str) -> None:
        """Raise Denied unless the caller has a further permission."""
        if not self.may(permission):
            raise Denied(f"This needs the permission {permission}.", fix="Ask for a key or a role that has it.")

    def expect(self, version: int) -> None:
        """Compare If-Match with the record's version; raises PreconditionRequired or StaleVersion."""
        wanted = self.headers.get("if-match")
        if wanted is None:
            raise needs_version()
        tags = {tag.strip() for tag in wanted.split(",")}
        if "*" not in tags and f'"{version}"' not in tags:
            raise StaleVersion(f'The record is at version "{version}".', fix="Read it again and repeat the change.")

    def after(self) -> str | None:
        """Return what the handler gave to `page` as `after` for the page before, or None on the first.

        Raises Invalid for a cursor that was altered or belongs to another list.
        """
        cursor = getattr(self.read_query, "cursor", None)
        return self._cursors().read(cursor) if isinstance(cursor, str) else None

    def page(self, rows: list[T], *, limit: int, after: Callable[[T], str]) -> Page[T]:
        """Return a page of `limit` rows; `rows` holds one more when there are more, `after` names a row's place."""
        shown = rows[:limit]
        more = len(rows) > limit
        return Page(data=shown, has_more=more, next_cursor=self._cursors().write(after(shown[-1])) if more else None)

    def cursor(self, after: str) -> str:
        """Return the cursor of a list that goes on after a place, for answers that are more than a page."""
        return self._cursors().write(after)

    def _cursors(self) -> Cursors:
        keys = self.services.vault.workspace(self.scope.workspace)
        return Cursors(key=keys.derived("cursors"), bound=f"{self.route.path}?{self._filters()}")

    def _filters(self) -> str:
        fields = getattr(self.read_query, "__struct_fields__", ())
        return repr([(name, getattr(self.read_query, name)) for name in fields if name not in {"limit", "cursor"}])


Handler: TypeAlias = Callable[[Call], Awaitable[Struct | Response | None]]
Refusal: TypeAlias = Callable[[IsthmusError], Response]
Sender: TypeAlias = Callable[[Call], Awaitable[Principal]]


@dataclass(frozen=True, kw_only=True)
class Route:
    """One operation. Everything the gateway checks and the documentation says stands here.

    `path` is a template: `/api/v1/x/{x_id}`, with custom verbs as `/api/v1/x/{x_id}:run` and `/api/v1/x:batch`.
    `permission` None lets everybody in, `ANY_CALLER` everybody who is known; `open_locally` lets callers on this
    machine in without a credential. The answer of a route that is `shown_once` is not kept for repeated calls. `media`
    is the type of the answer: JSON, `HTML` for a page (whose caller is sent to the sign-in page instead of being
    refused), `text/event-stream`, …; `other_media` are those it may have as well.
    `accepts` tells how the body comes: `form` for forms of pages (their hidden field `csrf` is checked and taken off),
    `raw` for uploads (`Call.raw`), `stream` for what is passed on as it comes (`Call.passing`), with any query. With
    `tail` everything below the path belongs to it too. It counts as `cost` calls; one that is `guarded` proves who
    somebody is: it is limited by address, and closed while limits cannot be kept. With `fresh_s` a person must have
    proven themselves, by their second factor if they have one, within so many seconds; whoever has not is sent to prove
    it again. `refusal` makes the answer to an error where another standard than problem+json says how it looks.
    `sender` returns who is proven by what was sent, anywhere in it, or raises: for programs of others that know
    neither our keys nor our bodies. Any query is taken, bodies may be compressed, and pages of any site may call.
    `errors` names what the handler raises beyond what the gateway itself raises.

    An answer that depends on workspace, path, query, permissions and version alone may be `held_s` seconds old, and
    twice that while the next one is worked out; or it is `shared` by those who ask for it at the same moment.

    `record` names the type whose records it shows or changes, filtered by `Call.seen`; a caller who is limited to
    named records is let in to such routes, and to those that say `narrows` because they show nothing else. For
    policies, `personal` is the permission that opens personal fields of the answer, and `amounts` names the fields of
    the body that hold money.
    """

    method: Method
    path: str
    handler: Handler
    summary: str
    permission: str | None
    body: type[Struct] | None = None
    query: type[Struct] | None = None
    response: type[Struct] | None = None
    status: int = 200
    media: str = "application/json"
    other_media: tuple[str, ...] = ()
    accepts: Accepts = "json"
    description: str = ""
    tags: tuple[str, ...] = ()
    request_example: Json = None
    response_example: Json = None
    errors: tuple[type[IsthmusError], ...] = ()
    body_bytes_max: int = BODY_BYTES_MAX
    if_match: bool = False
    open_locally: bool = False
    shown_once: bool = False
    fresh_s: int | None = None
    refusal: Refusal | None = None
    sender: Sender | None = None
    record: str = ""
    narrows: bool = False
    personal: str = ""
    amounts: tuple[str, ...] = ()
    listed: bool = True
    cost: int = 1
    guarded: bool = False
    held_s: float = 0.0
    shared: bool = False
    tail: bool = False
    operation: str | None = None

    @property
    def is_page(self) -> bool:
        """Tell whether it answers a browser with a page."""
        return self.media.startswith("text/html")


def id_at(pointer: str, text: str, record_type: RecordType) -> UUID:
    """Return a record id that stands in the body or query; raises Invalid with a fault at `pointer`."""
    try:
        return uuid_of(record_type.prefix, text)
    except InvalidId as error:
        fault = Fault(pointer=pointer, code=error.code, detail=error.detail)
        raise Invalid(error.detail, fix=error.fix, faults=(fault,)) from error

"""Routes of provisioning (SCIM 2.0, RFC 7644). Bodies and answers are application/scim+json, errors too."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Annotated, cast

import msgspec
from msgspec import Meta, Struct

from isthmus.auth.credentials import Credentials
from isthmus.auth.people.sign_in import People
from isthmus.auth.scim.attributes import USERS, Document, Kind
from isthmus.auth.scim.errors import InvalidFilter, InvalidSyntax, ResourceChanged, ScimRefused
from isthmus.auth.scim.filters import Filter, read_filter
from isthmus.auth.scim.groups import (
    create_group,
    find_group,
    kind_of_groups,
    list_groups,
    lock_group,
    patch_group,
    remove_group,
    replace_group,
)
from isthmus.auth.scim.published import RESULTS_MAX, resource_type, schemas, service
from isthmus.auth.scim.shown import Found, Shown, answered, listing, projected
from isthmus.auth.scim.users import (
    Provisioning,
    create_user,
    find_user,
    list_users,
    lock_user,
    missing,
    patch_user,
    remove_user,
    replace_user,
)
from isthmus.console.visiting import place_of
from isthmus.gateway import BATCH_BODY_BYTES_MAX, FRESH_S, Call, Response, Route
from isthmus.gateway.answering import unchanged
from isthmus.gateway.reading import read_json
from isthmus.gateway.routes import Handler, Method
from isthmus.kernel.errors import Fault, Invalid, IsthmusError, Malformed, UnsupportedMedia
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction

BASE = "/scim/v2"
MEDIA = "application/scim+json"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
_PERMISSION = "gateway:write"
_TAGS = ("provisioning",)
_ACCEPTED = frozenset({MEDIA, "application/json"})
_COUNT = 100
_NOT_DONE = 501
_Names = Annotated[str, Meta(max_length=2_000)]


class Asked(Struct, frozen=True, kw_only=True, rename="camel"):
    """Query parameters of RFC 7644 §3.4.2; others are not looked at."""

    filter: Annotated[str, Meta(max_length=4_000)] = ""
    start_index: int = 1
    count: int = _COUNT
    attributes: _Names = ""
    excluded_attributes: _Names = ""


class SearchBody(Struct, frozen=True, kw_only=True, rename="camel"):
    """A search by POST (RFC 7644 §3.4.3)."""

    filter: Annotated[str, Meta(max_length=4_000)] = ""
    start_index: int = 1
    count: int = _COUNT
    attributes: list[str] = []
    excluded_attributes: list[str] = []


async def tell_service(call: Call) -> Response:
    """Say what the service can do."""
    return _whole(service(_base(call)))


async def list_types(call: Call) -> Response:
    """List the types of resources."""
    kinds = await _kinds(call)
    return _list([resource_type(each, base=_base(call)) for each in kinds])


async def get_type(call: Call) -> Response:
    """Show a type of resources."""
    return _named(call, [resource_type(each, base=_base(call)) for each in await _kinds(call)])


async def list_schemas(call: Call) -> Response:
    """List the schemas."""
    return _list(schemas(await _kinds(call), base=_base(call)))


async def get_schema(call: Call) -> Response:
    """Show a schema."""
    return _named(call, schemas(await _kinds(call), base=_base(call)))


async def find_users(call: Call) -> Response:
    """List users."""
    return await _found(call, _searched_by_query(call), of_users=True)


async def search_users(call: Call) -> Response:
    """List users by a search in the body."""
    return await _found(call, _searched_by_body(call), of_users=True)


async def get_user(call: Call) -> Response:
    """Show one user."""
    async with call.services.database.transaction(call.scope) as tx:
        return _shown(call, await find_user(tx, _ours(call), call.path["id"]), USERS)


async def add_user(call: Call) -> Response:
    """Make a user."""
    async with call.services.database.transaction(call.scope) as tx:
        made = await create_user(tx, _ours(call), _body(call))
    return _shown(call, made, USERS, status=201)


async def put_user(call: Call) -> Response:
    """Write a user anew."""
    return await _change_user(call, replace_user)


async def change_user(call: Call) -> Response:
    """Change a user by operations."""
    return await _change_user(call, patch_user)


async def delete_user(call: Call) -> None:
    """Shut a user out, and forget who they are."""
    async with call.services.database.transaction(call.scope) as tx:
        _expect(call, await find_user(tx, _ours(call), call.path["id"]))
        await remove_user(tx, _ours(call), call.path["id"])
    call.services.of(Credentials).forget()


async def find_groups(call: Call) -> Response:
    """List groups."""
    return await _found(call, _searched_by_query(call), of_users=False)


async def search_groups(call: Call) -> Response:
    """List groups by a search in the body."""
    return await _found(call, _searched_by_body(call), of_users=False)


async def get_group(call: Call) -> Response:
    """Show one group."""
    async with call.services.database.transaction(call.scope) as tx:
        kind = await kind_of_groups(tx, _ours(call))
        return _shown(call, await find_group(tx, _ours(call), kind, call.path["id"]), kind)


async def add_group(call: Call) -> Response:
    """Make a group."""
    async with call.services.database.transaction(call.scope) as tx:
        kind = await kind_of_groups(tx, _ours(call))
        made = await create_group(tx, _ours(call), kind, _body(call))
    call.services.of(Credentials).forget()
    return _shown(call, made, kind, status=201)


async def put_group(call: Call) -> Response:
    """Write a group anew."""
    return await _change_group(call, replace_group)


async def change_group(call: Call) -> Response:
    """Change a group by operations."""
    return await _change_group(call, patch_group)


async def delete_group(call: Call) -> None:
    """Take a group away."""
    async with call.services.database.transaction(call.scope) as tx:
        kind = await kind_of_groups(tx, _ours(call))
        _expect(call, await find_group(tx, _ours(call), kind, call.path["id"]))
        await remove_group(tx, _ours(call), kind, call.path["id"])
    call.services.of(Credentials).forget()


async def search_all(call: Call) -> Response:
    """List users, then groups, by a search in the body; a filter on what only one of them has finds only those."""
    asked, ours = _searched_by_body(call), _ours(call)
    wanted = read_filter(asked.filter) if asked.filter.strip() else None
    start, count = max(asked.start_index, 1), min(max(asked.count, 0), RESULTS_MAX)
    async with call.services.database.transaction(call.scope) as tx:
        kind = await kind_of_groups(tx, ours)
        users = groups = Found((), 0)
        with suppress(InvalidFilter):
            users = await list_users(tx, ours, wanted=wanted, start=start, count=count)
        rest, first = count - len(users.resources), max(start - users.total, 1)
        with suppress(InvalidFilter):
            groups = await list_groups(tx, ours, kind, wanted=wanted, start=first, count=rest)
    only, without = asked.attributes, asked.excluded_attributes
    shown = [projected(each.document, USERS, only=only, without=without) for each in users.resources]
    shown += [projected(each.document, kind, only=only, without=without) for each in groups.resources]
    return _whole(listing(shown, total=users.total + groups.total, start=start))


async def refuse_bulk(call: Call) -> Response:
    """Say that requests come one by one."""
    del call
    detail = "Bulk requests are not taken (maxOperations 0, maxPayloadSize 0). Send each request by itself."
    return _problem(_NOT_DONE, detail, "")


async def refuse_me(call: Call) -> Response:
    """Say that a key is nobody's."""
    del call
    return _problem(_NOT_DONE, "/Me is not served: whoever provisions is no user.", "")


async def refuse_unknown(call: Call) -> Response:
    """Say that nothing is there."""
    del call
    raise missing()


_ChangeUser = Callable[..., Awaitable[Shown]]


async def _change_user(call: Call, change: _ChangeUser) -> Response:
    ours, user_id, body = _ours(call), call.path["id"], _body(call)
    async with call.services.database.transaction(call.scope) as tx:
        await lock_user(tx, user_id)
        before = await find_user(tx, ours, user_id)
        _expect(call, before)
        after = await change(tx, ours, before, body, user_id=user_id)
    call.services.of(Credentials).forget()
    return _shown(call, after, USERS)


async def _change_group(
    call: Call, change: Callable[[Transaction, Provisioning, Kind, Shown, Document], Awaitable[Shown]]
) -> Response:
    ours, group_id, body = _ours(call), call.path["id"], _body(call)
    async with call.services.database.transaction(call.scope) as tx:
        await lock_group(tx, group_id)
        kind = await kind_of_groups(tx, ours)
        before = await find_group(tx, ours, kind, group_id)
        _expect(call, before)
        after = await change(tx, ours, kind, before, body)
    call.services.of(Credentials).forget()
    return _shown(call, after, kind)


async def _found(call: Call, asked: SearchBody, *, of_users: bool) -> Response:
    wanted: Filter | None = read_filter(asked.filter) if asked.filter.strip() else None
    start, count = max(asked.start_index, 1), min(max(asked.count, 0), RESULTS_MAX)
    ours = _ours(call)
    async with call.services.database.transaction(call.scope) as tx:
        kind = USERS if of_users else await kind_of_groups(tx, ours)
        if of_users:
            found: Found = await list_users(tx, ours, wanted=wanted, start=start, count=count)
        else:
            found = await list_groups(tx, ours, kind, wanted=wanted, start=start, count=count)
    only, without = asked.attributes, asked.excluded_attributes
    return _whole(answered(found, kind, start=start, only=only, without=without))


def _searched_by_query(call: Call) -> SearchBody:
    asked = call.query(Asked)
    return SearchBody(
        filter=asked.filter,
        start_index=asked.start_index,
        count=asked.count,
        attributes=_split(asked.attributes),
        excluded_attributes=_split(asked.excluded_attributes),
    )


def _searched_by_body(call: Call) -> SearchBody:
    _check_media(call)
    return read_json(call.raw, SearchBody)


async def _kinds(call: Call) -> tuple[Kind, Kind]:
    async with call.services.database.transaction(call.scope) as tx:
        return USERS, await kind_of_groups(tx, _ours(call))


def _ours(call: Call) -> Provisioning:
    people, principal = call.services.of(People), call.principal
    return Provisioning(
        vault=call.services.vault,
        domains=people.domains,
        base=_base(call),
        giver=principal.permissions,
        own=principal.user,
    )


def _base(call: Call) -> str:
    return f"{place_of(call).origin}{BASE}"


def _body(call: Call) -> dict[str, Json]:
    _check_media(call)
    return cast("dict[str, Json]", read_json(call.raw, dict))


def _check_media(call: Call) -> None:
    media = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in _ACCEPTED:
        raise UnsupportedMedia(f"The body must be {MEDIA}.", fix=f"Send Content-Type: {MEDIA}")


def _expect(call: Call, stored: Shown) -> None:
    """Compare If-Match with the resource's version, where a client sends one."""
    wanted = call.headers.get("if-match")
    if wanted is not None and wanted.strip() != "*":
        tags = {each.strip() for each in wanted.split(",")}
        if stored.version not in tags:
            raise ResourceChanged(f"The resource is at version {stored.version}.", fix="Read it again.")


def _shown(call: Call, found: Shown, kind: Kind, *, status: int = 200) -> Response:
    headers = (("etag", found.version), ("location", found.location))
    if call.route.method == "GET" and unchanged(call.headers, found.version.removeprefix("W/")):
        return Response(status=304, headers=headers)
    asked = call.query(Asked)
    only, without = _split(asked.attributes), _split(asked.excluded_attributes)
    document = projected(found.document, kind, only=only, without=without)
    return Response(body=msgspec.json.encode(document), status=status, headers=headers)


def _whole(document: Document) -> Response:
    return Response(body=msgspec.json.encode(document))


def _list(found: Sequence[Document]) -> Response:
    shown = tuple(Shown(each, "") for each in found)
    return _whole(answered(Found(shown, len(shown)), USERS, start=1, only=(), without=()))


def _named(call: Call, found: Sequence[Document]) -> Response:
    wanted = call.path["id"].casefold()
    document = next((each for each in found if str(each["id"]).casefold() == wanted), None)
    if document is None:
        raise missing()
    return _whole(document)


def _split(names: str) -> list[str]:
    return [each.strip() for each in names.split(",") if each.strip()]


def _refusal(error: IsthmusError) -> Response:
    """Return an error as RFC 7644 §3.12 has it."""
    kind = getattr(error, "scim_type", "")
    status = error.status
    if isinstance(error, Invalid):
        status, kind = Malformed.status, "invalidValue"
    elif isinstance(error, Malformed) and not isinstance(error, ScimRefused):
        kind = InvalidSyntax.scim_type
    faults: tuple[Fault, ...] = error.faults
    told = " ".join(each.detail for each in faults[:3]) or error.detail
    return _problem(status, f"{told} {error.fix}".strip(), str(kind))


def _problem(status: int, detail: str, kind: str) -> Response:
    body: Document = {"schemas": [ERROR], "status": str(status), "detail": detail}
    if kind:
        body["scimType"] = kind
    headers = (("www-authenticate", "Bearer"),) if status == 401 else ()  # noqa: PLR2004 - the code says it.
    return Response(body=msgspec.json.encode(body), status=status, media=MEDIA, headers=headers)


def _route(method: Method, path: str, handler: Handler, summary: str, *, status: int = 200) -> Route:
    return Route(
        method=method,
        path=f"{BASE}{path}",
        permission=_PERMISSION,
        handler=handler,
        summary=summary,
        query=Asked,
        accepts="raw",
        status=status,
        media=MEDIA,
        tags=_TAGS,
        body_bytes_max=BATCH_BODY_BYTES_MAX,
        fresh_s=None if method == "GET" or path.endswith(".search") else FRESH_S,
        refusal=_refusal,
    )


ROUTES = (
    _route("GET", "/ServiceProviderConfig", tell_service, "Say what provisioning can do"),
    _route("GET", "/ResourceTypes", list_types, "List the types of provisioned resources"),
    _route("GET", "/ResourceTypes/{id}", get_type, "Read a type of provisioned resources"),
    _route("GET", "/Schemas", list_schemas, "List the schemas of provisioned resources"),
    _route("GET", "/Schemas/{id}", get_schema, "Read a schema of provisioned resources"),
    _route("GET", "/Users", find_users, "List provisioned users"),
    _route("POST", "/Users", add_user, "Provision a user", status=201),
    _route("POST", "/Users/.search", search_users, "Search provisioned users"),
    _route("GET", "/Users/{id}", get_user, "Read a provisioned user"),
    _route("PUT", "/Users/{id}", put_user, "Write a provisioned user anew"),
    _route("PATCH", "/Users/{id}", change_user, "Change a provisioned user"),
    _route("DELETE", "/Users/{id}", delete_user, "Remove a provisioned user", status=204),
    _route("GET", "/Groups", find_groups, "List provisioned groups"),
    _route("POST", "/Groups", add_group, "Provision a group", status=201),
    _route("POST", "/Groups/.search", search_groups, "Search provisioned groups"),
    _route("GET", "/Groups/{id}", get_group, "Read a provisioned group"),
    _route("PUT", "/Groups/{id}", put_group, "Write a provisioned group anew"),
    _route("PATCH", "/Groups/{id}", change_group, "Change a provisioned group"),
    _route("DELETE", "/Groups/{id}", delete_group, "Remove a provisioned group", status=204),
    _route("POST", "/.search", search_all, "Search provisioned users and groups"),
    _route("POST", "/Bulk", refuse_bulk, "Refuse many provisioning requests in one", status=501),
    _route("GET", "/Me", refuse_me, "Refuse to say which user provisions", status=501),
    _route("GET", "/{unknown}", refuse_unknown, "Refuse what is no provisioned resource"),
)

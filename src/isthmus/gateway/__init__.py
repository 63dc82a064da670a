"""One decision for each call, and the declarations from which routes, checks and documentation are made.

A domain writes `isthmus/domains/<domain>/routes.py` and the console `isthmus/console/<page>/routes.py` with
`ROUTES: tuple[Route, ...]`; they are served because they are there.

    class NewThing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        name: Name

    async def create(call: Call) -> ThingView:
        wanted = call.body(NewThing)                       # checked: 400/413/415/422 are answered before
        store = call.services.of(Store)                    # isthmus.sync.ingest.Store
        async with call.services.database.transaction(call.scope) as tx: ...
        return ThingView(...)

    ROUTES = (
        Route(method="POST", path="/api/v1/things", permission="making:write", handler=create, status=201,
              summary="Create a thing", tags=("making",), body=NewThing, response=ThingView,
              request_example={"name": "One"}, errors=(ThingExists,)),
    )

What a handler returns: a Struct (sent as JSON with the route's status), a `Response` (headers, ETag by `version`, raw
bytes, or an async iterator of bytes such as server-sent events), or None (204). What it raises: any `IsthmusError`
becomes problem+json with its status; anything else is a 500 that shows nothing.

Body and query are msgspec Structs; give both `forbid_unknown_fields=True`. Query parameters come as text and are
converted (`int`, `date`, `bool`, enums, lists by repeating). `Call`: `.path["x_id"]`, `.record_id("x_id", TYPE)` (404
if it is no such id), `.body(Kind)`, `.query(Kind)`, `.scope`, `.principal`, `.may("making:read_personal")`,
`.require(…)`, `.request_id`, `.once` (external id that makes a POST exactly once),
`.services.schema|database|vault|clock`, `.services.of(Kind)`. `id_at("/thing_id", text, TYPE)` reads ids in bodies (422
with a pointer). For parts (items of a batch) `read_value(raw, Kind, at="/things/3")` raises Invalid with every fault.

Lists: query type `Paging` (or a subclass with filters), response type `Page[ThingView]`:

    q = call.query(Paging)
    rows = await ...(limit=q.limit + 1, after=call.after())
    return call.page(rows, limit=q.limit, after=lambda row: str(row.id))

Versions: `Route(if_match=True)` and `call.expect(stored.version)` before a change; `Response(value=…, version=n)`.

Pages: `media=HTML` and `Response(body=html)`; nobody signed in is sent to `/sign-in?next=…` with 303. Forms:
`accepts="form"`, `method="POST"`, body a Struct of the fields; the form carries
`<input type="hidden" name="csrf" value="…">` with `call.principal.csrf`; answer with `redirect("/…")`. Scripts may send
the same as header `X-CSRF-Token`. Assets: routes with `permission=None`, `listed=False`, their media type, and
`Response(body=…, headers=(("cache-control", "public, max-age=…"),))`. Streams: `media="text/event-stream"` and an async
iterator of bytes as body.

Permissions: `<domain>:read|read_personal|write|administer` and `sync|stream|gateway|audit|privacy:read|write`; `None`
lets everybody in, `ANY_CALLER` everybody who is known.
"""

from isthmus.gateway.reading import read_value
from isthmus.gateway.routes import (
    ANY_CALLER,
    BATCH_BODY_BYTES_MAX,
    FRESH_S,
    HTML,
    Call,
    Page,
    Paging,
    Response,
    Route,
    Services,
    id_at,
    redirect,
)

__all__ = [
    "ANY_CALLER",
    "BATCH_BODY_BYTES_MAX",
    "FRESH_S",
    "HTML",
    "Call",
    "Page",
    "Paging",
    "Response",
    "Route",
    "Services",
    "id_at",
    "read_value",
    "redirect",
]

"""Routes of upstreams: registering a company's own services, and calling them through the gate."""

from msgspec import Struct

from isthmus.app.upstreams.calling import UpstreamAway, UpstreamFailed, UpstreamLate
from isthmus.app.upstreams.register import (
    NewUpstream,
    Rules,
    UpstreamMissing,
    UpstreamRefused,
    UpstreamTaken,
    add_upstream,
    list_upstreams,
    remove_upstream,
)
from isthmus.app.upstreams.serving import PREFIX, Upstreams
from isthmus.gateway import ANY_CALLER, FRESH_S, Call, Page, Paging, Response, Route
from isthmus.gateway.routes import Method
from isthmus.gateway.upstreams.headers import FramingRefused, PathRefused, UpgradeRefused

_TAGS = ("upstreams",)
METHODS: tuple[Method, ...] = ("GET", "POST", "PUT", "PATCH", "DELETE")


class UpstreamView(Struct, frozen=True, kw_only=True):
    """An upstream; `health` and `circuit` are as the worker sees it that answers."""

    name: str
    url: str
    permission: str
    hosts: list[str]
    connect_ms: int
    first_byte_ms: int
    idle_ms: int
    retries: int
    health_path: str
    health_s: int
    path: str
    health: str
    circuit: str


async def list_all_upstreams(call: Call) -> Page[UpstreamView]:
    """List upstreams."""
    paging, after = call.query(Paging), call.after()
    async with call.services.database.transaction(call.scope) as tx:
        found = [_view(call, each) for each in await list_upstreams(tx)]
    rest = [each for each in found if after is None or each.name > after]
    return call.page(rest[: paging.limit + 1], limit=paging.limit, after=lambda each: each.name)


async def register_upstream(call: Call) -> UpstreamView:
    """Register an upstream."""
    wanted = call.body(NewUpstream)
    async with call.services.database.transaction(call.scope) as tx:
        made = await add_upstream(tx, wanted, rules=call.services.of(Rules))
    call.services.of(Upstreams).register.forget()
    return _view(call, made)


async def take_upstream_away(call: Call) -> None:
    """Take an upstream away."""
    async with call.services.database.transaction(call.scope) as tx:
        await remove_upstream(tx, call.path["name"])
    call.services.of(Upstreams).register.forget()


async def pass_on(call: Call) -> Response:
    """Answer what the upstream answers."""
    return await call.services.of(Upstreams).pass_on(call)


def _view(call: Call, upstream: NewUpstream) -> UpstreamView:
    way = call.services.of(Upstreams).ways.to(call.scope.workspace, upstream)
    return UpstreamView(
        **{name: getattr(upstream, name) for name in NewUpstream.__struct_fields__},
        path=f"{PREFIX}{upstream.name}/",
        health=way.health,
        circuit=way.circuit,
    )


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/upstreams",
        permission="gateway:read",
        handler=list_all_upstreams,
        summary="List the services behind the gate",
        tags=_TAGS,
        query=Paging,
        response=Page[UpstreamView],
    ),
    Route(
        method="POST",
        path="/api/v1/upstreams",
        permission="gateway:write",
        handler=register_upstream,
        summary="Put a service behind the gate",
        tags=_TAGS,
        body=NewUpstream,
        response=UpstreamView,
        status=201,
        fresh_s=FRESH_S,
        request_example={"name": "billing", "url": "https://billing.example.com", "health_path": "/health"},
        errors=(UpstreamRefused, UpstreamTaken),
    ),
    Route(
        method="DELETE",
        path="/api/v1/upstreams/{name}",
        permission="gateway:write",
        handler=take_upstream_away,
        summary="Take a service away from behind the gate",
        tags=_TAGS,
        status=204,
        errors=(UpstreamMissing,),
    ),
    *(
        Route(
            method=method,
            path="/up/{upstream}",
            permission=ANY_CALLER,
            handler=pass_on,
            summary="Call a service behind the gate",
            accepts="stream",
            media="application/octet-stream",
            listed=False,
            tail=True,
            errors=(
                UpstreamMissing,
                UpstreamAway,
                UpstreamFailed,
                UpstreamLate,
                FramingRefused,
                UpgradeRefused,
                PathRefused,
            ),
        )
        for method in METHODS
    ),
)

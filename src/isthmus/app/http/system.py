"""Routes about the program itself: its description, its documentation, its health, its traffic."""

import asyncio
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import LiteralString

import msgspec
from msgspec import Struct

from isthmus.gateway import HTML, Call, Response, Route
from isthmus.gateway.limits import Limits, metrics
from isthmus.gateway.metrics import Traffic
from isthmus.gateway.monitoring.exposition import MEDIA as METRICS_MEDIA
from isthmus.gateway.monitoring.exposition import text_of_traffic
from isthmus.gateway.openapi import openapi
from isthmus.gateway.pages import POLICY, error_page, errors_page, known_errors, operations_page
from isthmus.gateway.routes import Handler
from isthmus.kernel.errors import IsthmusError, NotFound, Unavailable
from isthmus.store.migrate import history

TITLE = "isthmus"
_TAGS = ("system",)
_APPLIED: LiteralString = "select name from migration"
_WORKSPACES: LiteralString = "select id from workspace order by id limit 1"
_HEADERS = (("content-security-policy", POLICY),)


class Alive(Struct, frozen=True, kw_only=True):
    """The program answers."""

    status: str = "alive"


class Ready(Struct, frozen=True, kw_only=True):
    """What was checked, each `ok` or what is wrong."""

    status: str
    checks: dict[str, str]


class System:
    """Routes that need to know all routes."""

    def __init__(self, routes: Callable[[], Sequence[Route]]) -> None:
        """`routes` returns all routes, these included, once they are put together."""
        self._routes = routes

    @cached_property
    def _document(self) -> bytes:
        return msgspec.json.encode(openapi(self._routes(), title=TITLE, version=version("isthmus")))

    @cached_property
    def _operations(self) -> bytes:
        return operations_page(self._routes(), title=TITLE)

    async def get_openapi(self, _: Call) -> Response:
        """Answer the description of the interface."""
        return Response(body=self._document)

    async def show_docs(self, _: Call) -> Response:
        """Answer the page of operations."""
        return Response(body=self._operations, headers=_HEADERS)

    @property
    def routes(self) -> tuple[Route, ...]:
        """All routes of this file."""
        return (
            _open("/openapi.json", self.get_openapi, "The description of this interface", media="application/json"),
            _open("/docs", self.show_docs, "The operations of this interface", media=HTML),
            _open("/docs/errors", show_errors, "All error codes", media=HTML),
            _open("/docs/errors/{code}", show_error, "What an error code means", media=HTML),
            _open("/healthz", get_health, "Tell that the program answers", response=Alive),
            _open("/readyz", get_readiness, "Tell whether everything needed is there", response=Ready),
            Route(
                method="GET",
                path="/metrics",
                permission="gateway:read",
                open_locally=True,
                handler=get_metrics,
                summary="Traffic in the text form of Prometheus; open to callers on this machine",
                media=METRICS_MEDIA,
                tags=_TAGS,
            ),
        )


async def show_errors(_: Call) -> Response:
    """Answer the page of all codes."""
    return Response(body=errors_page(each[0] for each in known_errors().values()), headers=_HEADERS)


async def show_error(call: Call) -> Response:
    """Answer the page of one code."""
    found = known_errors().get(call.path["code"])
    if found is None:
        raise NotFound("There is no such error code.", fix="See /docs/errors.")
    return Response(body=error_page(found), headers=_HEADERS)


async def get_health(_: Call) -> Alive:
    """Answer that the program answers."""
    return Alive()


async def get_readiness(call: Call) -> Response:
    """Ask the database, the migrations and the keys; 503 when one is not ready."""
    checks = {"database": "ok", "migrations": "ok", "keys": "ok"}
    try:
        async with call.services.database.plain() as connection:
            applied = {row[0] for row in await (await connection.execute(_APPLIED)).fetchall()}
            workspace = await (await connection.execute(_WORKSPACES)).fetchone()
        missing = [each.name for each in history() if each.name not in applied]
        if missing:
            checks["migrations"] = f"not applied: {', '.join(missing)}"
        if workspace is not None:
            await asyncio.to_thread(call.services.vault.workspace, workspace[0])
    except Unavailable as error:
        checks |= {"database": error.code, "migrations": "unknown", "keys": "unknown"}
    except IsthmusError as error:
        checks["keys"] = error.code
    ready = all(each == "ok" for each in checks.values())
    return Response(value=Ready(status="ready" if ready else "not ready", checks=checks), status=200 if ready else 503)


async def get_metrics(call: Call) -> Response:
    """Answer the traffic, and what the limits did to it."""
    text = text_of_traffic(call.services.of(Traffic).snapshot())
    limits = call.services.others.get(Limits)
    if isinstance(limits, Limits):
        text += "".join(f"{line}\n" for line in metrics(limits.tally))
    return Response(body=text.encode())


def _open(
    path: str, handler: Handler, summary: str, *, media: str = "application/json", response: type[Struct] | None = None
) -> Route:
    return Route(
        method="GET",
        path=path,
        permission=None,
        handler=handler,
        summary=summary,
        media=media,
        response=response,
        tags=_TAGS,
    )

"""The one client of connectors: what it waits for, sends again, refuses, and says."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from isthmus.sync.calls import Authorise, Calls, Exchange, Rules, calling
from isthmus.sync.connector import ConnectorError, KeyRefused, NotAsDocumented, Throttled

Answers = Callable[[web.Request], Awaitable[web.StreamResponse]]
QUICK = Rules(backoff_s=0.01)


@asynccontextmanager
async def facing(
    answers: Answers, *, authorise: Authorise | None = None, told: list[Exchange] | None = None
) -> AsyncGenerator[Calls]:
    """Calls to a server that answers everything in one way."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answers)
    watch = told.append if told is not None else None
    async with (
        TestServer(app) as server,
        calling(
            str(server.make_url("/")), title="Acme", dice=Random(1), authorise=authorise, rules=QUICK, watch=watch
        ) as calls,
    ):
        yield calls


def scripted(*responses: web.Response) -> tuple[Answers, list[str]]:
    """Return answers that come one after the other, the last one for ever, and the paths that were asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        told = responses[min(len(asked), len(responses)) - 1]
        return web.Response(status=told.status, body=told.body, headers=told.headers.copy())

    return answer, asked


async def test_a_safe_request_is_sent_again_after_errors_and_each_attempt_is_told() -> None:
    answer, _ = scripted(web.Response(status=500), web.Response(status=503), web.json_response({"ok": True}))
    told: list[Exchange] = []
    async with facing(answer, told=told) as calls:
        assert await calls.ask("GET", "/rows", query=[("after", "a b")]) == {"ok": True}
    assert [(each.method, each.path, each.status, each.attempt) for each in told] == [
        ("GET", "/rows", 500, 1),
        ("GET", "/rows", 503, 2),
        ("GET", "/rows", 200, 3),
    ]


async def test_a_write_that_may_have_been_done_is_not_sent_again_without_a_key() -> None:
    answer, asked = scripted(web.Response(status=500, text="Oh"))
    async with facing(answer) as calls:
        with pytest.raises(NotAsDocumented, match="answered 500 to POST /rows: Oh"):
            await calls.ask("POST", "/rows", payload={"name": "Once"})
        assert len(asked) == 1
        with pytest.raises(ConnectorError, match="it answered 500"):
            await calls.ask("POST", "/rows", payload={"name": "Once"}, safe=True)
    assert len(asked) == 1 + QUICK.attempts


async def test_an_answer_that_breaks_off_inside_its_json_is_asked_for_again() -> None:
    answer, asked = scripted(
        web.Response(text='[{"id": 1}, {"i', content_type="application/json"), web.json_response([])
    )
    async with facing(answer) as calls:
        assert await calls.ask("GET", "/rows") == []
    assert len(asked) == 2


async def test_a_refused_key_is_renewed_once() -> None:
    keys = iter(["old", "new", "newer"])
    held = ["old"]

    async def authorise(fresh: bool) -> Mapping[str, str]:  # noqa: FBT001 - the client calls it so.
        held[:] = [next(keys)] if fresh or held == ["old"] else held
        return {"Authorization": f"Bearer {held[0]}"}

    async def answer(request: web.Request) -> web.Response:
        good = request.headers["Authorization"] == "Bearer new"
        return web.json_response({"good": good}, status=200 if good else 401)

    async with facing(answer, authorise=authorise) as calls:
        assert await calls.ask("GET", "/rows") == {"good": True}
        held[:] = ["revoked"]
        with pytest.raises(KeyRefused, match="Acme refuses the key"):
            await calls.ask("GET", "/rows")


async def test_a_long_wait_is_not_waited_for_here() -> None:
    answer, asked = scripted(web.Response(status=429, headers={"Retry-After": "3600"}))
    async with facing(answer) as calls:
        with pytest.raises(Throttled) as caught:
            await calls.ask("POST", "/rows", payload={})
    assert (caught.value.retry_after_s, len(asked)) == (3600, 1)


async def test_what_a_vendor_names_as_the_next_page_stays_on_its_host() -> None:
    answer, asked = scripted(web.json_response([]))
    async with facing(answer) as calls:
        assert await calls.ask("GET", f"{calls.base}/rows?page=2") == []
        with pytest.raises(NotAsDocumented, match="another host"):
            await calls.ask("GET", "https://elsewhere.example/rows?page=3")
    assert len(asked) == 1


async def test_a_page_for_people_is_no_answer() -> None:
    answer, _ = scripted(web.Response(text="<html>", content_type="text/html"))
    async with facing(answer) as calls:
        with pytest.raises(NotAsDocumented, match="not JSON: '<html>'"):
            await calls.ask("GET", "/rows")


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://acme.example@10.0.0.1", "ftp://10.0.0.1"])
async def test_an_address_that_may_not_be_called_is_refused(url: str) -> None:
    async def begin() -> None:
        async with calling(url, title="Acme", dice=Random(1)):
            pass

    with pytest.raises(ConnectorError):
        await begin()

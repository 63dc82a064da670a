"""What the Tryton connector does when what answers is busy, broken, or something else; over real HTTP."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from time import monotonic

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from isthmus.connectors.tryton.client import session
from isthmus.connectors.tryton.transport import RpcFault, Transport
from isthmus.sync.calls import permitted
from isthmus.sync.connector import ConnectorError, Throttled

Answers = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def facing(answers: Answers) -> AsyncGenerator[Transport]:
    """A transport that faces a server which answers everything in one way."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answers)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        url = str(server.make_url("/")).rstrip("/")
        yield Transport(http=http, url=url, database="db", key="k", user="u", password="p", dice=Random(1))


class Script:
    """Answers one prepared response after the other, and counts the requests."""

    def __init__(self, *responses: tuple[int, str, dict[str, str]]) -> None:
        """Each response is a status, a body and headers; the last one is repeated."""
        self.responses = responses
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer the next."""
        self.asked.append(request.path)
        status, body, headers = self.responses[min(len(self.asked), len(self.responses)) - 1]
        return web.Response(status=status, text=body, headers=headers)


async def search(transport: Transport) -> list[dict[str, object]]:
    return [dict(row) for row in await transport.search("party.party", [], fields=("id",), limit=1)]


async def test_a_busy_server_is_asked_again_after_the_time_it_names() -> None:
    script = Script((429, "", {"Retry-After": "1"}), (503, "", {}), (200, '[{"id": 4}]', {}))
    async with facing(script.answer) as transport:
        begun = monotonic()
        assert await search(transport) == [{"id": 4}]
        assert monotonic() - begun >= 1
    assert len(script.asked) == 3


async def test_a_time_to_wait_is_measured_by_the_clock_of_the_server() -> None:
    dates = {"Date": "Sun, 22 Nov 2026 10:00:00 GMT", "Retry-After": "Sun, 22 Nov 2026 12:00:00 GMT"}
    async with facing(Script((503, "", dates)).answer) as transport:
        with pytest.raises(Throttled) as caught:
            await search(transport)
    assert caught.value.retry_after_s == 7200


async def test_a_server_that_stays_busy_is_left_alone_after_a_few_tries() -> None:
    script = Script((429, "", {}))
    async with facing(script.answer) as transport:
        with pytest.raises(Throttled):
            await search(transport)
    assert len(script.asked) == 4


async def test_a_server_that_stays_broken_is_reported_as_unreachable() -> None:
    script = Script((502, "", {}))
    async with facing(script.answer) as transport:
        with pytest.raises(ConnectorError, match="it answered 502"):
            await search(transport)
    assert len(script.asked) == 4


async def test_a_write_is_not_sent_again_when_it_is_uncertain_whether_it_was_done() -> None:
    calls: list[str] = []

    async def answers(request: web.Request) -> web.StreamResponse:
        method = str((await request.json())["method"])
        calls.append(method)
        if method == "common.db.login":
            return web.json_response({"id": 0, "result": [1, "secret", None]})
        if method == "model.res.user.get_preferences":
            return web.json_response({"id": 0, "result": {}})
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async with facing(answers) as transport:
        with pytest.raises(ConnectorError, match="The connection was lost"):
            await transport.call("model.party.party.create", [{"name": "Once"}])
        assert calls.count("model.party.party.create") == 1
        with pytest.raises(ConnectorError, match="cannot be reached"):
            await transport.call("model.party.party.read", [1], ["name"], safe=True)
        assert calls.count("model.party.party.read") == 4


async def test_a_redirect_is_not_followed() -> None:
    script = Script((302, "", {"Location": "http://169.254.169.254/latest/"}))
    async with facing(script.answer) as transport:
        with pytest.raises(ConnectorError, match="answered 302"):
            await search(transport)
    assert len(script.asked) == 1


async def test_what_is_no_tryton_is_reported_as_such() -> None:
    async with facing(Script((200, "<html>Welcome</html>", {})).answer) as transport:
        with pytest.raises(ConnectorError, match="What answers is not Tryton"):
            await search(transport)
    async with facing(Script((200, "[]", {})).answer) as transport:
        with pytest.raises(ConnectorError, match="What answers is not Tryton"):
            await transport.call("model.party.party.read")


async def test_the_stack_of_a_broken_server_stays_there() -> None:
    async def answers(request: web.Request) -> web.StreamResponse:
        method = str((await request.json())["method"])
        if method == "common.db.login":
            return web.json_response({"id": 0, "result": [1, "secret", None]})
        if method == "model.res.user.get_preferences":
            return web.json_response({"id": 0, "result": {}})
        return web.json_response({"id": 0, "error": ["division by zero", "Traceback: /srv/tryton/secret.py"]})

    async with facing(answers) as transport:
        with pytest.raises(RpcFault) as caught:
            await transport.call("model.party.party.read")
    assert (caught.value.kind, caught.value.sentence) == ("Error", "division by zero")


async def test_a_module_that_is_not_active_is_named() -> None:
    async with facing(Script((500, "<p>&#39;party.party&#39;</p>", {})).answer) as transport:
        with pytest.raises(ConnectorError, match=r"has no party\.party\. Activate the module"):
            await search(transport)


@pytest.mark.parametrize(
    "url", ["", "tryton.example", "file:///etc/passwd", "https://u:p@tryton.example", "https://tryton.example/?a=1"]
)
def test_an_address_that_is_no_plain_web_address_is_refused(url: str) -> None:
    with pytest.raises(ConnectorError, match="Give `url`"):
        permitted(url)


def test_an_address_keeps_its_path_and_its_port() -> None:
    assert permitted(" https://erp.example:8443/tryton/ ") == "https://erp.example:8443/tryton"
    assert permitted("http://127.0.0.1:8000") == "http://127.0.0.1:8000"
    for url in (
        "http://169.254.169.254",
        "http://[fd00:ec2::254]",
        "http://93.184.216.34",
        "http://[::ffff:a9fe:a9fe]",
    ):
        with pytest.raises(ConnectorError):
            permitted(url)


async def test_a_name_that_leads_to_the_internet_is_not_spoken_to_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"url": "http://erp.example", "database": "db", "key": "k"}

    async def resolved(*_: object, **_named: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 80))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolved)
    async with session(settings, dice=Random(1)) as own:
        with pytest.raises(ConnectorError, match="may not be called"):
            await own.check()

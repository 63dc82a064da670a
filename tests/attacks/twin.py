"""A small server with one planted fault for each scanner: one that reports nothing here has scanned nothing.

Planted: SQL put together out of text (/items), a word shown as it came (/greet), a 500 (/halves), a password asked for
in vain (/secret), and TLS that takes CBC suites and long-gone curves.
"""

import asyncio
import sqlite3
import ssl
import sys
from pathlib import Path

from aiohttp import web

from isthmus.kernel.marks import Json

DOCUMENT: dict[str, Json] = {
    "openapi": "3.1.0",
    "info": {"title": "Twin", "version": "1"},
    "paths": {
        "/halves": {
            "get": {
                "parameters": [{"name": "of", "in": "query", "required": True, "schema": {"type": "integer"}}],
                "responses": {
                    "200": {"description": "ok", "content": {"application/json": {"schema": {"type": "object"}}}},
                    "400": {"description": "no number"},
                },
            }
        },
        "/secret": {
            "get": {
                "security": [{"key": []}],
                "responses": {
                    "200": {"description": "ok", "content": {"application/json": {"schema": {"type": "object"}}}}
                },
            }
        },
    },
    "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
}
INDEX = (
    '<!doctype html><html><body><a href="/greet?name=you">greet</a> <a href="/items?name=pen">items</a></body></html>'
)


class Twin:
    """The faults."""

    def __init__(self) -> None:
        """Keep a table of two rows."""
        self._rows = sqlite3.connect(":memory:")
        self._rows.execute("create table item (id integer primary key, name text)")
        self._rows.executemany("insert into item (name) values (?)", [("pen",), ("ink",)])

    async def items(self, request: web.Request) -> web.Response:
        """SQL injection."""
        try:
            text = f"select id, name from item where name = '{request.query.get('name', '')}'"  # noqa: S608 - planted.
            return web.json_response(self._rows.execute(text).fetchall())
        except (sqlite3.Error, ValueError) as error:
            return web.Response(status=500, text=f"sqlite3.OperationalError: {error}")

    async def greet(self, request: web.Request) -> web.Response:
        """Cross-site scripting."""
        return web.Response(
            text=f"<!doctype html><html><body>Hello {request.query.get('name', '')}</body></html>",
            content_type="text/html",
        )

    async def halves(self, request: web.Request) -> web.Response:
        """A number that is not thought of."""
        try:
            number = int(request.query["of"])
        except (KeyError, ValueError):
            return web.Response(status=400)
        return web.json_response({"half": number // 2, "part": 1 // number})

    async def secret(self, _: web.Request) -> web.Response:
        """A door that says it is locked."""
        return web.json_response({"open": "to everybody"})

    def app(self) -> web.Application:
        """Put it together."""
        app = web.Application()
        app.router.add_get("/", _page)
        app.router.add_get("/openapi.json", _document)
        app.router.add_get("/items", self.items)
        app.router.add_get("/greet", self.greet)
        app.router.add_get("/halves", self.halves)
        app.router.add_get("/secret", self.secret)
        return app


async def _page(_: web.Request) -> web.Response:
    return web.Response(text=INDEX, content_type="text/html")


async def _document(_: web.Request) -> web.Response:
    return web.json_response(DOCUMENT)


def weak(chain: Path, key: Path) -> ssl.SSLContext:
    """Return TLS 1.2 with suites that Mozilla's intermediate configuration leaves out."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:!aNULL:!eNULL:@SECLEVEL=0")
    context.load_cert_chain(chain, key)
    return context


async def serve(port: int, tls_port: int, chain: Path, key: Path) -> None:
    """Serve in clear on one port, with weak TLS on the other, until standard input closes."""
    runner = web.AppRunner(Twin().app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await web.TCPSite(runner, "127.0.0.1", tls_port, ssl_context=weak(chain, key)).start()
    print("ready", flush=True)  # noqa: T201 - whoever started it waits for this word.
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    first, second, chain_file, key_file = sys.argv[1:]
    asyncio.run(serve(int(first), int(second), Path(chain_file), Path(key_file)))

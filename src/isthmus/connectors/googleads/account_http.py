"""The addresses of our own account in Google Ads: tokens, consent, `search` and `searchStream`."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import cast
from urllib.parse import parse_qsl, urlencode, urlsplit

from isthmus.connectors.googleads.account import ABOVE, APP, CUSTOMER, DEVELOPER, PAGE_ROWS, Account, Refused
from isthmus.connectors.googleads.wire import VERSION, Row
from isthmus.kernel.marks import Json

_REQUEST = "isthmus-request-1"
_KNOWN = frozenset({"query", "pageToken", "searchSettings", "validateOnly"})


@dataclass
class Site:
    """An account and where it is served."""

    account: Account = field(default_factory=Account)
    url: str = ""

    @property
    def settings(self) -> dict[str, str]:
        """Settings that connect to it with a refresh token."""
        own = {"customer_id": CUSTOMER, "login_customer_id": ABOVE, "developer_token": DEVELOPER}
        return {**own, **APP, "url": self.url, "token_url": self.url, "login_url": self.url}


@contextmanager
def serving(site: Site) -> Generator[Site]:
    """Serve an account on this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # An answer goes out in one piece: two would wait for each other.
        wbufsize = 1 << 16
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answered(b"")

        def do_POST(self) -> None:
            self._answered(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def date_time_string(self, timestamp: float | None = None) -> str:
            del timestamp
            return format_datetime(site.account.now, usegmt=True)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server names it.
            """Say nothing."""

        def _answered(self, body: bytes) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            call = _Call(site.account, self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)
            status, found, more = call.answer()
            content = json.dumps(found).encode()
            self.send_response(status)
            named = {"Content-Type": "application/json; charset=UTF-8", "Content-Length": str(len(content)), **more}
            for name, value in named.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    running = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    running.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        running.join()


@dataclass
class _Call:
    account: Account
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def answer(self) -> tuple[int, Json, dict[str, str]]:
        """Return status, body and further headers."""
        if (self.method, self.path) == ("POST", "/token"):
            given = self.account.token(dict(parse_qsl(self.body.decode())))
            return (200, given, {}) if given else (400, {"error": "invalid_grant", "error_description": "Bad"}, {})
        if (self.method, self.path) == ("GET", "/o/oauth2/v2/auth"):
            scope, code = self.query.get("scope", ""), self.account.consented(self.query)
            back = {"code": code, "state": self.query.get("state", ""), "scope": scope}
            return 302, "", {"Location": f"{self.query.get('redirect_uri')}?{urlencode(back)}"}
        place, _, method = self.path.partition("/googleAds:")
        customer = place.removeprefix(f"/{VERSION}/customers/")
        if self.method != "POST" or customer == place or method not in ("search", "searchStream"):
            return 404, {"error": {"code": 404, "message": "Method not found.", "status": "NOT_FOUND"}}, {}
        streamed = method == "searchStream"
        try:
            self.account.admit(customer, self.headers)
            found = self._streamed() if streamed else self._searched()
        except Refused as refused:
            wrong = refused.body(_REQUEST)
            return refused.status, [wrong] if streamed else wrong, {}
        return 200, found, {}

    def _streamed(self) -> list[Json]:
        """Return all rows as a list of answers; without any row there is one answer, of its mask alone."""
        rows, mask = self.account.answered(self._asked())
        parts = [rows[at : at + PAGE_ROWS] for at in range(0, len(rows), PAGE_ROWS)] or [[]]
        return [{**self._part(part, mask), "requestId": _REQUEST} for part in parts]

    def _searched(self) -> Row:
        """Return a page of rows."""
        rows, mask = self.account.answered(self._asked())
        page = str(self._payload().get("pageToken") or "0")
        if not page.isdecimal() or (page != "0" and int(page) >= len(rows)):
            raise Refused(
                *(400, "INVALID_ARGUMENT", "requestError", "INVALID_PAGE_TOKEN"), "The page token is invalid."
            )
        end = int(page) + PAGE_ROWS
        more: Row = {"nextPageToken": str(end)} if end < len(rows) else {}
        return {**self._part(rows[int(page) : end], mask), **more}

    def _part(self, rows: list[Row], mask: str) -> Row:
        results: Row = {"results": [*rows]} if rows else {}
        return {**results, "fieldMask": mask}

    def _asked(self) -> str:
        return str(self._payload()["query"])

    def _payload(self) -> Row:
        try:
            found = cast("Json", json.loads(self.body))
        except ValueError:
            found = None
        if not isinstance(found, dict) or "query" not in found:
            raise Refused(
                *(400, "INVALID_ARGUMENT", "requestError", "REQUIRED_FIELD_MISSING"), "The required field was missing."
            )
        if "pageSize" in found:
            raise Refused(
                *(400, "INVALID_ARGUMENT", "requestError", "PAGE_SIZE_NOT_SUPPORTED"),
                "Setting the page size is not supported. Search Responses will have fixed page size of '10000' rows.",
            )
        if unknown := sorted(found.keys() - _KNOWN):
            raise Refused(
                *(400, "INVALID_ARGUMENT", "requestError", "UNKNOWN"),
                f'Invalid JSON payload received. Unknown name "{unknown[0]}": Cannot find field.',
            )
        return found

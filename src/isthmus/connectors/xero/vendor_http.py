"""The addresses of our own organisation in Xero: tokens, organisations, and the Accounting API."""

import json
from base64 import b64decode
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from isthmus.connectors.xero.vendor import CLIENT, SECRET, TENANT, Organisation, Refused
from isthmus.connectors.xero.wire import CONTACTS, RESOURCES, Row, told
from isthmus.kernel.marks import Json

_API = "/api.xro/2.0/"
_FEEDS = {name: feed for feed, (name, _) in RESOURCES.items()}


@dataclass
class Site:
    """An organisation and where it is served."""

    organisation: Organisation = field(default_factory=Organisation)
    url: str = ""

    @property
    def custom(self) -> dict[str, str]:
        """Settings of a custom connection to it."""
        return {"custom_id": CLIENT, "custom_secret": SECRET, "url": self.url, "identity_url": self.url}


@contextmanager
def serving(site: Site) -> Generator[Site]:
    """Serve an organisation on this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # An answer goes out in one piece: two would wait for each other.
        wbufsize = 1 << 16
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answered(b"")

        def do_POST(self) -> None:
            self._answered(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server names it.
            """Say nothing."""

        def _answered(self, body: bytes) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            call = _Call(site.organisation, self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)
            try:
                status, found, more = call.answer()
            except Refused as refused:
                status, found, more = refused.status, refused.body, refused.headers
            content = found.encode() if isinstance(found, str) else json.dumps(found).encode()
            self.send_response(status)
            media = "text/plain" if isinstance(found, str) else "application/json; charset=utf-8"
            for name, value in {"Content-Type": media, "Content-Length": str(len(content)), **more}.items():
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
    organisation: Organisation
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def answer(self) -> tuple[int, Json, dict[str, str]]:
        """Return status, body and further headers; raises Refused."""
        if (self.method, self.path) == ("POST", "/connect/token"):
            return 200, self._token(), {}
        if (self.method, self.path) == ("GET", "/identity/connect/authorize"):
            return self._consented()
        if (self.method, self.path) == ("GET", "/connections"):
            self.organisation.known(self.headers.get("authorization", ""))
            return 200, [{"tenantId": TENANT, "tenantType": "ORGANISATION", "tenantName": "Northwind Traders"}], {}
        if not self.path.startswith(_API):
            raise Refused(404, "The resource you're looking for cannot be found")
        self.organisation.admit(self.headers.get("authorization", ""), self.headers.get("xero-tenant-id"))
        if "application/json" not in self.headers.get("accept", ""):
            return 200, "<Response/>", {}
        return self._accounting(self.path.removeprefix(_API))

    def _accounting(self, rest: str) -> tuple[int, Json, dict[str, str]]:
        name, _, number = rest.partition("/")
        if (self.method, rest) == ("GET", "Organisation"):
            return 200, self._envelope({"Organisations": [self.organisation.about()]}), {}
        feed = _FEEDS.get(name)
        if feed is None:
            raise Refused(404, "The resource you're looking for cannot be found")
        if self.method == "POST":
            return self._written(feed, number)
        if number:
            row = self.organisation.held[feed].get(number)
            if row is None:
                raise Refused(404, "The resource you're looking for cannot be found")
            return 200, self._envelope({name: [row]}), {}
        found, pages = self.organisation.listed(feed, self.query, self.headers.get("if-modified-since"))
        about: Row = {} if pages is None else {"pagination": pages}
        return 200, self._envelope({**about, name: [*found]}), {}

    def _written(self, feed: str, number: str) -> tuple[int, Json, dict[str, str]]:
        if feed != CONTACTS or number:
            raise Refused(404, "The resource you're looking for cannot be found")
        if unknown := set(self.query) - {"summarizeErrors"}:
            raise Refused(400, {"Message": f"Unknown parameters: {sorted(unknown)}."})
        try:
            sent = cast("Json", json.loads(self.body)["Contacts"])
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(400, {"ErrorNumber": 14, "Type": "PostDataInvalidException"}) from error
        apart = self.query.get("summarizeErrors", "true").lower() == "false"
        status, found = self.organisation.written(sent, key=self.headers.get("idempotency-key", ""), apart=apart)
        return status, self._envelope({"Contacts": [*found]}), {}

    def _token(self) -> Row:
        form = dict(parse_qsl(self.body.decode()))
        proof = self.headers.get("authorization", "").removeprefix("Basic ")
        try:
            client, _, secret = b64decode(proof, validate=True).decode().partition(":")
        except ValueError:
            client, secret = "", ""
        if (unquote(client), unquote(secret)) != (CLIENT, SECRET):
            raise Refused(401 if proof else 400, {"error": "invalid_client"})
        return self.organisation.token(form)

    def _consented(self) -> tuple[int, Json, dict[str, str]]:
        """Send the browser back with a code: whoever comes has consented."""
        code = f"code-{self.organisation.number()}"
        self.organisation.codes[code] = self.query.get("code_challenge", "")
        back = {"code": code, "state": self.query.get("state", ""), "scope": self.query.get("scope", "")}
        return 302, "", {"Location": f"{self.query.get('redirect_uri')}?{urlencode(back)}"}

    def _envelope(self, inner: Row) -> Row:
        stamp = told(self.organisation.now)
        return {"Id": TENANT, "Status": "OK", "ProviderName": "isthmus", "DateTimeUTC": stamp, **inner}

"""The addresses of our own ad account at Meta: /v26.0/act_…, its edges, and reports."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import parse_qsl, urlsplit

from isthmus.connectors.metaads.vendor import ACCOUNT, PARAMETERS, SECRET, TOKEN, AdAccount, Refused
from isthmus.connectors.metaads.wire import VERSION, Row


@dataclass
class Site:
    """An ad account and where it is served."""

    account: AdAccount = field(default_factory=AdAccount)
    url: str = ""
    lock: Lock = field(default_factory=Lock)

    @property
    def settings(self) -> dict[str, str]:
        """Settings of a connection to it."""
        return {"account_id": f"act_{ACCOUNT}", "access_token": TOKEN, "app_secret": SECRET, "url": self.url}


@contextmanager
def serving(site: Site) -> Generator[Site]:
    """Serve an ad account on this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # An answer goes out in one piece: two would wait for each other.
        wbufsize = 1 << 16
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answered("")

        def do_POST(self) -> None:
            self._answered(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())

        def date_time_string(self, timestamp: float | None = None) -> str:
            """Tell the time of the account."""
            del timestamp
            return format_datetime(site.account.now, usegmt=True)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server names it.
            """Say nothing."""

        def _answered(self, body: str) -> None:
            parts = urlsplit(self.path)
            params = dict(parse_qsl(parts.query, keep_blank_values=True)) | dict(parse_qsl(body))
            headers: dict[str, str] = {}
            try:
                with site.lock:
                    status, found = 200, answer(site.account, self.command, parts.path, params)
            except Refused as refused:
                status, found, headers = refused.status, refused.body, refused.headers
            content = json.dumps(found).encode()
            self.send_response(status)
            kind = {"Content-Type": "application/json; charset=UTF-8", "Content-Length": str(len(content))}
            for name, value in {**kind, **headers}.items():
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


def answer(account: AdAccount, method: str, path: str, params: Mapping[str, str]) -> Row:
    """Return what is answered; raises Refused."""
    _, version, *rest = path.rstrip("/").split("/")
    if version != VERSION:
        raise Refused(400, 2_635, f"(#2635) You are calling a version that is not {VERSION} of the Ads API.")
    account.asked.append(f"{method} {'/'.join(rest)}")
    account.admit(params)
    node, edge = (*rest, "", "")[:2]
    if node in account.reports and method == "GET":
        return account.reported(node, params) if edge == "insights" else account.looked(node, params)
    if node != f"act_{ACCOUNT}":
        message = f"Unsupported get request. Object with ID '{node}' does not exist, cannot be loaded due to missing"
        message += " permissions, or does not support this operation."
        raise Refused(400, 100, message, kind="GraphMethodException", error_subcode=33)
    if (method, edge) == ("POST", "insights"):
        return account.begun(params)
    if method == "GET" and not edge:
        return account.about(params)
    if method == "GET" and edge in PARAMETERS:
        return account.listed(edge, params)
    raise Refused(400, 2_500, f"Unknown path components: /{edge}")

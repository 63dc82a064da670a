"""The addresses of our own project of PostHog: /api/projects/<id>/query/ for questions, /batch/ for its libraries."""

import gzip
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

import msgspec

from isthmus.connectors.posthog.vendor import KEY, PROJECT, Project, Refused
from isthmus.connectors.posthog.wire import Row
from isthmus.kernel.marks import Json

QUERY = f"/api/projects/{PROJECT}/query/"


@dataclass
class Site:
    """A project and where it is served."""

    project: Project = field(default_factory=Project)
    url: str = ""
    lock: Lock = field(default_factory=Lock)

    @property
    def settings(self) -> dict[str, str]:
        """Settings of a connection to it."""
        return {"project_id": PROJECT, "api_key": KEY, "url": self.url}


@contextmanager
def serving(site: Site) -> Generator[Site]:
    """Serve a project on this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # An answer goes out in one piece: two would wait for each other.
        wbufsize = 1 << 16
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answered("GET")

        def do_POST(self) -> None:
            self._answered("POST")

        def date_time_string(self, timestamp: float | None = None) -> str:
            """Tell the time of the project."""
            del timestamp
            return format_datetime(site.project.now, usegmt=True)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server names it.
            """Say nothing."""

        def _answered(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            given = {name.lower(): value for name, value in self.headers.items()}
            headers: dict[str, str] = {}
            try:
                with site.lock:
                    status, found = 200, answer(site.project, method, self.path, given, body)
            except Refused as refused:
                status, found, headers = refused.status, refused.body, refused.headers
            content = json.dumps(found).encode()
            self.send_response(status)
            kind = {"Content-Type": "application/json", "Content-Length": str(len(content))}
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


def answer(project: Project, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Row:
    """Return what is answered; raises Refused."""
    place = path.partition("?")[0]
    if place in ("/batch/", "/batch") and method == "POST":
        return project.captured(_map(gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body))
    if headers.get("authorization", "") != f"Bearer {KEY}":
        detail = "Authentication credentials were not provided."
        if "authorization" in headers:
            detail = "Invalid personal API key."
        raise Refused(401, "authentication_error", "authentication_failed", detail)
    if place != QUERY:
        raise Refused(404, "invalid_request", "not_found", "Project not found.")
    if method != "POST":
        raise Refused(405, "invalid_request", "method_not_allowed", f'Method "{method}" not allowed.')
    if "query:read" not in project.scopes:
        detail = "API key missing required scope 'query:read'"
        raise Refused(403, "authentication_error", "permission_denied", detail)
    if not headers.get("content-type", "").startswith("application/json"):
        raise Refused(415, "invalid_request", "unsupported_media_type", "Unsupported media type in request.")
    return project.answer(_map(body))


def _map(body: bytes) -> dict[str, Json]:
    try:
        return msgspec.json.decode(body, type=dict[str, Json])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Refused(400, "validation_error", "invalid_input", f"JSON parse error - {error}") from error

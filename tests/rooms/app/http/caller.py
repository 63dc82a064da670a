"""A caller over a real socket who sends exactly what the test says."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from isthmus.kernel.marks import Json


@dataclass(frozen=True)
class Answered:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> dict[str, Json]:
        """The body as a JSON object."""
        return cast("dict[str, Json]", json.loads(self.body))

    @property
    def code(self) -> Json:
        """The code of a problem."""
        assert self.headers["content-type"] == "application/problem+json", (self.status, self.body)
        return self.json["code"]

    @property
    def faults(self) -> set[tuple[str, str]]:
        """Pointer and code of each fault of a problem."""
        found = cast("list[dict[str, str]]", self.json["errors"])
        return {(each["pointer"], each["code"]) for each in found}

    @property
    def rows(self) -> list[dict[str, Json]]:
        """The rows of a list."""
        return cast("list[dict[str, Json]]", self.json["data"])


class Caller:
    """Calls one server, with one credential, over a fresh connection each time."""

    def __init__(self, port: int, key: str | None) -> None:
        """Call 127.0.0.1."""
        self._port = port
        self._key = key

    def call(
        self,
        method: str,
        path: str,
        body: Json | bytes = None,
        *,
        headers: Mapping[str, str] | None = None,
        media: str = "application/json",
    ) -> Answered:
        """Send one request; what is not bytes goes as JSON."""
        sent: dict[str, str] = {"authorization": f"Bearer {self._key}"} if self._key else {}
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if content is not None:
            sent["content-type"] = media
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(method, path, body=content, headers={**sent, **(headers or {})})
            answer = connection.getresponse()
            shown = {name.lower(): value for name, value in answer.getheaders()}
            return Answered(answer.status, shown, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answered:
        """Send a GET; `if_match="…"` becomes the header If-Match."""
        return self.call("GET", path, headers=_named(headers))

    def post(self, path: str, body: Json | bytes = None, **headers: str) -> Answered:
        """Send a POST with JSON."""
        return self.call("POST", path, body, headers=_named(headers))


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}

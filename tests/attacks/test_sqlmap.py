"""sqlmap tries to put SQL of its own into every parameter of routes that stand for all ways into the database.

A bounded run tries a list, one record by its path, writing and a form; a deep run all ways, with more payloads.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from isthmus.kernel.marks import Json
from tests.attacks.conftest import TwinServer
from tests.attacks.target import Target
from tests.attacks.tools import DEEP, Said, scan

SECONDS = 3_000.0
LEVEL = ("--level", "2" if DEEP else "1", "--risk", "2" if DEEP else "1", "--technique", "BEU", "--dbms", "PostgreSQL")
QUIET = ("--batch", "--flush-session", "--disable-coloring", "--ignore-code", "*", "--threads", "2")
TRIED = re.compile(r"parameter '([^']+)' does not seem to be injectable")
FOUND = "identified the following injection point"


@dataclass(frozen=True)
class Way:
    """A call: every parameter of its query is tried, or every field of its body, or where there is a star."""

    path: str
    tried: int
    body: Json = None


WAYS = (
    Way("/api/v1/leads?limit=5&person_id={person}&campaign_id={campaign}", 3),
    Way("/api/v1/leads/{lead}*/history", 1),
    Way("/api/v1/campaigns", 2, {"name": "Spring", "channel": "email"}),
    Way("/api/v1/audit?q=actor%3Ax&actor=x&resource=sales.lead&since=2026-01-01T00%3A00%3A00Z", 4),
    Way("/api/v1/usage?period=202611", 1),
    Way("/api/v1/integrations/sales/attribution?model=first&window=90&by=channel", 3),
    Way("/api/v1/integrations/sales/attribution/{campaign}*", 1),
    Way("/api/v1/integrations/sales/performance?period=2026-11", 1),
)
"""Lists, one record, writing; then a grammar of our own, and metrics."""
BOUNDED = 3


def attack(url: str, *more: str, cwd: Path) -> Said:
    """Run sqlmap on one address."""
    given = ("-u", url, *QUIET, "--output-dir", str(cwd / "sqlmap"), *more)
    return scan("sqlmap", "sqlmap", *given, cwd=cwd, seconds=SECONDS)


@pytest.mark.parametrize("way", WAYS if DEEP else WAYS[:BOUNDED], ids=lambda way: way.path.partition("?")[0])
def test_no_parameter_takes_sql(target: Target, tmp_path: Path, way: Way) -> None:
    named = {kind: str(target.rows(f"/api/v1/{many}")[0]["id"]) for kind, many in KINDS.items()}
    path = way.path
    for kind, found in named.items():
        path = path.replace(f"{{{kind}}}", found)
    more = ["-H", f"Authorization: Bearer {target.keys['owner']}", *LEVEL]
    if way.body is not None:
        more += ["--data", json.dumps(way.body), "-H", "Content-Type: application/json"]
    said = attack(target.url + path, *more, cwd=tmp_path)
    assert FOUND not in said.text, said.text[-4000:]
    assert len(set(TRIED.findall(said.text))) == way.tried, said.text[-4000:]
    assert "500 (Internal Server Error)" not in said.text


KINDS = {"lead": "leads", "person": "people", "campaign": "campaigns"}


def test_a_form_of_a_page_takes_no_sql(target: Target, tmp_path: Path) -> None:
    given = ("--data", "email=ada%40example.com&password=x", "-H", f"Origin: {target.url}", *LEVEL)
    said = attack(f"{target.url}/sign-in", *given, cwd=tmp_path)
    assert FOUND not in said.text, said.text[-4000:]
    assert set(TRIED.findall(said.text)) == {"email", "password"}, said.text[-4000:]


def test_the_sql_that_the_twin_takes_is_found(twin: TwinServer, tmp_path: Path) -> None:
    said = attack(f"{twin.url}/items?name=pen", "--technique", "BEU", cwd=tmp_path)
    assert FOUND in said.text
    assert "Parameter: name (GET)" in said.text

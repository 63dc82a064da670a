"""The libraries of six vendors deliver to a running server as to their vendors, and nothing is counted twice."""

import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from isthmus.app.discovery import connectors
from isthmus.app.program import Program
from isthmus.app.syncing import sync_engine
from isthmus.app.webhooks import landed
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.sync.connections import connect
from tests.counterparts import LIBRARIES, require_libraries
from tests.rooms.app.http.caller import Caller
from tests.rooms.app.http.conftest import Site, scope_of
from tests.rooms.app.http.libraries import EMAIL, EVENTS_EACH
from tests.rooms.app.http.libraries import LIBRARIES as NAMES

KEY = "phc_a-write-key-of-a-product"


@dataclass(frozen=True)
class Product:
    """A workspace to which a product delivers."""

    site: Site
    workspace: int
    connection: UUID
    owner: Caller

    def deliver(self, *names: str) -> str:
        """Run the customer's program with some libraries; returns what they complain of."""
        python = require_libraries(LIBRARIES) / "python"
        place = f"http://127.0.0.1:{self.site.settings.port}/in/{text_of('conn', self.connection)}"
        program = [python, Path(__file__).with_name("libraries.py"), place, KEY, *names]
        done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def land(self) -> int:
        """Work on what came, until nothing is left."""

        async def work(program: Program) -> int:
            total = 0
            while done := await landed(program.database, sync_engine(program), now=program.clock.now()):
                total += done
            return total

        return self.site.run(work)

    def listed(self, path: str) -> list[dict[str, Json]]:
        """Return every record of a list."""
        found: list[dict[str, Json]] = []
        after = ""
        while True:
            page = self.owner.get(f"{path}?limit=200{after}").json
            found += cast("list[dict[str, Json]]", page["data"])
            if not page["has_more"]:
                return found
            after = f"&cursor={page['next_cursor']}"


@pytest.fixture(scope="module")
def product(site: Site) -> Product:
    """A workspace with a connection that takes what libraries send."""
    workspace = site.workspace()

    async def make(program: Program) -> UUID:
        async with program.database.transaction(scope_of(workspace)) as tx:
            ingest = connectors()["ingest"]
            return (await connect(tx, program.vault, ingest, name="app", settings={"write_key": KEY})).id

    return Product(site, workspace, site.run(make), site.caller(site.key(workspace, "owner")))


def test_six_libraries_deliver_and_every_event_is_found_once(product: Product) -> None:
    assert "failed" not in product.deliver(*NAMES)
    product.land()
    events = product.listed("/api/v1/product-events")
    names = Counter(str(each["name"]) for each in events)
    assert names["looked"] + names["page"] == len(NAMES) + 2
    assert len(events) == EVENTS_EACH * len(NAMES)
    people = {str(each["email"]) for each in product.listed("/api/v1/people")}
    for name in set(NAMES) - {"snowplow"}:
        assert EMAIL.format(name) in people
    accounts = {str(each["name"]) for each in product.listed("/api/v1/accounts")}
    assert accounts == {*(f"{name} group" for name in set(NAMES) - {"amplitude", "snowplow"}), "amplitude-group"}
    assert product.owner.get("/api/v1/dead-letters").json["data"] == []
    again = product.deliver(*(set(NAMES) - {"snowplow"}))
    assert "failed" not in again
    product.land()
    assert product.listed("/api/v1/product-events") == events


def test_what_a_visitor_did_is_what_the_person_did(product: Product) -> None:
    people = {str(each["email"]): str(each["id"]) for each in product.listed("/api/v1/people") if each["email"]}
    looked = [each for each in product.listed("/api/v1/product-events") if each["name"] == "looked"]
    shown = [product.owner.get(f"/api/v1/people/{each['person_id']}").json for each in looked]
    assert {str(each["merged_into"] or each["id"]) for each in shown} == set(people.values())


def test_the_key_of_a_connection_has_limits_of_its_own_and_its_vendor_words_them(product: Product) -> None:
    own = text_of("key", product.connection)
    rule: dict[str, Json] = {"name": "product", "scope": "caller", "subject": own, "count": 1, "seconds": 3600}
    assert product.owner.call("PUT", "/api/v1/limits", {"tier": "enterprise", "limits": [rule]}).status == 200
    place = f"/in/{text_of('conn', product.connection)}/2/httpapi"
    over = time.monotonic() + 20
    answer = product.site.caller().post(place, {"api_key": KEY, "events": []})
    while answer.status == 200 and time.monotonic() < over:
        answer = product.site.caller().post(place, {"api_key": KEY, "events": []})
    assert (answer.status, answer.json["code"]) == (429, 429)

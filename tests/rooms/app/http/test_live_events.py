"""The live feed over a real connection: what may be read, from where it was left, and no longer than rights last."""

import http.client
import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime

from isthmus.app.program import Program
from isthmus.store.database import Scope
from isthmus.stream.event import within
from isthmus.stream.relay import stamp
from isthmus.sync.ingest import Interval, put
from tests.rooms.app.http.conftest import Site
from tests.rooms.domains.desk import said
from tests.rooms.stream.stage import emit

DEAL, PAYMENT = "isthmus.sales.deal.changed.v1", "isthmus.finance.payment.created.v1"


def happen(site: Site, workspace: int, *records: int, kind: str = DEAL) -> None:
    """Have events of records happen, with their numbers."""

    async def work(program: Program) -> None:
        now = datetime.now(UTC)
        await emit(program.database, Scope(workspace=workspace, actor="a", cause="b", now=now), records, kind=kind)
        async with program.database.plain() as connection, within(connection, workspace):
            await stamp(connection)

    site.run(work)


@contextmanager
def feed(site: Site, key: str, query: str = "", *, seen: str | None = None) -> Generator[http.client.HTTPResponse]:
    """Open a live feed, past its greeting."""
    connection = http.client.HTTPConnection("127.0.0.1", site.settings.port, timeout=30)
    headers = {"authorization": f"Bearer {key}", **({"last-event-id": seen} if seen is not None else {})}
    connection.request("GET", f"/api/v1/events{query}", headers=headers)
    answer = connection.getresponse()
    try:
        if answer.status == 200:
            assert answer.headers["content-type"] == "text/event-stream"
            assert answer.headers["x-accel-buffering"] == "no"
            assert answer.readline() == b"retry: 1000\n"
        yield answer
    finally:
        connection.close()


def told(answer: http.client.HTTPResponse, count: int) -> list[tuple[str, str]]:
    """Return number and type of the next events."""
    found: list[tuple[str, str]] = []
    while len(found) < count and (line := answer.readline()):
        if line.startswith(b"data: "):
            event = json.loads(line[6:])
            found.append((event["sequence"], event["type"]))
    return found


def test_a_feed_goes_on_where_it_was_left_with_what_the_caller_may_read(site: Site) -> None:
    workspace = site.workspace()
    key = site.key(workspace, "sales.viewer", permissions=("stream:read",))
    happen(site, workspace, 1, 2)
    happen(site, workspace, 3, kind=PAYMENT)
    happen(site, workspace, 4)
    with feed(site, key, seen="1") as answer:
        assert told(answer, 2) == [("2", DEAL), ("4", DEAL)]
        happen(site, workspace, 5, kind=PAYMENT)
        happen(site, workspace, 6)
        assert told(answer, 1) == [("6", DEAL)]
    middle = datetime.now(UTC).isoformat().replace("+", "%2B")
    happen(site, workspace, 7)
    with feed(site, key, f"?since={middle}") as answer:
        assert told(answer, 1) == [("7", DEAL)]
    with feed(site, site.key(workspace, "owner"), "?topic=payments&after=0") as answer:
        assert told(answer, 2) == [("3", PAYMENT), ("5", PAYMENT)]


def test_a_feed_ends_when_rights_change_and_the_caller_comes_back_as_who_it_is_then(site: Site) -> None:
    workspace = site.workspace()
    owner = site.caller(site.key(workspace, "owner"))
    made = owner.post("/api/v1/keys", {"name": "Feed", "roles": ["admin"]})
    key, key_id = str(made.json["key"]), made.json["id"]
    happen(site, workspace, 1)
    with feed(site, key, "?after=0") as answer:
        assert told(answer, 1) == [("1", DEAL)]
        assert owner.post(f"/api/v1/keys/{key_id}:revoke").status == 200
        over = time.monotonic() + 1.0
        ended = False
        for number in range(2, 40):
            happen(site, workspace, number)
            if not told(answer, 1):
                ended = True
                break
        assert ended
    time.sleep(max(0.0, over - time.monotonic()))
    with feed(site, key, seen="1") as answer:
        assert answer.status == 401


def test_a_feed_with_a_filter_tells_of_the_records_that_it_lets_pass(site: Site) -> None:
    workspace = site.workspace()
    key = site.key(workspace, "sales.viewer", permissions=("stream:read",))

    async def work(program: Program) -> None:
        now = datetime.now(UTC)
        deals = [
            said("sales.deal", name, name=name, amount={"amount": amount, "currency": "EUR"})
            for name, amount in (("small", "5"), ("large", "20000"))
        ]
        scope = Scope(workspace=workspace, actor="a", cause="b", now=now)
        await put(program.store, scope, deals, interval=Interval(since=None, until=now))
        async with program.database.plain() as connection, within(connection, workspace):
            await stamp(connection)

    site.run(work)
    with feed(site, key, "?type=isthmus.sales.deal.*&after=0") as answer:
        everything = told(answer, 2)
    with feed(site, key, "?type=isthmus.sales.deal.*&after=0&where=amount+at_most+10") as answer:
        (small,) = told(answer, 1)
    with feed(site, key, "?type=isthmus.sales.deal.*&after=0&where=amount+at_least+10&changed=amount") as answer:
        (large,) = told(answer, 1)
    assert [small, large] == everything


def test_what_cannot_be_followed_is_refused_before_the_feed_begins(site: Site) -> None:
    workspace = site.workspace()
    key = site.key(workspace, "sales.viewer", permissions=("stream:read",))
    for query, seen, code in (
        ("?topic=nothing", None, "unknown-topic"),
        ("?topic=payments", None, "unknown-topic"),
        ("?account=lead_1", None, "invalid-id"),
        ("?type=isthmus.sales.deal.*&where=amuont+present", None, "unknown-field"),
        ("?type=isthmus.sales.deal.*&where=amount", None, "bad-filter"),
        ("", "last", "malformed"),
    ):
        with feed(site, key, query, seen=seen) as answer:
            problem = json.loads(answer.read())
            assert code in {problem["code"], *(each["code"] for each in problem.get("errors", []))}
    with feed(site, site.key(workspace, "sales.viewer")) as answer:
        assert answer.status == 403

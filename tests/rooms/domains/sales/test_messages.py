"""A message goes out once, by the one connection that delivers it, and only to whom it may go."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.store.observation import Observation
from isthmus.sync.connections import Options, connect
from isthmus.sync.connector import Change, Connector, Feed, Raw
from isthmus.sync.ingest import Store
from isthmus.sync.running import synchronise
from isthmus.sync.runs import Engine
from tests.rooms.domains.desk import Desk, said
from tests.rooms.sync.vendor import Vendor

FEED, ACTIVITY = "messages", "sales.activity"
FIELDS = ("kind", "subject", "body", "outbound", "completed", "at", "owner_id")
STEPS: Json = [{"kind": "send", "subject": "Welcome", "text": "Good to have you here.", "purpose": "sales"}]
GRACE = {"email": "grace@hopper.example", "first_name": "Grace", "company": "Navy"}


def express(_: str, change: Change) -> dict[str, Json]:
    """Their words are ours."""
    return dict(change.fields)


def normalise(_: str, raw: Raw) -> Iterator[Observation]:
    """Our words are theirs."""
    yield Observation(type=ACTIVITY, system="mailer", external_id=raw.external_id, fields=raw.body, at=raw.at)


def mailer(vendor: Vendor) -> Connector:
    """A tool that sends what is written there."""
    feed = Feed(name=FEED, types=(ACTIVITY,), writes=(ACTIVITY,))
    given = replace(vendor.connector(), feeds=(feed,), writable={ACTIVITY: FIELDS})
    return replace(given, express=express, normalise=normalise)


class Post:
    """Somebody with a lead, and a mail tool."""

    def __init__(self, store: Store, scope: Scope) -> None:
        """Begin without a connection."""
        self.vendor = Vendor(name="mailer", clock=FrozenClock(scope.now))
        self.vendor.rows[FEED] = {}
        self.desk = Desk.of(store, scope, connectors={"mailer": mailer(self.vendor)})

    async def connect(self, name: str = "mailer", *, create: tuple[str, ...] = (ACTIVITY,)) -> None:
        """Connect the mail tool."""
        desk, options = self.desk, Options(create=create)
        connector = desk.services.of(Engine).connectors["mailer"]
        async with desk.store.database.transaction(desk.now) as tx:
            await connect(tx, desk.store.vault, connector, name=name, settings={"token": "s3cr3t"}, options=options)

    async def written(self) -> str:
        """Write to a lead, let the connection run twice, and return what the log says."""
        desk = self.desk
        await desk.put(said("sales.person", "P1", email=GRACE["email"], first_name="Grace"))
        (lead,) = await desk.put(said("sales.lead", "L1", **GRACE, person_id="P1"))
        wanted = {"subject": "sales.lead", "title": "Welcome", "steps": STEPS}
        assert (await desk.call("PUT", "/api/v1/workflows/welcome", wanted)).status == 200
        assert (await desk.post("/api/v1/workflows/welcome:start", {"subject_id": lead})).status == 201
        await desk.steps()
        for _ in range(2):
            desk.later(seconds=1)
            await synchronise(desk.services.of(Engine), workspace=desk.scope.workspace, connection="mailer")
        (run,) = (await desk.get("/api/v1/workflow-runs")).rows("data")
        log = run["log"]
        assert isinstance(log, list)
        (entry,) = log
        assert isinstance(entry, dict)
        return str(entry["what"])

    @property
    def sent(self) -> list[Json]:
        """What stands in the tool."""
        return [each.body["subject"] for each in self.vendor.rows[FEED].values()]

    async def agree(self, state: str = "granted", **fields: Json) -> None:
        """Say what the person agreed to."""
        given: dict[str, Json] = {"purpose": "sales", "channel": "email", "state": state, "person_id": "P1", **fields}
        await self.desk.put(said("sales.person", "P1", email=GRACE["email"], first_name="Grace"))
        await self.desk.put(said("marketing.consent", f"C-{state}", **given))


@pytest.fixture
def post(store: Store, scope: Scope) -> Post:
    """Somebody with a lead, and a mail tool."""
    return Post(store, scope)


async def test_who_agreed_is_written_to_once_by_the_connection(post: Post) -> None:
    await post.connect()
    await post.agree()
    assert await post.written() == "Welcome (by mailer)"
    assert post.sent == ["Welcome"]


async def test_without_consent_nothing_goes_out_and_the_log_says_so(post: Post) -> None:
    await post.connect()
    assert await post.written() == "Not sent: There is no consent to sales by email."
    assert post.sent == []


async def test_consent_by_the_address_counts_and_its_withdrawal_for_every_way_too(post: Post) -> None:
    await post.connect()
    await post.agree()
    key = f"{GRACE['email']}|sales|any"
    await post.desk.put(said("marketing.consent", "C2", purpose="sales", channel="any", state="withdrawn", key=key))
    assert await post.written() == "Not sent: Consent to sales was withdrawn."


async def test_consent_that_has_run_out_is_none(post: Post) -> None:
    await post.connect()
    await post.agree(expires_at="2026-10-01T00:00:00Z")
    assert await post.written() == "Not sent: There is no consent to sales by email."


@pytest.mark.parametrize(("given_at", "sent"), [("2026-01-01T00:00:00Z", []), ("2026-10-30T00:00:00Z", ["Welcome"])])
async def test_who_unsubscribed_is_written_to_only_after_a_later_consent(
    post: Post, given_at: str, sent: list[str]
) -> None:
    await post.connect()
    await post.agree(given_at=given_at)
    at = "2026-10-20T00:00:00Z"
    await post.desk.put(said("marketing.touch", "T1", channel="email", kind="unsubscribed", at=at, person_id="P1"))
    assert ("suppressed" in await post.written(), post.sent) == (not sent, sent)


async def test_nobody_is_reached_more_than_three_times_in_seven_days(post: Post) -> None:
    await post.connect()
    await post.agree()
    touches = [
        said("marketing.touch", f"T{n}", channel="email", kind="sent", at=f"2026-11-01T0{n}:00:00Z", person_id="P1")
        for n in range(3)
    ]
    await post.desk.put(*touches)
    assert await post.written() == "Not sent: It was reached 3 times in 7 days; at most 3 are allowed."


async def test_where_none_or_two_connections_would_deliver_it_nothing_goes_out(post: Post) -> None:
    await post.connect(create=())
    await post.agree()
    assert (await post.written()).startswith("Not sent: No connection delivers messages")
    await post.connect("second")
    await post.connect("third")
    post.desk.later(days=1)
    (lead,) = await post.desk.put(said("sales.lead", "L1", **GRACE))
    await post.desk.post("/api/v1/workflows/welcome:start", {"subject_id": lead})
    await post.desk.steps()
    (last, _) = (await post.desk.get("/api/v1/workflow-runs")).rows("data")
    assert "second, third would each deliver it" in str(last["log"])
    assert post.sent == []

"""Somebody with a mail tool that delivers what workflows write."""

from collections.abc import Iterator
from dataclasses import replace

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
        await self.deliver()
        (run,) = (await desk.get("/api/v1/workflow-runs")).rows("data")
        log = run["log"]
        assert isinstance(log, list)
        (entry,) = log
        assert isinstance(entry, dict)
        return str(entry["what"])

    async def deliver(self) -> None:
        """Take the steps that are due, and let the connection run twice."""
        desk = self.desk
        await desk.steps()
        for _ in range(2):
            desk.later(seconds=1)
            await synchronise(desk.services.of(Engine), workspace=desk.scope.workspace, connection="mailer")

    @property
    def sent(self) -> list[Json]:
        """What stands in the tool."""
        return [each.body["subject"] for each in self.vendor.rows[FEED].values()]

    async def agree(self, state: str = "granted", **fields: Json) -> None:
        """Say what the person agreed to."""
        given: dict[str, Json] = {"purpose": "sales", "channel": "email", "state": state, "person_id": "P1", **fields}
        await self.desk.put(said("sales.person", "P1", email=GRACE["email"], first_name="Grace"))
        await self.desk.put(said("marketing.consent", f"C-{state}", **given))

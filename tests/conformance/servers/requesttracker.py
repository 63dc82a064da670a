"""Request Tracker's counterpart: a real server, changed by one of its agents."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.kernel.marks import Json
from tests.rooms.connectors.requesttracker_room import RequestTracker, requesttracker

PAGE_ROWS = 4


@dataclass
class RequestTrackerCounterpart:
    """Implements `isthmus.sync.conformance.Counterpart`."""

    server: RequestTracker
    settings: Mapping[str, str]
    wrong: Mapping[str, str] = field(default_factory=lambda: {"token": f"1-14-{'0' * 32}"})
    feed: str = "tickets"
    type: str = "success.ticket"
    fields: tuple[str, str] = ("subject", "channel")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(default_factory=lambda: {"owner_id": "stranger@nowhere.example"})
    made: int = 0

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change a ticket."""
        said: dict[str, Json] = {"Subject": values["subject"]} if "subject" in values else {}
        if "channel" in values:
            said["CustomFields"] = {"Channel": values["channel"]}
        if external_id is None:
            return self.server.ticket(str(said.pop("Subject")), **said)
        self.server.change("ticket", external_id, **said)
        return external_id

    def burst(self, count: int) -> list[str]:
        """Make tickets in one request, of which many share a second."""
        self.made += count
        return self.server.tickets(*(f"Burst {self.made} {number}" for number in range(count)))

    def delete(self, external_id: str) -> None:
        """Delete a ticket."""
        status, said = self.server.ask("DELETE", f"ticket/{external_id}")
        assert status == 204, said

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what a ticket holds."""
        row = self.server.get("ticket", external_id)
        if not row or row["Status"] == "deleted":
            return None
        fields = row["CustomFields"]
        assert isinstance(fields, list)
        named = {str(each["name"]): each["values"] for each in fields if isinstance(each, dict)}
        channel = named["Channel"]
        assert isinstance(channel, list)
        return {"subject": str(row["Subject"]), "channel": str(channel[0]) if channel else None}


@contextmanager
def begin(_: Path) -> Generator[RequestTrackerCounterpart]:
    """Run a server."""
    with requesttracker() as server:
        yield RequestTrackerCounterpart(server, server.settings | {"page_rows": str(PAGE_ROWS)})

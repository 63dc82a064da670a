"""PostHog's counterpart: our own project of its documented interfaces, changed as its people would."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from isthmus.connectors.posthog.vendor_http import Site, serving
from isthmus.connectors.posthog.wire import PERSONS, Row
from isthmus.kernel.marks import Json

PAGE_ROWS = 5


@dataclass
class PostHogCounterpart:
    """Implements `isthmus.sync.conformance.Counterpart`."""

    site: Site
    settings: Mapping[str, str]
    wrong: Mapping[str, str] = field(default_factory=lambda: {"api_key": "phx_of-nobody-at-all"})
    feed: str = PERSONS
    type: str = "sales.person"
    fields: tuple[str, str] = ("title", "city")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change a person."""
        project = self.site.project
        with self.site.lock:
            known = {own: distinct for distinct, own in project.distinct.items()}
            return project.person(known.get(external_id or "") or f"user-{project.made}", values)

    def burst(self, count: int) -> list[str]:
        """Make persons."""
        project = self.site.project
        with self.site.lock:
            return [project.person(f"burst-{project.made}", {"title": f"Burst {at}"}) for at in range(count)]

    def delete(self, external_id: str) -> None:
        """Delete a person."""
        with self.site.lock:
            del self.site.project.persons[external_id]

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what a person holds."""
        row = self.site.project.persons.get(external_id)
        if row is None:
            return None
        properties = cast("Row", row["properties"])
        return {name: cast("str | None", properties.get(name)) for name in self.fields}


def used(site: Site) -> tuple[str, str]:
    """Let a product be used a little: a person who signed in, and a visitor without a name; returns both."""
    project = site.project
    known = project.person(
        "user-1", {"email": "ada@lamps.example", "name": "Ada Lamps", "plan": "team", "title": "Head"}
    )
    project.event(
        "exported", "user-1", {"seats": 3, "$session_id": "s1", "$current_url": "https://lamps.example/a?b=c"}
    )
    visitor = project.person("visitor-1", {"$initial_referrer": "$direct"}, identified=False)
    project.event("$pageview", "visitor-1", {"$current_url": "https://lamps.example/", "$ip": "192.0.2.1"})
    project.event("$identify", "user-1", {"$anon_distinct_id": "visitor-2"})
    return known, visitor


@contextmanager
def begin(home: Path) -> Generator[PostHogCounterpart]:
    """Yield a project that was used a little."""
    del home
    with serving(Site()) as site:
        used(site)
        yield PostHogCounterpart(site, {**site.settings, "page_rows": str(PAGE_ROWS)})

"""Meta's counterpart: our own ad account of its documented protocol, changed as its people would."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from isthmus.connectors.metaads.vendor_http import Site, serving
from isthmus.connectors.metaads.wire import CAMPAIGNS, DELETED
from isthmus.kernel.marks import Json

PAGE_ROWS = 5


@dataclass
class MetaCounterpart:
    """Implements `isthmus.sync.conformance.Counterpart`."""

    site: Site
    settings: Mapping[str, str]
    wrong: Mapping[str, str] = field(default_factory=lambda: {"access_token": "of-nobody-at-all"})
    feed: str = CAMPAIGNS
    type: str = "marketing.campaign"
    fields: tuple[str, str] = ("name", "objective")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(default_factory=lambda: {"name": None})

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change a campaign."""
        with self.site.lock:
            return self.site.account.campaign(dict(values), external_id)

    def burst(self, count: int) -> list[str]:
        """Make campaigns, all with one stamp."""
        account = self.site.account
        with self.site.lock:
            account.now += timedelta(seconds=1)
            return [account.campaign({"name": f"Burst {account.made}"}, still=True) for _ in range(count)]

    def delete(self, external_id: str) -> None:
        """Delete a campaign."""
        with self.site.lock:
            self.site.account.status(external_id, DELETED)

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what a campaign holds."""
        row = self.site.account.campaigns.get(external_id)
        if row is None or row["effective_status"] == DELETED:
            return None
        return {"name": str(row["name"]), "objective": str(row["objective"])}


def advertised(site: Site) -> tuple[str, str]:
    """Advertise: an audience, two campaigns of which one is archived, and what they cost; returns the campaigns."""
    account = site.account
    account.audience({"name": "Trial users", "description": "Signed up, not bought."})
    counts: dict[str, Json] = {"approximate_count_lower_bound": 1_200, "approximate_count_upper_bound": 1_400}
    account.audience({"name": "Lookalike", "subtype": "LOOKALIKE", **counts})
    running = account.campaign({"name": "Spring leads", "lifetime_budget": "250000"})
    over = account.campaign({"name": "Winter brand", "objective": "OUTCOME_AWARENESS", "daily_budget": "5000"})
    account.status(over, "ARCHIVED")
    for back in range(3):
        account.spend(running, account.today - timedelta(days=back), f"{20 + back}.50")
    account.spend(over, account.today - timedelta(days=40), "7.05")
    return running, over


@contextmanager
def begin(home: Path) -> Generator[MetaCounterpart]:
    """Yield an ad account that advertised a little."""
    del home
    with serving(Site()) as site:
        advertised(site)
        yield MetaCounterpart(site, {**site.settings, "page_rows": str(PAGE_ROWS), "first_days": "30"})

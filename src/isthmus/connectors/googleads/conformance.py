"""Google Ads' counterpart: our own account of its documented interface, changed as its people would."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from isthmus.connectors.googleads.account_http import Site, serving
from isthmus.connectors.googleads.wire import AUDIENCES
from isthmus.kernel.marks import Json

PAGE_ROWS = 5


@dataclass
class GoogleAdsCounterpart:
    """Implements `isthmus.sync.conformance.Counterpart`; what the checks change are user lists."""

    site: Site
    settings: Mapping[str, str]
    wrong: Mapping[str, str] = field(default_factory=lambda: {"refresh_token": "1//of-nobody-at-all"})
    feed: str = AUDIENCES
    type: str = "marketing.audience"
    fields: tuple[str, str] = ("name", "description")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change a user list."""
        given = {f"user_list.{name}": value for name, value in values.items()}
        return str(self.site.account.audience(int(external_id) if external_id else None, given))

    def burst(self, count: int) -> list[str]:
        """Make user lists at once."""
        first = self.site.account.made
        return [self.put(None, {"name": f"Burst {first + at}"}) for at in range(count)]

    def delete(self, external_id: str) -> None:
        """Remove a user list."""
        del self.site.account.lists[int(external_id)]

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what a user list holds."""
        row = self.site.account.lists.get(int(external_id))
        if row is None:
            return None
        texts = {name: row.get(f"user_list.{name}") for name in self.fields}
        return {name: None if value is None else str(value) for name, value in texts.items()}


def running(site: Site) -> tuple[int, int]:
    """Begin two campaigns that cost something on the last days; returns their ids."""
    account = site.account
    total = {"campaign_budget__period": "CUSTOM_PERIOD", "campaign_budget__total_amount_micros": 900_000_000}
    search = account.campaign("Brand, search", campaign__end_date_time="2026-12-31 23:59:59", **total)
    display = account.campaign("Autumn, display", campaign__advertising_channel_type="DISPLAY")
    for ago in range(3):
        account.spent(search, account.today - timedelta(days=ago), 12_340_000 + ago)
    account.spent(display, account.today - timedelta(days=1), 5_000_000)
    return search, display


@contextmanager
def begin(home: Path) -> Generator[GoogleAdsCounterpart]:
    """Yield an account with two campaigns."""
    del home
    with serving(Site()) as site:
        running(site)
        yield GoogleAdsCounterpart(site, {**site.settings, "page_rows": str(PAGE_ROWS)})

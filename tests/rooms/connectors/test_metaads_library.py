"""Meta's own library and the connector see the same rows in our own ad account."""

import json
import subprocess
from datetime import timedelta
from pathlib import Path

from isthmus.connectors.metaads import CONNECTOR
from isthmus.connectors.metaads.conformance import advertised
from isthmus.connectors.metaads.vendor import ACCOUNT, SECRET, TOKEN
from isthmus.connectors.metaads.vendor_http import Site, serving
from isthmus.connectors.metaads.wire import AUDIENCES, CAMPAIGNS, SPEND, Row
from isthmus.kernel.marks import Json
from tests.counterparts import META, require_libraries

SECONDS_MAX = 120


def program(site: Site, days: int) -> dict[str, list[list[Json]]]:
    """Have Meta's own library read the account with the spend of so many days, and return what it saw."""
    python, script = require_libraries(META) / "python", Path(__file__).with_name("metaads_program.py")
    until = site.account.today
    since = until - timedelta(days=days - 1)
    given = [site.url, ACCOUNT, TOKEN, SECRET, since.isoformat(), until.isoformat()]
    done = subprocess.run(
        [str(python), str(script), *given], check=False, capture_output=True, text=True, timeout=SECONDS_MAX
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return json.loads(done.stdout)


async def read(site: Site, feed: str) -> list[Row]:
    """Return the rows of a feed as the connector reads them, those that are there."""
    async with CONNECTOR.open(site.settings | {"page_rows": "2", "first_days": "60"}) as session:
        found = [row async for page in session.read(feed, cursor=None) for row in page.rows]
    return [row.body for row in found if not row.deleted]


def columns(rows: list[Row], *names: str) -> list[list[Json]]:
    """Return some fields of rows, in one order for both."""
    return sorted(([row.get(name) for name in names] for row in rows), key=str)


async def test_metas_library_and_the_connector_see_the_same_account() -> None:
    site = Site()
    running, over = advertised(site)
    site.account.demands_proof, site.account.report_looks = True, 1
    gone = site.account.campaign({"name": "Removed"})
    site.account.status(gone, "DELETED")
    with serving(site):
        saw = program(site, 60)
        campaigns, audiences, spend = [await read(site, feed) for feed in (CAMPAIGNS, AUDIENCES, SPEND)]
    assert saw["account"] == ["Northwind Ads", "EUR", 1]
    fields = ("id", "name", "effective_status", "updated_time", "lifetime_budget", "start_time")
    # The library is told of the deleted one as of any other; the connector says of it that it is gone.
    assert sorted((row for row in saw["campaigns"] if row[0] != gone), key=str) == columns(campaigns, *fields)
    assert {str(row[0]) for row in saw["campaigns"]} == {running, over, gone}
    assert saw["unfiltered"] == [[running]]
    sizes = ("id", "name", "approximate_count_lower_bound", "time_content_updated")
    assert sorted(saw["audiences"], key=str) == columns(audiences, *sizes)
    cost = columns(spend, "campaign_id", "spend", "account_currency", "date_start")
    assert sorted(saw["spend"], key=str) == sorted(saw["report"], key=str) == cost
    assert {str(row[0]) for row in saw["living"]} == {running}
    assert saw["steps"] == ["Job Running", "Job Completed"]
    assert saw["stranger"] == [401, 190, None, "OAuthException"]
    assert saw["proof"] == [400, 100, None, "GraphMethodException"]
    assert saw["absent"] == [400, 100, 33, "GraphMethodException"]
    assert saw["field"][:2] == [400, 100]
    assert saw["old"][:2] == [400, 3_018]

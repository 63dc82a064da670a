"""Google's own library for Python at our account in Google Ads: it reads it as it reads Google."""

import json
import subprocess
from pathlib import Path

from isthmus.connectors.googleads.account_http import Site, serving
from isthmus.connectors.googleads.conformance import running
from isthmus.connectors.googleads.wire import AUDIENCES, CAMPAIGNS, CUSTOMER, SPEND, query
from isthmus.kernel.marks import Json
from tests.counterparts import GOOGLE_ADS, require_libraries

SECONDS_MAX = 120
Wish = tuple[str, dict[str, str], str]


def program(site: Site, *wishes: Wish) -> list[dict[str, Json]]:
    """Have the library do something, and return how it went."""
    python, script = require_libraries(GOOGLE_ADS) / "python", Path(__file__).with_name("googleads_program.py")
    done = subprocess.run(
        [str(python), str(script), site.url, json.dumps(site.settings), json.dumps(wishes)],
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    return json.loads(done.stdout)


def test_googles_own_library_reads_our_account_and_its_refusals_as_it_reads_googles() -> None:
    with serving(Site()) as site:
        account = site.account
        search, display = running(site)
        account.audience(None, {"user_list.name": "Visitors", "user_list.description": "Thirty days"})
        today = account.today
        spent = query(SPEND, f"segments.date BETWEEN '2026-01-01' AND '{today}'", order="segments.date, campaign.id")
        asked = {
            CAMPAIGNS: query(CAMPAIGNS, "campaign.id > 0", order="campaign.id", limit=9),
            AUDIENCES: query(AUDIENCES, order="user_list.id"),
            SPEND: spent,
            CUSTOMER: query(CUSTOMER, limit=1),
        }
        wrong = {
            "field": "SELECT campaign.nothing FROM campaign",
            "range": "SELECT segments.date, metrics.clicks FROM campaign",
            "input": "SELECT campaign.id FROM campaign LIMIT 5 more",
        }
        account.calls_left = 2 * (len(asked) + len(wrong))
        found, codes, stranger, waits = program(
            site,
            ("read", asked, ""),
            ("refused", wrong, ""),
            ("refused", asked, "other"),
            ("refused", {"quota": asked[CUSTOMER]}, ""),
        )
    assert found == {
        CAMPAIGNS: {
            "rows": [
                ["Brand, search", "ENABLED", "SEARCH", 900_000_000, "CUSTOM_PERIOD"],
                ["Autumn, display", "ENABLED", "DISPLAY", 0, "DAILY"],
            ],
            "same": True,
        },
        AUDIENCES: {"rows": [["Visitors", "Thirty days", "RULE_BASED", 1_200]], "same": True},
        SPEND: {"rows": spent_rows(site, search, display), "same": True},
        CUSTOMER: {"rows": [[1_234_567_890, "Europe/Berlin", "EUR", False]], "same": True},
    }
    assert codes == {
        "field": [["INVALID_ARGUMENT", "query_error", "UNRECOGNIZED_FIELD", 0]] * 2,
        "range": [["INVALID_ARGUMENT", "query_error", "EXPECTED_FILTERS_ON_DATE_RANGE", 0]] * 2,
        "input": [["INVALID_ARGUMENT", "query_error", "UNEXPECTED_INPUT", 0]] * 2,
    }
    assert stranger[CUSTOMER] == [["UNAUTHENTICATED", "authentication_error", "DEVELOPER_TOKEN_INVALID", 0]] * 2
    assert waits == {"quota": [["RESOURCE_EXHAUSTED", "quota_error", "RESOURCE_EXHAUSTED", 7.0]] * 2}


def spent_rows(site: Site, search: int, display: int) -> list[Json]:
    """Return what the campaigns cost, day by day."""
    rows = sorted((at.isoformat(), own, each[0], each[1]) for (own, at), each in site.account.costs.items())
    assert {own for _, own, _, _ in rows} == {search, display}
    return [[own, day, micros, seen] for day, own, micros, seen in rows]

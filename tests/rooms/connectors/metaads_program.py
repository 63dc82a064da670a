"""A customer's program: Meta's own library for Python reads an ad account, and tells what it saw, as JSON.

Run by a Python that has it: python metaads_program.py ADDRESS ACCOUNT TOKEN SECRET SINCE UNTIL
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Protocol, cast


class Loose(Protocol):
    """Anything of the library, which tells no types."""

    def __getattr__(self, name: str) -> "Loose": ...
    def __setattr__(self, name: str, value: object) -> None: ...
    def __getitem__(self, key: str) -> "Loose": ...
    def __call__(self, *given: object, **named: object) -> "Loose": ...
    def __iter__(self) -> Iterator["Loose"]: ...


library = cast("Loose", import_module("facebook_business.api"))
sessions = cast("Loose", import_module("facebook_business.session"))
accounts = cast("Loose", import_module("facebook_business.adobjects.adaccount"))
RequestError = cast("type[Exception]", import_module("facebook_business.exceptions").FacebookRequestError)
STATUSES = ["ACTIVE", "PAUSED", "ARCHIVED", "IN_PROCESS", "WITH_ISSUES", "DELETED"]
# Two a page, so that its cursors are followed.
LIMIT = 2
Answer = dict[str, object]


def opened(url: str, account: str, token: str, secret: str) -> Loose:
    """Return an ad account of the library, which asks at another address than Meta's."""
    session = sessions.FacebookSession(app_id="-", app_secret=secret, access_token=token)
    session.GRAPH = url
    return accounts.AdAccount(f"act_{account}", api=library.FacebookAdsApi(session))


def told(found: Loose, *names: str) -> list[list[object]]:
    """Return some fields of all rows."""
    return [[cast("Callable[[str], object]", row.get)(name) for name in names] for row in found]


def spent(account: Loose, since: str, until: str) -> Answer:
    """Read insights at once, and by a report that is waited for."""
    fields = ["campaign_id", "spend", "account_currency"]
    params: Answer = {"level": "campaign", "time_increment": 1, "time_range": {"since": since, "until": until}}
    params["limit"] = LIMIT
    plain = told(account.get_insights(fields=fields, params=dict(params)), *fields, "date_start")
    params["filtering"] = [{"field": "campaign.effective_status", "operator": "IN", "value": STATUSES}]
    whole = told(account.get_insights(fields=fields, params=dict(params)), *fields, "date_start")
    run = account.get_insights_async(fields=list(fields), params=dict(params))
    steps: list[object] = []
    while not steps or steps[-1] == "Job Running":
        run = run.api_get(fields=["async_status", "async_percent_completion"])
        steps.append(run["async_status"])
        time.sleep(0.01)
    found = told(run.get_insights(params={"limit": LIMIT}), *fields, "date_start")
    return {"living": plain, "spend": whole, "report": found, "steps": steps}


def refused(ask: Callable[[], object]) -> list[object]:
    """Return the status and the code of a refusal, as the library understands it."""
    try:
        ask()
    except RequestError as error:
        known = cast("Loose", error)
        return [known.http_status(), known.api_error_code(), known.api_error_subcode(), known.api_error_type()]
    return []


def main() -> None:
    """Read it all."""
    url, own, token, secret, since, until = sys.argv[1:]
    account = opened(url, own, token, secret)
    fields = ["id", "name", "effective_status", "updated_time", "lifetime_budget", "start_time"]
    every: Answer = {"effective_status": STATUSES, "limit": LIMIT}
    sizes = ["id", "name", "approximate_count_lower_bound", "time_content_updated"]
    about = account.api_get(fields=["name", "currency", "timezone_offset_hours_utc"])
    answer: Answer = {
        "account": [about["name"], about["currency"], about["timezone_offset_hours_utc"]],
        "campaigns": told(account.get_campaigns(fields=fields, params=every), *fields),
        "unfiltered": told(account.get_campaigns(fields=["id"], params={"limit": LIMIT}), "id"),
        "audiences": told(account.get_custom_audiences(fields=sizes, params={"limit": 1}), *sizes),
        **spent(account, since, until),
        "stranger": refused(lambda: opened(url, own, "of-nobody", secret).api_get()),
        "proof": refused(lambda: opened(url, own, token, "of-another").api_get()),
        "absent": refused(lambda: opened(url, "1", token, secret).api_get()),
        "field": refused(lambda: account.get_campaigns(fields=["no_such_field"])),
        "old": refused(lambda: account.get_insights(params={"time_range": {"since": "2020-01-01", "until": until}})),
    }
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()

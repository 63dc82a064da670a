"""Our own ad account of Meta's documented Marketing API: what it holds, what it refuses, and in which words.

https://developers.facebook.com/docs/marketing-api (v26.0). It knows the edges, fields and parameters that are used
here, and refuses others, as Meta refuses unknown fields. Rows of insights are only of days with delivery.
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

from msgspec.json import decode

from isthmus.connectors.metaads.wire import LIVING, STATUSES, Row, told
from isthmus.kernel.marks import Json

ACCOUNT, TOKEN, SECRET = "1000200030004000", "EAAB-of-a-system-user", "secret-of-the-app"
LIMIT, LIMIT_MAX, MONTHS_DAYS = 25, 500, 1_127
FIELDS = {
    "campaigns": frozenset(
        [
            "id",
            "account_id",
            "name",
            "objective",
            "status",
            "effective_status",
            "created_time",
            "updated_time",
            "start_time",
            "stop_time",
            "daily_budget",
            "lifetime_budget",
        ]
    ),
    "customaudiences": frozenset(
        [
            "id",
            "account_id",
            "name",
            "description",
            "subtype",
            "approximate_count_lower_bound",
            "approximate_count_upper_bound",
            "time_created",
            "time_updated",
            "time_content_updated",
        ]
    ),
    "insights": frozenset(
        [
            "campaign_id",
            "campaign_name",
            "spend",
            "account_currency",
            "account_id",
            "impressions",
            "date_start",
            "date_stop",
        ]
    ),
    "account": frozenset(
        ["id", "account_id", "name", "currency", "account_status", "timezone_name", "timezone_offset_hours_utc"]
    ),
    "report": frozenset(["id", "account_id", "async_status", "async_percent_completion", "date_start", "date_stop"]),
}
_COMMON = frozenset({"access_token", "appsecret_proof", "fields", "limit", "after", "summary"})
_ASKED = frozenset({"level", "time_increment", "time_range", "filtering"})
PARAMETERS = {"campaigns": _COMMON | {"effective_status"}, "customaudiences": _COMMON, "insights": _COMMON | _ASKED}
_USE_CASES = {80_000: "ads_insights", 80_003: "custom_audience", 80_004: "ads_management"}


class Refused(Exception):
    """An error of Meta's, with the status and the headers that it comes with."""

    def __init__(self, status: int, code: int, message: str, *, kind: str = "OAuthException", **more: Json) -> None:
        """`more` stands beside the code: `error_subcode`, `is_transient`."""
        super().__init__(message)
        self.status = status
        self.headers: dict[str, str] = {}
        error: Row = {"message": message, "type": kind, "code": code, **more, "fbtrace_id": "Akj7XKQ2fake"}
        self.body: Row = {"error": error}


@dataclass
class AdAccount:
    """An ad account; `now` is its clock, which ticks with every change that people make."""

    now: datetime = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
    offset_h: int = 1
    currency: str = "EUR"
    demands_proof: bool = False
    rights: bool = True
    slower: list[int] = field(default_factory=list[int])
    passing: int = 0
    sync_rows_max: int = 10_000
    report_looks: int = 0
    report_ends: str = "Job Completed"
    campaigns: dict[str, Row] = field(default_factory=dict[str, Row])
    audiences: dict[str, Row] = field(default_factory=dict[str, Row])
    spent: dict[tuple[str, date], Decimal] = field(default_factory=dict[tuple[str, date], Decimal])
    reports: dict[str, tuple[list[Row], int]] = field(default_factory=dict[str, tuple[list[Row], int]])
    asked: list[str] = field(default_factory=list[str])
    made: int = 0

    @property
    def today(self) -> date:
        """The day that it is in the zone of the account."""
        return self._here().date()

    def number(self) -> str:
        """Return an id that nothing has."""
        self.made += 1
        return str(120_200_000_000_000_000 + self.made)

    def campaign(self, values: Row, own: str | None = None, *, still: bool = False) -> str:
        """Make a campaign, or change one; returns its id."""
        self._tick(still=still)
        stamp = told(self._here())
        number = own or self.number()
        fresh: Row = {"id": number, "account_id": ACCOUNT, "objective": "OUTCOME_LEADS", "created_time": stamp}
        fresh |= {"status": "ACTIVE", "effective_status": "ACTIVE", "start_time": stamp}
        self.campaigns[number] = {**self.campaigns.get(number, fresh), **values, "updated_time": stamp}
        return number

    def status(self, own: str, status: str) -> None:
        """Pause, archive or delete a campaign."""
        self.campaign({"status": status, "effective_status": status}, own)

    def audience(self, values: Row, own: str | None = None) -> str:
        """Make a custom audience, or change one; returns its id."""
        self._tick()
        stamp, number = int(self.now.timestamp()), own or self.number()
        fresh: Row = {"id": number, "account_id": ACCOUNT, "subtype": "CUSTOM", "time_created": stamp}
        fresh |= {"approximate_count_lower_bound": -1, "approximate_count_upper_bound": -1}
        known = self.audiences.get(number, fresh)
        self.audiences[number] = {**known, "time_content_updated": stamp, **values, "time_updated": stamp}
        return number

    def spend(self, own: str, at: date, amount: str | None) -> None:
        """Say what a campaign cost on a day; None: nothing was delivered, as it turned out."""
        if amount is None:
            self.spent.pop((own, at), None)
        else:
            self.spent[own, at] = Decimal(amount)

    def admit(self, params: Mapping[str, str]) -> None:
        """Refuse a call that does not prove who makes it, or that comes too soon."""
        token, proof = params.get("access_token"), params.get("appsecret_proof")
        if token is None:
            raise Refused(400, 104, "An access token is required to request this resource.")
        if token != TOKEN:
            raise Refused(401, 190, "Invalid OAuth access token - Cannot parse access token")
        if proof is None and self.demands_proof:
            message = "API calls from the server require an appsecret_proof argument"
            raise Refused(400, 100, message, kind="GraphMethodException")
        if proof is not None and proof != hmac.new(SECRET.encode(), token.encode(), "sha256").hexdigest():
            message = "Invalid appsecret_proof provided in the API argument"
            raise Refused(400, 100, message, kind="GraphMethodException")
        if self.passing:
            self.passing -= 1
            raise Refused(
                500, 2, "An unexpected error has occurred. Please retry your request later.", is_transient=True
            )
        if self.slower:
            raise self._slower(self.slower.pop(0))
        if not self.rights:
            raise Refused(
                403,
                200,
                "(#200) Ad account owner has NOT grant ads_management or ads_read permission",
                kind="OAuthException",
            )

    def about(self, params: Mapping[str, str]) -> Row:
        """Return the ad account."""
        own: Row = {"id": f"act_{ACCOUNT}", "account_id": ACCOUNT, "name": "Northwind Ads", "currency": self.currency}
        own |= {"account_status": 1, "timezone_name": "Europe/Berlin", "timezone_offset_hours_utc": self.offset_h}
        return chosen("account", own, params)

    def listed(self, edge: str, params: Mapping[str, str]) -> Row:
        """Return a page of campaigns, audiences or insights."""
        known(edge, params)
        if edge == "insights":
            found = self.insights(params)
            if len(found) > self.sync_rows_max:
                message = "Please reduce the amount of data you're asking for, then retry your request"
                raise Refused(400, 100, message, error_subcode=1_487_534)
            return paged([chosen(edge, row, params, also=("date_start", "date_stop")) for row in found], params)
        rows = self.audiences if edge == "customaudiences" else self.campaigns
        found = list(reversed(rows.values()))
        if edge == "campaigns":
            # Archived and deleted ones are told only when they are asked for.
            wanted = _texts(params, "effective_status", STATUSES) or [each for each in LIVING if each != "ARCHIVED"]
            found = [row for row in found if row["effective_status"] in wanted]
        return paged([chosen(edge, row, params) for row in found], params)

    def insights(self, params: Mapping[str, str]) -> list[Row]:
        """Return what campaigns cost by day, in no particular order."""
        since, until = self._range(params)
        if params.get("level") != "campaign" or params.get("time_increment") != "1":
            raise Refused(400, 100, "(#100) Invalid parameter: only campaigns by day are known here")
        wanted = _filtered(params)
        told_: list[Row] = []
        for (own, at), amount in self.spent.items():
            campaign = self.campaigns[own]
            if since <= at <= until and campaign["effective_status"] in wanted:
                day = at.isoformat()
                row: Row = {"campaign_id": own, "campaign_name": campaign["name"], "spend": format(amount, "f")}
                row |= {"account_currency": self.currency, "account_id": ACCOUNT, "impressions": "1000"}
                told_.append({**row, "date_start": day, "date_stop": day})
        return told_

    def begun(self, params: Mapping[str, str]) -> Row:
        """Begin a report in the background."""
        known("insights", params)
        chosen("insights", {}, params)
        number = self.number()
        found = [chosen("insights", row, params, also=("date_start", "date_stop")) for row in self.insights(params)]
        self.reports[number] = (found, self.report_looks)
        return {"report_run_id": number}

    def looked(self, run: str, params: Mapping[str, str]) -> Row:
        """Tell how far a report is."""
        found, looks = self.reports[run]
        self.reports[run] = (found, max(0, looks - 1))
        done = looks == 0
        row: Row = {"id": run, "account_id": ACCOUNT, "async_status": self.report_ends if done else "Job Running"}
        return chosen("report", {**row, "async_percent_completion": 100 if done else 40}, params)

    def reported(self, run: str, params: Mapping[str, str]) -> Row:
        """Return a page of a report."""
        found, looks = self.reports[run]
        if looks or self.report_ends != "Job Completed":
            raise Refused(400, 2_601, "(#2601) The report is not ready")
        if strange := params.keys() - _COMMON:
            raise Refused(400, 100, f"(#100) Unknown parameter: {min(strange)}")
        return paged(found, params)

    def _range(self, params: Mapping[str, str]) -> tuple[date, date]:
        try:
            given = json.loads(params["time_range"])
            since, until = date.fromisoformat(given["since"]), date.fromisoformat(given["until"])
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(400, 100, "(#100) param time_range must be non-empty.") from error
        if since > until:
            raise Refused(400, 100, "(#100) The since date must be before the until date")
        if since < self.today - timedelta(days=MONTHS_DAYS):
            message = "(#3018) The start date of the time range cannot be beyond 37 months from the current date"
            raise Refused(400, 3_018, message)
        return since, until

    def _slower(self, code: int) -> Refused:
        refused = Refused(400, code, "There have been too many calls to this ad-account. Wait a bit and try again.")
        if code in _USE_CASES:
            usage: Row = {"type": _USE_CASES[code], "call_count": 100, "total_cputime": 40, "total_time": 40}
            usage |= {"estimated_time_to_regain_access": 3, "ads_api_access_tier": "standard_access"}
            refused.headers["X-Business-Use-Case-Usage"] = json.dumps({"7770001": [usage]})
        else:
            usage = {"acc_id_util_pct": 100, "reset_time_duration": 90, "ads_api_access_tier": "standard_access"}
            refused.headers["X-Ad-Account-Usage"] = json.dumps(usage)
        return refused

    def _here(self) -> datetime:
        return self.now.astimezone(timezone(timedelta(hours=self.offset_h)))

    def _tick(self, *, still: bool = False) -> None:
        if not still:
            self.now += timedelta(seconds=1)


def known(edge: str, params: Mapping[str, str]) -> None:
    """Refuse parameters that are not those of an edge."""
    if strange := params.keys() - PARAMETERS[edge]:
        raise Refused(400, 100, f"(#100) Unknown parameter: {min(strange)}")


def chosen(kind: str, row: Row, params: Mapping[str, str], *, also: tuple[str, ...] = ()) -> Row:
    """Return the fields of a row that were asked for, else its id; what is empty is left out, as Meta does."""
    given = params.get("fields", "")
    try:
        asked = json.loads(given) if given.startswith("[") else [each for each in given.split(",") if each]
    except ValueError:
        asked = [given]
    for name in asked:
        if name not in FIELDS[kind]:
            raise Refused(400, 100, f"(#100) Tried accessing nonexisting field ({name}) on node type ({kind})")
    names = {*asked, *also, *(() if kind == "insights" else ("id",))}
    return {name: value for name, value in row.items() if name in names and value is not None}


def paged(found: list[Row], params: Mapping[str, str]) -> Row:
    """Return the page of a list after a cursor; cursors stand for rows, so that pages do not shift."""
    given = params.get("limit", str(LIMIT))
    if not given.isdecimal() or not 0 < int(given) <= LIMIT_MAX:
        raise Refused(400, 100, "(#100) Param limit must be an integer of at most 500")
    start = 0
    if after := params.get("after"):
        start = next((at + 1 for at, row in enumerate(found) if _cursor(row) == after), _shifted(found, after))
    part = found[start : start + int(given)]
    if not part:
        return {"data": []}
    cursors: Row = {"before": _cursor(part[0]), "after": _cursor(part[-1])}
    paging: Row = {"cursors": cursors}
    if start + int(given) < len(found):
        paging["next"] = f"https://graph.facebook.com/next?after={_cursor(part[-1])}"
    return {"data": [*part], "paging": paging}


def _cursor(row: Row) -> str:
    own = row.get("id") or f"{row.get('campaign_id')}/{row['date_start']}"
    return urlsafe_b64encode(str(own).encode()).decode().rstrip("=")


def _shifted(found: list[Row], after: str) -> int:
    """Return where a list goes on after a row that has left it: lists go from the newest id to the oldest."""
    try:
        own = urlsafe_b64decode(after + "=" * (-len(after) % 4)).decode()
    except ValueError as error:
        raise Refused(400, 100, "(#100) Invalid cursor") from error
    return next((at for at, row in enumerate(found) if str(row.get("id", "")) < own), len(found))


def _texts(params: Mapping[str, str], name: str, may: tuple[str, ...]) -> list[str]:
    try:
        given = decode(params.get(name, "[]"), type=list[str])
    except ValueError as error:
        raise Refused(400, 100, f"(#100) Param {name} must be an array.") from error
    if set(given) - set(may):
        raise Refused(400, 100, f"(#100) Param {name}[0] must be one of {{{', '.join(may)}}}")
    return given


def _filtered(params: Mapping[str, str]) -> list[str]:
    """Return of campaigns in which states insights are: of archived and deleted ones only when filtered for."""
    try:
        filters = json.loads(params.get("filtering", "[]"))
        for each in filters:
            if (each["field"], each["operator"]) == ("campaign.effective_status", "IN"):
                return [str(value) for value in each["value"] if value in STATUSES]
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(400, 100, "(#100) Param filtering must be an array of filters.") from error
    if filters:
        raise Refused(400, 100, "(#100) Param filtering[0][field] is not known here")
    return [each for each in LIVING if each != "ARCHIVED"]

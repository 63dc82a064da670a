"""An account in Google Ads, as its documentation says it answers: our own, in memory, for trying the connector.

It refuses what Google refuses: queries that are none, tokens that ended, developer tokens of others, accounts that
nobody gave access to, and pages that it never gave. Google's own library for Python drives it in the tests.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from threading import RLock
from zoneinfo import ZoneInfo

from isthmus.connectors.googleads.gaql import Condition, Query, QueryRefused, parsed
from isthmus.connectors.googleads.wire import VERSION, Row
from isthmus.kernel.marks import Json

CUSTOMER, ABOVE, DEVELOPER = "1234567890", "9876543210", "dev-token-of-the-fake"
APP = {"client_id": "app-1.apps.example", "client_secret": "app-s3cret", "refresh_token": "1//refresh-of-somebody"}
SCOPE = "https://www.googleapis.com/auth/adwords"
PAGE_ROWS = 10_000
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FAILURE = f"type.googleapis.com/google.ads.googleads.{VERSION}.errors.GoogleAdsFailure"
Value = str | int | None
_PLACES = {
    "customer": "customers/{0}",
    "campaign": "customers/{0}/campaigns/{1}",
    "user_list": "customers/{0}/userLists/{1}",
}
_BUDGET = "campaign_budget"
_PAST = {"TODAY": (0, 0), "YESTERDAY": (1, 1), "LAST_7_DAYS": (7, 1), "LAST_14_DAYS": (14, 1), "LAST_30_DAYS": (30, 1)}


class Refused(Exception):
    """What Google would answer instead: a status of HTTP, its name, and an error of Google Ads."""

    def __init__(self, status: int, name: str, kind: str, code: str, message: str, details: Row | None = None) -> None:
        """`kind` and `code` are those of GoogleAdsError."""
        super().__init__(message)
        self.status, self.name, self.message = status, name, message
        self.error: dict[str, Json] = {"errorCode": {kind: code}, "message": message}
        if details:
            self.error["details"] = details

    def body(self, request: str) -> Row:
        """Return what is answered; `request` is its id."""
        failure: dict[str, Json] = {"@type": FAILURE, "errors": [self.error], "requestId": request}
        said = "Request contains an invalid argument." if self.name == "INVALID_ARGUMENT" else self.message
        return {"error": {"code": self.status, "message": said, "status": self.name, "details": [failure]}}


@dataclass
class Account:
    """Campaigns and user lists by id, and what campaigns cost by day, in micros; `now` is the time there."""

    campaigns: dict[int, dict[str, Value]] = field(default_factory=dict[int, dict[str, Value]])
    lists: dict[int, dict[str, Value]] = field(default_factory=dict[int, dict[str, Value]])
    costs: dict[tuple[int, date], tuple[int, int, int]] = field(
        default_factory=dict[tuple[int, date], tuple[int, int, int]]
    )
    now: datetime = NOON
    zone: str = "Europe/Berlin"
    manager: bool = False
    made: int = 0
    tokens: set[str] = field(default_factory=set[str])
    codes: dict[str, tuple[str | None, bool]] = field(default_factory=dict[str, tuple[str | None, bool]])
    calls_left: int | None = None
    retry_delay: str = "7s"
    lock: RLock = field(default_factory=RLock)
    asked: list[str] = field(default_factory=list[str])

    @property
    def today(self) -> date:
        """Which day it is where the account is."""
        return self.now.astimezone(ZoneInfo(self.zone)).date()

    def number(self) -> int:
        """Return an id that is new; later ones are greater."""
        self.made += 1
        return 20_000_000_000 + self.made

    def campaign(self, name: str, **values: Value) -> int:
        """Make a campaign; returns its id."""
        with self.lock:
            own = self.number()
            usual: dict[str, Value] = {
                "campaign.status": "ENABLED",
                "campaign.serving_status": "SERVING",
                "campaign.advertising_channel_type": "SEARCH",
                "campaign.start_date_time": "2026-11-02 00:00:00",
                "campaign_budget.period": "DAILY",
                "campaign_budget.amount_micros": 20_000_000,
            }
            given = {each.replace("__", ".", 1): value for each, value in values.items()}
            self.campaigns[own] = {**usual, "campaign.id": own, "campaign.name": name, **given}
            return own

    def spent(self, campaign: int, day: date, micros: int, *, impressions: int = 100, clicks: int = 3) -> None:
        """Say what a campaign cost on a day, anew; nothing at all is what no row is told of."""
        with self.lock:
            self.costs[campaign, day] = (micros, impressions, clicks)

    def audience(self, own: int | None, values: Mapping[str, Value]) -> int:
        """Make a user list, or change one; returns its id."""
        with self.lock:
            own = self.number() if own is None else own
            usual: dict[str, Value] = {"user_list.type": "RULE_BASED", "user_list.size_for_display": 1_200}
            self.lists[own] = {**usual, "user_list.id": own, **self.lists.get(own, {}), **values}
            return own

    def consented(self, query: Mapping[str, str]) -> str:
        """Return a code: whoever comes has consented."""
        with self.lock:
            code = f"4/{self.number()}"
            lasting = (query.get("access_type"), query.get("prompt")) == ("offline", "consent")
            self.codes[code] = (query.get("code_challenge", ""), lasting)
            return code

    def token(self, form: Mapping[str, str]) -> Row | None:
        """Return what the address for tokens answers; nothing where it refuses.

        A refresh token comes only with a consent that was asked for offline, and not with what it is shown for.
        """
        more: Row = {}
        if any(form.get(name) != APP[name] for name in ("client_id", "client_secret")):
            return None
        if form.get("grant_type") == "authorization_code":
            challenge, lasting = self.codes.pop(form.get("code", ""), (None, False))
            digest = sha256(form.get("code_verifier", "").encode()).digest()
            if challenge != urlsafe_b64encode(digest).rstrip(b"=").decode():
                return None
            more = {"refresh_token": APP["refresh_token"]} if lasting else {}
        elif form.get("grant_type") != "refresh_token" or form.get("refresh_token") != APP["refresh_token"]:
            return None
        with self.lock:
            token = f"ya29.{self.number()}"
            self.tokens.add(token)
            return {"access_token": token, "expires_in": 3599, "token_type": "Bearer", "scope": SCOPE, **more}

    def admit(self, customer: str, headers: Mapping[str, str]) -> None:
        """Raise Refused for who may not ask of this account, or asks too often."""
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            raise Refused(
                *(401, "UNAUTHENTICATED", "authenticationError", "OAUTH_TOKEN_INVALID"),
                "The OAuth token in the header is invalid.",
            )
        if headers.get("developer-token") != DEVELOPER:
            raise Refused(
                *(401, "UNAUTHENTICATED", "authenticationError", "DEVELOPER_TOKEN_INVALID"),
                "The developer token is not valid.",
            )
        if customer != CUSTOMER or headers.get("login-customer-id", ABOVE) != ABOVE:
            raise Refused(
                *(403, "PERMISSION_DENIED", "authorizationError", "USER_PERMISSION_DENIED"),
                "User doesn't have permission to access customer. Note: If you're accessing a client customer, the"
                " manager's customer id must be set in the 'login-customer-id' header.",
            )
        if self.calls_left is not None:
            self.calls_left -= 1
            if self.calls_left < 0:
                scope: Row = {
                    "rateScope": "ACCOUNT",
                    "rateName": "Requests per account",
                    "retryDelay": self.retry_delay,
                }
                raise Refused(
                    *(429, "RESOURCE_EXHAUSTED", "quotaError", "RESOURCE_EXHAUSTED"),
                    "Too many requests. Retry later.",
                    {"quotaErrorDetails": scope},
                )

    def answered(self, text: str) -> tuple[list[Row], str]:
        """Return the rows of a query in the form of answers, and the mask of their fields; raises Refused."""
        with self.lock:
            self.asked.append(text)
            try:
                query = parsed(text)
                self._measured(query)
            except QueryRefused as refused:
                raise Refused(*(400, "INVALID_ARGUMENT", "queryError", refused.code), refused.message) from refused
            rows = [row for row in self._rows(query) if all(self._holds(row, query, each) for each in query.where)]
            for name, falling in reversed(query.order):
                rows.sort(key=lambda row: _sortable(row.get(name)), reverse=falling)
            told = [self._told(query, row) for row in rows[: query.limit]]
            return told, ",".join(_camel(name) for name in query.fields)

    def _measured(self, query: Query) -> None:
        """Raise QueryRefused where metrics are asked of an account that manages others."""
        if self.manager and any(name.startswith("metrics.") for name in query.fields):
            raise QueryRefused("REQUESTED_METRICS_FOR_MANAGER", "Metrics cannot be requested for a manager account.")

    def _rows(self, query: Query) -> list[dict[str, Value]]:
        account: dict[str, Value] = {
            "customer.id": int(CUSTOMER),
            "customer.descriptive_name": "Northwind Ads",
            "customer.currency_code": "EUR",
            "customer.time_zone": self.zone,
            "customer.manager": "true" if self.manager else "false",
        }
        if query.resource == "customer":
            return [account]
        if query.resource == "user_list":
            return [{**row, **account} for row in self.lists.values()]
        metrics = [name for name in query.fields if name.startswith("metrics.")]
        if "segments.date" not in query.fields:
            return [{**row, **account, **dict.fromkeys(metrics, 0)} for row in self.campaigns.values()]
        found: list[dict[str, Value]] = []
        for (own, at), (micros, impressions, clicks) in self.costs.items():
            counted: dict[str, Value] = {
                "metrics.cost_micros": micros,
                "metrics.impressions": impressions,
                "metrics.clicks": clicks,
            }
            # What is split by days has no rows in which all that was asked for is zero.
            if any(counted[name] for name in metrics):
                found.append({**self.campaigns[own], **account, **counted, "segments.date": at.isoformat()})
        return found

    def _holds(self, row: Mapping[str, Value], query: Query, condition: Condition) -> bool:
        held, values = row.get(condition.field), list(condition.values)
        if condition.operator == "DURING":
            first, last = _PAST[values[0]]
            values = [(self.today - timedelta(days=ago)).isoformat() for ago in (first, last)]
        if held is None:
            return False
        known: list[int | str] = [int(each) if query.kind(condition.field) == "number" else each for each in values]
        return _compared(held, condition.operator, known)

    def _told(self, query: Query, row: Mapping[str, Value]) -> Row:
        found: dict[str, dict[str, Json]] = {}
        for name in query.fields:
            part, _, rest = name.partition(".")
            inner = found.setdefault(_camel(part), {})
            if part in _PLACES:
                inner["resourceName"] = _PLACES[part].format(CUSTOMER, row.get(f"{part}.id"))
            elif part == _BUDGET:
                inner["resourceName"] = f"customers/{CUSTOMER}/campaignBudgets/{row.get('campaign.id')}"
                found.setdefault("campaign", {})["campaignBudget"] = inner["resourceName"]
            value = row.get(name)
            if value is not None:
                inner[_camel(rest)] = value == "true" if name == "customer.manager" else str(value)
        return dict(found)


def _compared(held: str | int, operator: str, values: list[int | str]) -> bool:
    if operator == "IN":
        return held in values
    left, first, last = _sortable(held), _sortable(values[0]), _sortable(values[-1])
    return {
        "=": left == first,
        "!=": left != first,
        ">": left > first,
        ">=": left >= first,
        "<": left < first,
        "<=": left <= first,
        "BETWEEN": first <= left <= last,
        "DURING": first <= left <= last,
    }[operator]


def _sortable(value: Value) -> tuple[int, str]:
    return (value, "") if isinstance(value, int) else (0, value or "")


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(each[:1].upper() + each[1:] for each in others)

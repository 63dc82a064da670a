"""The query language of Google Ads, as far as our own account understands it; it refuses as the documentation says.

https://developers.google.com/google-ads/api/docs/query/grammar and .../reference/rpc/v26/QueryErrorEnum.QueryError.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

_TOKENS = re.compile(r"\s*(?:('[^'\n]*'|\"[^\"\n]*\")|(>=|<=|!=|[=<>(),])|([A-Za-z0-9_.\-]+)|(\S))")
_TEXT, _NUMBER, _DATE = "text", "number", "date"
_CUSTOMER = {
    "customer.id": _NUMBER,
    "customer.descriptive_name": _TEXT,
    "customer.currency_code": _TEXT,
    "customer.time_zone": _TEXT,
    "customer.manager": _TEXT,
}
_CAMPAIGN = {
    "campaign.id": _NUMBER,
    "campaign.name": _TEXT,
    "campaign.status": _TEXT,
    "campaign.serving_status": _TEXT,
    "campaign.advertising_channel_type": _TEXT,
    "campaign.start_date_time": _TEXT,
    "campaign.end_date_time": _TEXT,
    "campaign_budget.period": _TEXT,
    "campaign_budget.amount_micros": _NUMBER,
    "campaign_budget.total_amount_micros": _NUMBER,
    "segments.date": _DATE,
    "metrics.cost_micros": _NUMBER,
    "metrics.impressions": _NUMBER,
    "metrics.clicks": _NUMBER,
}
_USER_LIST = {
    "user_list.id": _NUMBER,
    "user_list.name": _TEXT,
    "user_list.description": _TEXT,
    "user_list.type": _TEXT,
    "user_list.size_for_display": _NUMBER,
    "user_list.size_for_search": _NUMBER,
}
# Fields by the resource of which they may be asked.
RESOURCES: Mapping[str, Mapping[str, str]] = {
    "customer": _CUSTOMER,
    "campaign": {**_CAMPAIGN, **_CUSTOMER},
    "user_list": {**_USER_LIST, **_CUSTOMER},
}
_KNOWN = {name for fields in RESOURCES.values() for name in fields}
_DURING = frozenset({"TODAY", "YESTERDAY", "LAST_7_DAYS", "LAST_14_DAYS", "LAST_30_DAYS"})
OPERATORS = frozenset({"=", "!=", ">", ">=", "<", "<="})


class QueryRefused(Exception):
    """A query that is not one, with the code that Google gives it."""

    def __init__(self, code: str, message: str) -> None:
        """`code` is one of QueryErrorEnum."""
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True)
class Condition:
    """`operator` is one of `OPERATORS`, `IN`, `BETWEEN` and `DURING`."""

    field: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Query:
    """What is asked for; `order` has fields, each with whether it is descending."""

    fields: tuple[str, ...]
    resource: str
    where: tuple[Condition, ...]
    order: tuple[tuple[str, bool], ...]
    limit: int | None

    def kind(self, field: str) -> str:
        """Return of which kind a field is."""
        return RESOURCES[self.resource][field]


def parsed(text: str) -> Query:
    """Return a query; raises QueryRefused."""
    query = _Reader(text).query()
    for name in (*query.fields, *(each.field for each in query.where), *(name for name, _ in query.order)):
        if name not in _KNOWN:
            raise QueryRefused("UNRECOGNIZED_FIELD", f"Unrecognized field in the query: '{name}'.")
        if name not in RESOURCES[query.resource]:
            raise QueryRefused(
                "PROHIBITED_RESOURCE_TYPE_IN_SELECT_CLAUSE",
                f"The following field may not be used with FROM clause '{query.resource}': '{name}'.",
            )
    for name, _ in query.order:
        if name not in query.fields:
            raise QueryRefused("EXPECTED_REFERENCED_FIELD_IN_SELECT_CLAUSE", f"'{name}' must be in SELECT clause.")
    for each in query.where:
        _fits(query.kind(each.field), each)
    _bounded(query)
    return query


def _fits(kind: str, condition: Condition) -> None:
    """Raise QueryRefused where a condition does not fit its field."""
    if condition.operator == "DURING":
        if kind != _DATE or condition.values[0] not in _DURING:
            raise QueryRefused("INVALID_VALUE_WITH_DURING_OPERATOR", f"'{condition.values[0]}' is no range of dates.")
        return
    for value in condition.values:
        if kind == _NUMBER and not value.lstrip("-").isdecimal():
            raise QueryRefused("BAD_NUMBER", f"'{value}' is no number.")
        if kind == _DATE:
            try:
                date.fromisoformat(value)
            except ValueError as error:
                raise QueryRefused("INVALID_DATE_FORMAT", f"'{value}' is no date.") from error
    if kind == _TEXT and condition.operator not in ("=", "!=", "IN"):
        raise QueryRefused("OPERATOR_FIELD_MISMATCH", f"'{condition.operator}' does not fit '{condition.field}'.")


def _bounded(query: Query) -> None:
    """Raise QueryRefused where days are selected, and no finite range of them is given."""
    of_days = [each.operator for each in query.where if each.field == "segments.date"]
    finite = {"=", "BETWEEN", "DURING", "IN"} & set(of_days) or {">=", "<="} <= set(of_days)
    if ("segments.date" in query.fields or of_days) and not finite:
        raise QueryRefused(
            "EXPECTED_FILTERS_ON_DATE_RANGE", "'segments.date' needs a finite range of dates in the WHERE clause."
        )


class _Reader:
    """Reads a query word by word; words of the language are taken in any case."""

    def __init__(self, text: str) -> None:
        self._left: list[tuple[str, bool]] = []
        for quoted, sign, word, other in _TOKENS.findall(text.rstrip()):
            if other:
                code = "STRING_NOT_TERMINATED" if other in "'\"" else "BAD_SYMBOL"
                raise QueryRefused(code, f"Error in query: unexpected '{other}'.")
            self._left.append((quoted[1:-1], True) if quoted else (sign or word, False))

    def query(self) -> Query:
        """Return the query; raises QueryRefused."""
        self._expect("SELECT", "EXPECTED_SELECT")
        fields = self._several()
        self._expect("FROM", "EXPECTED_FROM")
        resource = self._word()
        if resource not in RESOURCES:
            raise QueryRefused("BAD_RESOURCE_TYPE_IN_FROM_CLAUSE", f"'{resource}' is no resource.")
        where, order, limit = self._where(), self._order(), self._limit()
        if self._left:
            raise QueryRefused("UNEXPECTED_INPUT", f"Error in query: unexpected input {self._left[0][0]}.")
        return Query(fields, resource, where, order, limit)

    def _where(self) -> tuple[Condition, ...]:
        found: list[Condition] = []
        if self._takes("WHERE"):
            found.append(self._condition())
            while self._takes("AND"):
                found.append(self._condition())
        return tuple(found)

    def _condition(self) -> Condition:
        field, operator = self._word(), self._word().upper()
        if operator in OPERATORS or operator == "DURING":
            return Condition(field, operator, (self._word(),))
        if operator == "BETWEEN":
            first = self._word()
            self._expect("AND", "EXPECTED_AND")
            return Condition(field, operator, (first, self._word()))
        if operator == "IN":
            self._expect("(", "EXPECTED_LIST")
            values = self._several()
            self._expect(")", "EXPECTED_LIST")
            return Condition(field, operator, values)
        raise QueryRefused("BAD_OPERATOR", f"'{operator}' is no operator here.")

    def _order(self) -> tuple[tuple[str, bool], ...]:
        found: list[tuple[str, bool]] = []
        if self._takes("ORDER"):
            self._expect("BY", "EXPECTED_BY")
            while True:
                name = self._word()
                falling = self._takes("DESC")
                if not falling:
                    self._takes("ASC")
                found.append((name, falling))
                if not self._takes(","):
                    break
        return tuple(found)

    def _limit(self) -> int | None:
        if not self._takes("LIMIT"):
            return None
        value = self._word()
        if not value.isdecimal():
            raise QueryRefused("BAD_LIMIT_VALUE", f"'{value}' is no limit.")
        if int(value) < 1:
            raise QueryRefused("LIMIT_VALUE_TOO_LOW", "The limit is below 1.")
        return int(value)

    def _several(self) -> tuple[str, ...]:
        found = [self._word()]
        while self._takes(","):
            found.append(self._word())
        return tuple(found)

    def _word(self) -> str:
        if not self._left:
            raise QueryRefused("UNEXPECTED_END_OF_QUERY", "Error in query: unexpected end of query.")
        return self._left.pop(0)[0]

    def _takes(self, word: str) -> bool:
        if self._left and not self._left[0][1] and self._left[0][0].upper() == word:
            self._left.pop(0)
            return True
        return False

    def _expect(self, word: str, code: str) -> None:
        if not self._takes(word):
            found = self._left[0][0] if self._left else "the end"
            raise QueryRefused(code, f"Error in query: expected {word}, found {found}.")

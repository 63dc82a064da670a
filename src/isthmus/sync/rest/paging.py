"""The ways in which vendors give lists page by page. Pure: each says what to ask, and where the next page stands.

The place of a page is a text of the way's own; "" is the first page. `size` is the parameter that says how many rows a
page has.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from isthmus.kernel.marks import Json
from isthmus.sync.rest.columns import at
from isthmus.sync.rest.ways import Row

Query: TypeAlias = "list[tuple[str, str]]"
_NEXT = re.compile(r'<([^>]*)>[^,]*;\s*rel="?next"?')


@dataclass(frozen=True, kw_only=True)
class ByCursor:
    """The answer holds a text at a path, which goes along with the next request as a parameter.

    A `lasting` one is good for the next run as well, and tells from there what changed since; then `end` is the path
    of what is true when there is no more. Some vendors take no filters beside it: `alone`. Some give one with the last
    page as well: there `more` is the path of what is true when there is more. A `timed` one is a number of seconds
    since 1970 that is asked from: one that stays although there is more has told all of its second, and is moved on.
    """

    parameter: str
    path: str
    lasting: bool = False
    end: str = ""
    more: str = ""
    alone: bool = False
    timed: bool = False
    size: str = "limit"

    def query(self, place: str) -> Query:
        """Return what to ask for a page."""
        return [(self.parameter, place)] if place else []

    def following(self, answer: Row, headers: Mapping[str, str]) -> str:
        """Return the place of the next page; "" when there is none."""
        del headers
        if self.more and at(answer, self.more) is not True:
            return ""
        found = at(answer, self.path)
        return str(found) if found not in (None, "") else ""


@dataclass(frozen=True, kw_only=True)
class ByLink:
    """The whole address of the next page stands in the answer at a path, or in the header `Link` with no path."""

    path: str = ""
    size: str = "limit"

    def query(self, place: str) -> Query:
        """Return what to ask for a page: nothing, for its address says it."""
        del place
        return []

    def following(self, answer: Row, headers: Mapping[str, str]) -> str:
        """Return the path and query of the next page; whom it names as host is not asked."""
        if self.path:
            found = at(answer, self.path)
        else:
            told = _NEXT.search(headers.get("link", ""))
            found = told[1] if told else None
        if not isinstance(found, str) or not found:
            return ""
        parts = urlsplit(found)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path


@dataclass(frozen=True, kw_only=True)
class ByOffset:
    """The number of rows to pass over goes along as a parameter."""

    parameter: str = "offset"
    size: str = "limit"


@dataclass(frozen=True, kw_only=True)
class ByNumber:
    """The number of the page goes along as a parameter; the first is `first`. A page that is not full is the last."""

    parameter: str = "page"
    first: int = 1
    size: str = "per_page"


Paging: TypeAlias = ByCursor | ByLink | ByOffset | ByNumber


def rows_at(answer: Json, path: str) -> list[Row] | None:
    """Return the rows of a list in an answer ("" for the answer itself); nothing where there is no list."""
    found = answer if not path else at(answer, path) if isinstance(answer, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else None

"""What BottleCRM is asked: its lists page by page, one record alone, and the words that its choices know."""

from collections.abc import Mapping
from typing import cast
from urllib.parse import quote

from isthmus.connectors.bottlecrm.wire import (
    ACCOUNTS,
    CASES,
    CONTACTS,
    DEALS,
    LEADS,
    PIPELINE,
    TASKS,
    Row,
    pruned,
    rows,
)
from isthmus.kernel.words import at_path, text
from isthmus.sync.calls import UNAUTHORISED, Answer, Calls
from isthmus.sync.connector import ConnectorError, FeedTrouble, KeyRefused, NotAsDocumented

ROOT = "/api"
PAGE_ROWS_MAX = 1000
KEY_FIX = "In BottleCRM, make a token under Settings, API tokens, with an admin's account, and give it as `token`."
ROLE_FIX = "Make the user of this connection an admin in BottleCRM: others see only what is theirs."
FORBIDDEN, NOT_FOUND, FAULT = 403, 404, 500
# What it says to a token that it does not know.
_NOBODY = "Organization context"
Query = list[tuple[str, str]]
Part = tuple[Mapping[str, str], tuple[str, ...]]
# A feed's lists, each with what is asked for and where its rows stand in the answer.
PARTS: dict[str, tuple[Part, ...]] = {
    ACCOUNTS: (
        ({"is_active": "true"}, ("active_accounts", "open_accounts")),
        ({"is_active": "false"}, ("closed_accounts", "close_accounts")),
    ),
    CONTACTS: (({}, ("results",)),),
    LEADS: (
        ({"open": "true"}, ("open_leads", "open_leads")),
        ({"status": "closed"}, ("close_leads", "close_leads")),
    ),
    DEALS: (({}, ("opportunities",)),),
    CASES: (({"ordering": "created_at", "slim": "true", "show_merged": "true"}, ("cases",)),),
    TASKS: (({"slim": "true"}, ("tasks",)),),
}
_ALONE = {
    ACCOUNTS: "account_obj",
    CONTACTS: "contact_obj",
    LEADS: "lead_obj",
    DEALS: "opportunity_obj",
    CASES: "cases_obj",
    TASKS: "task_obj",
}
TARGETS = {ACCOUNTS: "Account", CONTACTS: "Contact", LEADS: "Lead", DEALS: "Opportunity", CASES: "Case", TASKS: "Task"}
MERGED = "merged_into"


class Crm:
    """One conversation; words that were looked up are kept for the session."""

    def __init__(self, calls: Calls) -> None:
        """`calls` prove who we are."""
        self.calls = calls
        self._people: dict[str, str] | None = None
        self._tags: dict[str, str] | None = None
        self._pipelines: dict[str, str] | None = None
        self._choices: dict[str, dict[str, str]] = {}
        self._customs: dict[str, frozenset[str]] = {}
        self._me: Row | None = None

    async def me(self) -> Row:
        """Return our own profile there; raises ConnectorError."""
        if self._me is None:
            found = (await self.get("/profile/")).get("user_obj")
            if not isinstance(found, dict):
                raise NotAsDocumented("What answers is not BottleCRM.", fix="Check `url`.")
            self._me = found
        return self._me

    async def listed(self, feed: str, part: int, *, offset: int, limit: int, more: Query | None = None) -> list[Row]:
        """Return rows of one of a feed's lists."""
        asked, where = PARTS[feed][part]
        query = [*asked.items(), *(more or []), ("limit", str(limit)), ("offset", str(offset))]
        found = at_path(await self.get(f"/{feed}/", query), *where)
        if not isinstance(found, list):
            raise NotAsDocumented(f"{feed} holds no list of rows.", fix="Check that `url` leads to BottleCRM.")
        return [await self._whole(feed, each) for each in rows(found)]

    async def one(self, feed: str, of: str) -> Row | None:
        """Return a record alone; nothing when it is not there. Of a merged ticket it is `merged_into` and no more."""
        answer = await self.calls.send("GET", path(feed, of))
        if answer.status == NOT_FOUND:
            return None
        found = _map(answer, what=f"{feed} {of}")
        if MERGED in found:
            return {"id": of, MERGED: found[MERGED]}
        alone = found.get(_ALONE[feed])
        if not isinstance(alone, dict):
            raise NotAsDocumented(f"{feed} {of} holds no record.", fix="Check that `url` leads to BottleCRM.")
        return await self._whole(feed, alone)

    async def _whole(self, feed: str, row: Row) -> Row:
        """Return a row in our form, with the name of its pipeline."""
        found = pruned(feed, row)
        if feed == DEALS:
            of = str(found.get("pipeline"))
            if self._pipelines is None or of not in self._pipelines:
                told = rows((await self.get("/opportunities/pipelines/")).get("pipelines"))
                self._pipelines = {str(each.get("id")): str(each.get("name")) for each in told}
            found[PIPELINE] = self._pipelines.get(of)
        return found

    async def person(self, email: str) -> str | None:
        """Return the id of a colleague's profile by address."""
        if self._people is None:
            found = rows((await self.get("/users/get-teams-and-users/")).get("profiles"))
            self._people = {str(at_path(each, "user_details", "email")).lower(): str(each.get("id")) for each in found}
        return self._people.get(email.lower())

    async def tag(self, name: str) -> str:
        """Return the id of a tag by name, which is made where there is none; raises ConnectorError."""
        if self._tags is None:
            found = rows((await self.get("/tags/")).get("tags"))
            self._tags = {str(each.get("name")).lower(): str(each.get("id")) for each in found}
        if name.lower() not in self._tags:
            answer = await self.send("POST", f"{ROOT}/tags/", payload={"name": name})
            made = at_path(_map(answer, what="tags"), "tag", "id")
            self._tags[name.lower()] = str(made)
        return self._tags[name.lower()]

    async def choice(self, kind: str, said: str) -> str | None:
        """Return the code of a country or an industry, by code or name; nothing where it is not known there."""
        if not self._choices:
            found = await self.get(f"/{ACCOUNTS}/", [("limit", "1")])
            for name in ("countries", "industries"):
                codes: dict[str, str] = {}
                for pair in cast("list[list[str]]", found.get(name) or []):
                    codes |= {str(word).lower(): str(pair[0]) for word in pair}
                self._choices[name] = codes
        return self._choices[kind].get(said.lower())

    async def customs(self, feed: str) -> frozenset[str]:
        """Return the keys of the fields that a company has added to a kind of records."""
        if feed not in self._customs:
            found = await self.get("/custom-fields/", [("target_model", TARGETS[feed])])
            keys = (text(each.get("key")) for each in rows(found.get("definitions")) if each.get("is_active"))
            self._customs[feed] = frozenset(key for key in keys if key)
        return self._customs[feed]

    async def send(self, method: str, whole_path: str, *, payload: Row | None = None) -> Answer:
        """Send a write."""
        answer = await self.calls.send(method, whole_path, payload=payload)
        if refused(answer):
            raise KeyRefused("BottleCRM refuses the key.", fix=KEY_FIX)
        if answer.status >= FAULT:
            raise ConnectorError(f"BottleCRM failed with {answer.status}.", fix="Look into the server's log.")
        return answer

    async def get(self, of: str, query: Query | None = None) -> Row:
        """Return what a path holds; raises ConnectorError."""
        return _map(await self.calls.send("GET", f"{ROOT}{of}", query=query), what=of)


def path(feed: str, of: str = "") -> str:
    """Return the path of a record, or of the list."""
    return f"{ROOT}/{feed}/{quote(of, safe='')}/" if of else f"{ROOT}/{feed}/"


def refused(answer: Answer) -> bool:
    """Tell whether a token was not known: also as if nobody had signed in."""
    return answer.status == UNAUTHORISED or (answer.status == FORBIDDEN and _NOBODY in answer.said)


def _map(answer: Answer, *, what: str) -> Row:
    if refused(answer):
        raise KeyRefused("BottleCRM refuses the key.", fix=KEY_FIX)
    if answer.status == FORBIDDEN:
        raise FeedTrouble(f"BottleCRM does not show us {what}: {answer.said}", fix=ROLE_FIX)
    if not answer.good:
        raise NotAsDocumented(
            f"BottleCRM answered {answer.status} to {what}: {answer.said}", fix="Look into the server's log."
        )
    found = answer.json()
    if not isinstance(found, dict):
        raise NotAsDocumented("What answers is not BottleCRM.", fix="Check `url`.")
    return found

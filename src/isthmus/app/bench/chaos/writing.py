"""Writers over HTTP: each change is repeated until it is known that it is done, and is then counted as acknowledged.

A capture carries an Idempotency-Key and so may be sent again as often as it takes. An edit carries the version that its
writer saw: when nothing is known of it, it is sent again, and where that is refused as stale, the record tells.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import aiohttp

from isthmus.app.bench.chaos.judging import Acknowledged, value_of
from isthmus.kernel.ids import uuid_of
from isthmus.kernel.marks import Json

CALL_S_MAX = 5.0
_PAUSE_S, _AGAIN_S = 0.03, 0.1
_DONE, _STALE, _MISSING = (200, 201), 412, 404
_LEADS, _CLOSINGS = 0.25, 0.4
_CAPTURE = "/api/v1/integrations/sales/leads"


@dataclass
class Deal:
    """A deal of one writer: its id in texts, and how often it was changed."""

    id: str
    changes: int = 0
    version: str = '"1"'


@dataclass
class Told:
    """What all writers were told. `calls` went out, `answers` came back by status, 0 where none came."""

    deals: list[Deal] = field(default_factory=list[Deal])
    leads: list[str] = field(default_factory=list[str])
    closed: list[str] = field(default_factory=list[str])
    contested: int = 0
    calls: int = 0
    answers: Counter[int] = field(default_factory=Counter[int])

    @property
    def writes(self) -> int:
        """How many writes are acknowledged by now."""
        return sum(each.changes for each in self.deals) + len(self.leads) + len(self.closed)

    def acknowledged(self, *, jobs: int) -> Acknowledged:
        """Return what callers were told is done."""
        return Acknowledged(
            deals={uuid_of("deal", each.id): each.changes for each in self.deals},
            leads=frozenset(uuid_of("lead", each) for each in self.leads),
            closed=frozenset(uuid_of("lead", each) for each in self.closed),
            jobs=jobs,
            contested=self.contested,
        )


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    version: str
    body: dict[str, Json]


@dataclass
class Writer:
    """One writer with deals of its own, one change after the other."""

    session: aiohttp.ClientSession
    told: Told
    deals: Sequence[Deal]
    number: int
    chance: random.Random
    mine: list[str] = field(default_factory=list[str])

    async def write(self, stop: asyncio.Event) -> None:
        """Write until told to stop; what was begun is brought to its end."""
        turn = 0
        while not stop.is_set():
            turn += 1
            if self.chance.random() >= _LEADS:
                await self._change(self.chance.choice(self.deals))
            elif self.mine and self.chance.random() < _CLOSINGS:
                await self._close(self.mine.pop())
            else:
                await self._capture(turn)
            await asyncio.sleep(self.chance.uniform(0, 2 * _PAUSE_S))

    async def follow_up(self, lead: str) -> str:
        """Return the state of a lead's follow-up; empty when there is none, or no lead."""
        shown = (await self._until_done("GET", f"{_CAPTURE}/{lead}")).body.get("follow_up")
        return str(cast("dict[str, Json]", shown)["state"]) if shown else ""

    async def _change(self, deal: Deal) -> None:
        value = value_of(deal.changes + 1)
        deal.version = await self._edit(f"/api/v1/deals/{deal.id}", deal.version, "next_step", value)
        deal.changes += 1

    async def _close(self, lead: str) -> None:
        path = f"/api/v1/leads/{lead}"
        seen = await self._until_done("GET", path)
        if seen.status == _MISSING:
            # It is counted as lost in the end.
            return
        await self._edit(path, seen.version, "status", "disqualified")
        self.told.closed.append(lead)

    async def _edit(self, path: str, version: str, name: str, value: str) -> str:
        """Change one field and return the version after it."""
        while True:
            answer = await self._call("PATCH", path, {name: value}, {"if-match": version})
            if answer is not None and answer.status in _DONE:
                return answer.version
            if answer is not None and answer.status == _STALE:
                # Nobody else writes this field, so either our own change of before is there, or another version of
                # the record that says nothing of it.
                seen = await self._until_done("GET", path)
                if seen.body.get(name) == value:
                    return seen.version
                self.told.contested += name == "next_step"
                version = seen.version
            await asyncio.sleep(_AGAIN_S)

    async def _capture(self, turn: int) -> None:
        name = f"w{self.number}t{turn}"
        body: dict[str, Json] = {"email": f"{name}@example.org", "first_name": name, "company": f"Company {name}"}
        answer = await self._until_done("POST", _CAPTURE, body, {"idempotency-key": f"chaos-{name}"})
        lead = str(cast("dict[str, Json]", answer.body["lead"])["id"])
        self.told.leads.append(lead)
        self.mine.append(lead)

    async def _until_done(
        self, method: str, path: str, body: dict[str, Json] | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Ask until there is an answer, which may be that there is nothing."""
        while True:
            answer = await self._call(method, path, body, headers)
            if answer is not None and answer.status in (*_DONE, _MISSING):
                return answer
            await asyncio.sleep(_AGAIN_S)

    async def _call(
        self, method: str, path: str, body: dict[str, Json] | None = None, headers: dict[str, str] | None = None
    ) -> Answer | None:
        """Return the answer; None when there was none, and nobody knows."""
        self.told.calls += 1
        with suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
            async with self.session.request(method, path, json=body, headers=headers) as answer:
                found = cast("dict[str, Json]", await answer.json(content_type=None))
                self.told.answers[answer.status] += 1
                return Answer(status=answer.status, version=answer.headers.get("etag", ""), body=found)
        self.told.answers[0] += 1
        return None


def session_of(url: str, key: str) -> aiohttp.ClientSession:
    """Return what calls the API."""
    return aiohttp.ClientSession(
        base_url=url,
        headers={"authorization": f"Bearer {key}"},
        timeout=aiohttp.ClientTimeout(total=CALL_S_MAX),
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
    )

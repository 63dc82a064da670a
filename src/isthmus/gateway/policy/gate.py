"""Policies as a stage of the decision: compiled once, asked for each call, loaded again when something changed."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import cast

import structlog
from msgspec import Struct

from isthmus.gateway.decide import Asked, Standing
from isthmus.gateway.epoch import Epoch
from isthmus.gateway.histogram import Timings
from isthmus.gateway.policy.book import Book, OnRoute, PolicyRefused, Ready, refuse_unfiltered, sight
from isthmus.gateway.policy.evaluate import Facts
from isthmus.gateway.policy.facts import Situation, facts_of
from isthmus.gateway.policy.rows import KeptPolicy, list_policies, read_kept
from isthmus.gateway.policy.sample import Sample
from isthmus.gateway.policy.vocabulary import Vocabulary
from isthmus.kernel.errors import Invalid, Unavailable
from isthmus.kernel.money import Money
from isthmus.store.database import Database, Scope
from isthmus.store.schema import Schema

REMEMBERED = timedelta(seconds=1)
FOLLOWED = timedelta(seconds=60)
_GOOD = 200
_log = structlog.get_logger("isthmus.gateway.policy")


class PoliciesBroken(Unavailable):
    """A policy that is kept cannot be read."""

    code, title = "policies-broken", "The policies cannot be read"


@dataclass(frozen=True)
class _Loaded:
    """Policies as of a moment; they may be trusted until another one while the number of their workspace stands."""

    book: Book
    at: datetime
    epoch: int | None
    until: datetime


class PolicyGate:
    """Admits what no policy forbids. One for each worker."""

    def __init__(
        self, database: Database, *, vocabulary: Vocabulary, schema: Schema, epoch: Epoch, sample: Sample | None = None
    ) -> None:
        """`sample` keeps decisions for trying changes over them; None keeps none."""
        self.vocabulary = vocabulary
        self._database = database
        self._schema = schema
        self._epoch = epoch
        self._sample = sample
        self._loaded: dict[int, _Loaded] = {}
        self._loading: dict[int, asyncio.Task[Book]] = {}

    def forget(self, workspace: int) -> None:
        """Load a workspace's policies again, because they were changed here."""
        self._loaded.pop(workspace, None)

    async def close(self) -> None:
        """Write what is left of the sample."""
        if self._sample is not None:
            await self._sample.close()

    def admit(self, asked: Asked) -> Awaitable[None] | None:
        """Let the call pass, or raise PolicyRefused."""
        if asked.principal is None:
            return None
        book = self._standing(asked.principal.workspace, asked.now)
        if book is None:
            return self._loaded_then(asked, asked.principal.workspace)
        self._admit(book, asked)
        return None

    async def permits(self, asked: Asked) -> bool:
        """Tell whether an enforced permit grants the route that roles do not."""
        principal = asked.principal
        if principal is None:
            return False
        on = (await self.book(principal.workspace, now=asked.now)).on(asked.route)
        if not on.permits:
            return False
        facts = facts_of(situation_of(asked), on.wanted)
        for each in on.permits:
            match each.verdict(facts):
                case "permitted":
                    asked.reasons.append(f"policy:{each.policy.name}")
                    return True
                case "would permit":
                    asked.reasons.append(f"shadow:{each.policy.name}")
                case _:
                    pass
        return False

    def ended(self, asked: Asked, *, status: int, micros: int) -> None:
        """Add the decision to the sample."""
        del micros
        if self._sample is not None and asked.principal is not None:
            self._sample.note(asked, status=status)

    def refuses(self, asked: Asked) -> bool:
        """Say nothing before a call: policies look at its circumstances."""
        del asked
        return False

    def silent(self, asked: Asked) -> bool:
        """Tell whether it is known without asking that no policy could permit the route to the proven caller."""
        principal = asked.principal
        book = None if principal is None else self._standing(principal.workspace, asked.now)
        return book is not None and not book.on(asked.route).permits

    def standing_for(self, asked: Asked) -> Standing | None:
        """Let calls pass that are the same for as long as the workspace has these policies, and none has a say."""
        principal = asked.principal
        if principal is None:
            return None
        workspace, standing, loaded, epoch = principal.workspace, self._standing, self._loaded, self._epoch
        book = standing(workspace, asked.now)
        if book is None or not book.on(asked.route).silent:
            return None

        def passes(now: datetime) -> bool:
            found = loaded.get(workspace)
            if found is None or found.book is not book:
                return False
            # What `_standing` says in the most frequent case.
            followed = now < epoch.until and epoch.numbers.get(workspace, 0) == found.epoch
            return (followed and found.at <= now < found.until) or standing(workspace, now) is book

        if self._sample is None:
            return Standing(passes=passes)
        note = self._sample.noting(asked, status=_GOOD)

        def hear(at: datetime, timings: Timings) -> None:
            note(at, timings.calls)

        return Standing(passes=passes, hear=hear)

    async def book(self, workspace: int, *, now: datetime) -> Book:
        """Return a workspace's policies as of at most a second ago; raises DatabaseAway."""
        standing = self._standing(workspace, now)
        if standing is not None:
            return standing
        task = self._loading.get(workspace)
        if task is None:
            task = self._loading[workspace] = asyncio.ensure_future(self._load(workspace, now))
            task.add_done_callback(lambda done: self._ended(workspace, done))
        return await asyncio.shield(task)

    def _ended(self, workspace: int, done: asyncio.Task[Book]) -> None:
        self._loading.pop(workspace, None)
        if not done.cancelled():
            done.exception()  # Whoever waited has it; it is read here for the case that all of them went away.

    def _standing(self, workspace: int, now: datetime) -> Book | None:
        loaded = self._loaded.get(workspace)
        if loaded is None:
            return None
        if loaded.at <= now < loaded.at + REMEMBERED:
            return loaded.book
        followed = loaded.epoch is not None and loaded.at <= now < loaded.until
        if followed and self._epoch.fresh(now=now) and self._epoch.of(workspace) == loaded.epoch:
            return loaded.book
        return None

    async def _load(self, workspace: int, now: datetime) -> Book:
        numbers = self._epoch.numbers if self._epoch.fresh(now=now) else None
        scope = Scope(workspace=workspace, actor="gate", cause="policies", now=now)
        async with self._database.transaction(scope) as tx:
            kept = await list_policies(tx)
        before = self._loaded.get(workspace)
        if before is not None and [each.policy.text for each in before.book.ready] == [each.text for each in kept]:
            modes = [each.policy.mode for each in before.book.ready]
            book = before.book if modes == [each.mode for each in kept] else None
        else:
            book = None
        book = book or self._read(workspace, kept)
        number = None if numbers is None else numbers.get(workspace, 0)
        self._loaded[workspace] = _Loaded(book, now, number, now + FOLLOWED)
        return book

    def _read(self, workspace: int, kept: list[KeptPolicy]) -> Book:
        """Compile kept policies; one that cannot be read any more closes the gate, because it may have refused."""
        try:
            return Book.of([read_kept(each) for each in kept], self.vocabulary)
        except Invalid as error:
            _log.exception("policy not readable", workspace=workspace, code=error.code)
            raise PoliciesBroken("A policy cannot be read any more.", fix="Ask the owner to save it again.") from error

    async def _loaded_then(self, asked: Asked, workspace: int) -> None:
        self._admit(await self.book(workspace, now=asked.now), asked)

    def _admit(self, book: Book, asked: Asked) -> None:
        on = book.on(asked.route)
        if on.silent:
            return
        facts = facts_of(situation_of(asked), on.wanted)
        _judge(on.gate, facts, asked)
        if on.weighed:
            asked.weigh = partial(_weigh, on, asked)
        if on.lists and asked.route.record:
            asked.sight = partial(sight, on, facts, self._schema, now=asked.now)
        elif on.lists:
            refuse_unfiltered(on, facts)


def _judge(ready: tuple[Ready, ...], facts: Facts, asked: Asked) -> None:
    """Raise PolicyRefused if one of them forbids; note which ones would."""
    for each in ready:
        match each.verdict(facts):
            case "refused":
                asked.reasons.append(f"policy:{each.policy.name}")
                raise PolicyRefused(each.policy)
            case "would refuse":
                asked.reasons.append(f"shadow:{each.policy.name}")
            case _:
                pass


def _weigh(on: OnRoute, asked: Asked, body: Struct | None) -> None:
    """Judge again with the amount of the body."""
    asked.amount = amount_in(body, asked.route.amounts)
    _judge(on.weighed, facts_of(situation_of(asked), on.wanted), asked)


def amount_in(body: Struct | None, names: tuple[str, ...]) -> Money | None:
    """Return the largest amount among fields of a body, whatever its sign, or None without one."""
    found = [each for name in names if isinstance(each := cast("object", getattr(body, name, None)), Money)]
    return max(found, key=lambda money: abs(money.amount)) if found else None


def situation_of(asked: Asked) -> Situation:
    """Return a call whose caller is proven, as policies see it."""
    assert asked.principal is not None
    return Situation(
        principal=asked.principal,
        route=asked.route,
        now=asked.now,
        client=asked.client,
        local=asked.local,
        purpose=asked.purpose,
        upstream=asked.upstream,
        amount=asked.amount,
    )

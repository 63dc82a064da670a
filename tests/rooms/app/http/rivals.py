"""Two more processes of the program, which want one thing at the same moment; one of them is killed in between.

Each serves all routes in memory over the engines of a running server, so that it can be started and killed often. A
third waits to stand in for the one that is killed, so that no round waits for a start.
"""

import asyncio
import logging
import multiprocessing
import os
import random
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol, TypeAlias, cast
from uuid import UUID

from isthmus.app.engines import running_engines
from isthmus.app.http.assembly import build, services_of
from isthmus.app.program import Program, opened
from isthmus.app.settings import Settings
from isthmus.auth.people.links import use_link
from isthmus.auth.people.passwords import Passwords
from isthmus.auth.people.sign_in import People, enter, use_second_factor
from isthmus.auth.people.steps import take_step
from isthmus.auth.people.visitor import Visitor
from isthmus.auth.saml.signing_in import come_in
from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.errors import IsthmusError
from isthmus.sync.conflicts import Choice, resolve
from tests.rooms.app.http.caller import Answered
from tests.rooms.gateway.stage import Stage

ROUNDS = int(os.environ.get("RACE_ROUNDS", "2"))
"""How often each race is run; 1,000 before a release."""
CALLERS = 32
KILLED_EVERY = 4
LEAD_S, WAIT_S, CONNECTIONS = 0.02, 60.0, 8
LIGHT_KIB = 64
"""What a hash of a password takes here: it is made before the link is used up, so that it only keeps rivals apart."""
TOLD_EVERY = 100
_SAYS = logging.getLogger("races")
_FROM_FORK = multiprocessing.get_context("forkserver")
_FROM_FORK.set_forkserver_preload([__name__, "tests.rooms.app.http.warm"])


@dataclass(frozen=True)
class Calling:
    """A request."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class SecondFactor:
    """A code of a user, by which a session is opened."""

    workspace: int
    login: UUID
    code: str
    at: datetime


@dataclass(frozen=True)
class Pressing:
    """A link by which a password is set."""

    token: str
    password: str


@dataclass(frozen=True)
class Step:
    """What is remembered of somebody on the way in: the challenge of a passkey, or the state of a provider."""

    workspace: int
    token: str
    at: datetime


@dataclass(frozen=True)
class Return:
    """What a browser brings back from a SAML provider that proved whose it is."""

    secret: str
    at: datetime


@dataclass(frozen=True)
class Decision:
    """An approval: a case that waits for a person."""

    workspace: int
    case: UUID


Use: TypeAlias = Calling | SecondFactor | Pressing | Step | Return | Decision


class Line(Protocol):
    """One end of a line between two processes."""

    def send(self, obj: object, /) -> None:
        """Send something."""
        ...

    def recv(self) -> object:
        """Return the next thing."""
        ...

    def poll(self, timeout: float, /) -> bool:
        """Tell whether something comes in time."""
        ...

    def close(self) -> None:
        """Cut it."""
        ...


class Process(Protocol):
    """A process that can be killed."""

    def kill(self) -> None:
        """Kill it."""
        ...

    def join(self) -> None:
        """Wait for its end."""
        ...


@dataclass
class Rival:
    """One process and the line to it."""

    process: Process
    line: Line
    ready: bool = False

    @classmethod
    def start(cls, settings: Settings) -> "Rival":
        """Start one; it is ready when it says so."""
        own, other = _FROM_FORK.Pipe()
        process = _FROM_FORK.Process(target=compete, args=(settings, other), daemon=True)
        process.start()
        other.close()
        return cls(process, own)

    def wait(self) -> None:
        """Wait until it can be told what to do."""
        if not self.ready:
            assert self.line.poll(WAIT_S)
            assert self.line.recv() == "ready"
            self.ready = True

    def answers(self, most: int) -> list[Answered]:
        """Return what it told; less than everything if it was killed."""
        found: list[Answered] = []
        with suppress(EOFError, ConnectionResetError):
            while len(found) < most:
                assert self.line.poll(WAIT_S), "a rival does not answer"
                found.append(cast("Answered", self.line.recv()))
        return found

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.join()
        self.line.close()


@dataclass
class Rivals:
    """Two processes and one that waits; `took_s` is how long the last race took that nobody was killed in."""

    settings: Settings
    both: list[Rival]
    spare: Rival
    chance: random.Random = field(default_factory=lambda: random.Random(32))
    took_s: float = 0.1
    kills: int = 0

    def race(self, use: Use, *, kill: bool = False) -> list[Answered]:
        """Let both do it 16 times at the same moment; return what was answered.

        With `kill` one of them is killed at some moment of it, and the one that waits stands in its place from then on.
        """
        for each in self.both:
            each.wait()
        begin = time.monotonic() + LEAD_S
        for each in self.both:
            each.line.send((use, CALLERS // 2, begin))
        racing, victim = list(self.both), self.chance.randrange(2)
        if kill:
            time.sleep(max(0.0, begin - time.monotonic()) + self.chance.uniform(0, self.took_s))
            racing[victim].process.kill()
            self.kills += 1
            self.both[victim], self.spare = self.spare, Rival.start(self.settings)
        answers = [answer for each in racing for answer in each.answers(CALLERS // 2)]
        if kill:
            racing[victim].end()
        else:
            self.took_s = time.monotonic() - begin
        return answers


@contextmanager
def rivals(settings: Settings) -> Generator[Rivals]:
    """Run the processes until the end of the block."""
    two = Rivals(settings, [Rival.start(settings), Rival.start(settings)], Rival.start(settings))
    try:
        yield two
    finally:
        for each in (*two.both, two.spare):
            each.end()


def killed_in(turn: int) -> bool:
    """Tell whether one is killed in a round."""
    return turn % KILLED_EVERY == 1


def one_winner(
    two: Rivals, *, thing: Callable[[], Use], won: Callable[[Answered], bool], traces: Callable[[], int]
) -> None:
    """Race for a new thing in each round, and kill in some; what it does is done once, whoever told of it.

    `traces` counts what the use leaves behind. A winner may be killed before it tells, so that nobody is heard to win.
    """
    heard, unheard, began = 0, 0, time.monotonic()
    for turn in range(ROUNDS):
        kill = killed_in(turn)
        use, before = thing(), traces()
        answers = two.race(use, kill=kill)
        winners = [each for each in answers if won(each)]
        said = [(each.status, each.body[:200]) for each in answers]
        assert all(each.status < 500 for each in answers), (turn, kill, said)
        assert traces() - before == 1, (turn, kill, said)
        assert len(winners) == 1 or (kill and not winners and len(answers) < CALLERS), (turn, kill, said)
        assert kill or len(answers) == CALLERS
        heard, unheard = heard + len(winners), unheard + (not winners)
        told(turn, f"{heard} winners heard, {unheard} killed before they told", since=began)


def told(turn: int, what: str, *, since: float) -> None:
    """Log what was seen so far, now and then and at the end."""
    rounds = turn + 1
    if rounds % TOLD_EVERY == 0 or rounds == ROUNDS:
        kills = sum(map(killed_in, range(rounds)))
        _SAYS.info("%d rounds, %d kills, %s, %.0f s", rounds, kills, what, time.monotonic() - since)


def compete(settings: Settings, line: Line) -> None:
    """Do what the line says until it is cut."""
    with suppress(EOFError):
        asyncio.run(_competing(settings, line))


async def _competing(settings: Settings, line: Line) -> None:
    running = running_engines(settings=settings.engines)
    assert running is not None
    async with opened(settings, running, connections_max=CONNECTIONS) as program:
        gateway = build(services_of(program))
        whole = gateway.services.of(People)
        people = replace(whole, passwords=Passwords(program.vault, memory_kib=LIGHT_KIB))
        stage = Stage(gateway, FrozenClock(datetime.now(UTC)))
        line.send("ready")
        while True:
            use, times, begin = cast("tuple[Use, int, float]", await asyncio.to_thread(line.recv))
            await asyncio.sleep(max(0.0, begin - time.monotonic()))
            await asyncio.gather(*(_told(line, _used(use, stage, people, program)) for _ in range(times)))


async def _told(line: Line, doing: Awaitable[Answered]) -> None:
    answer = await doing
    line.send(replace(answer, headers=dict(answer.headers)))


async def _used(use: Use, stage: Stage, people: People, program: Program) -> Answered:
    if isinstance(use, Calling):
        answer = await stage.call(use.method, use.path, use.body, headers=use.headers)
        return Answered(answer.status, answer.headers, answer.body)
    try:
        return Answered(await _done(use, people, program), {}, b"")
    except IsthmusError as error:
        return Answered(error.status, {}, error.code.encode())


async def _done(use: SecondFactor | Pressing | Step | Return | Decision, people: People, program: Program) -> int:
    """Do what no single request does, and return the status it would have."""
    now = use.at if isinstance(use, SecondFactor | Step | Return) else program.clock.now()
    visitor = Visitor(address="192.0.2.7", agent="", request_id="req", now=now)
    match use:
        case SecondFactor():
            return await _entered(use, people, visitor)
        case Pressing():
            await use_link(people, visitor, token=use.token, password=use.password)
        case Step():
            async with people.database.transaction(visitor.scope(use.workspace)) as tx:
                await take_step(tx, "passkey", use.token)
        case Return():
            await come_in(people, visitor, secret=use.secret)
        case Decision():
            await resolve(program.store, visitor.scope(use.workspace, "user:tester"), use.case, Choice.KEPT)
    return 200


async def _entered(use: SecondFactor, people: People, visitor: Visitor) -> int:
    """Use a code and open a session in one transaction, as the second step of signing in does."""
    async with people.database.transaction(visitor.scope(use.workspace, f"user:{use.login}")) as tx:
        if not await use_second_factor(tx, people.vault, use.login, use.code):
            return 401
        await enter(tx, visitor, use.login, frozenset({"pwd", "otp", "mfa"}))
        return 200

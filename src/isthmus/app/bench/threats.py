"""What listening costs: the decision of a call with every detector, against the same decision without.

Rounds are interleaved; each plays the same calls of forty callers through `decide` and the end of a call. Figures are
CPU seconds of this thread, the median of all rounds.
"""

import asyncio
import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from uuid import UUID

from isthmus.app.bench import Bar, Outcome
from isthmus.auth.principal import Principal
from isthmus.auth.tokens import Presented
from isthmus.gateway.decide import Asked, Chain, decide
from isthmus.gateway.routes import Call, Route
from isthmus.gateway.threats.patterns import family_of
from isthmus.gateway.threats.watch import Threats
from isthmus.kernel.ids import text_of

CALLS, QUICK_CALLS = 100_000, 20_000
ROUNDS, QUICK_ROUNDS = 9, 5
CALLERS = 40
HOT_US_MAX, STRING_US_MAX = 2.0, 3.0
_START = datetime(2026, 1, 1, tzinfo=UTC)
_STRINGS = (
    *("Acme Corporation", "2026-11-23T10:00:00Z", "user@example.com", "O'Brien", "EMEA", "Enterprise plan, 50 seats"),
    *("https://example.com/pricing?utm_source=news", "qualified", "thg_01KAX3V9Q2M4T8Z5N7P6R1S0WD", "+49 30 1234567"),
    *("Asked for a demo next week; wants the price list & a call on Friday", "newsletter", "DE", "1299.00", "open"),
)


class _Known:
    """Proves every caller by what it shows, at once."""

    def __init__(self, principals: dict[str, Principal]) -> None:
        self._principals = principals

    async def key(self, text: str, *, now: datetime) -> Principal:
        """Return the principal."""
        del now
        return self._principals[text]

    async def token(self, shown: Presented, *, cause: str, now: datetime) -> Principal:
        """Return the principal."""
        del cause, now
        return self._principals[shown.text]

    async def session(self, token: str, *, now: datetime) -> Principal:
        """Return the principal."""
        del now
        return self._principals[token]

    def recall(self, digest: bytes, *, now: datetime) -> Principal | None:
        """Know nobody by digests."""
        del digest, now
        return None

    def refuses(self, digest: bytes, *, now: datetime) -> bool:
        """Know of nobody that is refused."""
        del digest, now
        return False


async def _nothing(call: Call) -> None:
    del call


def run(*, quick: bool, say: Callable[[str], None]) -> Outcome:
    """Measure."""
    count, rounds = (QUICK_CALLS, QUICK_ROUNDS) if quick else (CALLS, ROUNDS)
    known, without, with_all, texts = _known(), list[float](), list[float](), list[float]()
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        without.append(asyncio.run(_round(_known_chain(known, listening=False), count)))
        with_all.append(asyncio.run(_round(_known_chain(known, listening=True), count)))
        texts.append(_texts(count))
    bare, full, text = median(without), median(with_all), median(texts)
    outcome = Outcome(bench="threats", rounds=rounds, peers={"python": platform.python_version()})
    outcome.figures = {
        "decision_us": round(bare, 3),
        "decision_with_threats_us": round(full, 3),
        "ratio": round(full / bare, 3),
        "text_us": round(text, 3),
    }
    outcome.bars = {
        "detectors_us_per_call": Bar(value=round(full - bare, 3), limit=HOT_US_MAX),
        "text_us": Bar(value=round(text, 3), limit=STRING_US_MAX),
    }
    return outcome


def _known() -> dict[str, Principal]:
    allowed = frozenset({"making:read"})
    return {
        f"key{n}": Principal(workspace=1, kind="key", id=UUID(int=n + 1), name="", permissions=allowed)
        for n in range(CALLERS)
    }


def _known_chain(known: dict[str, Principal], *, listening: bool) -> Chain:
    if not listening:
        return Chain(proof=_Known(known))
    threats = Threats()
    return Chain(proof=_Known(known), stages=(threats,), door=threats.door)


async def _round(chain: Chain, count: int) -> float:
    """Return the microseconds of a call, of which the making is not measured."""
    calls = _calls(count)
    began = time.thread_time_ns()
    for asked in calls:
        await decide(chain, asked)
        for stage in chain.stages:
            stage.ended(asked, status=200, micros=100)
    return (time.thread_time_ns() - began) / 1000 / count


def _calls(count: int) -> Sequence[Asked]:
    routes = [
        Route(method="GET", path=f"/api/v1/{name}", handler=_nothing, summary="", permission="making:read")
        for name in ("things", "things/{thing_id}", "parts", "boards/one")
    ]
    ids = [text_of("thg", UUID(int=number)) for number in range(4000)]
    return [
        Asked(
            route=routes[number % len(routes)],
            now=_START + timedelta(milliseconds=5 * number),
            path=f"/api/v1/things/{ids[number % len(ids)]}",
            query=b"limit=50" if number % 3 == 0 else b"",
            client=f"192.0.2.{number % CALLERS + 1}",
            agent="acme-sync/2.1",
            authorization=f"Bearer key{number % CALLERS}",
        )
        for number in range(count)
    ]


def _texts(count: int) -> float:
    began = time.thread_time_ns()
    for number in range(count):
        family_of(_STRINGS[number % len(_STRINGS)])
    return (time.thread_time_ns() - began) / 1000 / count

"""The measurement put together: everything is started, listened to, offered leads, and told."""

import json
import tempfile
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol, cast

from isthmus.app.bench import Bar, Outcome
from isthmus.app.bench.gateway.load import cpu_s
from isthmus.app.bench.realtime.hearing import CREATED as CREATED_TYPE
from isthmus.app.bench.realtime.hearing import Heard, hear
from isthmus.app.bench.realtime.offering import CREATED, Offer, Sent, email_of, offered
from isthmus.app.bench.realtime.site import Site, served

PER_S, SECONDS, QUICK_SECONDS = 200, 30.0, 10.0
WARMING_PER_S, WARMING_S = 50, 2.0
HEARD_S_MAX, POLL_S = 60.0, 0.25
P99_S_MAX = 5.0
PLACES = ("feed", "webhook", "crm")


class Pipe(Protocol):
    """The near end of the way to another process."""

    def send(self, obj: str, /) -> None:
        """Send a word."""
        ...

    def recv(self) -> object:
        """Return what the other process sent."""
        ...


@dataclass(frozen=True, kw_only=True)
class Ear:
    """The process that listens: what is sent to it, and the port at which it receives webhooks."""

    pipe: Pipe
    port: int

    def counts(self) -> tuple[int, ...]:
        """Return how many leads were heard of so far, at each place."""
        self.pipe.send("count")
        return cast("tuple[int, ...]", self.pipe.recv())

    def heard(self) -> tuple[Heard, ...]:
        """End listening, and return what was heard."""
        self.pipe.send("end")
        return cast("tuple[Heard, ...]", self.pipe.recv())


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """What came of one offer: the calls, the CPU seconds of the parts, and how long the offering took."""

    offer: Offer
    sent: Sequence[Sent]
    cpu: Mapping[str, float]
    took_s: float


def measure(*, quick: bool, say: Callable[[str], None], per_s: int = PER_S, seconds: float | None = None) -> Outcome:
    """Measure on a program of its own, with so many leads a second for so long."""
    wanted = seconds if seconds is not None else QUICK_SECONDS if quick else SECONDS
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as directory:
        home = Path(directory)
        home.chmod(0o711)
        with served(home, say=say) as site, _ear(site) as ear:
            _register(site, ear.port)
            warm = _stretch(site, ear, _offer(site, WARMING_PER_S, min(WARMING_S, wanted), "warm"), before=0)
            say(f"offering {per_s} leads a second for {wanted:.0f} s")
            found = _stretch(site, ear, _offer(site, per_s, wanted, "lead"), before=len(warm.sent))
            heard = dict[str, Heard](zip(PLACES, ear.heard(), strict=True))
    return _told(found, heard)


def _offer(site: Site, per_s: int, seconds: float, mark: str) -> Offer:
    return Offer(port=site.settings.port, key=site.key, per_s=per_s, seconds=seconds, mark=mark)


@contextmanager
def _ear(site: Site) -> Generator[Ear]:
    context = get_context("spawn")
    mine, theirs = context.Pipe()
    given = {"port": site.settings.port, "key": site.key, "company": site.company}
    child = context.Process(target=hear, args=(theirs,), kwargs=given, daemon=True)
    child.start()
    theirs.close()
    try:
        yield Ear(pipe=mine, port=cast("int", mine.recv()))
    finally:
        child.kill()
        child.join()


def _register(site: Site, port: int) -> None:
    """Have the creation of leads told to a port of this machine."""
    body = {"url": f"http://127.0.0.1:{port}/", "events": [CREATED_TYPE.decode()]}
    request = urllib.request.Request(  # noqa: S310 - our own address.
        f"{site.up.url}/api/v1/webhooks",
        data=json.dumps(body).encode(),
        headers={"authorization": f"Bearer {site.key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own address.
        answer.read()


def _stretch(site: Site, ear: Ear, offer: Offer, *, before: int) -> Stretch:
    """Offer leads, and wait until everybody has heard of them, or a minute."""
    parts = site.parts()
    cpu = {name: cpu_s(pid) for name, pid in parts.items()}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        began = time.monotonic()
        sent = pool.submit(offered, offer).result()
        took = time.monotonic() - began
    good = sum(each.status == CREATED for each in sent)
    over = time.monotonic() + HEARD_S_MAX
    while min(ear.counts()) < before + good and time.monotonic() < over:
        time.sleep(POLL_S)
    used = {name: cpu_s(pid) - cpu[name] for name, pid in parts.items()}
    return Stretch(offer=offer, sent=sent, cpu=used, took_s=took)


def _told(found: Stretch, heard: Mapping[str, Heard]) -> Outcome:
    """Write figures and bars down."""
    good = [each for each in found.sent if each.status == CREATED]
    outcome = Outcome(bench="realtime", rounds=1)
    figures = outcome.figures
    figures["offered"], figures["accepted"] = len(found.sent), len(good)
    last = max(each.due for each in found.sent) - min(each.due for each in found.sent)
    answered = max(each.done for each in found.sent) - min(each.due for each in found.sent)
    figures["offered_per_s"] = round((len(found.sent) - 1) / last, 1)
    figures["answered_per_s"] = round(len(good) / answered, 1)
    _tell(outcome, "answer", [each.done - each.due for each in found.sent])
    missing = 0
    for place in PLACES:
        late: list[float] = []
        for each in good:
            own = email_of(found.offer.mark, each.number) if place == "crm" else each.lead
            moments = heard[place].get(own)
            missing += moments is None
            late.append(moments[0] - each.due if moments else HEARD_S_MAX)
        _tell(outcome, place, late)
        figures[f"{place}_repeated"] = sum(len(each) - 1 for each in heard[place].values())
        outcome.bars[f"{place}_p99_s"] = Bar(value=figures[f"{place}_p99_s"], limit=P99_S_MAX)
    for name, used in found.cpu.items():
        figures[f"cpu_ms_{name}"] = round(used / len(found.sent) * 1000, 2)
    outcome.bars["not_accepted"] = Bar(value=len(found.sent) - len(good), limit=0)
    outcome.bars["never_heard_of"] = Bar(value=missing, limit=0)
    return outcome


def _tell(outcome: Outcome, name: str, seconds: Sequence[float]) -> None:
    ordered = sorted(seconds)
    for part in (50, 95, 99, 100):
        place = "max" if part == 100 else f"p{part}"  # noqa: PLR2004 - all of them.
        outcome.figures[f"{name}_{place}_s"] = round(ordered[min(len(ordered) - 1, len(ordered) * part // 100)], 3)

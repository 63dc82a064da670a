"""What a function returns depends on its arguments: the clock, the environment and chance are arguments too."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.house.conftest import Plant
from tests.house.sources import HOUSE, Finding, Source, dotted, imported_names, read, references, report

CLOCKS = frozenset(
    {
        *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"),
        *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter"),
        *("time.perf_counter_ns", "time.process_time", "time.process_time_ns", "time.thread_time"),
        *("time.localtime", "time.gmtime", "time.ctime", "time.clock_gettime", "time.clock_gettime_ns"),
    }
)
ENVIRONMENT = frozenset(
    {
        *("os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"),
        *("os.path.expandvars", "os.path.expanduser", "pathlib.Path.home"),
    }
)
LOOPS = frozenset({"asyncio.get_running_loop", "asyncio.get_event_loop"})
CHANCE = re.compile(
    r"random\.(?!Random$)\w+|secrets\.\w+|os\.(urandom|getrandom)|uuid\.uuid[14678]"
    r"|numpy\.random\.(?!default_rng$|Generator$|SeedSequence$|BitGenerator$|PCG64$|PCG64DXSM$|Philox$|SFC64$)\w+"
    r"|cryptography\..*\.generate_(private_)?key"
)
NEEDS_A_SEED = frozenset({"random.Random", "numpy.random.default_rng", "numpy.random.SeedSequence"})


def clock_and_environment(source: Source) -> Iterator[Finding]:
    """Only `app` asks what time it is or what the environment says.

    A month-end close that calls `now()` in the middle of the arithmetic cannot be replayed, tested at midnight, or
    trusted on a machine whose clock jumped. A setting that is read deep down cannot be seen, checked or refused at
    start. So `now`, a `Clock` and settings come in as arguments, and one room fills them in.
    """
    if source.room in (None, "app") or source.is_test:
        return
    for node, meaning in references(source):
        if meaning in CLOCKS:
            sentence = f"{meaning} reads the clock outside app: take `now` (or a Clock) as an argument."
            yield Finding(source.path, node.lineno, sentence)
        elif meaning in ENVIRONMENT:
            sentence = f"{meaning} reads the environment outside app: take the setting as an argument."
            yield Finding(source.path, node.lineno, sentence)
    yield from _loop_clocks(source)


def _loop_clocks(source: Source) -> Iterator[Finding]:
    bound = imported_names(source.tree)
    for node in ast.walk(source.tree):
        match node:
            case ast.Attribute(attr="time", value=ast.Call(func=made_by)) if dotted(made_by, bound) in LOOPS:
                sentence = "The event loop's time() reads the clock outside app: take a Clock as an argument."
                yield Finding(source.path, node.lineno, sentence)
            case _:
                pass


def chance(source: Source) -> Iterator[Finding]:
    """Chance is cryptographic, and only `vault` and `auth` draw it.

    A model fitted from hidden chance gives a board two numbers on two days; a token drawn from a seeded generator
    gives an attacker every token. Elsewhere a seeded generator, or the random bytes themselves, are arguments.
    """
    if source.room in (None, "vault", "auth") or source.is_test:
        return
    for node, meaning in references(source):
        if CHANCE.fullmatch(meaning):
            sentence = (
                f"{meaning} draws chance outside vault and auth: take a seeded generator, or bytes, as an argument."
            )
            yield Finding(source.path, node.lineno, sentence)
    bound = imported_names(source.tree)
    for call in (node for node in ast.walk(source.tree) if isinstance(node, ast.Call)):
        if dotted(call.func, bound) in NEEDS_A_SEED and not call.args and not call.keywords:
            sentence = f"{dotted(call.func, bound)}() has no seed, so nobody can run it again: pass the seed."
            yield Finding(source.path, call.lineno, sentence)


def test_nothing_outside_app_reads_the_clock_or_the_environment() -> None:
    assert report(clock_and_environment, read(HOUSE, "src")) == ""


@pytest.mark.parametrize(
    "text",
    [
        "from datetime import datetime\nAT = datetime.now()\n",
        "import datetime as dt\nAT = dt.datetime.utcnow()\n",
        "from datetime import date as day\nAT = day.today()\n",
        "import time\nAT = time.monotonic()\n",
        "from time import perf_counter as tick\nAT = tick()\n",
        "import os\nHOST = os.environ['HOST']\n",
        "from os import getenv\nHOST = getenv('HOST')\n",
        "import asyncio\nAT = asyncio.get_running_loop().time()\n",
        "from dataclasses import field\nfrom datetime import datetime\nAT = field(default_factory=datetime.utcnow)\n",
    ],
)
def test_reading_the_clock_or_the_environment_is_reported(plant: Plant, text: str) -> None:
    line = text.count("\n")
    path = "src/isthmus/sync/feeds.py"
    assert f"{path}:{line}: " in report(clock_and_environment, [plant(path, text)])
    assert report(clock_and_environment, [plant("src/isthmus/app/up.py", text)]) == ""


def test_time_that_comes_in_as_an_argument_is_fine(plant: Plant) -> None:
    text = "from datetime import datetime\ndef renew(*, now: datetime) -> datetime:\n    return now.replace(hour=0)\n"
    assert report(clock_and_environment, [plant("src/isthmus/sync/feeds.py", text)]) == ""


def test_nothing_outside_vault_and_auth_draws_chance() -> None:
    assert report(chance, read(HOUSE, "src")) == ""


@pytest.mark.parametrize(
    "text",
    [
        "import random\nN = random.random()\n",
        "from random import choice as pick\nN = pick('ab')\n",
        "import random\nN = random.Random()\n",
        "import secrets\nN = secrets.token_urlsafe()\n",
        "import os\nN = os.urandom(10)\n",
        "from uuid import uuid4\nN = uuid4()\n",
        "import numpy as np\nN = np.random.normal()\n",
        "import numpy as np\nN = np.random.default_rng()\n",
        "from numpy.random import rand\nN = rand(3)\n",
    ],
)
def test_chance_that_nobody_passed_in_is_reported(plant: Plant, text: str) -> None:
    path = "src/isthmus/analytics/bootstrap.py"
    assert f"{path}:2: " in report(chance, [plant(path, text)])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/isthmus/vault/keys.py", "import os\nN = os.urandom(32)\n"),
        ("src/isthmus/auth/keys.py", "import secrets\nN = secrets.token_urlsafe()\n"),
        (
            "src/isthmus/analytics/a.py",
            "import random\ndef a(seed: int) -> random.Random:\n    return random.Random(seed)\n",
        ),
        ("src/isthmus/analytics/a.py", "import numpy as np\nMADE = np.random.default_rng(7)\n"),
        ("src/isthmus/analytics/a.py", "from uuid import UUID\nN = UUID(int=0)\n"),
    ],
)
def test_keys_and_seeded_generators_are_fine(plant: Plant, path: str, text: str) -> None:
    assert report(chance, [plant(path, text)]) == ""

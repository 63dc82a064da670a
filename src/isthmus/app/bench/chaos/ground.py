"""A ground of its own for the bench: processes that nobody outside sees, and a disk in memory that can be filled.

On Linux everything runs in namespaces of its own (`unshare`), so that nothing can be left behind whatever dies. Where
that is not possible it runs in a directory, and the disk is not filled.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable

import msgspec

from isthmus.app.bench import Bar, Outcome
from isthmus.app.bench.chaos.inside import ALONE
from isthmus.app.bench.chaos.plan import FAULTS, KILLS, Act, Plan
from isthmus.app.bench.chaos.preparing import ChaosFailed
from isthmus.app.bench.chaos.running import Report

_ALONE = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def measure(plan: Plan, *, say: Callable[[str], None]) -> Outcome:
    """Run a plan and return figures and bars; raises ChaosFailed."""
    report = run_apart(plan, say=say)
    for name, codes in report.ends.items():
        say(f"{name} ended by itself {len(codes)} times: {', '.join(map(str, codes))}")
    say(f"again: python -m isthmus.app.bench.chaos --seed {plan.seed} --kills {plan.kills}")
    outcome = Outcome(bench="chaos", rounds=1, figures={"seed": plan.seed, **report.figures})
    outcome.bars = {name: Bar(value=count, limit=0) for name, count in report.faults.items()}
    outcome.bars["kills"] = Bar(value=report.figures["kills"], limit=plan.kills, at_most=False)
    done = sum(report.struck.get(each, 0) for each in FAULTS if each is not Act.DISK_FULL)
    outcome.bars["faults"] = Bar(value=done, limit=len(FAULTS) - 1, at_most=False)
    if plan.kills >= KILLS:
        # It is meant to fail: else the kills would show nothing.
        twice = report.figures["careless_effects_twice"]
        outcome.bars["careless_effects_twice"] = Bar(value=twice, limit=1, at_most=False)
    return outcome


def run_apart(plan: Plan, *, say: Callable[[str], None]) -> Report:
    """Run a plan in a process of its own, which ends when this one does; raises ChaosFailed."""
    directory = tempfile.mkdtemp(prefix="isthmus-chaos-")
    apart = namespaces()
    command = [*apart, sys.executable, "-m", "isthmus.app.bench.chaos.inside", directory]
    command += [ALONE] if apart else []
    # At the end of the block nothing is at the other end of its input, and it ends if it has not yet.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as inside:
        report = _heard(inside, plan, say)
    if report is not None and not any(report.faults.values()):
        shutil.rmtree(directory)
    else:
        say(f"logs: {directory}/logs")
    if report is None:
        raise ChaosFailed(f"The bench ended with {inside.returncode}.", fix=f"Read {directory}/logs.")
    return report


def _heard(inside: "subprocess.Popen[str]", plan: Plan, say: Callable[[str], None]) -> Report | None:
    """Tell it the plan, pass on what it says, and return its report."""
    report = None
    if inside.stdin is not None and inside.stdout is not None:
        inside.stdin.write(f"{msgspec.json.encode(plan).decode()}\n")
        inside.stdin.flush()
        for line in inside.stdout:
            if line.startswith("{"):
                report = msgspec.json.decode(line, type=Report)
            else:
                say(line.rstrip())
    return report


def namespaces() -> list[str]:
    """Return the command that puts another into namespaces of its own; empty where that is not possible."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return []
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *own, *_ALONE, "--"]
    tried = subprocess.run(
        [*command, "mount", "-t", "tmpfs", "tmpfs", tempfile.gettempdir()], check=False, capture_output=True
    )
    return command if tried.returncode == 0 else []

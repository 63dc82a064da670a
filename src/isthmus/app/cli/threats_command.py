"""`isthmus threats`."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import click

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import ago
from isthmus.app.clock import SystemClock
from isthmus.gateway.threats.ladder import DETECTORS, Detector, Mode

if TYPE_CHECKING:
    from isthmus.app.http.threats import ModesView
    from isthmus.app.program import Program
    from isthmus.gateway.threats.replay import Replayed
    from isthmus.gateway.threats.rows import HoneyRow, KeptThreat
    from isthmus.store.database import Scope, Transaction

_ROWS = 200
_DETECTOR = click.Choice(list(DETECTORS))


class _Threats(Group):
    default = "ls"


@click.group("threats", cls=_Threats)
def command() -> None:
    """See what detectors found, let go whom they hold back, and say what they may do.

    Without a command threats are listed: those of the workspace, and those of networks from which nobody was known.

    Example: isthmus threats mode volume enforce
    """


@command.command("ls")
@click.option("--all", "every", is_flag=True, help="Those that were released too.")
@click.option("--detector", type=_DETECTOR, help="Those of one detector.")
@at_terminal
def list_all(terminal: Terminal, *, every: bool, detector: Detector | None) -> None:
    """List threats, newest first.

    Example: isthmus threats ls --detector stuffing
    """
    from isthmus.gateway.threats.rows import list_threats

    async def ask(program: Program) -> list[KeptThreat]:
        found: list[KeptThreat] = []
        for scope in _scopes(program, "threats"):
            async with program.database.transaction(scope) as tx:
                found += await list_threats(tx, limit=_ROWS, every=every, detector=detector)
        return found

    found, now = terminal.run(ask), SystemClock().now()
    rows = [
        {
            "id": each.id,
            "detector": each.detector,
            "subject": each.subject,
            "step": each.step if each.mode == "enforce" else f"(would {each.would})",
            "holds": "" if each.released_at or each.until <= now else "yes",
            "hits": each.hits,
            "seen": ago(each.last_seen, now=now),
            "reason": each.reason,
        }
        for each in found
    ]
    columns = ("id", "detector", "subject", "step", "holds", "hits", "seen", "reason")
    terminal.answer(found, lambda: table(rows, columns=columns, empty="nothing was found"))


@command.command("show")
@click.argument("threat", metavar="ID")
@at_terminal
def show(terminal: Terminal, threat: str) -> None:
    """Show a threat with its evidence: counts, first and last moment, ids of requests.

    Example: isthmus threats show thr_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """

    async def ask(program: Program) -> KeptThreat:
        return await _of(program, threat, release=False)

    found = terminal.run(ask)
    terminal.answer(found, lambda: _show(found))


@command.command("release")
@click.argument("threat", metavar="ID")
@at_terminal
def release(terminal: Terminal, threat: str) -> None:
    """Let go whom a threat holds back, on every worker within a second. A key that was revoked stays so.

    Example: isthmus threats release thr_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """

    async def work(program: Program) -> KeptThreat:
        return await _of(program, threat, release=True)

    found = terminal.run(work)
    terminal.answer(found, lambda: click.echo(f"{found.subject} is released from {found.detector}"))


@command.command("mode")
@click.argument("detector", type=_DETECTOR, required=False)
@click.argument("mode", type=click.Choice(get_args(Mode)), required=False)
@click.option("--installation", is_flag=True, help="For networks from which nobody is known.")
@at_terminal
def set_one(terminal: Terminal, detector: Detector | None, mode: Mode | None, *, installation: bool) -> None:
    """Say what a detector may do: off, observe or enforce. Without arguments the modes are listed.

    Example: isthmus threats mode volume enforce
    """
    from isthmus.app.http.threats import modes_view
    from isthmus.gateway.threats.rows import read_modes, set_mode

    if detector is not None and mode is None:
        raise click.UsageError("Say the mode too: off, observe or enforce.")

    async def work(program: Program) -> ModesView:
        scope = _scopes(program, "threats-mode")[1 if installation else 0]
        async with program.database.transaction(scope) as tx:
            if detector is not None and mode is not None:
                return modes_view(await set_mode(tx, detector, mode))
            return modes_view(await read_modes(tx))

    found = terminal.run(work)
    rows = [{"detector": name, "mode": each} for name, each in found.modes.items()]
    terminal.answer(found, lambda: table(rows, columns=("detector", "mode"), empty=""))


@command.command("honey")
@click.argument("kind", type=click.Choice(["key", "record"]), required=False)
@click.argument("value", metavar="[ID]", required=False)
@click.option("--note", default="", help="Where it lies, for those who find it used.")
@click.option("--remove", is_flag=True, help="Let it be an ordinary key or id again.")
@at_terminal
def honey(terminal: Terminal, kind: str | None, value: str | None, *, note: str, remove: bool) -> None:
    """Let the use of a key, or of the id of a record, block whoever uses it. Without arguments they are listed.

    Example: isthmus threats honey key key_01KAX3V9Q2M4T8Z5N7P6R1S0WD --note "in the old deploy script"
    """
    from isthmus.gateway.threats.rows import drop_honey, list_honey, set_honey

    if kind is not None and value is None:
        raise click.UsageError("Say the id of the key or record too.")

    async def work(tx: Transaction, _: Program) -> list[HoneyRow]:
        if kind is not None and value is not None:
            await (
                drop_honey(tx, kind=kind, value=value) if remove else set_honey(tx, kind=kind, value=value, note=note)
            )
        return await list_honey(tx)

    found = terminal.transact("threats-honey", work)
    rows = [{"kind": each.kind, "id": each.value, "note": each.note} for each in found]
    terminal.answer(found, lambda: table(rows, columns=("kind", "id", "note"), empty="there is no honey"))


@command.command("replay")
@click.option("--days", type=click.IntRange(1, 8), default=7, show_default=True, help="Over how many days.")
@click.option("--detector", "detectors", type=_DETECTOR, multiple=True, help="Only these; may be repeated.")
@at_terminal
def replay_all(terminal: Terminal, *, days: int, detectors: tuple[Detector, ...]) -> None:
    """Tell what enforcing would have done over the traffic of the last days.

    Example: isthmus threats replay --days 7 --detector volume
    """
    from datetime import timedelta

    from isthmus.gateway.threats.replay import read_traffic, replay

    async def ask(program: Program) -> Replayed:
        async with program.database.transaction(operator(program, "threats-replay")) as tx:
            windows = await read_traffic(tx, since=tx.scope.now - timedelta(days=days))
        return replay(windows, workspace=program.workspace, detectors=detectors or None)

    found = terminal.run(ask)
    terminal.answer(found, lambda: _show_replay(found))


def _scopes(program: Program, cause: str) -> tuple[Scope, Scope]:
    from isthmus.app.http.threats import installation

    own = operator(program, cause)
    return own, installation(own)


async def _of(program: Program, text: str, *, release: bool) -> KeptThreat:
    """Return a threat of the workspace or of the installation; raises ThreatMissing."""
    from isthmus.app.http.threats import threat_id
    from isthmus.gateway.threats.rows import ThreatMissing, find_threat, release_threat

    wanted = threat_id(text)
    for scope in _scopes(program, "threats-release" if release else "threats"):
        async with program.database.transaction(scope) as tx:
            try:
                return await (release_threat(tx, wanted) if release else find_threat(tx, wanted))
            except ThreatMissing:
                continue
    raise ThreatMissing("There is no threat with this id.", fix="List them: isthmus threats ls --all")


def _show(found: KeptThreat) -> None:
    click.echo(f"{found.detector}: {found.subject}\n{found.reason}")
    click.echo(f"mode {found.mode}, step {found.step}, would {found.would}, until {found.until:%Y-%m-%d %H:%M:%S} UTC")
    click.echo(f"first seen {found.first_seen.isoformat()}, last seen {found.last_seen.isoformat()}, {found.hits} hits")
    for name, count in found.counts.items():
        click.echo(f"  {name}: {count}")
    click.echo(f"requests: {' '.join(found.requests)}")


def _show_replay(found: Replayed) -> None:
    rows = [
        {
            "detector": each.detector,
            "subject": each.subject,
            "step": each.step,
            "held": each.held,
            "reason": each.reason,
        }
        for each in found.threats
    ]
    table(rows, columns=("detector", "subject", "step", "held", "reason"), empty="nothing would have been found")
    say(f"{found.windows:,} windows, {found.calls:,} calls, {found.held:,} of them would have been refused")

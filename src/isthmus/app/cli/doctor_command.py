"""`isthmus doctor`."""

from __future__ import annotations

import click
from msgspec import Struct

from isthmus.app.cli.groups import Command
from isthmus.app.cli.output import say
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import counted, paragraph
from isthmus.app.clock import SystemClock
from isthmus.app.doctor import Finding, examine

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


class Examined(Struct, frozen=True, kw_only=True):
    """All findings; `healthy` says that none of them is a failure."""

    healthy: bool
    checks: list[Finding]


@click.command("doctor", cls=Command)
@at_terminal
def command(terminal: Terminal) -> None:
    """Check engines, migrations, keys, disk and clock, and say the fix.

    Nothing is changed by looking. Exits 1 when something fails; a warning is not a failure.

    Example: isthmus doctor --json
    """
    found = examine(terminal.settings, now=SystemClock().now, say=say)
    healthy = all(each.state != "fail" for each in found)
    terminal.answer(Examined(healthy=healthy, checks=found), lambda: _show(found))
    click.get_current_context().exit(0 if healthy else 1)


def _show(found: list[Finding]) -> None:
    width = max(len(each.check) for each in found)
    for each in found:
        state = click.style(f"{each.state:4}", fg=_COLOURS[each.state])
        lines = paragraph(each.found, head=f"      {each.check:{width}}  ").splitlines()
        click.echo(f"{state}  {lines[0][6:]}")
        for line in lines[1:]:
            click.echo(line)
        if each.fix:
            click.echo(paragraph(each.fix, head=" " * (width + 8) + "fix: "))
    warnings, failures = (sum(each.state == state for each in found) for state in ("warn", "fail"))
    say(f"{counted(len(found), 'check')}, {counted(warnings, 'warning')}, {counted(failures, 'failure')}")

"""`isthmus users`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Command
from isthmus.app.cli.output import say
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.links import new_link
from isthmus.app.running import found
from isthmus.app.up import address

if TYPE_CHECKING:
    from isthmus.app.program import Program


@click.group("users")
def command() -> None:
    """Let people into the console."""


@command.command("link", cls=Command)
@click.option("--url", help="The address under which people reach the console, when it stands behind another server.")
@at_terminal
def link(terminal: Terminal, url: str | None) -> None:
    """Make a link that signs in once.

    It opens within 24 hours; whoever has it is administrator of the workspace.

    Example: isthmus users link
    """
    running = found(terminal.settings.data_dir)
    base = (url or (running.url if running else address(terminal.settings))).rstrip("/")

    async def work(program: Program) -> tuple[str, str]:
        return await new_link(program, url=base, actor=operator(program, "users-link").actor), program.slug

    made, slug = terminal.run(work)
    terminal.answer({"link": made, "workspace": slug}, lambda: click.echo(made))
    say(f"it opens once, within 24 hours; whoever has it is administrator of {slug}, so pass it on with care")
    if running is None and url is None:
        say("nothing answers there now; start it: isthmus up")

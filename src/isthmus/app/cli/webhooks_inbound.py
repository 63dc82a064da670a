"""The command of `isthmus webhooks` about what connected systems send us."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from isthmus.app.cli.groups import Command
from isthmus.app.cli.output import table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.discovery import connectors
from isthmus.app.inbound_views import InboundView, inbound_views

if TYPE_CHECKING:
    from isthmus.app.program import Program
    from isthmus.store.database import Transaction


@click.command("inbound", cls=Command)
@at_terminal
def list_inbound(terminal: Terminal) -> None:
    """List the addresses at which connected systems may call, and whether their secret is set.

    Example: isthmus webhooks inbound
    """

    async def ask(tx: Transaction, program: Program) -> list[InboundView]:
        return await inbound_views(tx, program.vault, connectors(), at=program.settings.issuer)

    found = terminal.transact("webhooks-inbound", ask)
    rows = [
        {
            "connection": each.connection,
            "address": each.address,
            "signature": each.signature,
            "secret": "set" if each.ready else f"missing: isthmus connect set … --secret {each.secret_setting}",
        }
        for each in found
    ]
    empty = "no connected system can call; connectors say in `isthmus connect --list` what they can"
    terminal.answer(found, lambda: table(rows, columns=("connection", "address", "signature", "secret"), empty=empty))

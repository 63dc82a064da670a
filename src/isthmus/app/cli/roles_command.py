"""`isthmus roles`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.discovery import domain_names
from isthmus.app.http.roles import RoleView, role_view, roles_of
from isthmus.auth.custom_roles import list_roles, remove, save
from isthmus.auth.roles import CustomRole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isthmus.app.program import Program
    from isthmus.store.database import Transaction

_SHOWN_MAX = 6


class _Roles(Group):
    default = "ls"


@click.group("roles", cls=_Roles)
def command() -> None:
    """Make roles of your own, and see what each role allows.

    Without a command all roles are listed, those that are built in first.

    Example: isthmus roles set campaign_desk --parent marketing.editor --scope sales:read
    """


@command.command("ls")
@at_terminal
def list_all(terminal: Terminal) -> None:
    """List roles and what they allow.

    Example: isthmus roles ls
    """

    async def ask(tx: Transaction, _: Program) -> list[RoleView]:
        return roles_of(await list_roles(tx), domains=domain_names())

    shown = terminal.transact("roles", ask)
    terminal.answer(shown, lambda: _show(shown))


@command.command("set")
@click.argument("name")
@click.option("--about", default="", help="What it is for.")
@click.option("--parent", "parents", multiple=True, help="A role that it holds too, such as sales.viewer; repeatable.")
@click.option("--scope", "scopes", multiple=True, help="A single permission, such as sales:read; repeatable.")
@at_terminal
def set_role(terminal: Terminal, name: str, about: str, parents: tuple[str, ...], scopes: tuple[str, ...]) -> None:
    """Make a role, or give it a new meaning.

    Whoever holds it is held to the new meaning within a second.

    Example: isthmus roles set campaign_desk --parent marketing.editor --scope sales:read
    """
    role = CustomRole(name=name, about=about, parents=parents, permissions=scopes)

    async def work(tx: Transaction, _: Program) -> RoleView:
        await save(tx, role, domains=domain_names(), giver=None)
        return role_view(role, await list_roles(tx), domains=domain_names())

    made = terminal.transact("roles-set", work)
    terminal.answer(made, lambda: click.echo(f"{made.name} allows {', '.join(made.allows)}"))


@command.command("rm")
@click.argument("name")
@at_terminal
def remove_role(terminal: Terminal, name: str) -> None:
    """Take a role of your own away; whoever holds it loses what it allowed.

    Example: isthmus roles rm campaign_desk
    """

    async def work(tx: Transaction, _: Program) -> None:
        await remove(tx, name)

    terminal.transact("roles-rm", work)
    terminal.answer({"name": name, "removed": True}, lambda: click.echo(f"{name} is removed"))


def _show(shown: Sequence[RoleView]) -> None:
    rows = [
        {
            "role": each.name,
            "": "" if each.built_in else "own",
            "parents": ", ".join(each.parents),
            "allows": _few(each.allows),
            "about": each.about,
        }
        for each in shown
    ]
    table(rows, columns=("role", "", "parents", "allows", "about"), empty="no roles")


def _few(allows: Sequence[str]) -> str:
    more = len(allows) - _SHOWN_MAX
    return ", ".join(allows[:_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")

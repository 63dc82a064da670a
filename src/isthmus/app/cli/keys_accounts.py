"""`isthmus keys account`: service accounts, which own keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import id_of, moment
from isthmus.app.discovery import domain_names
from isthmus.app.http.roles import AccountView, account_view
from isthmus.auth.accounts import (
    ACCOUNT_PREFIX,
    AccountWish,
    create_account,
    find_account,
    list_accounts,
    switch_account,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isthmus.app.program import Program
    from isthmus.store.database import Transaction

LIST = "List them: isthmus keys account ls"
_ID = click.argument("account_id", metavar="ID")


class _Accounts(Group):
    default = "ls"


@click.group("account", cls=_Accounts)
def account() -> None:
    """Keep service accounts: machines with a name, whose keys allow at most what the account is granted.

    Without a command they are listed.

    Example: isthmus keys account create nightly-export --role sales.viewer
    """


@account.command("ls")
@at_terminal
def list_all(terminal: Terminal) -> None:
    """List service accounts.

    Example: isthmus keys account ls
    """

    async def ask(tx: Transaction, _: Program) -> list[AccountView]:
        return [account_view(each) for each in await list_accounts(tx)]

    shown = terminal.transact("accounts", ask)
    terminal.answer(shown, lambda: _show(shown))


@account.command("create")
@click.argument("name")
@click.option("--about", default="", help="What it is for.")
@click.option("--role", "roles", multiple=True, help="A role, such as sales.viewer; repeatable.")
@click.option("--scope", "scopes", multiple=True, help="A single permission, such as sales:read; repeatable.")
@at_terminal
def create(terminal: Terminal, name: str, about: str, roles: tuple[str, ...], scopes: tuple[str, ...]) -> None:
    """Make a service account; keys are made for it with `isthmus keys create --account ID`.

    Example: isthmus keys account create nightly-export --role sales.viewer --about "Feeds the warehouse"
    """
    wish = AccountWish(name=name, about=about, roles=roles, permissions=scopes)

    async def work(program: Program) -> AccountView:
        async with program.database.transaction(operator(program, "accounts-create")) as tx:
            return account_view(await create_account(tx, wish, domains=domain_names(), giver=None))

    made = terminal.run(work)
    terminal.answer(made, lambda: click.echo(made.id))
    say(f"make a key for it: isthmus keys create --name NAME --account {made.id}")


@account.command("show")
@_ID
@at_terminal
def show(terminal: Terminal, account_id: str) -> None:
    """Show one service account.

    Example: isthmus keys account show svc_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    own = id_of(ACCOUNT_PREFIX, account_id, fix=LIST)

    async def ask(tx: Transaction, _: Program) -> AccountView:
        return account_view(await find_account(tx, own))

    found = terminal.transact("accounts", ask)
    terminal.answer(found, lambda: _show([found]))


@account.command("disable")
@_ID
@at_terminal
def disable(terminal: Terminal, account_id: str) -> None:
    """Refuse all keys of an account within a second; nothing is lost.

    Example: isthmus keys account disable svc_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    _switch(terminal, account_id, enabled=False)


@account.command("enable")
@_ID
@at_terminal
def enable(terminal: Terminal, account_id: str) -> None:
    """Let the keys of an account in again.

    Example: isthmus keys account enable svc_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    _switch(terminal, account_id, enabled=True)


def _switch(terminal: Terminal, account_id: str, *, enabled: bool) -> None:
    own = id_of(ACCOUNT_PREFIX, account_id, fix=LIST)

    async def work(tx: Transaction, _: Program) -> AccountView:
        return account_view(await switch_account(tx, own, enabled=enabled))

    found = terminal.transact("accounts-switch", work)
    said = "is let in" if enabled else f"is disabled since {moment(found.disabled_at)} UTC"
    terminal.answer(found, lambda: click.echo(f"{found.id} ({found.name}) {said}"))


def _show(shown: Sequence[AccountView]) -> None:
    rows = [
        {
            "id": each.id,
            "name": each.name,
            "may": ", ".join((*each.roles, *each.permissions)),
            "keys": each.keys,
            "status": "disabled" if each.disabled_at else "active",
            "about": each.about,
        }
        for each in shown
    ]
    empty = "no service accounts; make one: isthmus keys account create --help"
    table(rows, columns=("id", "name", "may", "keys", "status", "about"), empty=empty)

"""`isthmus users`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from msgspec import Struct

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.users_providers import provider
from isthmus.app.cli.users_saml import saml
from isthmus.app.cli.wording import ago, id_text
from isthmus.app.clock import SystemClock
from isthmus.app.discovery import domain_names
from isthmus.app.links import new_link
from isthmus.app.running import found
from isthmus.auth.people.links import create_login_link, forget_factors
from isthmus.auth.people.logins import (
    USER_PREFIX,
    Login,
    LoginWish,
    create_login,
    disable_login,
    enable_login,
    list_logins,
    login_of,
    set_roles,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from isthmus.app.program import Program
    from isthmus.store.database import Transaction

_PAGE = 500
_ROLE = click.option(
    "--role", "roles", multiple=True, help="A role, such as owner, viewer or sales.editor; repeatable."
)
_URL = click.option(
    "--url", help="The address under which people reach the console, when it stands behind another server."
)
_EMAIL = click.argument("email", metavar="EMAIL")


class UserView(Struct, frozen=True, kw_only=True):
    """A user."""

    id: str
    email: str
    name: str
    roles: list[str]
    status: str
    second_factor: bool
    signed_in_at: datetime | None


class LinkView(Struct, frozen=True, kw_only=True):
    """A link that opens once; without `email` it is one for an administrator."""

    link: str
    workspace: str
    email: str | None = None


class _Users(Group):
    default = "ls"


@click.group("users", cls=_Users)
def command() -> None:
    """Let people into the console.

    Without a command the users are listed.

    Example: isthmus users invite ada@example.com --name "Ada Byron" --role owner
    """


command.add_command(provider)
command.add_command(saml)


@command.command("ls")
@at_terminal
def list_all(terminal: Terminal) -> None:
    """List users.

    Example: isthmus users ls
    """

    async def ask(program: Program) -> list[Login]:
        everybody: list[Login] = []
        async with program.database.transaction(operator(program, "users")) as tx:
            while True:
                after = everybody[-1].id if everybody else None
                page = await list_logins(tx, program.vault, limit=_PAGE, after=after)
                everybody += page
                if len(page) < _PAGE:
                    return everybody

    shown = [_view(each) for each in terminal.run(ask)]
    terminal.answer(shown, lambda: _show(shown))


@command.command("invite")
@_EMAIL
@click.option("--name", required=True, help="The person's name.")
@_ROLE
@_URL
@at_terminal
def invite(terminal: Terminal, email: str, name: str, roles: tuple[str, ...], url: str | None) -> None:
    """Make a user, and a link that sets their password once, within three days.

    Example: isthmus users invite ada@example.com --name "Ada Byron" --role sales.editor
    """
    base = _base(terminal, url)

    async def work(program: Program) -> LinkView:
        wish = LoginWish(email=email, name=name, roles=roles)
        async with program.database.transaction(operator(program, "users-invite")) as tx:
            login = await create_login(tx, program.vault, wish, domains=domain_names(), giver=None)
            token = await create_login_link(tx, login.id)
        return LinkView(link=f"{base}/join/{token}", workspace=program.slug, email=login.email)

    made = terminal.run(work)
    terminal.answer(made, lambda: click.echo(made.link))
    say(f"it sets the password of {made.email} once, within three days; send it to nobody else")


@command.command("link")
@click.argument("email", metavar="[EMAIL]", required=False)
@click.option("--forget-factors", is_flag=True, help="The user lost their second factors: forget them all.")
@_URL
@at_terminal
def link(terminal: Terminal, email: str | None, url: str | None, *, forget_factors: bool) -> None:
    """Make a link that signs in once, or one with which a user sets a new password.

    Without an address it opens within 24 hours, and whoever has it is administrator of the workspace.

    Example: isthmus users link
    """
    base = _base(terminal, url)
    if email is not None:
        _user_link(terminal, email, base, forgetting=forget_factors)
        return
    if forget_factors:
        raise click.UsageError("Whose? Name the user: isthmus users link EMAIL --forget-factors")

    async def work(program: Program) -> LinkView:
        made = await new_link(program, url=base, actor=operator(program, "users-link").actor)
        return LinkView(link=made, workspace=program.slug)

    made = terminal.run(work)
    terminal.answer(made, lambda: click.echo(made.link))
    say(f"it opens once, within 24 hours; whoever has it is administrator of {made.workspace}, so pass it on with care")
    if found(terminal.settings.data_dir) is None and url is None:
        say("nothing answers there now; start it: isthmus up")


@command.command("roles")
@_EMAIL
@_ROLE
@at_terminal
def roles(terminal: Terminal, email: str, roles: tuple[str, ...]) -> None:
    """Give a user these roles and no others; without any they may do nothing.

    Example: isthmus users roles ada@example.com --role sales.viewer --role finance.viewer
    """

    async def change(program: Program, tx: Transaction, login: Login) -> Login:
        return await set_roles(tx, program.vault, login.id, roles=roles, domains=domain_names(), giver=None)

    _changed(terminal, email, change, "roles")


@command.command("disable")
@_EMAIL
@at_terminal
def disable(terminal: Terminal, email: str) -> None:
    """Shut a user out: their sessions end within a second.

    Example: isthmus users disable ada@example.com
    """

    async def change(program: Program, tx: Transaction, login: Login) -> Login:
        return await disable_login(tx, program.vault, login.id, domains=domain_names(), giver=None)

    _changed(terminal, email, change, "disable")


@command.command("enable")
@_EMAIL
@at_terminal
def enable(terminal: Terminal, email: str) -> None:
    """Let a user in again.

    Example: isthmus users enable ada@example.com
    """

    async def change(program: Program, tx: Transaction, login: Login) -> Login:
        return await enable_login(tx, program.vault, login.id, domains=domain_names(), giver=None)

    _changed(terminal, email, change, "enable")


def _changed(
    terminal: Terminal, email: str, change: Callable[[Program, Transaction, Login], Awaitable[Login]], verb: str
) -> None:
    async def work(program: Program) -> Login:
        async with program.database.transaction(operator(program, f"users-{verb}")) as tx:
            return await change(program, tx, await login_of(tx, program.vault, email))

    done = _view(terminal.run(work))
    held = ", ".join(done.roles) or "no role"
    terminal.answer(done, lambda: click.echo(f"{done.email} ({done.name}) is {done.status}: {held}"))


def _user_link(terminal: Terminal, email: str, base: str, *, forgetting: bool) -> None:
    async def work(program: Program) -> LinkView:
        async with program.database.transaction(operator(program, "users-link")) as tx:
            login = await login_of(tx, program.vault, email)
            if forgetting:
                await forget_factors(tx, login.id)
            token = await create_login_link(tx, login.id)
        return LinkView(link=f"{base}/join/{token}", workspace=program.slug, email=login.email)

    made = terminal.run(work)
    terminal.answer(made, lambda: click.echo(made.link))
    say(f"it sets a new password of {made.email} once, within three days; send it to nobody else")


def _base(terminal: Terminal, url: str | None) -> str:
    running = found(terminal.settings.data_dir)
    return (url or (running.url if running else terminal.settings.address)).rstrip("/")


def _view(login: Login) -> UserView:
    return UserView(
        id=id_text(USER_PREFIX, login.id),
        email=login.email,
        name=login.name,
        roles=login.roles,
        status=login.status,
        second_factor=login.has_second_factor,
        signed_in_at=login.signed_in_at,
    )


def _show(shown: Sequence[UserView]) -> None:
    now = SystemClock().now()
    rows = [
        {
            "email": each.email,
            "name": each.name,
            "roles": ", ".join(each.roles),
            "status": each.status,
            "second factor": "yes" if each.second_factor else "no",
            "signed in": ago(each.signed_in_at, now=now),
        }
        for each in shown
    ]
    empty = "no users; invite one: isthmus users invite EMAIL --name NAME --role owner"
    table(rows, columns=("email", "name", "roles", "status", "second factor", "signed in"), empty=empty)

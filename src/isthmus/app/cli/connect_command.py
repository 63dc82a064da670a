"""`isthmus connect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import click
from msgspec import UNSET

from isthmus.app.cli.connect_authorizing import authorize
from isthmus.app.cli.connect_given import Given, every_option, given_options
from isthmus.app.cli.connect_views import show_connection, show_connections, show_connector, show_connectors
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.clock import SystemClock
from isthmus.app.connecting import access_of, answer_of, connector_named, parted
from isthmus.app.connection_views import ConnectionView, connection_view, connector_view
from isthmus.app.discovery import connectors, schema
from isthmus.sync.connections import (
    Connection,
    Options,
    all_settings,
    change_connection,
    connect,
    connection_of,
    connections,
    pause,
    remove,
    resume,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from isthmus.app.program import Program
    from isthmus.store.database import Transaction


class _Connect(Group):
    default = "ls"
    shortcuts: ClassVar[Mapping[str, str]] = {"--list": "connectors"}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read `NAME --oauth` as `authorize NAME`."""
        if args and "--oauth" in args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["authorize", *(each for each in args if each != "--oauth")]
        return super().parse_args(ctx, args)


@click.group("connect", cls=_Connect)
def command() -> None:
    """Connect systems of record, and see how they are.

    A connector is code for a vendor's system; a connection is your authorised use of one. Without a command the
    connections are listed; `isthmus connect --list` lists the connectors.

    Example: isthmus connect add tryton --name erp --set url=https://erp.example --set database=main --secret key=@key
    """


command.add_command(authorize)


@command.command("connectors")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@at_terminal
def list_connectors(terminal: Terminal, *, names: tuple[str, ...]) -> None:
    """List the connectors, or tell all of those that are named: what they read, write and take.

    Each says what it is proven against; fake ones are labelled.

    Example: isthmus connect --list stripe
    """
    there = connectors()
    wanted = [connector_named(there, name) for name in names] if names else list(there.values())
    found = [connector_view(each) for each in wanted]

    def show() -> None:
        if not names:
            show_connectors(found)
        for each in found if names else ():
            show_connector(each)

    terminal.answer(found, show)


@command.command("ls")
@at_terminal
def list_connections(terminal: Terminal) -> None:
    """List the connections with their status.

    Example: isthmus connect ls
    """

    async def ask(tx: Transaction, _: Program) -> list[ConnectionView]:
        return [await _view(tx, each) for each in await connections(tx)]

    found = terminal.transact("connect", ask)
    terminal.answer(found, lambda: show_connections(found, now=SystemClock().now()))


@command.command("add")
@click.argument("connector")
@click.option("--name", required=True, help="The name of the system, as it stands in every claim: crm, erp, billing.")
@given_options
@every_option
@click.option("--create", multiple=True, metavar="TYPE", help="Make missing records of this type there; repeatable.")
@click.option("--no-push", is_flag=True, help="Only read: never write to this system.")
@click.option("--no-delete", is_flag=True, help="Never delete there.")
@click.option("--no-pipeline", is_flag=True, help="New leads from there are only stored: no score, owner, follow-up.")
@click.option("--no-check", is_flag=True, help="Do not try first whether it answers.")
@at_terminal
def add(  # noqa: PLR0913 - one parameter for each option.
    terminal: Terminal,
    connector: str,
    name: str,
    given: Given,
    every_s: int | None,
    create: tuple[str, ...],
    *,
    no_push: bool,
    no_delete: bool,
    no_pipeline: bool,
    no_check: bool,
) -> None:
    """Connect a system.

    It is asked first whether it answers; if it does not, nothing is kept.

    Secrets come from a file (--secret key=@FILE), from the environment (--secret key=env:VARIABLE), or are asked for
    without showing them.

    Example: isthmus connect add tryton --name erp --set url=https://erp.example --set database=main --secret key=@key
    """
    known = connector_named(connectors(), connector)
    settings = given.settings(known, ask=terminal.asks, complete=True)
    options = Options(
        push=not no_push,
        create=tuple(schema()[each].name for each in create),
        delete=not no_delete,
        pipeline=not no_pipeline,
    )

    async def work(tx: Transaction, program: Program) -> tuple[str, ConnectionView]:
        made = await connect(tx, program.vault, known, name=name, settings=settings, options=options, every_s=every_s)
        answer = "" if no_check or known.consents(settings) else await _answer(tx, program, made)
        return answer, await _view(tx, made)

    answer, document = terminal.transact("connect-add", work)
    terminal.answer(
        document, lambda: click.echo(f"connected {name}" + (f", which answers as {answer}" if answer else ""))
    )
    if not terminal.as_json:
        verb = "connect authorize" if known.consents(settings) else "sync run"
        say(f"next: isthmus {verb} {name}")


@command.command("set")
@click.argument("name")
@given_options
@every_option
@at_terminal
def change(terminal: Terminal, name: str, given: Given, every_s: int | None) -> None:
    """Change settings, secrets or the schedule.

    What is not given stays. The system is asked whether it answers.

    Example: isthmus connect set erp --secret key=@new-key.txt
    """

    async def work(tx: Transaction, program: Program) -> tuple[str, ConnectionView]:
        found = await connection_of(tx, name)
        known = connector_named(connectors(), found.connector)
        settings = given.settings(known, ask=terminal.asks, complete=False) or None
        changed = await change_connection(
            tx, program.vault, known, found, settings=settings, every_s=UNSET if every_s is None else every_s
        )
        whole = await all_settings(tx, program.vault, changed)
        answer = await _answer(tx, program, changed) if settings and not known.consents(whole) else ""
        return answer, await _view(tx, changed)

    answer, document = terminal.transact("connect-set", work)
    terminal.answer(
        document, lambda: click.echo(f"changed {name}" + (f", which answers as {answer}" if answer else ""))
    )


@command.command("show")
@click.argument("name")
@at_terminal
def show_one(terminal: Terminal, name: str) -> None:
    """Show settings, feeds, status and last run.

    Example: isthmus connect show erp
    """

    async def ask(tx: Transaction, _: Program) -> ConnectionView:
        return await _view(tx, await connection_of(tx, name))

    document = terminal.transact("connect", ask)
    terminal.answer(document, lambda: show_connection(document, now=SystemClock().now()))


@command.command("check")
@click.argument("name")
@at_terminal
def check(terminal: Terminal, name: str) -> None:
    """Ask a system whether it answers.

    Example: isthmus connect check erp
    """

    async def ask(tx: Transaction, program: Program) -> str:
        return await _answer(tx, program, await connection_of(tx, name))

    answer = terminal.transact("connect-check", ask)
    terminal.answer({"name": name, "answers_as": answer}, lambda: click.echo(f"{name} answers as {answer}"))


@command.command("pause")
@click.argument("name")
@click.option("--reason", default="", help="Why, for those who see it.")
@at_terminal
def pause_one(terminal: Terminal, name: str, reason: str) -> None:
    """Let a connection rest until it is resumed.

    Nothing is pulled or pushed meanwhile.

    Example: isthmus connect pause erp --reason "upgrade until Monday"
    """
    document = _changed(terminal, name, lambda tx, found: pause(tx, found, reason=reason or "Paused by a person."))
    terminal.answer(document, lambda: click.echo(f"paused {name}"))


@command.command("resume")
@click.argument("name")
@at_terminal
def resume_one(terminal: Terminal, name: str) -> None:
    """Let a paused connection run again.

    Example: isthmus connect resume erp
    """
    document = _changed(terminal, name, resume)
    terminal.answer(document, lambda: click.echo(f"resumed {name}"))


@command.command("rm")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@at_terminal
def remove_one(terminal: Terminal, name: str, *, yes: bool) -> None:
    """Take a connection away, with its secrets.

    What the system told us stays.

    Example: isthmus connect rm erp --yes
    """
    if not yes:
        terminal.confirm(f"Remove the connection {name} and destroy its secrets?")

    async def work(tx: Transaction, program: Program) -> str:
        found = await connection_of(tx, name)
        settings, known = await all_settings(tx, program.vault, found), connectors().get(found.connector)
        access = None if known is None else access_of(program, found, known, settings, scope=tx.scope)
        left = await parted(known, settings, access=access)
        await remove(tx, program.vault, found, left=left)
        return left

    left = terminal.transact("connect-rm", work)
    if left:
        say(f"warning: {left}")
    terminal.answer({"name": name, "removed": True}, lambda: click.echo(f"removed {name}"))


def _changed(
    terminal: Terminal, name: str, act: Callable[[Transaction, Connection], Awaitable[None]]
) -> ConnectionView:
    async def work(tx: Transaction, _: Program) -> ConnectionView:
        await act(tx, await connection_of(tx, name))
        return await _view(tx, await connection_of(tx, name))

    return terminal.transact("connect", work)


async def _answer(tx: Transaction, program: Program, connection: Connection) -> str:
    """Open a session and return who we are there; raises ConnectorError."""
    settings, known = (
        await all_settings(tx, program.vault, connection),
        connector_named(connectors(), connection.connector),
    )
    access = access_of(program, connection, known, settings, scope=tx.scope)
    return await answer_of(known, settings, name=connection.name, access=access)


async def _view(tx: Transaction, connection: Connection) -> ConnectionView:
    return await connection_view(tx, connection, connectors=connectors())

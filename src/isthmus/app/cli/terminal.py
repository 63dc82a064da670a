"""What commands that work on the data directory share: where they work, and in which form they answer."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import click

from isthmus.app.cli.common import operator, run, settings_from
from isthmus.app.cli.output import print_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from isthmus.app.program import Program
    from isthmus.app.settings import Settings
    from isthmus.store.database import Transaction

P = ParamSpec("P")
T = TypeVar("T")
_META = "isthmus.terminal"


@dataclass(frozen=True, kw_only=True)
class Terminal:
    """The settings after the options of the command, and whether the answer is JSON."""

    settings: Settings
    as_json: bool

    @property
    def asks(self) -> bool:
        """Tell whether there is a person who can be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty() and not self.as_json

    def run(self, work: Callable[[Program], Awaitable[T]]) -> T:
        """Open the program, do the work, close it again."""
        return run(self.settings, work)

    def transact(self, cause: str, work: Callable[[Transaction, Program], Awaitable[T]]) -> T:
        """Do the work in one transaction of the operator, who is written down with what it was done by."""

        async def inside(program: Program) -> T:
            async with program.database.transaction(operator(program, cause)) as tx:
                return await work(tx, program)

        return self.run(inside)

    def answer(self, document: object, show: Callable[[], None]) -> None:
        """Print the document as JSON where that is asked for, else let `show` print it for people."""
        if self.as_json:
            print_json(document)
        else:
            show()

    def confirm(self, question: str) -> None:
        """Ask a person; without one the answer has to be given by the option --yes."""
        if not self.asks:
            raise click.UsageError(f"{question} Nobody can be asked here: say --yes.")
        click.confirm(question, abort=True, err=True)


def at_terminal(command: Callable[Concatenate[Terminal, P], T]) -> Callable[P, T]:
    """Give a command the options --data-dir, --workspace and --json, and hand them to it as its first argument."""

    @functools.wraps(command)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        given = click.get_current_context().meta
        terminal = Terminal(
            settings=settings_from(data_dir=given.get(f"{_META}.data_dir"), workspace=given.get(f"{_META}.workspace")),
            as_json=bool(given.get(f"{_META}.as_json")),
        )
        return command(terminal, *args, **kwargs)

    data_dir = click.option(
        "--data-dir",
        type=click.Path(file_okay=False),
        expose_value=False,
        callback=_keep,
        help="Where everything is kept (default: ./.isthmus if present, else the user's data directory).",
    )
    workspace = click.option(
        "--workspace",
        expose_value=False,
        callback=_keep,
        help="The workspace to act in (default: the running or only one).",
    )
    as_json = click.option(
        "--json", "as_json", is_flag=True, expose_value=False, callback=_keep, help="Print one JSON document."
    )
    return data_dir(workspace(as_json(inside)))


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> object:
    context.meta[f"{_META}.{parameter.name}"] = value
    return value

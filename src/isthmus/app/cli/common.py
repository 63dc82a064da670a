"""What all commands share: options, and running something with the program opened."""

from __future__ import annotations

import asyncio
import getpass
import signal
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from isthmus.app.cli.output import say
from isthmus.app.program import Program, command
from isthmus.app.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from isthmus.store.database import Scope

P = ParamSpec("P")
T = TypeVar("T")

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False),
    help="Where everything is kept (default: ./.isthmus if present, else the user's data directory).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
workspace_option = click.option("--workspace", help="The workspace to act in (default: the running or only one).")


def settings_from(**given: object) -> Settings:
    """Return the settings with the options of a command over them."""
    return read_settings(given)


def run(settings: Settings, work: Callable[[Program], Awaitable[T]]) -> T:
    """Open the program, do the work, close it again."""

    async def inside() -> T:
        # SIGTERM ends a command as Ctrl-C does, so that engines it started are stopped.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
        async with command(settings, progress=say) as program:
            return await work(program)

    return asyncio.run(inside())


def operator(program: Program, cause: str) -> Scope:
    """Return the scope of the person at this terminal; who owns the data directory is the operator."""
    return program.scope(actor=f"cli:{getpass.getuser()}", cause=f"cli:{cause}")

"""`isthmus new`."""

from __future__ import annotations

from pathlib import Path

import click

import isthmus.connectors
from isthmus.app.cli.output import say
from isthmus.app.scaffolding.connectors import write_connector


@click.group("new")
def command() -> None:
    """Write a folder that works, to begin from.

    Example: isthmus new connector acme
    """


@command.command("connector")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to write the folder; beside the other connectors by default.",
)
@click.option("--rest", is_flag=True, help="Describe a REST interface in values, instead of writing a client.")
def new_connector(name: str, into: Path | None, *, rest: bool) -> None:
    """Write a connector: client, mapping, fixtures, tests, a fake to test against, and a page of words.

    With --rest client and mapping are a description in values, in one file.

    It is found because it is there, and passes its own tests and the suite for connectors at once.

    Example: isthmus new connector acme
    """
    home = into or Path(next(iter(isthmus.connectors.__path__)))
    for path in write_connector(name, into=home, described=rest):
        click.echo(path)
    say(f"next: pytest {home / name} tests/conformance -k {name}")

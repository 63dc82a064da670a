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
def new_connector(name: str, into: Path | None) -> None:
    """Write a connector: client, mapping, fixtures, tests, a fake to test against, and a page of words.

    It is found because it is there, and passes its own tests and the suite for connectors at once.

    Example: isthmus new connector acme
    """
    home = into or Path(next(iter(isthmus.connectors.__path__)))
    for path in write_connector(name, into=home):
        click.echo(path)
    say(f"next: pytest {home / name} tests/conformance -k {name}")

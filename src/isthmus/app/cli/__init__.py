"""The command line. Commands are loaded when they are called, so that help costs nothing.

Data goes to stdout, talk to stderr. Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 denied, 5 conflict,
6 unavailable, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from isthmus.kernel.errors import IsthmusError

COMMANDS = {
    "up": "Start everything on this machine.",
    "down": "Stop what `up` started.",
    "demo": "Start with a made-up company and watch five domains agree.",
    "doctor": "Check engines, migrations, keys, disk and clock, and say the fix.",
    "connect": "Connect systems of record, and see how they are.",
    "sync": "Pull, push and plan; watch runs; retry what was rejected.",
    "import": "Import a CSV, Parquet or NDJSON file.",
    "conflicts": "See and settle what waits for a person.",
    "keys": "Make, list and revoke API keys.",
    "users": "Make a one-time link to the console.",
    "query": "Ask the database, read-only.",
    "attribute": "Attribute outcomes to touches from files, without a server.",
    "bench": "Measure against named peers.",
    "completion": "Print the completion script of a shell.",
}
_EXIT_OF_STATUS = {401: 4, 403: 4, 404: 3, 409: 5, 412: 5, 422: 1, 503: 6}
INTERRUPTED = 130


class _Lazy(click.Group):
    """A group whose commands live in modules of their own and are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order in which people need them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"isthmus.app.cli.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list without importing anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each command has --help. Data goes to stdout, talk to stderr; --json gives one JSON document.",
)
@click.version_option(package_name="isthmus", prog_name="isthmus")
def cli() -> None:
    """Make a company's five revenue systems agree: sync, one gate, answers and trust in one program."""


def main() -> None:
    """Run the command line and exit with the code of what happened."""
    try:
        # NO_COLOR (no-color.org) is for every program; nothing else of it is a setting of ours.
        code = cli.main(standalone_mode=False, color=False if os.environ.get("NO_COLOR") else None)
    except click.exceptions.Abort:
        click.echo("stopped", err=True)
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - what is expected is told in words, the rest is raised again.
        sys.exit(_tell(error))
    sys.exit(code if isinstance(code, int) else 0)


def _tell(error: Exception) -> int:
    """Say an expected error in two lines, and let an unexpected one through."""
    from isthmus.kernel.errors import IsthmusError

    if not isinstance(error, IsthmusError):
        raise error
    told = [fault for fault in error.faults if fault.detail not in error.detail]
    many = len(error.faults) > 1
    said = error.title if many and not told else error.detail
    click.echo(f"{click.style('error', fg='red', bold=True)}: {said}", err=True)
    for fault in error.faults if many else told:
        click.echo(f"  {fault.pointer}: {fault.detail}", err=True)
    if error.fix:
        click.echo(f"  fix: {error.fix}", err=True)
    return exit_code(error)


def exit_code(error: IsthmusError) -> int:
    """Return the code with which a command ends that met the error."""
    return _EXIT_OF_STATUS.get(error.status, 1)

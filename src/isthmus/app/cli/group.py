"""The group of all commands, and what becomes of their errors."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from isthmus.app.cli import ABOUT, COMMANDS, EPILOG, exit_code, help_text

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

    def get_help(self, ctx: click.Context) -> str:
        """Return the same text that help without imports shows."""
        del ctx
        return help_text().rstrip()


@click.command(cls=_Lazy, help=ABOUT, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="isthmus", prog_name="isthmus")
def cli() -> None:
    """Hold the commands."""


def run() -> None:
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

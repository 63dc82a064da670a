"""Help costs nothing, and every command has some, with an example."""

import subprocess
import sys
from importlib import import_module

import click
import pytest

from isthmus.app.cli import COMMANDS

HEAVY = ("psycopg", "pyarrow", "numpy", "aiohttp", "uvicorn", "httptools", "msgspec", "rich", "valkey", "cryptography")
SCRIPT = """
import sys
sys.argv = ["isthmus", "--help"]
from isthmus.app.cli import main
try:
    main()
except SystemExit:
    pass
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""
WITH_EXAMPLES = (
    "doctor",
    "connect",
    "sync",
    "import",
    "conflicts",
    "discrepancies",
    "reconcile",
    "keys",
    "roles",
    "policy",
    "alerts",
    "audit",
    "users",
    "query",
    "attribute",
)


def commands() -> list[tuple[str, click.Command]]:
    """Return every command and subcommand with its whole name."""
    found: list[tuple[str, click.Command]] = []
    for name in WITH_EXAMPLES:
        command = import_module(f"isthmus.app.cli.{name}_command").command
        assert isinstance(command, click.Command)
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {each}", one) for each, one in command.commands.items() if not one.hidden]
    return found


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert "Usage: isthmus" in done.stdout
    assert set(done.stderr.split()).isdisjoint(HEAVY)


def test_help_lists_every_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "isthmus.app.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert [name for name in COMMANDS if f"\n  {name} " not in done.stdout] == []
    assert done.stderr == ""


@pytest.mark.parametrize(("name", "command"), commands(), ids=[name for name, _ in commands()])
def test_every_command_has_help_with_an_example(name: str, command: click.Command) -> None:
    with click.Context(command, info_name=f"isthmus {name}") as context:
        shown = command.get_help(context)
    if not isinstance(command, click.Group) or name != "users":
        assert "Example:" in shown
        assert f"isthmus {name.split(maxsplit=1)[0]}" in shown.partition("Example:")[2]
    assert "--help" in shown


def test_options_before_a_name_go_to_the_command_that_runs_without_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "isthmus.app.cli", "connect", "--list"], capture_output=True, text=True, check=True
    )
    assert "tryton" in done.stdout
    assert "[fake: for demonstrations and tests]" in done.stdout


@pytest.mark.parametrize("arguments", [("nonsense",), ("connect", "nonsense"), ("sync", "run", "--only", "nothing")])
def test_words_that_are_not_known_are_a_usage_error(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "isthmus.app.cli", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Error" in done.stderr

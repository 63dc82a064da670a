"""The commands that the pages show exist, with the options they are shown with."""

import re
from importlib.resources import files
from itertools import takewhile

import click
import pytest

from isthmus.app.cli.group import cli
from isthmus.app.cli.groups import Group

LINE = re.compile(r"(?<=[>\"'])isthmus ([a-z][^<'\"\n{]*)")


def shown() -> list[str]:
    """Return what follows `isthmus` wherever a template shows a command, up to what is filled in."""
    folder = files("isthmus.console").joinpath("templates")
    texts = [
        each.read_text("utf-8")
        for place in (folder, *(each for each in folder.iterdir() if each.is_dir()))
        for each in place.iterdir()
        if each.name.endswith(".html")
    ]
    return sorted({found.strip() for text in texts for found in LINE.findall(text)})


def fault_of(line: str) -> str:
    """Return what is wrong with a command, or nothing."""
    words, command, context = line.split(), cli, click.Context(cli)
    named = list(takewhile(lambda word: re.fullmatch(r"[a-z][a-z-]+", word), words))
    for word in named:
        if not isinstance(command, click.Group):
            break
        found = command.get_command(context, word)
        if found is None:
            return f"isthmus {line}: there is no {word!r}"
        command = found
    if isinstance(command, Group):
        command = command.get_command(context, command.default) or command
    known = {option for each in command.params for option in each.opts}
    unknown = [word for word in words if word.startswith("--") and word not in known]
    return f"isthmus {line}: there is no {unknown}" if unknown else ""


def test_every_command_that_a_page_shows_exists() -> None:
    lines = shown()
    assert {"sync runs --connection", "connect ls --json", "events dlq"} <= set(lines)
    assert [fault for line in lines if (fault := fault_of(line))] == []


@pytest.mark.parametrize("line", ["sync history --json", "sync runs --conection x"])
def test_a_command_that_is_not_there_is_found(line: str) -> None:
    assert fault_of(line) != ""

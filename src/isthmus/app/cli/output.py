"""How commands speak: data on stdout as a table or JSON, talk and progress on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from isthmus.kernel.marks import Json

_BAR_CELLS = 24


def say(text: str) -> None:
    """Talk to the person: one line on stderr."""
    click.echo(text, err=True)


def print_json(value: object) -> None:
    """Print one JSON document on stdout."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def table(rows: Sequence[Mapping[str, object]], *, columns: Sequence[str], empty: str) -> None:
    """Print rows as an aligned table; `empty` says the next step when there are none."""
    if not rows:
        say(empty)
        return
    cells = [[str("" if row.get(each) is None else row[each]) for each in columns] for row in rows]
    widths = [max(len(head), *(len(row[n]) for row in cells)) for n, head in enumerate(columns)]
    click.echo(
        "  ".join(click.style(head.ljust(width), bold=True) for head, width in zip(columns, widths, strict=True))
    )
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def show(value: Json, *, as_json: bool, lines: Callable[[], None]) -> None:
    """Print JSON, or let `lines` print it for people."""
    if as_json:
        print_json(value)
    else:
        lines()


class Progress:
    """One line on stderr that is written over on a terminal, and written at each step elsewhere."""

    def __init__(self) -> None:
        """Find out where we write."""
        self._live = sys.stderr.isatty()
        self._last = ""

    def step(self, text: str, *, done: int | None = None, total: int | None = None) -> None:
        """Show how far it is."""
        if done is not None and total:
            filled = min(_BAR_CELLS, done * _BAR_CELLS // total)
            text = f"{text} [{'█' * filled}{'·' * (_BAR_CELLS - filled)}] {done:,}/{total:,}"
        elif done is not None:
            text = f"{text} {done:,}"
        if self._live:
            click.echo(f"\r\x1b[2K{text}", err=True, nl=False)
        elif text != self._last:
            click.echo(text, err=True)
        self._last = text

    def end(self, text: str) -> None:
        """Write the last word and go on with a new line."""
        click.echo(f"\r\x1b[2K{text}" if self._live else text, err=True)

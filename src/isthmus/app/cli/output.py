"""How commands speak: data on stdout as a table or JSON, talk and progress on stderr."""

from __future__ import annotations

import sys
from decimal import Decimal
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


def print_line(value: object) -> None:
    """Print one JSON document on one line of stdout, and let nobody wait for it."""
    click.echo(msgspec.json.encode(value).decode())
    sys.stdout.flush()


def table(rows: Sequence[Mapping[str, object]], *, columns: Sequence[str], empty: str) -> None:
    """Print rows as an aligned table, numbers to the right; `empty` says the next step when there are none."""
    if not rows:
        say(empty)
        return
    cells = [[_cell(row.get(each)) for each in columns] for row in rows]
    counts = [all(isinstance(row.get(each), int | float | Decimal | None) for row in rows) for each in columns]
    widths = [max(len(head), *(len(row[n]) for row in cells)) for n, head in enumerate(columns)]
    places = [(">" if right else "<") + str(width) for right, width in zip(counts, widths, strict=True)]
    heads = [f"{head:{place}}" for head, place in zip(columns, places, strict=True)]
    click.echo(click.style("  ".join(heads).rstrip(), bold=True))
    for row in cells:
        click.echo("  ".join(f"{cell:{place}}" for cell, place in zip(row, places, strict=True)).rstrip())


def _cell(value: object) -> str:
    """Return what stands in a cell; whole numbers and decimals have commas between thousands."""
    if value is None:
        return ""
    exact = isinstance(value, int | Decimal) and not isinstance(value, bool)
    return f"{value:,}" if exact else str(value)


def show(value: Json, *, as_json: bool, lines: Callable[[], None]) -> None:
    """Print JSON, or let `lines` print it for people."""
    if as_json:
        print_json(value)
    else:
        lines()


class Progress:
    """One line on stderr that is written over on a terminal, and written at each step elsewhere."""

    def __init__(self) -> None:
        """Find out where we write; `live` tells whether it is a terminal."""
        self.live = sys.stderr.isatty()
        self._last = ""

    def step(self, text: str, *, done: int | None = None, total: int | None = None) -> None:
        """Show how far it is."""
        if done is not None and total:
            filled = min(_BAR_CELLS, done * _BAR_CELLS // total)
            text = f"{text} [{'█' * filled}{'·' * (_BAR_CELLS - filled)}] {done:,}/{total:,}"
        elif done is not None:
            text = f"{text} {done:,}"
        if self.live:
            click.echo(f"\r\x1b[2K{text}", err=True, nl=False)
        elif text != self._last:
            click.echo(text, err=True)
        self._last = text

    def clear(self) -> None:
        """Take the line away, on a terminal."""
        if self.live and self._last:
            click.echo("\r\x1b[2K", err=True, nl=False)
            self._last = ""

    def end(self, text: str) -> None:
        """Write the last word and go on with a new line."""
        click.echo(f"\r\x1b[2K{text}" if self.live else text, err=True)

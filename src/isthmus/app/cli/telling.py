"""Showing how a run goes on: on a terminal as often as it moves, elsewhere when a feed begins and every few seconds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from isthmus.app.cli.output import Progress
from isthmus.console import words

if TYPE_CHECKING:
    from isthmus.sync.runs import Run

SILENT_S = 5.0


class Teller:
    """Tells of one run on stderr."""

    def __init__(self, name: str) -> None:
        """`name` opens every line."""
        self._name, self._progress = name, Progress()
        self._said_at, self._feed = 0.0, ""

    def show(self, going_on: Run) -> None:
        """Show how far it is."""
        now = time.monotonic()
        feed = f"{going_on.kind} {going_on.feed or ''}"
        if not self._progress.live and feed == self._feed and now - self._said_at < SILENT_S:
            return
        self._said_at, self._feed = now, feed
        text = while_running(self._name, going_on)
        done = going_on.read if going_on.total else None
        self._progress.step(text, done=done, total=going_on.total)

    def clear(self) -> None:
        """Take the line away, on a terminal."""
        self._progress.clear()

    def end(self, text: str) -> None:
        """Say the last word."""
        self._progress.end(f"{self._name}: {text}")


def while_running(name: str, run: Run) -> str:
    """Return what to say of a run that goes on: where it is, how fast, how long it will take, what was rejected."""
    lasted = (run.updated_at - run.started_at).total_seconds()
    rate = run.read / lasted if lasted > 0 else 0.0
    where = words.plain(run.feed or run.kind)
    parts = [name if where == name else f"{name}: {where}"]
    if run.read and not run.total:
        parts.append(f"{run.read:,} read")
    if rate >= 1:
        parts.append(f"{rate:,.0f}/s")
    if run.total and rate >= 1 and run.total > run.read:
        parts.append(f"{words.duration((run.total - run.read) / rate)} left")
    if run.rejected:
        parts.append(f"{run.rejected:,} rejected")
    if run.written:
        parts.append(f"{run.written:,} written there")
    return " · ".join(parts)

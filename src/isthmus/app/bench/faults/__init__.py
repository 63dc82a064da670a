"""What becomes of a million rows when the system that tells of them, and the way to it, go wrong in every way.

A source of deals stands behind a proxy that refuses, cuts, truncates, delays, doubles, reorders, leaves out and forgets
by a seed. Everything is pulled, then what changes, while the source's clock jumps, its schema changes, and records are
edited here; then it lists nothing, a part, and other ids. In the end each row is compared. A careless reader goes the
same way, to show that the faults strike where it hurts.
"""

from collections.abc import Callable

from isthmus.app.bench import Outcome


def run(*, quick: bool, say: Callable[[str], None]) -> Outcome:
    """Measure, with a PostgreSQL of its own."""
    from isthmus.app.bench.faults.measuring import measure

    return measure(quick=quick, say=say)

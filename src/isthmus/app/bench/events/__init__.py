"""How soon and how fast events reach whoever listens, beside a commit and an XADD that somebody writes by hand.

The floor: a program commits a row and then adds an entry to a stream of Valkey, which a consumer group reads. It is not
safe: killed between the two it loses the entry. Ours: the same row and its event are committed together, the relay (a
process of its own) numbers and publishes the event, and a reader follows the log as live feeds do. Rounds are
interleaved on one PostgreSQL and one Valkey; ratios are of medians. Latency counts from the moment when a transaction
was due, so that waiting for a busy writer is part of it.
"""

from collections.abc import Callable

from isthmus.app.bench import Outcome


def run(*, quick: bool, say: Callable[[str], None]) -> Outcome:
    """Measure, with engines of its own."""
    from isthmus.app.bench.events.measuring import measure

    return measure(quick=quick, say=say)

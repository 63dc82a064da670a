"""How near leased limits come to one ideal bucket, and how seldom they ask for it.

Two to eight nodes as programs of their own share a limit of 500 calls a second (burst 500) over a real Valkey. The
ideal is one bucket without any delay that meets the same calls. Half-way two nodes are killed, Valkey is killed and
started again on what it wrote, or clocks of nodes jump.
"""

from collections.abc import Callable

from isthmus.app.bench import Outcome


def run(*, quick: bool, say: Callable[[str], None]) -> Outcome:
    """Measure, with a Valkey of its own. Raises NoValkey."""
    from isthmus.app.bench.limits.measuring import measure

    return measure(quick=quick, say=say)

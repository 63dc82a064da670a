"""What becomes of acknowledged writes when everything that can die does, at random moments, again and again.

The whole program runs as in production, each role in a process of its own, on a disk of its own. Writers change records
over HTTP; a consumer of the bench's own, reactions, jobs in steps and a receiver of webhooks work on what they wrote.
Meanwhile processes are killed with SIGKILL, the stream is flushed, the tail of its file is cut off and the disk is
full for a while. Afterwards acknowledged writes, events and effects must be the same.
"""

from collections.abc import Callable

from isthmus.app.bench import Outcome


def run(*, quick: bool, say: Callable[[str], None]) -> Outcome:
    """Run with a seed of chance, which is told; raises ChaosFailed."""
    from isthmus.app.bench.chaos.ground import measure
    from isthmus.app.bench.chaos.plan import long_plan, short_plan
    from isthmus.vault import entropy

    seed = int.from_bytes(entropy(4))
    return measure(short_plan(seed) if quick else long_plan(seed), say=say)

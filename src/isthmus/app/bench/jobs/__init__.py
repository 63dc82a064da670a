"""How fast jobs are drained beside two queues on PostgreSQL that people run, and what becomes of them in disasters.

Rounds are interleaved on one PostgreSQL: ours, pgqueuer, procrastinate, each with the same jobs that do nothing, the
same number of connections and the fastest settings that we found for it. Then workers of ours are killed at random
while each job does three steps that write a row each: afterwards every step must have happened exactly once, and the
time from each death to the next claim of its jobs is held against the length of a lease.
"""

from collections.abc import Callable

from isthmus.app.bench import Outcome


def run(*, quick: bool, say: Callable[[str], None]) -> Outcome:
    """Measure, with a PostgreSQL of its own. Raises PeerMissing."""
    from isthmus.app.bench.jobs.measuring import measure

    return measure(quick=quick, say=say)

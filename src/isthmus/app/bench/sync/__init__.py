"""How fast records of other systems are taken in and written out, beside dlt, the Singer target and drt.

The same leads, from the same files, into the same PostgreSQL: dlt by Arrow and the Singer target for PostgreSQL load
them into a bare table; isthmus imports them with claims, events, audit rows and sealing. Then a tenth of them, changed.
A table of another database is pulled, and pulled again when one row in a hundred has changed. Last, records are written
one by one to a server that takes two milliseconds for each: by drt through its limiter, and by isthmus through leases
that all workers share. Rounds are interleaved. The peers run in environments of their own, which are made once.
"""

from collections.abc import Callable

from isthmus.app.bench import Outcome


def run(*, quick: bool, say: Callable[[str], None]) -> Outcome:
    """Measure, with a PostgreSQL of its own. Raises PeerMissing."""
    from isthmus.app.bench.sync.measuring import measure

    return measure(quick=quick, say=say)

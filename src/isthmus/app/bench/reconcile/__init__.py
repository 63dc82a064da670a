"""How fast two tables that should be equal are compared, beside reladiff, and what keeping digests costs writers.

Two tables of the same rows in one PostgreSQL, logged, indexed and analysed alike, differ in a hundred rows. Rounds are
interleaved: ours with digests computed from the rows, ours with digests that the tables kept while they were written,
reladiff with its own settings. Every round of ours must find each planted difference with its kind and its field, and
nothing else; the sums of money must differ where it was planted, to the cent. Then leads are put with the digests kept
and not kept, in turns.
"""

from collections.abc import Callable

from isthmus.app.bench import Outcome


def run(*, quick: bool, say: Callable[[str], None]) -> Outcome:
    """Measure, with a PostgreSQL of its own. Raises PeerMissing."""
    from isthmus.app.bench.reconcile.measuring import measure

    return measure(quick=quick, say=say)

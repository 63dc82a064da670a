"""How soon a captured lead is everywhere: at a client of the live feed, at a webhook's receiver and in the CRM.

The whole program is started on a directory of its own, as `isthmus up` does: API, worker, relay and scheduler, with the
fake CRM connected and a webhook registered. Then a process of its own POSTs leads, one in each call, at moments that
were fixed before: a call that begins late because all connections wait counts from the moment when it was due.
"""

from collections.abc import Callable

from isthmus.app.bench import Outcome


def run(*, quick: bool, say: Callable[[str], None]) -> Outcome:
    """Measure, with a program of its own."""
    from isthmus.app.bench.realtime.measuring import measure

    return measure(quick=quick, say=say)

"""What a call through the whole chain costs, beside gateways that people run.

Peers: nginx with Lua, whose limits and quotas ask Redis at each call (the class of Kong and APISIX), and Envoy with
keys, roles and limits of its own. Each answers the same mix of 200, 401, 403 and 429 to a thousand keys and more, with
the same answer; what is compared is the CPU time that the whole process tree of a server takes for a request, the
load's own left out.
"""

from collections.abc import Callable

from isthmus.app.bench import Outcome


def run(*, quick: bool, say: Callable[[str], None]) -> Outcome:
    """Measure, with servers of its own. Raises PeerMissing."""
    from isthmus.app.bench.gateway.measuring import measure

    return measure(quick=quick, say=say)

"""Where the browser is that calls, and where its person comes from."""

from isthmus.auth.people.passkeys import Place
from isthmus.auth.people.visitor import Visitor
from isthmus.gateway import Call


def visitor_of(call: Call) -> Visitor:
    """Return where a call comes from."""
    agent = call.headers.get("user-agent", "")
    return Visitor(address=call.client, agent=agent, request_id=call.request_id, now=call.scope.now)


def place_of(call: Call) -> Place:
    """Return the address under which the browser sees this server; a passkey is bound to it."""
    named = call.headers.get("host", "localhost")
    host = named.rpartition(":")[0] if named.rpartition(":")[2].isdecimal() else named
    return Place(f"{'https' if call.secure else 'http'}://{named}", host)

"""Whether policies let somebody read all records of a type: asked for events, which are told outside of any call.

It is judged as a call of the list of the type, of which only the moment is known: no address, no second factor, no
purpose, as `docs/reference/policies.md` has them for what is not known. What hides single records hides the type,
because an event cannot be half told.
"""

from datetime import datetime

from isthmus.auth.principal import Principal
from isthmus.gateway.policy.book import Book, residuals
from isthmus.gateway.policy.facts import Situation, facts_of
from isthmus.gateway.policy.language import Policy
from isthmus.gateway.routes import Route
from isthmus.kernel.marks import RecordType


def hindrance(
    book: Book, principal: Principal, record_type: RecordType, *, now: datetime, client: str = "", purpose: str = ""
) -> Policy | None:
    """Return the first policy that keeps a caller from reading all records of a type, or None."""
    route = _list_of(book, record_type) if book.ready else None
    if route is None:
        return None
    on = book.on(route)
    situation = Situation(principal=principal, route=route, now=now, client=client, purpose=purpose)
    facts = facts_of(situation, on.wanted)
    for each in on.gate:
        if each.verdict(facts) == "refused":
            return each.policy
    hiding = (many for kind, many in on.lists if kind.name == record_type.name)
    return next((each.policy for many in hiding for each, _ in residuals(many, record_type, facts)), None)


def _list_of(book: Book, record_type: RecordType) -> Route | None:
    shown = (each for each in book.vocabulary.routes if each.method == "GET" and each.record == record_type.name)
    return min(shown, key=lambda each: ("{" in each.path, each.path), default=None)

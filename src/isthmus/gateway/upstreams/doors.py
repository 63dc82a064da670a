"""Other ways in than the path: names of hosts, and proxies that ask about a call which they hold."""

from typing import Protocol

from isthmus.gateway.decide import Asked
from isthmus.gateway.request import Request
from isthmus.gateway.router import Match
from isthmus.gateway.sending import Outgoing


class Verdict(Protocol):
    """How a proxy that asks is told."""

    async def allowed(self, request: Request, asked: Asked, match: Match) -> Outgoing:
        """Return the answer for a call that was let through; raises what still speaks against it."""
        ...

    def told(self, answer: Outgoing) -> Outgoing:
        """Return an answer in the form in which the proxy understands it."""
        ...


class Doors(Protocol):
    """Finds out what a request is really about."""

    @property
    def state(self) -> object:
        """What its findings depend on: the same one for as long as the same request is about the same."""
        ...

    def enter(self, request: Request) -> tuple[Request, Verdict | None]:
        """Return the request that is to be decided, and how to tell if somebody only asks; raises an IsthmusError."""
        ...

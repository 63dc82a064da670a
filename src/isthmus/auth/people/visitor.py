"""Where somebody comes from who signs in."""

from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv6Address, ip_address
from uuid import UUID

from isthmus.auth.sessions import Proof, agent_of
from isthmus.store.database import Scope

NOBODY = 0
"""The workspace of those of whom none is known yet."""
_IPV6_BITS = 128


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Where a try comes from: address, the header User-Agent, the request, the moment."""

    address: str
    agent: str
    request_id: str
    now: datetime

    def scope(self, workspace: int, actor: str = "nobody") -> Scope:
        """Return the scope in which it is looked at."""
        return Scope(workspace=workspace, actor=actor, cause=self.request_id, now=self.now)

    def proof(self, login: UUID, methods: frozenset[str], *, second_factor: bool) -> Proof:
        """Return what was proven, from here."""
        return Proof(
            login=login,
            methods=methods,
            second_factor=second_factor,
            network=network_of(self.address),
            agent=agent_of(self.agent),
        )


def network_of(address: str) -> str:
    """Return the network of an address as people may see it: /24, or /48 of IPv6; empty for what is no address."""
    return _network(address, bits=24, bits6=48)


def site_of(address: str) -> str:
    """Return what counts as one address: all of it, or the /64 of IPv6, of which one machine may have many."""
    return _network(address, bits=32, bits6=64)


def _network(address: str, *, bits: int, bits6: int) -> str:
    try:
        known = ip_address(address)
    except ValueError:
        return ""
    if isinstance(known, IPv6Address):
        return f"{IPv6Address(int(known) >> (_IPV6_BITS - bits6) << (_IPV6_BITS - bits6))}/{bits6}"
    return f"{type(known)(int(known) >> (32 - bits) << (32 - bits))}/{bits}"

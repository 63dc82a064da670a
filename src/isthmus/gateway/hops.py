"""Whose address a call has that came through proxies: the last hop that none of the operator's proxies is.

A proxy adds, at the end, the address of whoever called it (X-Forwarded-For, or Forwarded of RFC 7239). So the list is
read from its end, and only as far as each hop is a proxy of the operator; what stands before was said by strangers.
One header counts, the one that the proxies are known to write, because they pass on the other as the caller made it.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice
from typing import Literal, TypeAlias

from isthmus.gateway.request import Request

ProxyHeader: TypeAlias = Literal["x-forwarded-for", "forwarded"]
HOPS_MAX = 64
"""Who calls through more proxies than this is not looked for further."""
_ONE = r'([A-Za-z]+)=("[^"]*"|[^\s;,"]*)'
_PAIR, _ELEMENT = re.compile(_ONE), re.compile(rf"\s*{_ONE}(?:\s*;\s*{_ONE})*\s*")
_Hop = tuple[str, str]
"""The address a hop says it was called from, and by which scheme, where it says so."""


@dataclass(frozen=True, kw_only=True)
class Hops:
    """`trusted` are the networks in which the operator's proxies stand, `header` is what they write."""

    trusted: tuple[IPv4Network | IPv6Network, ...] = ()
    header: ProxyHeader = "x-forwarded-for"

    @classmethod
    def through(cls, networks: Iterable[str], *, header: ProxyHeader = "x-forwarded-for") -> "Hops":
        """Return the hops through networks such as 10.1.0.0/16; raises ValueError for what is none."""
        return cls(trusted=tuple(ip_network(each, strict=False) for each in networks), header=header)

    def caller(self, request: Request) -> Request:
        """Return the request with the address and scheme of its caller; that of a stranger stays as it is."""
        return self.behind(request) if self.trusted and self._trusts(request.client) else request

    def behind(self, request: Request) -> Request:
        """Return the request as it came to the proxy that passed it on, which is trusted, and to those before it."""
        said = request.headers.get(self.header)
        if said is None:
            return request
        client, secure = request.client, self._secure(request)
        for address, scheme in self._hops(said):
            plain = _plain(address)
            if plain is None:
                break
            client, secure = plain, secure if not scheme else scheme == "https"
            if not self._trusts(plain):
                break
        return replace(request, client=client, secure=secure, local=False)

    def _hops(self, said: str) -> Iterator[_Hop]:
        if self.header == "forwarded":
            yield from (_forwarded(each) for each in islice(_elements(said), HOPS_MAX))
        else:
            yield from ((each.strip(), "") for each in reversed(said.rsplit(",", HOPS_MAX)[-HOPS_MAX:]))

    def _secure(self, request: Request) -> bool:
        """Tell whether the call came to the last proxy over TLS; where that does not say it, whether it came to us."""
        said = request.headers.get("x-forwarded-proto") if self.header == "x-forwarded-for" else None
        return request.secure if said is None else said.rpartition(",")[2].strip().lower() == "https"

    def _trusts(self, address: str) -> bool:
        return _within(address, self.trusted)


@lru_cache(maxsize=4_096)
def _within(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    plain = _plain(address)
    if plain is None:
        return False
    read = ip_address(plain)
    return any(read in network for network in networks if network.version == read.version)


def _plain(text: str) -> str | None:
    """Return an address without port, brackets and zone, IPv4 in IPv6 as IPv4; None for what names no address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        read = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = read.ipv4_mapped if isinstance(read, IPv6Address) else None
    return str(mapped or read)


def _elements(said: str) -> Iterator[str]:
    """Yield the elements of Forwarded from the last; a quote left open by a stranger opens nothing after it."""
    end, quoted = len(said), False
    for at in range(len(said) - 1, -1, -1):
        if said[at] == '"' and (at == 0 or said[at - 1] != "\\"):
            quoted = not quoted
        elif said[at] == "," and not quoted:
            yield said[at + 1 : end]
            end = at
    yield said[:end]


def _forwarded(element: str) -> _Hop:
    """Return `for` and `proto` of one element; one that is not of the form names nobody."""
    if not _ELEMENT.fullmatch(element):
        return "", ""
    said = {name.lower(): value.strip('"') for name, value in _PAIR.findall(element)}
    return said.get("for", ""), said.get("proto", "").lower()

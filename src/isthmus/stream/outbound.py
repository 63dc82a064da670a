"""Calls to addresses that somebody gave us: never to where only this machine or its network can reach.

A name is resolved once, every address it has is looked at with what is wrapped in it, and the connection goes to one of
these. Redirects are not followed.
"""

import asyncio
import re
import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from isthmus.kernel.errors import Invalid, Unavailable

SECONDS_MAX = 10.0
ANSWER_BYTES_MAX = 64 << 10
_PORTS = {"https": 443, "http": 80}
_NAT64 = ip_network("64:ff9b::/96")
_PRIVATE = tuple(ip_network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
_TELLING = frozenset({ip_address("fd00:ec2::254"), ip_address("fd20:ce::254")})
"""Private addresses at which clouds tell a machine its credentials."""
_HOST = re.compile(r"[A-Za-z0-9._:-]*")
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class OutboundRefused(Invalid):
    """The address leads to where nobody outside may lead us."""

    code, title = "outbound-refused", "The address may not be called"


class OutboundFailed(Unavailable):
    """The other side did not answer as it should."""

    code, title = "outbound-failed", "The other side does not answer"


class AddressRefused(OSError):
    """A name leads to an address that may not be called."""


def unwrapped(address: Address) -> Address:
    """Return the address that is meant: IPv4 inside of IPv6 (mapped, NAT64, 6to4, Teredo) is what counts."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return address


class Outbound:
    """Checks addresses and calls them; `allowed` are networks of one's own that may be called, also without TLS."""

    def __init__(self, allowed: Iterable[str] = (), *, house: bool = False) -> None:
        """`allowed` are networks such as 10.1.0.0/16; raises ValueError for what is none.

        With `house` this machine and private networks count as one's own: for systems that a company runs itself, and
        that whoever keeps its connections names. Where machines tell their secrets, at link-local addresses, never is.
        """
        self._allowed: tuple[Network, ...] = tuple(ip_network(each, strict=False) for each in allowed)
        self._house = house

    def may_reach(self, address: str) -> bool:
        """Tell whether an address may be called."""
        meant = unwrapped(ip_address(address))
        if self._is_own(meant):
            return True
        return meant.is_global and not meant.is_multicast

    def check(self, url: str, *, plain_names: bool = False) -> None:
        """Raise OutboundRefused for an address that is not `https://host[:port]/…`, or that plainly may not be called.

        What a name resolves to is looked at when it is called. `plain_names` lets names without TLS pass, for callers
        that see to it then that all their addresses are of networks of one's own.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise OutboundRefused("The address cannot be read.", fix="Write https://host/path.") from error
        if not _HOST.fullmatch(host) or not url.isprintable():
            # Whoever connects reads other digits and dots as those of ASCII, and so a name here as an address there.
            raise OutboundRefused("The name has letters that no address has.", fix="Write it in ASCII, as xn--….")
        if parts.scheme not in _PORTS or not host or parts.username is not None or port == 0:
            raise OutboundRefused("The address is not of the form https://host/path.", fix="Leave out user names.")
        literal = _literal(host)
        own = literal is not None and self._is_own(unwrapped(literal))
        if parts.scheme == "http" and not own and not (plain_names and literal is None):
            raise OutboundRefused("The address is not encrypted.", fix="Use https.")
        if literal is not None and not self.may_reach(host):
            raise OutboundRefused("The address is not one of the internet.", fix="Allow its network in the settings.")

    def connector(self, *, own_only: bool, per_host: int) -> aiohttp.TCPConnector:
        """Return what opens connections, at most `per_host` at once to one place, and keeps them for further calls.

        It resolves names under the same rules; with `own_only` only to networks of one's own. Who calls by it has
        checked the address. A name that may not be called ends in a ClientConnectorError of AddressRefused.
        """
        guard = _Guard(self, own_only=own_only)
        return aiohttp.TCPConnector(resolver=guard, use_dns_cache=False, limit=0, limit_per_host=per_host)

    def is_own(self, address: str) -> bool:
        """Tell whether an address is of a network of one's own."""
        return self._is_own(unwrapped(ip_address(address)))

    async def post(self, url: str, body: bytes, *, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Send a POST and return status and answer; raises OutboundRefused and OutboundFailed."""
        return await self._call("POST", url, body, headers)

    async def get(self, url: str, *, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Send a GET and return status and answer; raises OutboundRefused and OutboundFailed."""
        return await self._call("GET", url, None, headers)

    async def _call(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        self.check(url)
        resolver = _Guard(self)
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, limit=1)
        timeout = aiohttp.ClientTimeout(total=SECONDS_MAX)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session,
                session.request(method, url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                whole = b""
                while len(whole) < ANSWER_BYTES_MAX and (part := await answer.content.read(ANSWER_BYTES_MAX)):
                    whole += part
                return answer.status, whole[:ANSWER_BYTES_MAX]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if resolver.refused:
                raise OutboundRefused(
                    "The name leads to an address that may not be called.", fix="Allow its network in the settings."
                ) from error
            raise OutboundFailed(f"The call failed: {type(error).__name__}.", fix="Is the address right?") from error

    def _is_own(self, address: Address) -> bool:
        if any(address in network for network in self._allowed if network.version == address.version):
            return True
        return self._house and _in_the_house(address)


def _in_the_house(address: Address) -> bool:
    """Tell whether an address is of this machine or of a private network, and none that tells machines secrets."""
    if address in _TELLING:
        return False
    return address.is_loopback or any(address in each for each in _PRIVATE if each.version == address.version)


class _Guard(AbstractResolver):
    """Resolves a name once, and gives only addresses that may be called: all must be fit, or none is used."""

    def __init__(self, outbound: Outbound, *, own_only: bool = False) -> None:
        self._outbound = outbound
        self._own_only = own_only
        self.refused = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        results: list[ResolveResult] = []
        for kind, _, protocol, _, place in found:
            address = str(place[0])
            plain = address.partition("%")[0]
            if not (self._outbound.is_own(plain) if self._own_only else self._outbound.may_reach(plain)):
                self.refused = True
                raise AddressRefused(0, "the address may not be called")
            results.append(
                ResolveResult(
                    hostname=host,
                    host=address,
                    port=port,
                    family=kind,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST,
                )
            )
        return results

    async def close(self) -> None:
        """Nothing is held."""


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None

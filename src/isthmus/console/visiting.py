"""Where the browser is that calls, and where its person comes from."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from isthmus.auth.oauth.provider import Provider
from isthmus.auth.people.passkeys import Place
from isthmus.auth.people.visitor import Visitor
from isthmus.gateway import Call


def visitor_of(call: Call) -> Visitor:
    """Return where a call comes from."""
    agent = call.headers.get("user-agent", "")
    return Visitor(address=call.client, agent=agent, request_id=call.request_id, now=call.scope.now)


def place_of(call: Call) -> Place:
    """Return the address under which the browser sees this server; a passkey is bound to it.

    It is the one that is set up. Where that is only of this machine, it is the one that the browser names.
    """
    provider = call.services.others.get(Provider)
    public = urlsplit(provider.issuer) if isinstance(provider, Provider) else None
    if public is not None and public.hostname and not _is_here(public.hostname):
        return Place(f"{public.scheme}://{public.netloc}", public.hostname)
    named = call.headers.get("host", "localhost")
    host = named.rpartition(":")[0] if named.rpartition(":")[2].isdecimal() else named
    return Place(f"{'https' if call.secure else 'http'}://{named}", host)


def _is_here(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified

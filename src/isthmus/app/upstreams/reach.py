"""What the operator decides about others: where upstreams may stand, which proxies may ask, and whose word counts."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from isthmus.app.settings import BadSetting, Settings, networks_of
from isthmus.gateway.hops import Hops, ProxyHeader
from isthmus.stream.outbound import Outbound

KEY_CHARACTERS_MIN = 32
_HEADERS: dict[str, ProxyHeader] = {"x-forwarded-for": "x-forwarded-for", "forwarded": "forwarded"}


@dataclass(frozen=True, kw_only=True)
class Reach:
    """`outbound` may call upstreams, `own_hosts` lead to this program. A proxy that asks shows `proxy_key`.

    `loopback_asks` lets programs on this machine ask without one. Without either nobody asks. `hops` are the proxies
    that calls come through.
    """

    outbound: Outbound = field(default_factory=Outbound)
    own_hosts: frozenset[str] = frozenset()
    proxy_key: bytes | None = field(default=None, repr=False)
    loopback_asks: bool = False
    hops: Hops = field(default_factory=Hops)


def reach_of(settings: Settings) -> Reach:
    """Return what the settings say; raises BadSetting."""
    try:
        outbound = Outbound(networks_of(settings.upstream_allow))
    except ValueError as error:
        raise BadSetting(f"upstream_allow: {error}.", fix="Give networks such as 10.1.0.0/16,fd00::/8.") from error
    hosts = {settings.host, urlsplit(settings.issuer).hostname or ""} - {""}
    return Reach(
        outbound=outbound,
        own_hosts=frozenset(each.lower() for each in hosts),
        proxy_key=_key(settings),
        loopback_asks=settings.authz_loopback,
        hops=_hops(settings),
    )


def _hops(settings: Settings) -> Hops:
    header = settings.proxy_header.lower()
    if header not in _HEADERS:
        raise BadSetting(f"proxy_header is {header!r}.", fix=f"Give one of: {', '.join(_HEADERS)}.")
    try:
        return Hops.through(networks_of(settings.trusted_proxies), header=_HEADERS[header])
    except ValueError as error:
        raise BadSetting(f"trusted_proxies: {error}.", fix="Give networks such as 10.1.0.0/16,fd00::/8.") from error


def _key(settings: Settings) -> bytes | None:
    path = settings.authz_key_file
    if path is None:
        return None
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path} cannot be read.", fix="Correct authz_key_file, or its rights.") from error
    if len(text) < KEY_CHARACTERS_MIN:
        raise BadSetting(f"{path} holds no key.", fix=f"Write {KEY_CHARACTERS_MIN} random characters or more into it.")
    return text.encode()

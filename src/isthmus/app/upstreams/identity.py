"""Who calls, told to an upstream: a short token signed with the server's keys, which opens nothing at the gate."""

from datetime import datetime, timedelta
from uuid import UUID

from isthmus.auth.oauth.jose import sign
from isthmus.auth.oauth.provider import Provider
from isthmus.auth.principal import Principal
from isthmus.gateway.limits import caller_of
from isthmus.kernel.marks import Json

IDENTITY_TYPE = "isthmus-identity+jwt"
LIFE, USED = timedelta(seconds=60), timedelta(seconds=20)
_REMEMBERED_MAX = 10_000
_Key = tuple[int, UUID, str, frozenset[str]]


class Identities:
    """Signs identities (RFC 7519), and gives the same one again for some seconds, because signing takes its time."""

    def __init__(self, provider: Provider) -> None:
        """The upstream verifies them by `/.well-known/jwks.json` of the provider."""
        self._provider = provider
        self._made: dict[_Key, tuple[str, datetime]] = {}

    async def text(self, principal: Principal, *, audience: str, now: datetime) -> str:
        """Return the token: `aud` is the upstream, `sub` the caller, `workspace`, `roles` and `permissions` its own."""
        key = (principal.workspace, principal.id, audience, principal.permissions)
        found = self._made.get(key)
        if found is not None and found[1] <= now < found[1] + USED:
            return found[0]
        signing = await self._provider.keyring.signing(now=now)
        claims: dict[str, Json] = {
            "iss": self._provider.issuer,
            "aud": audience,
            "sub": caller_of(principal),
            "iat": int(now.timestamp()),
            "exp": int((now + LIFE).timestamp()),
            "workspace": principal.workspace,
            "kind": principal.kind,
            "name": principal.name,
            "roles": [*sorted(principal.roles)],
            "permissions": [*sorted(principal.permissions)],
        }
        text = sign(claims, key=signing.key, kid=signing.kid, typ=IDENTITY_TYPE)
        if len(self._made) >= _REMEMBERED_MAX:
            self._made.clear()
        self._made[key] = (text, now)
        return text

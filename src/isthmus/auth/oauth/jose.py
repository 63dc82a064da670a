"""Signed tokens (RFC 7515, RFC 7519) with types at the edge: reading without trust, verifying, signing."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast
from uuid import UUID

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey, import_key

from isthmus.kernel.marks import Json

ASYMMETRIC = ("ES256", "ES384", "EdDSA", "Ed25519", "PS256", "RS256")
"""What programs may sign with. Everything symmetric is left out: a public key must never serve as a secret."""
PRIVATE_PARTS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
RSA_BITS_MIN = 2048
_TEXT_MAX = 8_192
PublicKey: TypeAlias = ECKey | RSAKey | OKPKey


class NotSigned(Exception):
    """The text is no token, or its signature does not hold."""


@dataclass(frozen=True)
class Signed:
    """A token's header and claims."""

    header: Mapping[str, object]
    claims: Mapping[str, Json]

    def text(self, name: str) -> str:
        """Return a claim that is a text; raises NotSigned."""
        found = self.claims.get(name)
        if not isinstance(found, str) or not found:
            raise NotSigned(f"The claim {name} is missing.")
        return found

    def id(self, name: str) -> UUID:
        """Return a claim that is the text of a UUID; raises NotSigned."""
        try:
            return UUID(self.text(name))
        except ValueError as error:
            raise NotSigned(f"The claim {name} is no id.") from error

    def seconds(self, name: str) -> float:
        """Return a claim that is a moment, in Unix seconds; raises NotSigned."""
        found = self.claims.get(name)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise NotSigned(f"The claim {name} is missing.")
        return float(found)


def sign(claims: Mapping[str, Json], *, key: ECKey, kid: str, typ: str) -> str:
    """Return a token signed with ES256."""
    header = {"alg": "ES256", "typ": typ, "kid": kid}
    return jwt.encode(header, dict(claims), key, algorithms=["ES256"], default_type=None)


def header_of(text: str) -> Mapping[str, object]:
    """Return the header of a token that nobody has verified; raises NotSigned."""
    if len(text) > _TEXT_MAX or text.count(".") != 2:  # noqa: PLR2004 - header, claims, signature.
        raise NotSigned("The text is no signed token.")
    try:
        return jws.extract_compact(text.encode()).headers()
    except (JoseError, ValueError) as error:
        raise NotSigned("The text is no signed token.") from error


def unverified(text: str) -> Signed:
    """Return a token that nobody has verified, to learn whose keys could; raises NotSigned."""
    header = header_of(text)
    try:
        claims: object = json.loads(jws.extract_compact(text.encode()).payload)
    except (JoseError, ValueError) as error:
        raise NotSigned("The text is no signed token.") from error
    if not isinstance(claims, dict):
        raise NotSigned("The text is no signed token.")
    return Signed(header, cast("dict[str, Json]", claims))


def verify(text: str, key: PublicKey | KeySet, *, algorithms: Collection[str]) -> Signed:
    """Return a token whose signature holds; raises NotSigned."""
    header_of(text)
    try:
        token = jwt.decode(text, key, algorithms=list(algorithms))
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise NotSigned("The signature does not hold.") from error
    return Signed(token.header, token.claims)


def public_key(value: object) -> PublicKey:
    """Return a public key of RFC 7517 that is fit to verify with; raises NotSigned, also for one with private parts."""
    if not isinstance(value, dict) or PRIVATE_PARTS & value.keys():
        raise NotSigned("The key is not a public one.")
    try:
        key = import_key(cast("dict[str, str | list[str]]", value))
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise NotSigned("The key cannot be read.") from error
    if isinstance(key, RSAKey) and key.public_key.key_size < RSA_BITS_MIN:
        raise NotSigned(f"An RSA key has at least {RSA_BITS_MIN} bits.")
    if not isinstance(key, ECKey | RSAKey | OKPKey):
        raise NotSigned("The key is not a public one.")
    return key

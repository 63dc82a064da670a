"""Access tokens as they are shown to the gateway: whose signature holds, for whom, and bound to which key.

A verified token is remembered by its digest, never beyond its end, and each minute it is seen whether the key that
signed it is still published; whether it was revoked is asked for by whoever turns it into a principal.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

from isthmus.auth.oauth.errors import InvalidProof, InvalidToken, ProofRefused
from isthmus.auth.oauth.inspecting import own_token
from isthmus.auth.oauth.jose import NotSigned, Signed, header_of
from isthmus.auth.oauth.provider import Proof, Provider, read_proof, use_up_proof
from isthmus.auth.oauth.scopes import read_scopes
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope

REMEMBERED = timedelta(seconds=60)
REMEMBERED_MAX = 10_000


@dataclass(frozen=True, kw_only=True)
class Presented:
    """A token with what came beside it: the scheme, the request it is for, and the DPoP proof if there was one."""

    text: str = field(repr=False)
    scheme: str
    method: str
    path: str
    proof: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Verified:
    """A token that was verified, the name of the key that signed it, and since and until when that key was seen."""

    access: "Access"
    kid: object
    since: datetime
    until: datetime

    def seen(self, now: datetime) -> None:
        """Remember it for a while again."""
        self.since, self.until = now, now + REMEMBERED


@dataclass(frozen=True, kw_only=True)
class Access:
    """A token of ours whose signature holds and which is for us. `bound_to` is the thumbprint of its DPoP key."""

    digest: bytes
    id: UUID
    grant: UUID
    scopes: tuple[str, ...]
    act: Json
    bound_to: str | None
    ends_at: datetime


class Tokens:
    """Verifies access tokens; one for each worker."""

    def __init__(self, provider: Provider) -> None:
        """Nothing is remembered at first."""
        self._provider = provider
        self._known: OrderedDict[bytes, _Verified] = OrderedDict()

    async def read(self, text: str, *, now: datetime) -> Access:
        """Return what a token says; raises InvalidToken."""
        digest = sha256(text.encode()).digest()
        known = self._known.get(digest)
        if known is not None and known.since <= now:
            if now >= known.access.ends_at:
                raise InvalidToken("The access token has expired.", fix="Refresh it, or ask for another.")
            if now < known.until:
                return known.access
            if await self._provider.keyring.verifying(known.kid, now=now) is not None:
                known.seen(now)
                return known.access
        access = await self._verified(text, digest, now)
        self._known[digest] = _Verified(access, header_of(text).get("kid"), now, now + REMEMBERED)
        while len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        return access

    def recalls(self, digest: bytes, *, now: datetime) -> datetime | None:
        """Return until when a token that was verified, by its SHA-256, may be shown without a further proof.

        None where it may not be now.
        """
        known = self._known.get(digest)
        if known is None or known.access.bound_to is not None or now < known.since:
            return None
        if now >= known.until:
            if not self._provider.keyring.publishes(known.kid, now=now):
                return None
            known.seen(now)
        return known.until

    async def check_binding(
        self, access: Access, shown: Presented, *, workspace: int, cause: str, now: datetime
    ) -> None:
        """Raise InvalidToken or ProofRefused unless a bound token comes with the proof of its key.

        A token that is bound does not pass as a bearer token, nor one that is not as a bound one.
        """
        if access.bound_to is None:
            if shown.scheme != "bearer":
                raise InvalidToken("The access token is not bound to a key.", fix="Send it as Authorization: Bearer.")
            return
        scope = Scope(workspace=workspace, actor=f"token:{access.grant}", cause=cause, now=now)
        try:
            await use_up_proof(self._provider, self._proof(access, shown, now=now), scope)
        except InvalidProof as fault:
            raise ProofRefused(fault.detail, fix=fault.fix) from fault

    def _proof(self, access: Access, shown: Presented, *, now: datetime) -> Proof:
        if shown.scheme != "dpop" or shown.proof is None:
            raise InvalidToken(
                "The access token is bound to a key.", fix="Send it as Authorization: DPoP with a proof."
            )
        url = self._provider.url(shown.path)
        proof = read_proof(shown.proof, method=shown.method, url=url, now=now, token=shown.text)
        if proof.thumbprint != access.bound_to:
            raise InvalidProof("The DPoP proof is made with another key.", fix="Use the key the token is bound to.")
        return proof

    async def _verified(self, text: str, digest: bytes, now: datetime) -> Access:
        signed = await own_token(self._provider, text, now=now)
        if signed is None or not _is_for(signed, self._provider.issuer):
            raise InvalidToken("The access token is none of this server.", fix="Ask this server for one.")
        try:
            ends_at = datetime.fromtimestamp(signed.seconds("exp"), tz=UTC)
            access = Access(
                digest=digest,
                id=signed.id("jti"),
                grant=signed.id("gid"),
                scopes=read_scopes(str(signed.claims.get("scope", ""))),
                act=signed.claims.get("act"),
                bound_to=_thumbprint(signed.claims.get("cnf")),
                ends_at=ends_at,
            )
        except NotSigned as error:
            raise InvalidToken("The access token cannot be read.", fix="Ask this server for one.") from error
        if now >= ends_at:
            raise InvalidToken("The access token has expired.", fix="Refresh it, or ask for another.")
        return access


def _is_for(signed: Signed, issuer: str) -> bool:
    audience = signed.claims.get("aud")
    return audience == issuer or (isinstance(audience, list) and issuer in audience)


def _thumbprint(confirmed: Json) -> str | None:
    if confirmed is None:
        return None
    found = confirmed.get("jkt") if isinstance(confirmed, dict) else None
    if not isinstance(found, str):
        raise NotSigned("The claim cnf has no jkt.")
    return found

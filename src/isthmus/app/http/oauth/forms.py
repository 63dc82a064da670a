"""What the standards send, read strictly: forms, HTTP Basic, DPoP proofs; and refusals as they want them."""

import binascii
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_plus

import msgspec

from isthmus.auth.oauth.clients import Client
from isthmus.auth.oauth.errors import InvalidProof, InvalidRequest, OAuthFault
from isthmus.auth.oauth.provider import Provider, Shown, prove_client, read_proof, use_up_proof
from isthmus.gateway import Call, Response
from isthmus.kernel.errors import IsthmusError, Limited, Malformed, TooLarge, Unauthenticated, Unavailable
from isthmus.kernel.marks import Json

FORM_BYTES_MAX = 64 << 10
JSON_MEDIA = "application/json"
_FORM_MEDIA = "application/x-www-form-urlencoded"
_FIELDS_MAX = 100
_MANY = frozenset({"resource", "audience"})
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True)
class Given:
    """Parameters that stand once, and those that may be repeated. Empty ones count as left out (RFC 6749 §3.1)."""

    single: Mapping[str, str]
    resources: tuple[str, ...]
    audiences: tuple[str, ...]

    def text(self, name: str) -> str:
        """Return a parameter; raises InvalidRequest when it is missing."""
        found = self.single.get(name)
        if found is None:
            raise InvalidRequest(f"The parameter {name} is missing.", fix="Send it.")
        return found


def read_form(call: Call) -> Given:
    """Return the form of a call; raises InvalidRequest, also for a parameter that is repeated."""
    media = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != _FORM_MEDIA:
        raise InvalidRequest("The body is no form.", fix=f"Send Content-Type: {_FORM_MEDIA}.")
    try:
        text = call.raw.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MAX)
    except ValueError as error:
        raise InvalidRequest("The form cannot be read.", fix="Escape it as URLs demand, in UTF-8.") from error
    return read_pairs(pairs)


def read_pairs(pairs: Iterable[tuple[str, str]]) -> Given:
    """Return parameters that were split; raises InvalidRequest for one that is repeated."""
    single: dict[str, str] = {}
    many: dict[str, list[str]] = {name: [] for name in _MANY}
    for name, value in pairs:
        if "\0" in value:
            raise InvalidRequest("A parameter has the character NUL.", fix="Leave it out.")
        if name in _MANY:
            many[name] += [value] if value else []
        elif name in single:
            raise InvalidRequest("A parameter is repeated.", fix="Send each once.")
        else:
            single[name] = value
    present = {name: value for name, value in single.items() if value}
    return Given(present, tuple(many["resource"]), tuple(many["audience"]))


async def client_of(call: Call, given: Given) -> Client:
    """Return the program that calls; raises InvalidClient and InvalidRequest."""
    shown = Shown(
        basic=_basic(call.headers.get("authorization")),
        client_id=given.single.get("client_id"),
        secret=given.single.get("client_secret"),
        assertion=given.single.get("client_assertion"),
        assertion_type=given.single.get("client_assertion_type"),
    )
    return await prove_client(call.services.of(Provider), shown, cause=call.request_id, now=call.scope.now)


async def bound_to(call: Call, client: Client) -> str | None:
    """Return the thumbprint of the key that the call was proven with, if any; the proof is used up.

    Raises InvalidProof, and InvalidRequest for a program that must always send one.
    """
    text = call.headers.get("dpop")
    if text is None:
        if client.bound_only:
            raise InvalidRequest("This program must send a DPoP proof.", fix="Send the header DPoP.")
        return None
    if "," in text:
        raise InvalidProof("The header DPoP is repeated.", fix="Send one proof.")
    provider, now = call.services.of(Provider), call.scope.now
    proof = read_proof(text, method=call.route.method, url=provider.url(call.route.path), now=now)
    await use_up_proof(provider, proof, provider.scope(client, cause=call.request_id, now=now))
    return proof.thumbprint


def answer(value: object, *, status: int = 200) -> Response:
    """Return JSON that nobody may keep."""
    return Response(
        body=_encoder.encode(value),
        status=status,
        media=JSON_MEDIA,
        headers=(("cache-control", "no-store"), ("pragma", "no-cache")),
    )


def refusal(error: IsthmusError) -> Response:
    """Return an error as RFC 6749 §5.2 wants it."""
    said: dict[str, Json] = {"error": _name(error), "error_description": _plain(f"{error.detail} {error.fix}".strip())}
    made = answer(said, status=_status(error))
    added: tuple[tuple[str, str], ...] = ()
    if isinstance(error, Unauthenticated):
        added = (("www-authenticate", 'Basic realm="isthmus", charset="UTF-8"'),)
    elif isinstance(error, Limited | Unavailable):
        added = (("retry-after", "1"),)
    return Response(body=made.body, status=made.status, media=made.media, headers=(*made.headers, *added))


def _name(error: IsthmusError) -> str:
    match error:
        case OAuthFault():
            return error.error
        case Limited() | Unavailable():
            return "temporarily_unavailable"
        case Unauthenticated():
            return "invalid_client"
        case _:
            return "invalid_request" if error.status < Unavailable.status - 3 else "server_error"


def _status(error: IsthmusError) -> int:
    kept = isinstance(error, OAuthFault | Limited | Unavailable | TooLarge | Unauthenticated)
    return error.status if kept or error.status >= IsthmusError.status else Malformed.status


def _plain(text: str) -> str:
    """Return a description in the characters that RFC 6749 §5.2 lets through."""
    straight = text.replace('"', "'").replace("\\", "/").replace("…", "...").replace("§", "section ")
    return "".join(each for each in straight if " " <= each <= "~")


def _basic(header: str | None) -> tuple[str, str] | None:
    """Return name and secret of HTTP Basic, form-unescaped (RFC 6749 §2.3.1); raises InvalidRequest."""
    if header is None:
        return None
    scheme, _, credential = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, secret = b64decode(credential.strip(), validate=True).decode("utf-8").partition(":")
        if colon:
            return unquote_plus(name, errors="strict"), unquote_plus(secret, errors="strict")
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("The header Authorization cannot be read.", fix="Encode it as RFC 7617 says.") from error
    raise InvalidRequest("The header Authorization has no secret.", fix="Send name:secret in base64.")

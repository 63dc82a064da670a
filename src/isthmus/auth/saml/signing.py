"""Our own key for one identity provider, by which requests are signed, and its certificate for our metadata.

Providers ask for RSA and a certificate, though they only compare the key in it (SAML 2.0 Metadata §2.4.1.1).
"""

import asyncio
from base64 import b64encode
from datetime import datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509 import CertificateBuilder, Name, NameAttribute, random_serial_number
from cryptography.x509.oid import NameOID

from isthmus.auth.saml.errors import SigningKeyUnfit
from isthmus.vault import Vault

RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
LIFE = timedelta(days=3_650)
_EARLIER = timedelta(days=1)
_EXPONENT, _BITS = 65_537, 2_048


async def new_pair(vault: Vault, provider: UUID, *, workspace: int, now: datetime) -> tuple[str, bytes]:
    """Return the certificate (PEM) and the sealed key of a new provider, whose id is the subject of the seal."""
    key = await asyncio.to_thread(generate_private_key, _EXPONENT, _BITS)
    own = Name([NameAttribute(NameOID.COMMON_NAME, f"isthmus {provider}")])
    built = CertificateBuilder(subject_name=own, issuer_name=own, public_key=key.public_key())
    built = built.serial_number(random_serial_number()).not_valid_before(now - _EARLIER).not_valid_after(now + LIFE)
    certificate = built.sign(key, SHA256()).public_bytes(Encoding.PEM).decode("ascii")
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    vault.create(workspace=workspace, subjects=[provider])
    (sealed,) = vault.seal_many(workspace=workspace, values=[(provider, plain)])
    return certificate, sealed


def signed(message: str, sealed: bytes | None, *, vault: Vault, provider: UUID, workspace: int) -> str:
    """Return the query that carries a request (SAML 2.0 Bindings §3.4.4.1), signed where there is a key to sign with.

    `message` is the request, deflated and in base64. A provider without a key, or whose key is gone with its store, is
    asked without a signature; whether that is enough is for the provider to say. Raises SigningKeyUnfit.
    """
    query = {"SAMLRequest": message}
    (plain,) = vault.open_many(workspace=workspace, values=[(provider, sealed)]) if sealed else (None,)
    if plain is None:
        return urlencode(query)
    key = load_der_private_key(plain, password=None)
    if not isinstance(key, RSAPrivateKey):
        raise SigningKeyUnfit(
            "Our key for the identity provider is no RSA key, so the request cannot be signed.",
            fix="Remove the provider and set it up again, which makes another key.",
        )
    text = urlencode({**query, "SigAlg": RSA_SHA256})
    signature = b64encode(key.sign(text.encode("ascii"), PKCS1v15(), SHA256())).decode()
    return f"{text}&{urlencode({'Signature': signature})}"

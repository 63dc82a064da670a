"""Requests to identity providers are signed by our key, or refused where that cannot sign."""

from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from isthmus.auth.saml.errors import SigningKeyUnfit
from isthmus.auth.saml.signing import signed
from isthmus.vault import Vault

PROVIDER, WORKSPACE = UUID(int=7), 1


def sealed(vault: Vault, plain: bytes) -> bytes:
    """Seal a key for the provider."""
    vault.create(workspace=WORKSPACE, subjects=[PROVIDER])
    (found,) = vault.seal_many(workspace=WORKSPACE, values=[(PROVIDER, plain)])
    return found


def test_a_key_that_cannot_sign_is_refused_and_nothing_is_sent_unsigned(vault: Vault) -> None:
    key = generate_private_key(SECP256R1()).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(SigningKeyUnfit, match="no RSA key"):
        signed("x", sealed(vault, key), vault=vault, provider=PROVIDER, workspace=WORKSPACE)


def test_a_provider_whose_key_was_erased_is_asked_without_a_signature(vault: Vault) -> None:
    own = sealed(vault, b"gone")
    vault.erase(workspace=WORKSPACE, subject=PROVIDER)
    assert signed("x", own, vault=vault, provider=PROVIDER, workspace=WORKSPACE) == "SAMLRequest=x"

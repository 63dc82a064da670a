"""Metadata of SAML 2.0: reading an identity provider's, and writing ours."""

import textwrap
from dataclasses import dataclass
from html import escape
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate

from isthmus.auth.people.errors import UpstreamRefused
from isthmus.auth.saml.errors import InvalidMetadata
from isthmus.auth.saml.xml import METADATA, SIGNATURE, Element, from_base64, read_xml, text_in

REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
RSA_BITS_MIN = 2_048
CERTIFICATES_MAX = 5
_TEXT_MAX = 1_024
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, kw_only=True)
class Described:
    """An identity provider as its metadata describes it; certificates are PEM."""

    entity: str
    sign_in_url: str
    certificates: tuple[str, ...]


def read_metadata(text: str) -> Described:
    """Return what an identity provider's metadata says; raises InvalidMetadata."""
    try:
        root = read_xml(text.strip().encode())
    except UpstreamRefused as error:
        raise InvalidMetadata("This is no metadata of SAML 2.0.", fix="Paste the provider's metadata XML.") from error
    entities = [each for each in root.iter() if each.tag == f"{METADATA}EntityDescriptor"]
    providers = [(each, own) for each in entities for own in each.findall(f"{METADATA}IDPSSODescriptor")]
    if len(providers) != 1:
        raise InvalidMetadata(
            f"It describes {len(providers)} identity providers.", fix="Paste the metadata of exactly one."
        )
    entity, own = providers[0]
    name = entity.get("entityID") or ""
    if not name or len(name) > _TEXT_MAX:
        raise InvalidMetadata("It has no entityID.", fix="Paste the provider's whole metadata.")
    return Described(entity=name, sign_in_url=_sign_in_url(own), certificates=_certificates(own))


def own_metadata(*, entity: str, recipient: str, certificate: str | None = None) -> bytes:
    """Return our metadata for one identity provider: who we are, where its answers go, and by what requests are signed.

    `certificate` is PEM; without one they are not signed.
    """
    signs = "false" if certificate is None else "true"
    return textwrap.dedent(f"""\
        <?xml version="1.0" encoding="UTF-8"?>
        <md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{escape(entity)}">
          <md:SPSSODescriptor AuthnRequestsSigned="{signs}" WantAssertionsSigned="true"
              protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">{_key(certificate)}
            <md:NameIDFormat>urn:oasis:names:tc:SAML:2.0:nameid-format:persistent</md:NameIDFormat>
            <md:NameIDFormat>urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress</md:NameIDFormat>
            <md:AssertionConsumerService Binding="{POST}" Location="{escape(recipient)}" index="0" isDefault="true"/>
          </md:SPSSODescriptor>
        </md:EntityDescriptor>
        """).encode()


def _key(certificate: str | None) -> str:
    if certificate is None:
        return ""
    text = "".join(certificate.split("-----")[2].split())
    signature = "http://www.w3.org/2000/09/xmldsig#"
    return (
        f'<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="{signature}"><ds:X509Data>'
        f"<ds:X509Certificate>{text}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
    )


def _sign_in_url(own: Element) -> str:
    services = own.findall(f"{METADATA}SingleSignOnService")
    url = next((each.get("Location") or "" for each in services if each.get("Binding") == REDIRECT), "")
    parts = urlsplit(url)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE)
    if not safe or not parts.hostname or len(url) > _TEXT_MAX or not url.isprintable():
        raise InvalidMetadata(
            "It names no address over HTTPS where people are sent by redirect.",
            fix="Turn the binding HTTP-Redirect on at the provider.",
        )
    return url


def _certificates(own: Element) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for each in own.findall(f"{METADATA}KeyDescriptor"):
        if each.get("use") in {None, "", "signing"}:
            for given in each.findall(f"{SIGNATURE}KeyInfo/{SIGNATURE}X509Data/{SIGNATURE}X509Certificate"):
                found[_certificate(text_in(given))] = None
    if not found or len(found) > CERTIFICATES_MAX:
        raise InvalidMetadata(
            f"It has {len(found)} certificates to check signatures by.",
            fix=f"The provider must publish 1 to {CERTIFICATES_MAX}.",
        )
    return tuple(found)


def _certificate(text: str) -> str:
    try:
        certificate = load_der_x509_certificate(from_base64(text))
    except (ValueError, UpstreamRefused) as error:
        raise InvalidMetadata("A certificate in it cannot be read.", fix="Paste the metadata as it is.") from error
    key = certificate.public_key()
    strong = isinstance(key, EllipticCurvePublicKey) or (isinstance(key, RSAPublicKey) and key.key_size >= RSA_BITS_MIN)
    if not strong:
        raise InvalidMetadata(
            f"A certificate has no key of elliptic curves, nor of RSA with {RSA_BITS_MIN} bits.",
            fix="Let the provider make a new one.",
        )
    return certificate.public_bytes(Encoding.PEM).decode("ascii")

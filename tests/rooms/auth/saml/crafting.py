"""Responses as an identity provider, or an attacker, makes them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Protocol, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from signxml.algorithms import CanonicalizationMethod
from signxml.signer import XMLSigner

from isthmus.auth.saml.responses import Expected

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
ISSUER, AUDIENCE = "https://id.example/entity", "https://hub.example/sign-in/saml/1/metadata"
RECIPIENT = "https://hub.example/sign-in/saml/1/acs"
REQUEST = "_a-request"
PROTOCOL = "urn:oasis:names:tc:SAML:2.0:protocol"
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"


class _Lxml(Protocol):
    def fromstring(self, text: bytes) -> object: ...

    def tostring(self, element: object) -> bytes: ...


class _Signer(Protocol):
    def sign(self, data: object, *, key: bytes, cert: str, reference_uri: str, id_attribute: str) -> object: ...


_lxml = cast("_Lxml", import_module("lxml.etree"))


@dataclass(frozen=True)
class Pair:
    """A provider's key and certificate, both PEM."""

    key: bytes
    certificate: str


def pair(name: str = "id.example", *, ends: datetime | None = None) -> Pair:
    """Return a new key with its certificate."""
    key: RSAPrivateKey = generate_private_key(public_exponent=65_537, key_size=2_048)
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = x509.CertificateBuilder(subject_name=own, issuer_name=own, public_key=key.public_key(), serial_number=7)
    built = built.not_valid_before(NOW - timedelta(days=365)).not_valid_after(ends or NOW + timedelta(days=365))
    signed = built.sign(key, SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(pem, signed.public_bytes(Encoding.PEM).decode())


def described() -> str:
    """Return metadata of an identity provider, which an example is too short to hold."""
    certificate = "".join(pair().certificate.splitlines()[1:-1])
    return (
        '<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="https://id.example/entity">'
        '<IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">'
        '<KeyDescriptor use="signing"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data>'
        f"<X509Certificate>{certificate}</X509Certificate></X509Data></KeyInfo></KeyDescriptor>"
        '<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"'
        ' Location="https://id.example/sso"/></IDPSSODescriptor></EntityDescriptor>'
    )


def moment(minutes: float = 0) -> str:
    """Return a moment so many minutes from now."""
    return (NOW + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def assertion(
    *,
    subject: str = "ada-1",
    issuer: str = ISSUER,
    audience: str = AUDIENCE,
    recipient: str = RECIPIENT,
    answers: str = f' InResponseTo="{REQUEST}"',
    begins: float = -1,
    ends: float = 5,
    made: float = 0,
) -> str:
    """Return an assertion that is not signed."""
    return (
        f'<saml:Assertion xmlns:saml="{SAML}" ID="_one" Version="2.0" IssueInstant="{moment(made)}">'
        f"<saml:Issuer>{issuer}</saml:Issuer><saml:Subject><saml:NameID>{subject}</saml:NameID>"
        '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">'
        f'<saml:SubjectConfirmationData NotOnOrAfter="{moment(ends)}" Recipient="{recipient}"{answers}/>'
        "</saml:SubjectConfirmation></saml:Subject>"
        f'<saml:Conditions NotBefore="{moment(begins)}" NotOnOrAfter="{moment(ends)}"><saml:AudienceRestriction>'
        f"<saml:Audience>{audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions>"
        f'<saml:AuthnStatement AuthnInstant="{moment(made)}"><saml:AuthnContext><saml:AuthnContextClassRef>'
        "urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext>"
        "</saml:AuthnStatement><saml:AttributeStatement>"
        '<saml:Attribute Name="email"><saml:AttributeValue>ada@northwind.example</saml:AttributeValue>'
        "</saml:Attribute></saml:AttributeStatement></saml:Assertion>"
    )


def signed(text: str, by: Pair) -> str:
    """Return an assertion with a signature within it."""
    signer = cast("_Signer", XMLSigner(c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0))
    made = signer.sign(
        _lxml.fromstring(text.encode()), key=by.key, cert=by.certificate, reference_uri="#_one", id_attribute="ID"
    )
    return _lxml.tostring(made).decode()


def response(*inner: str, status: str = "Success", destination: str = RECIPIENT) -> bytes:
    """Return a response around something."""
    return (
        f'<samlp:Response xmlns:samlp="{PROTOCOL}" ID="_whole" Version="2.0" IssueInstant="{moment()}" '
        f'Destination="{destination}" InResponseTo="{REQUEST}">'
        f'<saml:Issuer xmlns:saml="{SAML}">{ISSUER}</saml:Issuer>'
        f'<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:{status}"/></samlp:Status>'
        f"{''.join(inner)}</samlp:Response>"
    ).encode()


def expected(*certificates: str) -> Expected:
    """Return what is waited for."""
    return Expected(issuer=ISSUER, certificates=certificates, audience=AUDIENCE, recipient=RECIPIENT, now=NOW)

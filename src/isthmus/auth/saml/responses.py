"""Checking an identity provider's response (SAML 2.0 core; profiles §4.1.4.3): nothing is read that is not signed.

The one assertion is cut out and stands alone before its signature is checked, so that a signature can cover nothing
but it; what is then read is what was signed, canonical, parsed anew. Wrapped, moved and doubled elements have no effect
other than a refusal.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol, cast

from cryptography.x509 import Certificate, load_pem_x509_certificate
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidCertificate, SignXMLException
from signxml.verifier import SignatureConfiguration, VerifyResult, XMLVerifier

from isthmus.auth.saml.errors import refused
from isthmus.auth.saml.xml import PROTOCOL, SAML, SIGNATURE, Element, alone, read_xml, text_in

SKEW = timedelta(seconds=60)
AGE_MAX = timedelta(minutes=15)
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
_ID_CHARACTERS_MAX, _TEXT_MAX, _VALUES_MAX = 256, 2_000, 500
_METHODS = frozenset(
    {
        *(SignatureMethod.RSA_SHA256, SignatureMethod.RSA_SHA384, SignatureMethod.RSA_SHA512),
        *(SignatureMethod.SHA256_RSA_MGF1, SignatureMethod.SHA384_RSA_MGF1, SignatureMethod.SHA512_RSA_MGF1),
        *(SignatureMethod.ECDSA_SHA256, SignatureMethod.ECDSA_SHA384, SignatureMethod.ECDSA_SHA512),
    }
)
_DIGESTS = frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512})
_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
_TRANSFORMS = frozenset({"http://www.w3.org/2000/09/xmldsig#enveloped-signature", _EXCLUSIVE})
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z")


class _Verifier(Protocol):
    """What we use of signxml, typed."""

    def verify(
        self, data: bytes, *, x509_cert: Certificate, id_attribute: str, expect_config: SignatureConfiguration
    ) -> object: ...


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a response must be: from whom, signed by which of these certificates (PEM), for whom, to which address."""

    issuer: str
    certificates: Sequence[str]
    audience: str
    recipient: str
    now: datetime


@dataclass(frozen=True, kw_only=True)
class Proven:
    """What a signed assertion says; `in_response_to` is the id of the request it answers."""

    subject: str
    subject_format: str
    in_response_to: str
    authenticated_at: datetime
    context: str
    attributes: Mapping[str, Sequence[str]] = field(repr=False)


def read_response(raw: bytes, expected: Expected) -> Proven:
    """Return what a response proves; raises UpstreamRefused."""
    root = read_xml(raw)
    _check_envelope(root, expected)
    assertion = _only_assertion(root)
    signed = _signed(assertion, expected)
    return _proven(signed, expected)


def _check_envelope(root: Element, expected: Expected) -> None:
    """Look at what stands around the assertion: it is not signed, so it can only be a reason to refuse."""
    if root.tag != f"{PROTOCOL}Response":
        raise refused("It is no response.")
    code = root.find(f"{PROTOCOL}Status/{PROTOCOL}StatusCode")
    if code is None or code.get("Value") != SUCCESS:
        raise refused("The provider did not prove you.")
    if root.get("Destination") not in {None, "", expected.recipient}:
        raise refused("It was sent to another address.")
    issuer = root.find(f"{SAML}Issuer")
    if issuer is not None and text_in(issuer) != expected.issuer:
        raise refused("It is from another provider.")
    ids = [each.get("ID") for each in root.iter() if each.get("ID") is not None]
    if len(set(ids)) != len(ids):
        raise refused("An ID stands in it twice.")


def _only_assertion(root: Element) -> Element:
    if any(each.tag == f"{SAML}EncryptedAssertion" for each in root.iter()):
        raise refused("Its assertion is encrypted, which is not read here: turn assertion encryption off.")
    found = [each for each in root.iter() if each.tag == f"{SAML}Assertion"]
    if len(found) != 1 or found[0].getparent() is not root:
        raise refused("It does not hold exactly one assertion.")
    own_id = found[0].get("ID") or ""
    if not own_id or len(own_id) > _ID_CHARACTERS_MAX:
        raise refused("Its assertion has no ID.")
    return found[0]


def _signed(assertion: Element, expected: Expected) -> Element:
    """Return the assertion as it was signed."""
    signatures = [each for each in assertion.iter() if each.tag == f"{SIGNATURE}Signature"]
    if len(signatures) != 1 or signatures[0].getparent() is not assertion:
        raise refused("Its assertion is not signed, or not by itself: let the provider sign assertions.")
    _check_reference(signatures[0], assertion.get("ID") or "")
    raw = alone(assertion)
    for each in expected.certificates:
        covered = _verified(raw, load_pem_x509_certificate(each.encode()), expected.now)
        if covered is not None:
            signed = read_xml(covered)
            if signed.tag != assertion.tag or signed.get("ID") != assertion.get("ID"):
                raise refused("The signature covers something else.")
            return signed
    raise refused("Its signature is by none of the provider's certificates.")


def _check_reference(signature: Element, own_id: str) -> None:
    references = signature.findall(f"{SIGNATURE}SignedInfo/{SIGNATURE}Reference")
    if len(references) != 1 or references[0].get("URI") != f"#{own_id}":
        raise refused("The signature covers something else.")
    transforms = [
        each.get("Algorithm") or "" for each in references[0].findall(f"{SIGNATURE}Transforms/{SIGNATURE}Transform")
    ]
    method = signature.find(f"{SIGNATURE}SignedInfo/{SIGNATURE}CanonicalizationMethod")
    exclusive = method is not None and method.get("Algorithm") == _EXCLUSIVE
    if not exclusive or frozenset(transforms) != _TRANSFORMS or len(transforms) != len(_TRANSFORMS):
        raise refused("The signature transforms what it covers in another way than SAML does.")
    if signature.find(f"{SIGNATURE}Object") is not None:
        raise refused("The signature has an object within.")


def _verified(raw: bytes, certificate: Certificate, now: datetime) -> bytes | None:
    """Return what a certificate's key signed, or None when it signed nothing of it."""
    config = SignatureConfiguration(
        location="./", signature_methods=_METHODS, digest_algorithms=_DIGESTS, verification_time=now
    )
    try:
        verifier = cast("_Verifier", XMLVerifier())
        result = verifier.verify(raw, x509_cert=certificate, id_attribute="ID", expect_config=config)
    except InvalidCertificate as error:
        raise refused("The provider's certificate is out of date: register the new one.") from error
    except (SignXMLException, ValueError):
        return None
    return result.signed_data if isinstance(result, VerifyResult) else None


def _proven(signed: Element, expected: Expected) -> Proven:
    if text_in(signed.find(f"{SAML}Issuer")) != expected.issuer:
        raise refused("It is from another provider.")
    _check_conditions(signed, expected)
    subject = signed.find(f"{SAML}Subject/{SAML}NameID")
    name = text_in(subject)
    if subject is None or not name or len(name) > _TEXT_MAX:
        raise refused("It names nobody.")
    at, context = _authentication(signed, expected)
    return Proven(
        subject=name,
        subject_format=subject.get("Format") or "",
        in_response_to=_confirmed(signed, expected),
        authenticated_at=at,
        context=context,
        attributes=_attributes(signed),
    )


def _check_conditions(signed: Element, expected: Expected) -> None:
    conditions = signed.findall(f"{SAML}Conditions")
    if len(conditions) != 1:
        raise refused("It has no conditions.")
    _check_window(conditions[0], expected.now)
    audiences = conditions[0].findall(f"{SAML}AudienceRestriction")
    if not audiences or not all(
        expected.audience in [text_in(own) for own in each.findall(f"{SAML}Audience")] for each in audiences
    ):
        raise refused("It is meant for somebody else.")


def _check_window(element: Element, now: datetime) -> None:
    """Check the time window of an element, whose end must be there; clocks may differ by a minute."""
    begins, ends = element.get("NotBefore"), element.get("NotOnOrAfter")
    if begins is not None and _moment(begins) > now + SKEW:
        raise refused("It holds only later: compare the clocks.")
    if ends is None or _moment(ends) <= now - SKEW:
        raise refused("It holds no more.")


def _confirmed(signed: Element, expected: Expected) -> str:
    """Return the id of the request that is answered, by a confirmation that names our address."""
    for each in signed.findall(f"{SAML}Subject/{SAML}SubjectConfirmation"):
        given = each.find(f"{SAML}SubjectConfirmationData")
        if each.get("Method") != BEARER or given is None or given.get("Recipient") != expected.recipient:
            continue
        if given.get("NotBefore") is not None:
            raise refused("Its confirmation begins later, which none of its kind may.")
        _check_window(given, expected.now)
        if answers := given.get("InResponseTo"):
            return answers
        raise refused("It answers no request: begin at the sign-in page.")
    raise refused("It was made for another address.")


def _authentication(signed: Element, expected: Expected) -> tuple[datetime, str]:
    statements = signed.findall(f"{SAML}AuthnStatement")
    if len(statements) != 1:
        raise refused("It does not say how you were proven.")
    ends = statements[0].get("SessionNotOnOrAfter")
    if ends is not None and _moment(ends) <= expected.now - SKEW:
        raise refused("The provider's session is over.")
    made = signed.get("IssueInstant")
    if made is None or not expected.now - AGE_MAX <= _moment(made) <= expected.now + SKEW:
        raise refused("It was not made just now.")
    context = text_in(statements[0].find(f"{SAML}AuthnContext/{SAML}AuthnContextClassRef"))
    return _moment(statements[0].get("AuthnInstant") or ""), context


def _attributes(signed: Element) -> Mapping[str, Sequence[str]]:
    """Return attributes by name and by friendly name."""
    found: dict[str, list[str]] = {}
    for each in signed.findall(f"{SAML}AttributeStatement/{SAML}Attribute")[:_VALUES_MAX]:
        values = [text_in(own) for own in each.findall(f"{SAML}AttributeValue")]
        told = [text for text in values if text and len(text) <= _TEXT_MAX]
        for name in {each.get("Name"), each.get("FriendlyName")}:
            if name and told:
                found.setdefault(name, []).extend(told)
    return found


def _moment(text: str) -> datetime:
    if not _MOMENT.fullmatch(text):
        raise refused("A moment in it is not of the form 2026-11-23T08:00:00Z.")
    whole, _, part = text.removesuffix("Z").partition(".")
    try:
        return datetime.fromisoformat(f"{whole}.{(part + '000000')[:6]}").replace(tzinfo=UTC)
    except ValueError as error:
        raise refused("A moment in it is none.") from error

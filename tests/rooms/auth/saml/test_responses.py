"""Checking responses: what a provider signs is read, and nothing else gets anybody in."""

import re
from datetime import timedelta

import pytest

from isthmus.auth.people.errors import UpstreamRefused
from isthmus.auth.saml.responses import read_response
from tests.rooms.auth.saml.crafting import (
    NOW,
    PROTOCOL,
    REQUEST,
    SAML,
    Pair,
    assertion,
    expected,
    pair,
    response,
    signed,
)

SIGNATURE = re.compile(r"<ds:Signature .*</ds:Signature>", re.DOTALL)
EVIL = assertion(subject="owner").replace('ID="_one"', 'ID="_evil"')


@pytest.fixture(scope="session")
def own() -> Pair:
    """The provider's key."""
    return pair()


@pytest.fixture(scope="session")
def good(own: Pair) -> str:
    """An assertion as the provider signs it."""
    return signed(assertion(), own)


def signature_of(text: str) -> str:
    """Return the signature within an assertion."""
    found = SIGNATURE.search(text)
    assert found is not None
    return found[0]


def test_what_the_provider_signed_is_read(own: Pair, good: str) -> None:
    proven = read_response(response(good), expected(own.certificate))
    assert (proven.subject, proven.in_response_to) == ("ada-1", REQUEST)
    assert proven.attributes["email"] == ["ada@northwind.example"]


def test_either_of_two_certificates_is_taken_while_a_provider_changes_them(own: Pair, good: str) -> None:
    assert read_response(response(good), expected(pair().certificate, own.certificate)).subject == "ada-1"


def test_a_signature_by_another_key_is_refused_although_it_brings_its_certificate(own: Pair) -> None:
    theirs = signed(assertion(), pair())
    with pytest.raises(UpstreamRefused, match="none of the provider's certificates"):
        read_response(response(theirs), expected(own.certificate))


def test_a_certificate_that_is_out_of_date_is_told(good: str) -> None:
    old = pair(ends=NOW - timedelta(days=1))
    with pytest.raises(UpstreamRefused, match="out of date"):
        read_response(response(signed(assertion(), old)), expected(old.certificate))
    assert good


def test_an_assertion_without_a_signature_is_refused(own: Pair, good: str) -> None:
    for text in (assertion(), SIGNATURE.sub("", good)):
        with pytest.raises(UpstreamRefused, match="not signed"):
            read_response(response(text), expected(own.certificate))


def test_a_changed_word_is_refused(own: Pair, good: str) -> None:
    with pytest.raises(UpstreamRefused):
        read_response(response(good.replace("ada-1", "owner")), expected(own.certificate))


def wrapped(good: str) -> dict[str, bytes]:
    """Return the ways to wrap a signature that are known (Somorovsky et al., On Breaking SAML, 2012), and more."""
    seal = signature_of(good)
    bare = SIGNATURE.sub("", good)
    extension = f'<samlp:Extensions xmlns:samlp="{PROTOCOL}">{good}</samlp:Extensions>'
    into = EVIL.replace("</saml:Assertion>", "")
    return {
        "xsw1: the signed one within the signature of a copy": response(
            EVIL.replace(
                "<saml:Subject>",
                seal.replace("</ds:Signature>", f"<ds:Object>{bare}</ds:Object></ds:Signature>") + "<saml:Subject>",
            )
        ),
        "xsw3: an evil one before the signed one": response(EVIL, good),
        "xsw4: the signed one within an evil one": response(f"{into}{good}</saml:Assertion>"),
        "xsw5: the evil one takes the signature, the signed one goes last": response(
            f"{into}{seal}</saml:Assertion>", bare
        ),
        "xsw6: the evil one's signature holds the signed one": response(
            f"{into}{seal.replace('</ds:Signature>', f'{bare}</ds:Signature>')}</saml:Assertion>"
        ),
        "xsw7: the signed one within an extension": response(extension, EVIL),
        "xsw8: the signed one within an object": response(
            f"{into}{seal.replace('</ds:Signature>', f'<ds:Object>{bare}</ds:Object></ds:Signature>')}</saml:Assertion>"
        ),
        "xsw9: an evil one of the same id": response(EVIL.replace("_evil", "_one"), good),
        "xsw10: the evil one takes the id and the signature": response(
            f"{into.replace('_evil', '_one')}{seal}</saml:Assertion>"
        ),
        "xsw11: the evil one behind the signed one": response(good, EVIL),
        "xsw12: an evil subject beside the signed one": response(
            good.replace(
                "<saml:Subject>", "<saml:Subject><saml:NameID>owner</saml:NameID></saml:Subject><saml:Subject>"
            )
        ),
        "xsw13: the response's own id takes the reference": response(
            f"{into}{seal.replace('#_one', '#_whole')}</saml:Assertion>"
        ),
    }


NAMES = tuple(f"xsw{number}:" for number in (1, *range(3, 14)))


@pytest.mark.parametrize("name", NAMES)
def test_a_wrapped_signature_is_refused(own: Pair, good: str, name: str) -> None:
    raw = next(raw for told, raw in wrapped(good).items() if told.startswith(name))
    with pytest.raises(UpstreamRefused):
        read_response(raw, expected(own.certificate))


def test_every_known_way_of_wrapping_is_tried(good: str) -> None:
    assert [told.partition(" ")[0] for told in wrapped(good)] == list(NAMES)


def test_a_comment_does_not_cut_a_name_in_two(own: Pair) -> None:
    whole = signed(assertion(subject="owner@northwind.example.evil.example"), own)
    cut = whole.replace("northwind.example.evil", "northwind.example<!-- -->.evil")
    assert read_response(response(cut), expected(own.certificate)).subject == "owner@northwind.example.evil.example"


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
        '<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>',
        '<?xml version="1.0"?><!doctype x SYSTEM "http://127.0.0.1:1/x.dtd"><x/>',
    ],
)
def test_a_document_type_is_refused(own: Pair, text: str) -> None:
    with pytest.raises(UpstreamRefused, match="document type"):
        read_response(text.encode(), expected(own.certificate))


def test_an_encoding_does_not_hide_a_document_type(own: Pair) -> None:
    text = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x [<!ENTITY e "e">]><x>&e;</x>'
    for raw in (text.encode("utf-16"), b'<?xml version="1.0" encoding="utf-7"?><x/>'):
        with pytest.raises(UpstreamRefused, match="UTF-8"):
            read_response(raw, expected(own.certificate))


def test_what_is_no_xml_or_nested_without_end_is_refused(own: Pair) -> None:
    for raw in (b"", b"<x>", b"\xff", b"<x>" * 60 + b"</x>" * 60, b" " * 300_000):
        with pytest.raises(UpstreamRefused):
            read_response(raw, expected(own.certificate))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (assertion(issuer="https://other.example"), "another provider"),
        (assertion(audience="https://other.example"), "somebody else"),
        (assertion(recipient="https://other.example/acs"), "another address"),
        (assertion(answers=""), "no request"),
        (assertion(begins=2), "only later"),
        (assertion(ends=-2), "no more"),
        (assertion(made=-20), "just now"),
        (assertion(made=3), "just now"),
        (assertion(subject=""), "nobody"),
        (assertion().replace("cm:bearer", "cm:holder-of-key"), "another address"),
        (re.sub("<saml:Conditions.*</saml:Conditions>", "", assertion()), "conditions"),
        (re.sub("<saml:AudienceRestriction>.*</saml:AudienceRestriction>", "", assertion()), "somebody else"),
        (re.sub("<saml:AuthnStatement.*</saml:AuthnStatement>", "", assertion()), "how you were proven"),
    ],
)
def test_an_assertion_that_is_not_for_us_now_is_refused(own: Pair, text: str, said: str) -> None:
    with pytest.raises(UpstreamRefused, match=said):
        read_response(response(signed(text, own)), expected(own.certificate))


def test_a_minute_of_skew_is_forgiven(own: Pair) -> None:
    for text in (assertion(begins=0.9), assertion(ends=-0.9), assertion(made=0.9)):
        assert read_response(response(signed(text, own)), expected(own.certificate)).subject == "ada-1"


def test_a_refusal_of_the_provider_and_another_destination_are_refused(own: Pair, good: str) -> None:
    for raw in (response(good, status="Responder"), response(good, destination="https://other.example/acs")):
        with pytest.raises(UpstreamRefused):
            read_response(raw, expected(own.certificate))


def test_an_encrypted_assertion_says_what_to_turn_off(own: Pair) -> None:
    with pytest.raises(UpstreamRefused, match="encryption off"):
        read_response(response(f'<saml:EncryptedAssertion xmlns:saml="{SAML}"/>'), expected(own.certificate))


def test_weak_and_foreign_algorithms_are_refused(own: Pair, good: str) -> None:
    changes = (
        ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2000/09/xmldsig#rsa-sha1"),
        ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"),
        ("http://www.w3.org/2000/09/xmldsig#enveloped-signature", "http://www.w3.org/TR/1999/REC-xslt-19991116"),
        ("http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2000/09/xmldsig#sha1"),
    )
    for before, after in changes:
        assert before in good
        with pytest.raises(UpstreamRefused):
            read_response(response(good.replace(before, after)), expected(own.certificate))

"""XML from strangers, read without entities, document types and networks; and our typed edge to lxml."""

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterator
from importlib import import_module
from typing import Protocol, cast

from isthmus.auth.saml.errors import refused

BYTES_MAX = 256 << 10
DEPTH_MAX = 40
SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
PROTOCOL = "{urn:oasis:names:tc:SAML:2.0:protocol}"
METADATA = "{urn:oasis:names:tc:SAML:2.0:metadata}"
SIGNATURE = "{http://www.w3.org/2000/09/xmldsig#}"


class Element(Protocol):
    """An element of a tree."""

    tag: object
    text: str | None

    def get(self, name: str) -> str | None:
        """Return an attribute."""
        ...

    def find(self, path: str) -> "Element | None":
        """Return the first element at a path below."""
        ...

    def findall(self, path: str) -> "list[Element]":
        """Return the elements at a path below."""
        ...

    def iter(self) -> "Iterator[Element]":
        """Go through the element and all below it."""
        ...

    def getparent(self) -> "Element | None":
        """Return the element above."""
        ...

    def __iter__(self) -> "Iterator[Element]": ...


class _Parser(Protocol): ...


class _Lxml(Protocol):
    XMLSyntaxError: type[Exception]

    def XMLParser(  # noqa: N802 - lxml's own name.
        self,
        *,
        resolve_entities: bool,
        no_network: bool,
        load_dtd: bool,
        huge_tree: bool,
        remove_pis: bool,
        remove_comments: bool,
    ) -> _Parser: ...

    def fromstring(self, text: bytes, parser: _Parser) -> Element: ...

    def tostring(self, element: Element, *, with_tail: bool) -> bytes: ...


_lxml = cast("_Lxml", import_module("lxml.etree"))


def read_xml(raw: bytes) -> Element:
    """Return the root of a document; raises UpstreamRefused for what is none, or declares a type or entities.

    The declaration of a document type is looked for in the bytes of UTF-8; other encodings are refused, so that none
    hides it.
    """
    if len(raw) > BYTES_MAX:
        raise refused(f"It is over {BYTES_MAX} bytes.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refused("It is not UTF-8.") from error
    head = text.lstrip().partition("?>")[0].lower() if text.lstrip().startswith("<?xml") else ""
    if "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
        raise refused("It declares a document type.")
    if "encoding" in head and "utf-8" not in head:
        raise refused("It is not UTF-8.")
    parser = _lxml.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_pis=False,
        remove_comments=False,
    )
    try:
        root = _lxml.fromstring(raw, parser)
    except _lxml.XMLSyntaxError as error:
        raise refused("It is not XML.") from error
    if _depth(root) > DEPTH_MAX:
        raise refused(f"It is nested more than {DEPTH_MAX} deep.")
    return root


def alone(element: Element) -> bytes:
    """Return an element as a document of its own, with the namespaces that are in scope."""
    return _lxml.tostring(element, with_tail=False)


def text_in(element: Element | None) -> str:
    """Return the text of an element that has nothing else in it; empty for any other."""
    if element is None or any(True for _ in element):
        return ""
    return (element.text or "").strip()


def from_base64(text: str) -> bytes:
    """Return what stands in base64, with or without line breaks; raises UpstreamRefused."""
    try:
        return b64decode("".join(text.split()), validate=True)
    except (NotBase64, ValueError) as error:
        raise refused("It is not base64.") from error


def _depth(root: Element) -> int:
    """Return how deep a tree is nested, counted without recursion."""
    deepest, waiting = 0, [(root, 1)]
    while waiting:
        element, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting += [(each, depth + 1) for each in element]
    return deepest

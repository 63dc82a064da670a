"""Signature of requests to S3: Signature Version 4, as Amazon's documentation of it says. Pure.

Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)".
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, kw_only=True)
class Keys:
    """An access key: its id, and its secret."""

    key_id: str
    secret: str


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request to sign: the path is encoded already, names and values of the query are not."""

    method: str
    host: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    body: bytes = b""


def encoded(text: str, *, slashes: bool = False) -> str:
    """Return a text as it stands in a signed address: all but letters, digits and -._~ is encoded."""
    return quote(text, safe="/" if slashes else "")


def query_of(pairs: Sequence[tuple[str, str]]) -> str:
    """Return a query in the order in which it is signed."""
    return "&".join(f"{name}={value}" for name, value in sorted((encoded(name), encoded(each)) for name, each in pairs))


def signed(request: Request, keys: Keys, *, region: str, now: datetime) -> Mapping[str, str]:
    """Return the headers that prove who sends a request; `now` is the server's time, in UTC."""
    moment, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    digest = sha256(request.body).hexdigest()
    headers = {"host": request.host, "x-amz-content-sha256": digest, "x-amz-date": moment}
    names = ";".join(headers)
    canonical = "\n".join(
        (
            request.method,
            request.path,
            query_of(request.query),
            *(f"{name}:{value}" for name, value in headers.items()),
            "",
            names,
            digest,
        )
    )
    scope = f"{day}/{region}/s3/aws4_request"
    what = "\n".join((_ALGORITHM, moment, scope, sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{keys.secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    proof = hmac.digest(key, what.encode(), "sha256").hex()
    told = f"{_ALGORITHM} Credential={keys.key_id}/{scope},SignedHeaders={names},Signature={proof}"
    return {"x-amz-content-sha256": digest, "x-amz-date": moment, "Authorization": told}

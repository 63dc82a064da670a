"""Files in a bucket of S3, or of what speaks its protocol.

What is signed carries a time that must be near that of the server. It is taken from the server's own answers, so that
no clock of ours matters: the first request carries a time that is long past, and the refusal of it tells the right one.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from random import Random
from urllib.parse import unquote, urlsplit

from isthmus.auth.saml.xml import Element, read_xml
from isthmus.connectors.files.places import FileMoved, Found, Where, few, named
from isthmus.connectors.files.signing import Keys, Request, encoded, query_of, signed
from isthmus.kernel.errors import IsthmusError
from isthmus.sync.calls import Answer, Calls, Exact, calling
from isthmus.sync.connector import ConnectorError, KeyRefused, Leave, NotAsDocumented

PART_BYTES = 8 << 20
KEYS_PER_PAGE = 200
_NOT_FOUND, _FORBIDDEN, _MOVED, _FAILED_CONDITION, _RANGE = 404, 403, (301, 307, 400), 412, 416
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_KEY_FIX = "Give `key_id` and `secret_key` of a key that may list, get and put there."


class Bucket:
    """Implements `Shelf`."""

    whole = True

    def __init__(self, where: Where, calls: Calls, *, keys: Keys, region: str) -> None:
        """Speak with a bucket; `calls` leads to it, by its host or by the first part of the path."""
        self._where, self._calls, self._keys, self._region = where, calls, keys, region
        parts = urlsplit(calls.base)
        self._host, self._root = parts.netloc, parts.path
        self._now: datetime | None = None

    def here(self, file: Found) -> Path | None:
        """Return nothing: what is in a bucket has to be fetched."""
        del file

    async def check(self) -> str:
        """Return where it is; raises ConnectorError with what is missing."""
        await self._list(None)
        return f"{self._where.words} at {self._host}"

    async def found(self) -> Sequence[Found]:
        """Return all files below the prefix."""
        found: list[Found] = []
        token: str | None = None
        while True:
            some, token = await self._list(token)
            found += some
            few(len(found))
            if token is None:
                return sorted(found, key=lambda each: each.name)

    async def fetch(self, file: Found, into: Path, spans: Sequence[tuple[int, int]]) -> None:
        """Fetch spans in parts, each on the condition that the file is the one that was found."""
        with into.open("ab") as target:
            for first, end in spans:
                for start in range(first, end, PART_BYTES):
                    last = min(start + PART_BYTES, end) - 1
                    headers = {"Range": f"bytes={start}-{last}", "If-Match": file.stamp}
                    answer = await self._send("GET", file.name, headers=headers)
                    if answer.status in (_NOT_FOUND, _FAILED_CONDITION, _RANGE):
                        raise FileMoved(f"{file.name} was replaced while it was read.", fix="It is read again.")
                    self._good(answer)
                    if len(answer.body) != last - start + 1:
                        raise NotAsDocumented(f"{file.name} came in part.", fix="Does the server know ranges?")
                    target.write(answer.body)

    async def put(self, folder: str, tail: str, content: bytes, *, after: str) -> str:
        """Put a file; it is seen whole or not at all, and its name has the server's time."""
        if self._now is None:
            await self._list(None)
        if self._now is None:
            raise NotAsDocumented("The server tells no time.", fix="Does `endpoint` lead to what speaks S3?")
        name = named(folder, self._now, tail, after=after)
        await self.replace(name, content)
        return name

    async def replace(self, name: str, content: bytes) -> None:
        """Put a file anew."""
        self._good(await self._send("PUT", name, body=content))

    async def _list(self, token: str | None) -> tuple[list[Found], str | None]:
        query = [("list-type", "2"), ("max-keys", str(KEYS_PER_PAGE)), ("encoding-type", "url")]
        query += [("prefix", self._where.path)] if self._where.path else []
        query += [("continuation-token", token)] if token else []
        answer = await self._send("GET", None, query=query)
        self._good(answer)
        root = _xml(answer)
        found: list[Found] = []
        for each in _all(root, "Contents"):
            name = unquote(_text(each, "Key")).removeprefix(self._where.path)
            if name and not name.endswith("/"):
                found.append(Found(name=name, size=int(_text(each, "Size")), stamp=_text(each, "ETag")))
        following = _text(root, "NextContinuationToken") if _text(root, "IsTruncated") == "true" else None
        return found, following

    async def _send(
        self,
        method: str,
        name: str | None,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send a signed request; once more where the time of the last answer was too long ago."""
        path = self._path(name)
        target = f"{path}?{query_of(query)}" if query else path
        request = Request(
            method=method, host=self._host, path=f"{self._root}{path}" or "/", query=query, body=body or b""
        )
        answer = await self._once(request, target, headers or {})
        if answer.status == _FORBIDDEN and _code(answer) == "RequestTimeTooSkewed":
            answer = await self._once(request, target, headers or {})
        return answer

    async def _once(self, request: Request, target: str, headers: Mapping[str, str]) -> Answer:
        proof = signed(request, self._keys, region=self._region, now=self._now or _LONG_AGO)
        sent = {**(proof if self._keys.key_id else {}), **headers}
        body = request.body or None
        answer = await self._calls.send(request.method, Exact(target), headers=sent, body=body, safe=True)
        told = answer.headers.get("date")
        self._now = parsedate_to_datetime(told).astimezone(UTC) if told else self._now
        return answer

    def _path(self, name: str | None) -> str:
        return "/" if name is None else f"/{encoded(self._where.path + name, slashes=True)}"

    def _good(self, answer: Answer) -> None:
        """Raise what an answer says in words, unless it is a good one."""
        if answer.good:
            return
        code = _code(answer)
        if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"):
            raise KeyRefused(f"S3 refuses the key ({code}).", fix=_KEY_FIX)
        if answer.status == _FORBIDDEN:
            raise ConnectorError(f"The key may not do this in {self._where.words} ({code}).", fix=_KEY_FIX)
        if code == "NoSuchBucket" or (answer.status == _NOT_FOUND and not code):
            raise ConnectorError(f"There is no bucket {self._where.bucket!r}.", fix="Correct `where`, or `endpoint`.")
        region = answer.headers.get("x-amz-bucket-region", "")
        if answer.status in _MOVED and region and region != self._region:
            raise ConnectorError(f"The bucket is in {region}.", fix=f"Give `region` as {region}.")
        raise NotAsDocumented(
            f"S3 answered {answer.status} {code or answer.said}.", fix="Does `endpoint` lead to what speaks S3?"
        )


def _xml(answer: Answer) -> Element:
    try:
        return read_xml(answer.body)
    except IsthmusError as error:
        raise NotAsDocumented(f"S3 answered {answer.said!r}.", fix="Does `endpoint` lead to what speaks S3?") from error


def _code(answer: Answer) -> str:
    if not answer.body.lstrip().startswith(b"<"):
        return ""
    try:
        return _text(read_xml(answer.body), "Code")
    except IsthmusError:
        return ""


def _all(root: Element, name: str) -> list[Element]:
    return [each for each in root if str(each.tag).rpartition("}")[2] == name]


def _text(root: Element, name: str) -> str:
    return next((each.text or "" for each in _all(root, name)), "")


@asynccontextmanager
async def s3(
    where: Where, *, endpoint: str, region: str, keys: Keys, dice: Random, leave: Leave
) -> AsyncGenerator[Bucket]:
    """Open a bucket: by its own host at Amazon, by its path elsewhere or where its name has dots."""
    bucket = encoded(where.bucket)
    if endpoint:
        url = f"{endpoint.rstrip('/')}/{bucket}"
    elif "." in where.bucket:
        url = f"https://s3.{region}.amazonaws.com/{bucket}"
    else:
        url = f"https://{bucket}.s3.{region}.amazonaws.com"
    async with calling(url, title="S3", dice=dice, leave=leave) as calls:
        yield Bucket(where, calls, keys=keys, region=region)

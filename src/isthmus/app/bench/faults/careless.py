"""A reader as many are written: it asks for what is newer than the newest, and takes an empty page as the end."""

from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec

from isthmus.app.bench.faults.side import PAGE_ROWS

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_GOOD, _TRIES_MAX = 200, 8
Row = dict[str, str | bool | None]


class _Answer(msgspec.Struct):
    data: list[Row]


async def careless(url: str) -> set[str]:
    """Return the ids of what it read."""
    seen: set[str] = set()
    newest = _BEGINNING
    async with aiohttp.ClientSession() as http:
        while rows := await _page(http, url, newest):
            seen |= {str(row["id"]) for row in rows}
            newest = max(datetime.fromisoformat(str(row["changed_at"])) for row in rows) + timedelta(seconds=10)
    return seen


async def _page(http: aiohttp.ClientSession, url: str, newest: datetime) -> list[Row]:
    query = {"since": newest.isoformat(), "limit": str(PAGE_ROWS)}
    for _ in range(_TRIES_MAX):
        try:
            async with http.get(f"{url}/deals", params=query) as answer:
                if answer.status == _GOOD:
                    return msgspec.json.decode(await answer.read(), type=_Answer).data
        except (aiohttp.ClientError, msgspec.DecodeError):
            continue
    return []

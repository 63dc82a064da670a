"""Writing as a vendor is described: a look at how the record stands, the write on that condition, and its answer."""

from collections.abc import Callable, Sequence
from typing import Literal

from isthmus.kernel.marks import Json
from isthmus.kernel.words import text
from isthmus.sync.abreast import abreast
from isthmus.sync.calls import UNAUTHORISED, Answer, Calls
from isthmus.sync.connector import Change, KeyRefused, NotAsDocumented, Outcome, Raw, Written
from isthmus.sync.rest.columns import at, express, word
from isthmus.sync.rest.described import GONES, Call, Collection, Writes
from isthmus.sync.rest.paging import Query, rows_at
from isthmus.sync.rest.ways import Row

GONE, CHANGED = "It is gone there.", "It has changed there."
_SERVER = 500
_TOO_MANY = 429


def body(of: Collection, change: Change, *, current: Row | None) -> Row:
    """Return a change in the vendor's words; nothing for a type that the feed does not write."""
    columns = of.types.get(change.type) if change.type in of.writes_types else None
    if columns is None or of.writes is None:
        return {}
    said = {**change.fields, **change.links}
    found = express(columns, said, current=current, merges=of.writes.merges)
    return found if of.writes.last is None else of.writes.last(change.type, found, current)


class Writer:
    """Writes changes of one feed, several at a time."""

    def __init__(
        self,
        calls: Calls,
        of: Collection,
        *,
        fill: Callable[[str], str],
        secret: Query,
        raw: Callable[[Collection, Row], Raw],
        made: dict[str, str],
        at_once: int = 1,
    ) -> None:
        """`fill` puts settings into paths, `raw` reads a row, `secret` goes along with every request.

        `made` are the keys of records that this session made, by their ids: none of them is found for another key.
        `at_once` is how many records are written at the same time.
        """
        self._calls, self._of, self._fill, self._secret, self._raw = calls, of, fill, secret, raw
        self._made, self._at_once = made, at_once

    async def write(self, changes: Sequence[Change]) -> list[Written]:
        """Return one answer for each change, as `abreast` does.

        New records that are looked for before they are made come in turn: one that was just made would be found for
        another that says the same.
        """
        writes = self._of.writes

        async def write(change: Change) -> Written:
            if writes is None or change.type not in self._of.writes_types:
                return _refused(change.external_id, f"{self._of.name} takes no {change.type}.")
            return await self._one(writes, change)

        def sought(change: Change) -> bool:
            return change.external_id is None and writes is not None and writes.find is not None

        return await abreast(changes, write, at_once=self._at_once, in_turn=sought)

    async def _one(self, writes: Writes, change: Change) -> Written:
        if change.external_id is None:
            return await self._make(writes, change)
        number = change.external_id
        current = await self._current(number)
        if current is None or (known := self._raw(self._of, current)).deleted:
            return _gone(change, number)
        if change.version not in (None, known.version):
            return Written(outcome=Outcome.MOVED, external_id=number, reason=CHANGED)
        call = writes.delete if change.deleted else writes.update
        # A row that several records are made of goes with the first of them only.
        if call is None or (change.deleted and change.type != self._of.writes_types[0]):
            return _refused(number, f"{self._of.name} takes no {'deletions' if change.deleted else 'changes'}.")
        said = {} if change.deleted else body(self._of, change, current=current)
        if not change.deleted and not said:
            return Written(outcome=Outcome.WRITTEN, external_id=number, raw=known)
        answer = await self._send(writes, call, number, said, change=change, current=current)
        return await self._answered(writes, change, number, answer)

    async def _answered(self, writes: Writes, change: Change, number: str, answer: Answer) -> Written:
        if answer.status in writes.gone:
            return _gone(change, number)
        if answer.status in writes.moved:
            return Written(outcome=Outcome.MOVED, external_id=number, reason=CHANGED)
        if not answer.good:
            return _turned_down(number, answer)
        if change.deleted:
            return Written(outcome=Outcome.WRITTEN, external_id=number, raw=_tombstone(number))
        return await self._read_back(writes, number, answer)

    async def _make(self, writes: Writes, change: Change) -> Written:
        if change.deleted:
            return _refused(None, "What has no id cannot be deleted.")
        if writes.create is None:
            return _refused(None, f"{self._of.name} takes no new records.")
        said = body(self._of, change, current=None)
        found = await self._found(writes, change)
        if found is not None:
            return Written(outcome=Outcome.WRITTEN, external_id=found.external_id, raw=found)
        number = writes.own_id(said) if writes.own_id else ""
        if number is None:
            return _refused(None, f"{self._of.name} names records by what they hold, and this one lacks it.")
        answer = await self._send(writes, writes.create, number, {**writes.new, **said}, change=change, current=None)
        if not answer.good:
            return _turned_down(None, answer)
        row = _row(self._of, answer) if answer.body else None
        known = row and at(row, self._of.id)
        if known in (None, "") and not number:
            raise NotAsDocumented("The answer to a creation tells no id.", fix="Read the feed again.")
        written = await self._read_back(writes, number or str(known), answer)
        self._made[written.external_id or ""] = change.key
        return written

    async def _found(self, writes: Writes, change: Change) -> Raw | None:
        """Return the record that an earlier attempt made, where the vendor takes no key against doubles."""
        if writes.find is None:
            return None
        query = [*((name, value) for name, value in self._of.query), *writes.find.query, *self._secret]
        answer = await self._calls.send("GET", self._fill(self._of.path), query=query)
        rows = rows_at(answer.json(), self._of.rows) if answer.good else []
        wanted = {name: value for name, value in {**change.fields, **change.links}.items() if value is not None}
        for row in rows or []:
            said = word(change.type, self._of.types[change.type], row)
            ours = self._made.get(str(at(row, self._of.id)), change.key) == change.key
            if (
                ours
                and wanted
                and all({**said.fields, **said.links}.get(name) == value for name, value in wanted.items())
            ):
                return self._raw(self._of, row)
        return None

    async def _current(self, number: str) -> Row | None:
        return await one(self._calls, self._of, number, fill=self._fill, secret=self._secret)

    async def _send(
        self, writes: Writes, call: Call, number: str, said: Row, *, change: Change, current: Row | None
    ) -> Answer:
        """Send a write; one that may be sent twice without harm is tried again when its answer is lost."""
        payload: Json = None
        headers: dict[str, str] = {}
        if current is not None:
            headers |= {name: str(at(current, path)) for name, path in writes.in_headers.items()}
        if call.method != "DELETE" or said:
            held = dict(said)
            if current is not None and change.version is not None and writes.in_body:
                held |= {name: at(current, path) for name, path in writes.in_body.items()} | dict(writes.beside)
            payload = {writes.wrap: held} if writes.wrap else held
        if writes.key_header:
            headers[writes.key_header] = change.key
        # Changes name whole values, so that saying them twice changes nothing; a creation needs a key or an id of ours.
        safe = current is not None or bool(writes.key_header) or writes.own_id is not None
        path = f"{self._of.home or self._of.path}{call.path}"
        answer = await self._calls.send(
            call.method,
            self._fill(path.replace("{id}", number)),
            query=self._secret,
            payload=payload,
            headers=headers,
            safe=safe,
        )
        if answer.status == UNAUTHORISED:
            raise KeyRefused("The key is refused.", fix="Make a new key there and give it to the connection.")
        return answer

    async def _read_back(self, writes: Writes, number: str, answer: Answer) -> Written:
        row: Row | None = _row(self._of, answer) if writes.whole else await self._current(number)
        if row is None:
            return Written(outcome=Outcome.MOVED, external_id=number, raw=_tombstone(number), reason=GONE)
        raw = self._raw(self._of, row)
        return Written(outcome=Outcome.WRITTEN, external_id=raw.external_id, raw=raw)


async def one(calls: Calls, of: Collection, number: str, *, fill: Callable[[str], str], secret: Query) -> Row | None:
    """Return the record of an id; nothing where it is not there. Raises ConnectorError."""
    answer = await calls.send("GET", fill(f"{of.home or of.path}/{number}"), query=secret)
    if answer.status == UNAUTHORISED:
        raise KeyRefused("The key is refused.", fix="Make a new key there and give it to the connection.")
    if answer.status in (of.writes.gone if of.writes else GONES):
        return None
    if not answer.good:
        raise NotAsDocumented(f"Asked for a record it answered {answer.status}: {answer.said}", fix="Check `url`.")
    return _row(of, answer)


def _row(of: Collection, answer: Answer) -> Row:
    said = answer.json()
    row = at(said, of.one) if of.one and isinstance(said, dict) else said
    if not isinstance(row, dict):
        raise NotAsDocumented(f"The answer holds no record of {of.name}.", fix="Check `url`.")
    return row


def _turned_down(number: str | None, answer: Answer) -> Written:
    outcome: Literal[Outcome.FAILED, Outcome.REFUSED] = (
        Outcome.FAILED if answer.status >= _SERVER or answer.status == _TOO_MANY else Outcome.REFUSED
    )
    return Written(outcome=outcome, external_id=number, reason=f"It answered {answer.status}: {text(answer.said)}")


def _gone(change: Change, number: str) -> Written:
    outcome = Outcome.WRITTEN if change.deleted else Outcome.MOVED
    return Written(outcome=outcome, external_id=number, raw=_tombstone(number), reason=GONE)


def _refused(number: str | None, reason: str) -> Written:
    return Written(outcome=Outcome.REFUSED, external_id=number, reason=reason)


def _tombstone(number: str) -> Raw:
    return Raw(external_id=number, body={}, deleted=True)

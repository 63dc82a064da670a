"""Writing to Request Tracker: each change under the condition that the record has not moved since it was decided on.

The server answers 200 also where it took nothing, with sentences; so what was written is read back, and what does not
stand is told. Each creation carries a link to its key, by which it is found again when its answer was lost.
"""

from collections.abc import Sequence
from typing import cast

import msgspec

from isthmus.connectors.requesttracker.cursor import number
from isthmus.connectors.requesttracker.desk import ROOT, Desk, Known
from isthmus.connectors.requesttracker.mapping import DELETED, NEW, NOBODY, PERSON, TICKET, express, unmet, values
from isthmus.connectors.requesttracker.wire import TICKETS, USERS, Row, moment, version
from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path, text
from isthmus.sync.calls import Answer
from isthmus.sync.connector import Change, ConnectorError, Outcome, Raw, Written

KEY = "isthmus:"
GONE = "It is no longer in Request Tracker."
CHANGED = "It has changed in Request Tracker."
_PRECONDITION_FAILED = 412
_OF = {TICKET: TICKETS, PERSON: USERS}


def raw(feed: str, row: Row) -> Raw:
    """Return a row as the engine takes it."""
    return Raw(external_id=str(number(row)), body=row, at=moment(row.get("LastUpdated")), version=version(feed, row))


class _Refusal(Exception):
    """What is wanted cannot be said in Request Tracker; the sentence says why."""


class Writer:
    """Writes changes one after the other; names that were looked up are kept for the session."""

    def __init__(self, desk: Desk, *, queue: str) -> None:
        """`queue` is where new tickets go that name none."""
        self._desk, self._queue = desk, queue
        self._names: dict[str, str] = {}

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Return one answer for each change."""
        answers: list[Written] = []
        sent: list[Row] = []
        lost = ""
        for change in changes:
            said: Row = {}
            try:
                answer, said = await self._one(feed, change) if not lost else (_failed(change, lost), said)
            except _Refusal as refusal:
                answer = Written(outcome=Outcome.REFUSED, external_id=change.external_id, reason=str(refusal))
            except ConnectorError as error:
                lost = str(error)
                answer = _failed(change, lost)
            answers.append(answer)
            sent.append(said)
        return await self._read_back(feed, answers, sent)

    async def _one(self, feed: str, change: Change) -> tuple[Written, Row]:
        """Write one change; returns the answer and what was sent."""
        if _OF.get(change.type) != feed:
            return Written(outcome=Outcome.REFUSED, reason=f"{feed} takes no {change.type}."), {}
        if change.external_id is None:
            return await self._make(feed, change)
        of = change.external_id
        known = await self._desk.one(feed, of)
        if known is None or _gone(known.row):
            outcome = Outcome.WRITTEN if change.deleted else Outcome.MOVED
            return Written(outcome=outcome, external_id=of, raw=_tombstone(of), reason=GONE), {}
        # One of another number is the ticket that this one became part of; reading tells of that.
        if number(known.row) != int(of) or change.version not in (None, version(feed, known.row)):
            return Written(outcome=Outcome.MOVED, external_id=of, reason=CHANGED), {}
        return await self._change(feed, change, of=of, known=known)

    async def _change(self, feed: str, change: Change, *, of: str, known: Known) -> tuple[Written, Row]:
        """Change or delete a record under the condition that it is as it is known."""
        if change.deleted:
            answer = await self._desk.send("DELETE", _path(feed, of), tag=known.tag)
            return _answered(answer, of, raw=_tombstone(of)), {}
        wanted = await self._resolved(express(change.type, change.fields, links=change.links, new=False))
        said = values(feed, wanted, current=known.row)
        if not said:
            return Written(outcome=Outcome.WRITTEN, external_id=of), {}
        answer = await self._desk.send("PUT", _path(feed, of), payload=said, tag=known.tag)
        return _answered(answer, of), said

    async def _make(self, feed: str, change: Change) -> tuple[Written, Row]:
        """Make a record, unless the answer to an earlier attempt was lost and it is there already."""
        wanted = await self._resolved(express(change.type, change.fields, links=change.links, new=True))
        said = values(feed, wanted, current={})
        state: Json = None
        if feed == TICKETS:
            there = (await self._desk.tickets(f"RefersTo = '{KEY}{change.key}'", limit=1, bare=True)).items
            mark: Json = [f"{KEY}{change.key}"]
            said = {"Queue": self._queue, **said, "RefersTo": mark}
            state = said.pop("Status", None)
        else:
            name = text(said.get("EmailAddress"))
            matching = {"EmailAddress": name} if name else {"Name": f"{KEY}{change.key}"}
            there = await self._desk.users(matching)
            said = {**said, "Name": name or f"{KEY}{change.key}", "Privileged": 0}
        if there:
            return Written(outcome=Outcome.WRITTEN, external_id=str(number(there[0]))), {}
        answer = await self._desk.send("POST", _path(feed), payload=said)
        if not answer.good:
            return Written(outcome=Outcome.REFUSED, reason=_sentence(answer)), {}
        made = cast("Row", answer.json())
        of = str(made.get("id"))
        if not of.isdecimal():
            # A user is answered by its name.
            found = await self._desk.users({"Name": of})
            of = str(number(found[0]))
        if state not in (None, NEW):
            # Life cycles say which statuses a ticket may begin with, and from there lead to all others.
            answer = await self._desk.send("PUT", _path(feed, of), payload={"Status": state})
            return Written(outcome=Outcome.WRITTEN, external_id=of, reason=_sentence(answer)), {**said, "Status": state}
        return Written(outcome=Outcome.WRITTEN, external_id=of), {}

    async def _resolved(self, wanted: Row) -> Row:
        """Return what is wanted with the owner's name there for an address; raises _Refusal."""
        owner = text(wanted.get("Owner"))
        if owner is None or owner == NOBODY:
            return wanted
        if owner not in self._names:
            field = "EmailAddress" if "@" in owner else "Name"
            found = await self._desk.users({field: owner})
            if not found:
                raise _Refusal(f"Request Tracker has no user {owner!r}: enter them there first.")
            self._names[owner] = str(found[0].get("Name"))
        return wanted | {"Owner": self._names[owner]}

    async def _read_back(self, feed: str, answers: list[Written], sent: Sequence[Row]) -> list[Written]:
        """Return the answers with the records as they stand now, and what was not taken as refused."""
        numbers = [
            int(each.external_id)
            for each in answers
            if each.external_id is not None and each.outcome == Outcome.WRITTEN and each.raw is None
        ]
        try:
            rows = {str(number(row)): row for row in await self._desk.rows(feed, numbers)} if numbers else {}
        except ConnectorError as error:
            return [
                msgspec.structs.replace(each, outcome=Outcome.FAILED, reason=str(error))
                if each.outcome == Outcome.WRITTEN and each.raw is None
                else each
                for each in answers
            ]
        return [
            _judged(feed, each, said, row=rows.get(each.external_id or ""))
            for each, said in zip(answers, sent, strict=True)
        ]


def _judged(feed: str, answer: Written, said: Row, *, row: Row | None) -> Written:
    if answer.outcome != Outcome.WRITTEN or answer.raw is not None:
        return answer
    if row is None:
        return msgspec.structs.replace(answer, outcome=Outcome.MOVED, reason=GONE)
    missed = unmet(feed, said, row=row)
    if not missed:
        return msgspec.structs.replace(answer, raw=raw(feed, row), reason="")
    parts = len(said) - ("CustomFields" in said) + len(cast("Row", said.get("CustomFields") or {}))
    if len(missed) >= parts:
        return Written(outcome=Outcome.REFUSED, external_id=answer.external_id, reason=answer.reason)
    reason = f"Request Tracker did not take {', '.join(missed)}: {answer.reason}"
    return msgspec.structs.replace(answer, raw=raw(feed, row), reason=reason)


def _answered(answer: Answer, of: str, *, raw: Raw | None = None) -> Written:
    if answer.status == _PRECONDITION_FAILED:
        return Written(outcome=Outcome.MOVED, external_id=of, reason=CHANGED)
    if not answer.good:
        return Written(outcome=Outcome.REFUSED, external_id=of, reason=_sentence(answer))
    return Written(outcome=Outcome.WRITTEN, external_id=of, raw=raw, reason=_sentence(answer))


def _sentence(answer: Answer) -> str:
    """Return what the server says of a write: sentences in a list, or a message."""
    try:
        said = answer.json() if answer.body else None
    except ConnectorError:
        said = None
    if isinstance(said, list):
        return " ".join(each.rstrip(".") + "." for each in said if isinstance(each, str))[:500]
    return text(at_path(said, "message")) or f"Request Tracker answered {answer.status}: {answer.said}"


def _gone(row: Row) -> bool:
    return row.get("Status") == DELETED or str(row.get("Disabled") or "0") != "0"


def _tombstone(of: str) -> Raw:
    return Raw(external_id=of, body={}, deleted=True)


def _failed(change: Change, reason: str) -> Written:
    return Written(outcome=Outcome.FAILED, external_id=change.external_id, reason=reason)


def _path(feed: str, of: str = "") -> str:
    return f"{ROOT}/{ {TICKETS: 'ticket', USERS: 'user'}[feed] }{f'/{of}' if of else ''}"

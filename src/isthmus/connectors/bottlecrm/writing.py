"""Writing to BottleCRM: each record is read first, so that one that moved since the change was decided on stays.

BottleCRM takes no condition and no idempotency key. Between our reading and our writing lies one request, in which an
agent's change of the same field would be overwritten; other fields never are, since only what differs is sent. A new
record is looked for before it is made, and what was written is read back: it answers 200 also to what it did not take.
"""

from collections.abc import Sequence
from typing import cast

from isthmus.connectors.bottlecrm.crm import FORBIDDEN, MERGED, NOT_FOUND, Crm, Query, path
from isthmus.connectors.bottlecrm.cursor import identity
from isthmus.connectors.bottlecrm.mapping import (
    ACCOUNT,
    ACTIVITY,
    AMOUNTS,
    CUSTOM,
    DEAL,
    LEAD,
    LEAD_STATES,
    MONEY,
    OWNER,
    PARENTS,
    PEOPLE,
    PERSON,
    STATES,
    TICKET,
    TICKET_STATES,
    express,
    stands,
)
from isthmus.connectors.bottlecrm.wire import (
    ACCOUNTS,
    CASES,
    CONTACTS,
    DEALS,
    LEADS,
    TASKS,
    Row,
    moment,
    rows,
    texts,
    version,
)
from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path, text
from isthmus.sync.abreast import abreast
from isthmus.sync.calls import Answer
from isthmus.sync.connector import Change, ConnectorError, Outcome, Raw, Written

KEY = "isthmus:"
GONE = "It is no longer in BottleCRM."
CHANGED = "It has changed in BottleCRM."
FEED_OF = {ACCOUNT: ACCOUNTS, PERSON: CONTACTS, LEAD: LEADS, DEAL: DEALS, TICKET: CASES, ACTIVITY: TASKS}
# Where a new record carries its key: contacts, leads and deals name where they came from.
REFERENCE, REFERRING = "source_ref", (CONTACTS, LEADS, DEALS)
# By which text a new record is looked for; accounts, deals and tickets have names of their own.
_SOUGHT = {
    ACCOUNTS: ("name",),
    CONTACTS: ("email", "name"),
    LEADS: ("email", "name"),
    DEALS: ("name",),
    CASES: ("name",),
    TASKS: ("title",),
}
_NAMED = {("name", CONTACTS): "first_name", ("name", LEADS): "first_name"}
_CANDIDATES_MAX = 50


def raw(row: Row) -> Raw:
    """Return a row as the engine takes it."""
    return Raw(external_id=identity(row), body=row, at=moment(row.get("updated_at")), version=version(row))


def tombstone(of: str) -> Raw:
    """Return what tells that a record is gone."""
    return Raw(external_id=of, body={}, deleted=True)


class _Refusal(Exception):
    """What is wanted cannot be said in BottleCRM; the sentence says why."""


class Writer:
    """Writes changes, several at a time."""

    def __init__(self, crm: Crm, *, at_once: int) -> None:
        """`crm` is who is written to, `at_once` how many records at the same time."""
        self._crm, self._at_once = crm, at_once
        self._made: set[str] = set()

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Return one answer for each change, as `abreast` does.

        New records come in turn, since each is looked for before it is made; and so do those with tags, of which a new
        one is made on the way.
        """

        async def write(change: Change) -> Written:
            try:
                return await self._one(feed, change)
            except _Refusal as refusal:
                return Written(outcome=Outcome.REFUSED, external_id=change.external_id, reason=str(refusal))

        def in_turn(change: Change) -> bool:
            return change.external_id is None or "tags" in change.fields

        return await abreast(changes, write, at_once=self._at_once, in_turn=in_turn)

    async def _one(self, feed: str, change: Change) -> Written:
        if FEED_OF.get(change.type) != feed:
            return Written(outcome=Outcome.REFUSED, reason=f"{feed} takes no {change.type}.")
        of = change.external_id
        wanted = await self._chosen(express(change.type, change.fields, links=change.links, new=of is None))
        if of is None:
            return await self._make(feed, change, wanted)
        row = await self._crm.one(feed, of)
        if row is None:
            outcome = Outcome.WRITTEN if change.deleted else Outcome.MOVED
            return Written(outcome=outcome, external_id=of, raw=tombstone(of), reason=GONE)
        # What became part of another ticket is not written to; reading tells of that.
        if MERGED in row or change.version not in (None, version(row)):
            return Written(outcome=Outcome.MOVED, external_id=of, reason=CHANGED)
        if change.deleted:
            return _answered(await self._crm.send("DELETE", path(feed, of)), of, gone=True)
        return await self._change(feed, change.type, of, wanted, row)

    async def _change(self, feed: str, kind: str, of: str, wanted: Row, row: Row) -> Written:
        differing = {name: value for name, value in wanted.items() if not stands(kind, name, value, row)}
        sent, reasons = await self._payload(feed, kind, differing, row=row)
        if sent:
            answer = await self._crm.send("PATCH", path(feed, of), payload=sent)
            if not answer.good:
                return _answered(answer, of)
        return await self._judged(feed, kind, of, differing, reasons)

    async def _make(self, feed: str, change: Change, wanted: Row) -> Written:
        """Make a record, unless the answer to an earlier attempt was lost and it is there already."""
        if feed in REFERRING:
            wanted = wanted | {REFERENCE: f"{KEY}{change.key}"}
        wanted = {name: value for name, value in wanted.items() if value is not None and value != []}
        there = await self._found(feed, change.type, wanted)
        reasons: list[str] = []
        if there is None:
            sent, reasons = await self._payload(feed, change.type, wanted, row={})
            answer = await self._crm.send("POST", path(feed), payload=sent)
            if not answer.good:
                return Written(outcome=Outcome.REFUSED, reason=_sentence(answer))
            # A task is made without its id being told.
            there = text(at_path(answer.json(), "id")) or await self._found(feed, change.type, wanted)
        if there is None:
            raise ConnectorError("BottleCRM does not list what it has just made.", fix="It is tried again by itself.")
        self._made.add(there)
        return await self._judged(feed, change.type, there, wanted, reasons)

    async def _found(self, feed: str, kind: str, wanted: Row) -> str | None:
        """Return the id of a record that we made and that says all that is wanted; nothing when there is none."""
        sought = next(((name, said) for name in _SOUGHT[feed] if (said := self._word(feed, name, wanted))), None)
        if sought is None:
            return None
        me = at_path(await self._crm.me(), "user_details", "id")
        asked: Query = [sought]
        for each in await self._crm.listed(feed, 0, offset=0, limit=_CANDIDATES_MAX, more=asked):
            ours = feed == TASKS or each.get("created_by") == me
            known = {name: value for name, value in wanted.items() if name in each or name in (OWNER, MONEY, PEOPLE)}
            same = {REFERENCE: wanted[REFERENCE]} if feed in REFERRING else known
            if ours and identity(each) not in self._made and _says(kind, same, each):
                return identity(each)
        return None

    @staticmethod
    def _word(feed: str, name: str, wanted: Row) -> str | None:
        return text(wanted.get(_NAMED.get((name, feed), name)))

    async def _chosen(self, wanted: Row) -> Row:
        """Return what is wanted with the codes of choices in the place of their names."""
        chosen = dict(wanted)
        for name, choices in _CHOICES.items():
            said = text(wanted.get(name))
            chosen |= {name: await self._crm.choice(choices, said) or said} if said else {}
        return chosen

    async def _payload(self, feed: str, kind: str, wanted: Row, *, row: Row) -> tuple[Row, list[str]]:
        """Return what to send, with ids in the place of words, and what cannot be sent; raises _Refusal."""
        sent: Row = {}
        reasons: list[str] = []
        for name, value in wanted.items():
            if name in _CHOICES and text(value) and await self._crm.choice(_CHOICES[name], str(value)) is None:
                reasons.append(f"It has no {name} {value!r}.")
            elif (several := _several(name, row)) or (name == "account" and kind == TICKET and row):
                reasons.append(several or "The account of a ticket is set once and for all.")
            elif name in PARENTS.values() and kind == ACTIVITY and _hangs(row, beside=name):
                reasons.append("A task hangs on one record: change that there.")
            else:
                sent |= await self._said(feed, kind, name, value, row=row)
        return sent, reasons

    async def _said(  # noqa: PLR0911 - one for each form of a field.
        self, feed: str, kind: str, name: str, value: Json, *, row: Row
    ) -> Row:
        match name:
            case "owner":
                return {"assigned_to": [await self._person(str(value))] if text(value) else []}
            case "tags":
                return {name: [await self._crm.tag(each) for each in texts(value)]}
            case "contacts":
                return {name: [value] if text(value) else []}
            case "money":
                return _sum(kind, value)
            case "custom_fields":
                return await self._customs(feed, cast("Row", value or {}), cast("Row", row.get(CUSTOM) or {}))
            case "stage":
                return {name: STATES[str(value)]}
            case "status" if kind in (LEAD, TICKET):
                return {name: (LEAD_STATES if kind == LEAD else TICKET_STATES)[str(value)]}
            case _:
                return {name: value}

    async def _customs(self, feed: str, given: Row, held: Row) -> Row:
        """Return the values of fields that the company has, empty where there is none any more."""
        known = await self._crm.customs(feed)
        said = {name: given.get(name) for name in {*given, *held} if name in known}
        return {CUSTOM: said} if said else {}

    async def _person(self, email: str) -> str:
        found = await self._crm.person(email)
        if found is None:
            raise _Refusal(f"BottleCRM has no user {email!r}: enter them there first.")
        return found

    async def _judged(self, feed: str, kind: str, of: str, wanted: Row, reasons: list[str]) -> Written:
        """Return the answer with the record as it stands now, and what was not taken."""
        row = await self._crm.one(feed, of)
        if row is None or MERGED in row:
            return Written(outcome=Outcome.MOVED, external_id=of, reason=GONE)
        shown = {name: value for name, value in wanted.items() if name in row or name in (OWNER, MONEY, PEOPLE)}
        missed = [name for name, value in shown.items() if not stands(kind, name, value, row)]
        if not missed:
            return Written(outcome=Outcome.WRITTEN, external_id=of, raw=raw(row))
        reason = " ".join([f"BottleCRM did not take {', '.join(missed)}.", *reasons])
        outcome = Outcome.REFUSED if len(missed) == len(wanted) else Outcome.WRITTEN
        return Written(outcome=outcome, external_id=of, raw=raw(row), reason=reason)


_CHOICES = {"country": "countries", "industry": "industries"}


def _says(kind: str, wanted: Row, row: Row) -> bool:
    return all(stands(kind, name, value, row) for name, value in wanted.items())


def _several(name: str, row: Row) -> str:
    """Return why what a record has several of is not written."""
    if name == OWNER and len(rows(row.get("assigned_to"))) > 1:
        return "It is assigned to several: change that there."
    if name == PEOPLE and len(texts(row.get("contacts"))) > 1:
        return "It has several contacts: change that there."
    return ""


def _hangs(row: Row, *, beside: str) -> bool:
    return any(row.get(each) for each in ("account", "opportunity", "case", "lead", "project") if each != beside)


def _sum(kind: str, value: Json) -> Row:
    of = AMOUNTS[kind][1]
    if value is None:
        return {of: None}
    return {of: str(at_path(value, "amount")), "currency": at_path(value, "currency")}


def _answered(answer: Answer, of: str, *, gone: bool = False) -> Written:
    if answer.good or (gone and answer.status == NOT_FOUND):
        return Written(outcome=Outcome.WRITTEN, external_id=of, raw=tombstone(of) if gone else None)
    if answer.status == NOT_FOUND:
        return Written(outcome=Outcome.MOVED, external_id=of, raw=tombstone(of), reason=GONE)
    return Written(outcome=Outcome.REFUSED, external_id=of, reason=_sentence(answer))


def _sentence(answer: Answer) -> str:
    """Return what the server says of a write: a sentence, or sentences by field."""
    try:
        said = answer.json()
    except ConnectorError:
        said = None
    errors = at_path(said, "errors") or at_path(said, "detail") or said
    if isinstance(errors, dict):
        told = [f"{name}: {' '.join(texts(each)) or text(each) or ''}" for name, each in errors.items()]
        return "; ".join(told)[:500]
    kept = "BottleCRM does not let us." if answer.status == FORBIDDEN else f"BottleCRM answered {answer.status}."
    return (text(errors) or kept)[:500]

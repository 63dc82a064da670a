"""Writing to Salesforce: a look at how each record stands, then what differs, under a condition where there is one.

A few changes go one by one, each under `If-Unmodified-Since`, so that Salesforce itself refuses one that came too late;
many go as collections of 200, or as a bulk job, right after the look. What was written is read back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from isthmus.connectors.salesforce.bulk import ROWS_MAX, BulkJobs, BulkUnavailable
from isthmus.connectors.salesforce.expressing import STAGE, Refusal, express, stands, unwritable, values
from isthmus.connectors.salesforce.shapes import Shape, Shapes, raw, version
from isthmus.connectors.salesforce.tables import Table
from isthmus.connectors.salesforce.transport import GONE_CODES, LATER, PRECONDITION_FAILED, SalesforceFault, Transport
from isthmus.connectors.salesforce.wire import (
    OWNER,
    Row,
    among,
    first,
    http_date,
    in_parts,
    is_id,
    quoted,
    rows,
    select,
    whole_id,
)
from isthmus.kernel.marks import Json
from isthmus.kernel.words import text
from isthmus.sync.connector import Change, ConnectorError, KeyRefused, Outcome, Raw, Throttled, Written

COLLECTION_MAX, SINGLES_MAX = 200, 25
# A query stands in the address, and a name may have 255 characters.
NAMES_MAX = 20
GONE, CHANGED = "It is no longer in Salesforce.", "It has changed in Salesforce."
LATER_WORDS = "Salesforce took no more writes for now."
# Whoever owns a new lead or case is said with it, so that no rule of the organisation gives it to somebody else.
_QUIET = {"Sforce-Auto-Assign": "FALSE"}
# By which field a record that we made is looked for among ours, when the answer to its making was lost.
_NAMES = ("Email", "Name", "LastName", "Subject")


@dataclass(slots=True)
class _Step:
    """A change on its way: what is sent, of which record, since when it may not have changed, and how it ended."""

    change: Change
    sent: Row
    answer: Written | None = None
    of: str = ""
    since: str | None = None

    def refuse(self, reason: str) -> None:
        self.answer = Written(outcome=Outcome.REFUSED, external_id=self.change.external_id, reason=reason)

    def done(self, of: str) -> None:
        self.of = of
        gone = tombstone(of) if self.change.deleted else None
        self.answer = Written(outcome=Outcome.WRITTEN, external_id=of, raw=gone)


class Writer:
    """Writes changes of one table at a time; `user_id` is who we are there."""

    def __init__(
        self, transport: Transport, shapes: Shapes, *, user_id: str, key_field: str, bulk_rows: int | None
    ) -> None:
        """`key_field` is an external id field of all tables that are written; jobs are made from `bulk_rows` on."""
        self._transport, self._shapes, self._user_id = transport, shapes, user_id
        self._key_field, self._bulk_rows = key_field, bulk_rows
        self._jobs = BulkJobs(transport)
        self._owners: dict[str, str] = {}

    async def write(self, table: Table, changes: Sequence[Change]) -> list[Written]:
        """Return one answer for each change; after a lost connection the rest is not tried.

        Raises Throttled and KeyRefused while nothing has been written.
        """
        steps = [_Step(change, {}) for change in changes]
        if not table.writes:
            for step in steps:
                step.refuse(f"{table.feed} are only read.")
            return [cast("Written", step.answer) for step in steps]
        lost = ""
        try:
            shape = await self._shapes.of(table)
            await self._decide(shape, steps)
            await self._delete(shape, [each for each in steps if each.answer is None and each.change.deleted])
            await self._update(shape, [each for each in steps if each.answer is None and each.of])
            await self._make(shape, [each for each in steps if each.answer is None and not each.of])
            await self._read_back(shape, steps)
        except SalesforceFault as fault:
            lost = fault.sentence
        except (Throttled, KeyRefused):
            if not any(each.answer is not None and each.answer.outcome is Outcome.WRITTEN for each in steps):
                raise
            lost = LATER_WORDS
        except ConnectorError as error:
            lost = str(error)
        return [_ended(each, lost) for each in steps]

    async def _decide(self, shape: Shape, steps: Sequence[_Step]) -> None:
        """Look at how records stand and say what is to be sent of each; answer what needs no sending."""
        known = [
            each.change.external_id for each in steps if each.change.external_id and is_id(each.change.external_id)
        ]
        current = await self._rows(shape, [whole_id(each) for each in known])
        stages = await self._shapes.stages() if shape.table.name == "Opportunity" else []
        for step in steps:
            change = step.change
            row = current.get(whole_id(change.external_id)) if change.external_id else None
            if change.type != shape.table.type:
                step.refuse(f"{shape.table.feed} take no {change.type}.")
            elif change.external_id is not None and row is None:
                outcome = Outcome.WRITTEN if change.deleted else Outcome.MOVED
                gone = tombstone(change.external_id)
                step.answer = Written(outcome=outcome, external_id=change.external_id, raw=gone, reason=GONE)
            elif row is not None and change.version not in (None, version(shape.table, row)):
                step.answer = Written(outcome=Outcome.MOVED, external_id=change.external_id, reason=CHANGED)
            else:
                await self._prepare(shape, step, row or {}, stages)

    async def _prepare(self, shape: Shape, step: _Step, row: Row, stages: Sequence[Row]) -> None:
        change = step.change
        step.of = str(row["Id"]) if row else ""
        step.since = http_date(row.get("LastModifiedDate")) if row and change.version is not None else None
        if change.deleted:
            return
        wanted = express(shape.table, change.fields, links=change.links)
        if not row and shape.table.name == "Opportunity":
            wanted = {STAGE: "qualification", **wanted}
        try:
            step.sent = values(shape, wanted, current=row, stages=stages)
            if OWNER in wanted and (owner := await self._owner(text(wanted[OWNER]), row)):
                step.sent["OwnerId"] = owner
        except Refusal as refusal:
            step.refuse(str(refusal))
            return
        if refused := unwritable(shape, step.sent, new=not row):
            step.refuse(f"Our user may not write {', '.join(refused)} of {shape.table.name}.")
            return
        if row and not step.sent:
            step.answer = Written(outcome=Outcome.WRITTEN, external_id=step.of, raw=raw(shape, row))

    async def _owner(self, owner: str | None, row: Row) -> str | None:
        """Return the id of who is to own a record, nothing where it is so already; raises Refusal."""
        held = row.get(OWNER)
        if owner is None or (isinstance(held, dict) and owner in (held.get("Email"), held.get("Name"))):
            return None
        if owner not in self._owners:
            field = "Email" if "@" in owner else "Name"
            where = f"IsActive = true AND {field} = {quoted(owner)}"
            found = await self._transport.all(select(["Id"], "User", where=where, limit=2))
            if len(found) != 1:
                raise Refusal(f"Salesforce has {len(found) or 'no'} active users {owner!r}: one is needed.")
            self._owners[owner] = str(found[0].get("Id"))
        return self._owners[owner]

    async def _rows(self, shape: Shape, ids: Sequence[str]) -> dict[str, Row]:
        found: dict[str, Row] = {}
        for some in in_parts(list(dict.fromkeys(ids)), COLLECTION_MAX):
            soql = select(shape.selected, shape.table.name, where=among("Id", some))
            found |= {str(row["Id"]): row for row in map(shape.row, await self._transport.all(soql))}
        return found

    async def _delete(self, shape: Shape, steps: Sequence[_Step]) -> None:
        if await self._in_bulk(shape, steps, "delete"):
            return
        for at in range(0, len(steps), COLLECTION_MAX):
            some = steps[at : at + COLLECTION_MAX]
            query = [("ids", ",".join(each.of for each in some)), ("allOrNone", "false")]
            answer = await self._transport.send("DELETE", "/composite/sobjects", query=query, safe=True)
            _answered(some, answer.json())

    async def _update(self, shape: Shape, steps: Sequence[_Step]) -> None:
        conditional = [each for each in steps if each.since is not None]
        if len(conditional) <= SINGLES_MAX:
            for step in conditional:
                await self._conditional(shape, step)
            steps = [each for each in steps if each.since is None]
        if await self._in_bulk(shape, steps, "update"):
            return
        for at in range(0, len(steps), COLLECTION_MAX):
            some = steps[at : at + COLLECTION_MAX]
            records: Json = [{"attributes": {"type": shape.table.name}, "id": each.of, **each.sent} for each in some]
            payload: Row = {"allOrNone": False, "records": records}
            answer = await self._transport.send(
                "PATCH", "/composite/sobjects", payload=payload, headers=_QUIET, safe=True
            )
            _answered(some, answer.json())

    async def _conditional(self, shape: Shape, step: _Step) -> None:
        headers = {**_QUIET, "If-Unmodified-Since": step.since or ""}
        try:
            path = f"/sobjects/{shape.table.name}/{step.of}"
            await self._transport.send("PATCH", path, payload=step.sent, headers=headers)
            step.done(step.of)
        except SalesforceFault as fault:
            if fault.status == PRECONDITION_FAILED:
                step.answer = Written(outcome=Outcome.MOVED, external_id=step.of, reason=CHANGED)
            else:
                step.answer = _refused(step, fault.code, fault.sentence, later=fault.later)

    async def _make(self, shape: Shape, steps: Sequence[_Step]) -> None:
        """Make records; by the key field one that is there already is taken, else ours are searched for it."""
        if self._key_field and self._key_field in shape.columns:
            for step in steps:
                step.sent[self._key_field] = step.change.key
            method, path = "PATCH", f"/composite/sobjects/{shape.table.name}/{self._key_field}"
            operation = "upsert"
        else:
            await self._made_before(shape, steps)
            steps = [each for each in steps if each.answer is None]
            method, path, operation = "POST", "/composite/sobjects", "insert"
        if await self._in_bulk(shape, steps, operation):
            return
        for at in range(0, len(steps), COLLECTION_MAX):
            some = steps[at : at + COLLECTION_MAX]
            records: Json = [{"attributes": {"type": shape.table.name}, **each.sent} for each in some]
            payload: Row = {"allOrNone": False, "records": records}
            safe = operation == "upsert"
            answer = await self._transport.send(method, path, payload=payload, headers=_QUIET, safe=safe)
            _answered(some, answer.json())

    async def _made_before(self, shape: Shape, steps: Sequence[_Step]) -> None:
        """Answer for those of which a record is there that we made ourselves and that holds all that is wanted."""
        named: dict[str, list[_Step]] = {}
        for step in steps:
            name = next((each for each in _NAMES if step.sent.get(each)), None)
            if name is not None and self._user_id and shape.columns[name].filterable:
                named.setdefault(name, []).append(step)
        for name, some in named.items():
            candidates = await self._ours(shape, name, list(dict.fromkeys(str(each.sent[name]) for each in some)))
            for step in some:
                said = step.sent.items()
                same = (row for row in candidates if all(stands(each, value, row) for each, value in said))
                if (row := next(same, None)) is not None:
                    candidates.remove(row)
                    step.done(str(row["Id"]))

    async def _ours(self, shape: Shape, name: str, wanted: Sequence[str]) -> list[Row]:
        """Return the records that our own user made and that hold one of some values in a field."""
        fields = (*shape.selected, *(("OwnerId",) if shape.table.owned else ()))
        found: list[Row] = []
        for some in in_parts(wanted, NAMES_MAX):
            mine = f"CreatedById = {quoted(self._user_id)} AND {among(name, some)}"
            rows_of = await self._transport.all(select(fields, shape.table.name, where=mine))
            found += [shape.row(each) for each in rows_of]
        return found

    async def _in_bulk(self, shape: Shape, steps: Sequence[_Step], operation: str) -> bool:
        """Write many records by a job; tells whether it was done so."""
        if self._bulk_rows is None or len(steps) < self._bulk_rows:
            return False
        for at in range(0, len(steps), ROWS_MAX):
            some = steps[at : at + ROWS_MAX]
            records = [({"Id": each.of} if each.of else {}) | each.sent for each in some]
            key = self._key_field if operation == "upsert" else ""
            try:
                ended = await self._jobs.ingest(shape.table.name, operation, records, key_field=key)
            except BulkUnavailable:
                if at:
                    raise ConnectorError("The day's bulk jobs are used up.", fix="It goes on by itself.") from None
                return False
            for step, each in zip(some, ended, strict=True):
                if each.error:
                    code, _, rest = each.error.partition(":")
                    sentence = rest.rpartition(":")[0] or rest
                    step.answer = _refused(step, code, sentence, later=each.later or code in LATER)
                else:
                    step.done(each.id)
        return True

    async def _read_back(self, shape: Shape, steps: Sequence[_Step]) -> None:
        """Say how what was written stands now, and what Salesforce made of it."""
        written = [each for each in steps if each.answer is not None and each.answer.outcome is Outcome.WRITTEN]
        blank = [each for each in written if each.answer is not None and each.answer.raw is None]
        found = await self._rows(shape, [each.of for each in blank])
        for step in blank:
            row = found.get(step.of)
            if row is None:
                gone = tombstone(step.of)
                step.answer = Written(outcome=Outcome.MOVED, external_id=step.of, raw=gone, reason=GONE)
                continue
            own = [name for name in step.sent if name not in ("OwnerId", self._key_field)]
            other = [name for name in own if not stands(name, step.sent[name], row)]
            reason = f"Salesforce holds something else in {', '.join(other)}." if other else ""
            step.answer = Written(outcome=Outcome.WRITTEN, external_id=step.of, raw=raw(shape, row), reason=reason)


def tombstone(of: str) -> Raw:
    """Return what tells that a record is gone."""
    return Raw(external_id=of, body={}, deleted=True)


def _answered(steps: Sequence[_Step], told: Json) -> None:
    """Take the answers of a collection, which come in the order of its records."""
    answers = rows(told)
    if len(answers) != len(steps):
        raise ConnectorError("Salesforce did not answer for every record.", fix="It is tried again by itself.")
    for step, each in zip(steps, answers, strict=True):
        if each.get("success") is True:
            step.done(whole_id(str(each.get("id") or step.of)))
            continue
        error = first(rows(each.get("errors")))
        code = text(error.get("statusCode")) or ""
        step.answer = _refused(step, code, text(error.get("message")) or code, later=code in LATER)


def _refused(step: _Step, code: str, sentence: str, *, later: bool) -> Written:
    of = step.change.external_id
    if of is not None and code in GONE_CODES:
        outcome = Outcome.WRITTEN if step.change.deleted else Outcome.MOVED
        return Written(outcome=outcome, external_id=of, raw=tombstone(of), reason=GONE)
    return Written(outcome=Outcome.FAILED if later else Outcome.REFUSED, external_id=of, reason=sentence)


def _ended(step: _Step, lost: str) -> Written:
    """Return how a change ended; what was written and not read back is looked at another time."""
    if step.answer is None or (lost and step.answer.outcome is Outcome.WRITTEN and step.answer.raw is None):
        of = step.of or step.change.external_id
        return Written(outcome=Outcome.FAILED, external_id=of, reason=lost or LATER_WORDS)
    return step.answer

"""Writing to HubSpot: a hundred records at once, each after a look at how it stands.

HubSpot takes no condition on a write, so the records are read just before, and those that moved are left alone. It
takes no idempotency key either: what is made carries the key of its change in a property of the account with unique
values, and a contact is known by its e-mail address, so that a lost answer never makes a record twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from isthmus.connectors.hubspot.cursor import changed_at, number
from isthmus.connectors.hubspot.expressing import FEED_OF, customs, differing, express
from isthmus.connectors.hubspot.mapping import CONSENT, LEAD, stage_of, status_of
from isthmus.connectors.hubspot.portal import BATCH_MAX, Portal
from isthmus.connectors.hubspot.shapes import CONTACTS, DEALS, SHAPES, WRITTEN
from isthmus.connectors.hubspot.transport import BROKEN, FORBIDDEN, MISSING, HubSpotFault
from isthmus.connectors.hubspot.wire import (
    CURRENCY,
    CUSTOM,
    DAY,
    LINKS,
    OWNER,
    STAGE,
    Row,
    linked,
    noon_of,
    properties,
    version,
)
from isthmus.connectors.hubspot.withdrawing import contact_of, opt_out, unfit
from isthmus.kernel.marks import Json
from isthmus.kernel.words import text
from isthmus.sync.calls import TOO_MANY
from isthmus.sync.connector import Change, ConnectorError, KeyRefused, Outcome, Raw, Throttled, Written

GONE = "It is no longer in HubSpot."
CHANGED = "It has changed in HubSpot."
LATER = "HubSpot took no more writes for now."
_ENDS = {"solved": ("solved", "closed"), "closed": ("closed", "solved")}


class Refusal(Exception):
    """What is wanted cannot be said in HubSpot; the sentence says why and what to do there."""


@dataclass(slots=True)
class _Plan:
    """One change on its way: where its answer goes, and what is to be sent for it."""

    place: int
    change: Change
    row: Row = field(default_factory=dict[str, Json])
    sent: dict[str, str] = field(default_factory=dict[str, str])
    ties: dict[str, str | None] = field(default_factory=dict[str, str | None])


class Writer:
    """Writes changes of one feed at a time."""

    def __init__(self, portal: Portal) -> None:
        """`portal` is the account that is written to."""
        self._portal = portal

    async def write(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        """Return one answer for each change; after a lost connection the rest is not tried.

        Raises Throttled and KeyRefused while nothing has been written.
        """
        if feed not in WRITTEN:
            return [Written(outcome=Outcome.REFUSED, reason=f"{feed} are only read.") for _ in changes]
        answers: list[Written] = []
        lost = ""
        for start in range(0, len(changes), BATCH_MAX):
            some = changes[start : start + BATCH_MAX]
            if not lost:
                try:
                    answers += await self._some(feed, some)
                    continue
                except (Throttled, KeyRefused):
                    if not answers:
                        raise
                    lost = LATER
                except ConnectorError as error:
                    lost = str(error)
            answers += [_failed(each, lost) for each in some]
        return answers

    async def _some(self, feed: str, changes: Sequence[Change]) -> list[Written]:
        work = _Work(self._portal, feed)
        every = [_Plan(place, change) for place, change in enumerate(changes)]
        await work.withdraw([each for each in every if each.change.type == CONSENT])
        plans = [each for each in every if each.change.type != CONSENT]
        known = [each for each in plans if each.change.external_id is not None]
        await work.look(known)
        await work.change([each for each in known if each.place not in work.answers])
        await work.make([each for each in plans if each.change.external_id is None])
        await work.read_back()
        return [work.answers[each.place] for each in every]


class _Work:
    """Some changes of one feed; `answers` are those that are known, by place, `written` the ids to be read back."""

    def __init__(self, portal: Portal, feed: str) -> None:
        self._portal, self._feed = portal, feed
        self._path = f"/crm/v3/objects/{feed}"
        self.answers: dict[int, Written] = {}
        self._written: dict[int, str] = {}

    async def withdraw(self, plans: Sequence[_Plan]) -> None:
        """Opt contacts out of e-mail, whose consent was withdrawn here."""
        ids = [of for each in plans if (of := contact_of(each.change)) is not None]
        found = await self._rows(ids) if ids and self._feed == CONTACTS else {}
        for plan in plans:
            of = contact_of(plan.change) or ""
            if (reason := unfit(plan.change, found)) is not None:
                self._answer(plan, Outcome.REFUSED, reason)
                continue
            try:
                await opt_out(self._portal.transport, found[of])
            except HubSpotFault as fault:
                self._fault(plan, fault)
            else:
                self._written[plan.place] = of

    async def look(self, plans: Sequence[_Plan]) -> None:
        """Read the records as they stand; those that are gone, or have moved, are answered."""
        ids = [str(each.change.external_id) for each in plans]
        found = await self._rows(ids) if ids else {}
        for plan in plans:
            row = found.get(str(plan.change.external_id))
            if row is None:
                outcome = Outcome.WRITTEN if plan.change.deleted else Outcome.MOVED
                self._answer(plan, outcome, GONE, raw=_tombstone(plan.change))
            elif plan.change.version not in (None, version(row)):
                self._answer(plan, Outcome.MOVED, CHANGED)
            else:
                plan.row = row

    async def change(self, plans: Sequence[_Plan]) -> None:
        """Change and delete records that stand as they were known."""
        gone = [each for each in plans if each.change.deleted]
        for plan in [each for each in gone if each.change.type == LEAD]:
            self._answer(plan, Outcome.REFUSED, "A lead is a contact in HubSpot: delete the person that it is.")
        await self._delete([each for each in gone if each.change.type != LEAD])
        ready = [each for each in plans if not each.change.deleted and await self._resolved(each)]
        await self._update([each for each in ready if each.sent])
        for plan in ready:
            if plan.place not in self.answers:
                await self._tie(plan, str(plan.change.external_id))

    async def make(self, plans: Sequence[_Plan]) -> None:
        """Make records, but for those that an earlier attempt made, and contacts whose address is there."""
        ready = [each for each in plans if await self._resolved(each)]
        key = self._portal.key_property
        keyed = key in (await self._portal.own(self._feed)).unique if ready else False
        there = await self._holders(key, [each.change.key for each in ready]) if keyed else {}
        if self._feed == CONTACTS:
            there |= await self._holders("email", [each.sent["email"] for each in ready if "email" in each.sent])
        fresh: list[_Plan] = []
        for plan in ready:
            known = there.get(plan.change.key.lower()) or there.get(plan.sent.get("email", "").lower())
            if known is not None:
                self._written[plan.place] = known
            elif keyed or (self._feed == CONTACTS and "email" in plan.sent):
                plan.sent |= {key: plan.change.key} if keyed else {}
                fresh.append(plan)
            else:
                self._answer(plan, Outcome.REFUSED, _no_key(self._feed, key))
        await self._create(fresh)

    async def _holders(self, name: str, values: Sequence[str]) -> dict[str, str]:
        """Return the ids of the records that hold these values of a property with unique ones; it never lags."""
        if not values:
            return {}
        inputs: list[Json] = [{"id": each} for each in dict.fromkeys(values)]
        asked: Row = {"properties": [name], "propertiesWithHistory": [], "idProperty": name}
        told = await self._portal.transport.batch(f"{self._path}/batch/read", inputs, asked)
        return {str(properties(row).get(name)).lower(): number(row) for row in told.results}

    async def read_back(self) -> None:
        """Answer what was written with the records as they stand now."""
        found = await self._rows(list(self._written.values())) if self._written else {}
        for place, of in self._written.items():
            row = found.get(of)
            if row is None:
                self.answers[place] = Written(outcome=Outcome.MOVED, external_id=of, reason=GONE)
                continue
            at = changed_at(row, by=SHAPES[self._feed].by)
            raw = Raw(external_id=of, body=row, at=at, version=version(row))
            self.answers[place] = Written(outcome=Outcome.WRITTEN, external_id=of, raw=raw)

    async def _rows(self, ids: Sequence[str]) -> dict[str, Row]:
        found = await self._portal.read(self._feed, dict.fromkeys(ids))
        return {number(row): row for row in await self._portal.told(self._feed, found)}

    async def _resolved(self, plan: _Plan) -> bool:
        """Find out what is to be sent for a change; tells whether that can be said, and answers else."""
        change = plan.change
        if FEED_OF.get(change.type) != self._feed:
            self._answer(plan, Outcome.REFUSED, f"{self._feed} take no {change.type}.")
            return False
        wanted = express(change.type, change.fields, links=change.links, new=change.external_id is None)
        try:
            wanted |= await self._looked_up(wanted, plan.row)
        except Refusal as refusal:
            self._answer(plan, Outcome.REFUSED, str(refusal))
            return False
        own = await self._portal.own(self._feed)
        plan.sent = differing(wanted, current=plan.row)
        plan.sent |= customs(wanted.get(CUSTOM), current=plan.row, named=own.writable)
        plan.ties = self._untied(cast("Mapping[str, str | None]", wanted.get(LINKS) or {}), plan.row)
        if change.external_id is None and not plan.sent:
            self._answer(plan, Outcome.REFUSED, "HubSpot has no place for any of it.")
            return False
        return True

    async def _looked_up(self, wanted: Row, row: Row) -> Row:
        """Return the properties that stand for what is looked up; raises Refusal where there is none."""
        found: Row = {}
        if OWNER in wanted:
            found["hubspot_owner_id"] = await self._owner(text(wanted[OWNER]), row)
        if STAGE in wanted:
            found |= await self._stage(str(wanted[STAGE]), row)
        if DAY in wanted:
            found["closedate"] = noon_of(wanted[DAY], (await self._portal.account()).zone)
            if row and row.get(DAY) == wanted[DAY]:
                found["closedate"] = properties(row).get("closedate")
        if CURRENCY in wanted and text(wanted[CURRENCY]) is not None:
            own, code = (await self._portal.account()).currency, str(wanted[CURRENCY])
            if code != (text(row.get(CURRENCY)) or own):
                found["deal_currency_code"] = code
        return found

    async def _owner(self, wanted: str | None, row: Row) -> str | None:
        held = text(properties(row).get("hubspot_owner_id"))
        if wanted is None or (held and wanted.lower() in (held, text(row.get(OWNER)))):
            return None if wanted is None else held
        owners = {email: of for of, email in (await self._portal.owners()).items()}
        found = owners.get(wanted.lower())
        if found is None:
            raise Refusal(f"HubSpot has no user {wanted!r} who may own records: invite them there first.")
        return found

    async def _stage(self, wanted: str, row: Row) -> Row:
        """Return the stage of the record's own pipeline that is wanted; one that means it already stays."""
        names = cast("tuple[str, str]", SHAPES[self._feed].piped)
        word = stage_of if self._feed == DEALS else status_of
        meant = _ENDS.get(wanted, (wanted,))
        if row and word(row.get(STAGE)) in meant:
            return {}
        listed = await self._portal.stages(self._feed)
        pipeline = text(properties(row).get(names[0])) or (listed[0].pipeline if listed else "")
        own = [each for each in listed if each.pipeline == pipeline]
        for each in meant:
            for stage in own:
                if word(stage.told) == each:
                    return {names[0]: pipeline, names[1]: stage.number}
        raise Refusal(f"The pipeline in HubSpot has no stage for {wanted}: make one, or move it there.")

    def _untied(self, wanted: Mapping[str, str | None], row: Row) -> dict[str, str | None]:
        """Return the associations that do not stand as they are wanted."""
        known = SHAPES[self._feed].ties
        return {to: of for to, of in wanted.items() if to in known and of != linked(row, to)}

    async def _delete(self, plans: Sequence[_Plan]) -> None:
        if not plans:
            return
        inputs: list[Json] = [{"id": str(each.change.external_id)} for each in plans]
        try:
            await self._portal.transport.post(f"{self._path}/batch/archive", {"inputs": inputs})
        except HubSpotFault as fault:
            for plan in plans:
                self._fault(plan, fault)
            return
        for plan in plans:
            self._answer(plan, Outcome.WRITTEN, "", raw=_tombstone(plan.change))

    async def _update(self, plans: Sequence[_Plan]) -> None:
        """Change many at once; where HubSpot refuses them together, one after the other, to learn which one it was."""
        if not plans:
            return
        inputs: list[Json] = [
            {"id": str(each.change.external_id), "properties": dict[str, Json](each.sent)} for each in plans
        ]
        try:
            told = await self._portal.transport.batch(f"{self._path}/batch/update", inputs)
        except HubSpotFault as fault:
            if len(plans) == 1 or _is_passing(fault):
                for plan in plans:
                    self._fault(plan, fault)
                return
            for plan in plans:
                await self._update([plan])
            return
        done = {number(row) for row in told.results}
        for plan in plans:
            if str(plan.change.external_id) not in done:
                self._answer(plan, Outcome.MOVED, _reason(told.faults, str(plan.change.external_id)) or GONE)

    async def _create(self, plans: Sequence[_Plan]) -> None:
        """Make many at once; each carries a word by which HubSpot's answer says which is which."""
        if not plans:
            return
        inputs: list[Json] = [
            {
                "properties": dict[str, Json](each.sent),
                "objectWriteTraceId": str(each.place),
                "associations": self._bound(each),
            }
            for each in plans
        ]
        try:
            told = await self._portal.transport.batch(f"{self._path}/batch/create", inputs, safe=False)
        except HubSpotFault as fault:
            if len(plans) == 1 or _is_passing(fault):
                for plan in plans:
                    self._fault(plan, fault)
                return
            for plan in plans:
                await self._create([plan])
            return
        made = {str(row.get("objectWriteTraceId")): number(row) for row in told.results}
        if len(plans) == 1 and len(told.results) == 1:
            made = {str(plans[0].place): number(told.results[0])}
        for plan in plans:
            if (of := made.get(str(plan.place))) is not None:
                self._written[plan.place] = of
            else:
                reason = _reason(told.faults, str(plan.place)) or "HubSpot did not say what became of it."
                self._answer(plan, Outcome.REFUSED if told.faults else Outcome.FAILED, reason)

    def _bound(self, plan: _Plan) -> list[Json]:
        return [{"to": {"id": of}, "types": self._types(to)} for to, of in plan.ties.items() if of is not None]

    def _types(self, to: str) -> list[Json]:
        tie = SHAPES[self._feed].ties[to]
        kind = tie.plain if tie.primary is None else tie.primary
        return [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": kind}]

    async def _tie(self, plan: _Plan, of: str) -> None:
        """Associate a record as is wanted; the association that stood for the field before is taken away."""
        self._written[plan.place] = of
        for to, wanted in plan.ties.items():
            try:
                await self._retie(of, to, before=linked(plan.row, to), wanted=wanted)
            except HubSpotFault as fault:
                self._written.pop(plan.place, None)
                self._fault(plan, fault)

    async def _retie(self, of: str, to: str, *, before: str | None, wanted: str | None) -> None:
        path = f"/crm/v4/associations/{self._feed}/{to}/batch"
        if wanted is not None:
            bound: Row = {"from": {"id": of}, "to": {"id": wanted}, "types": self._types(to)}
            told = await self._portal.transport.batch(f"{path}/create", [bound])
            if told.faults:
                raise HubSpotFault(MISSING, told.faults[0])
        if before is not None:
            ends: list[Json] = [{"id": before}]
            await self._portal.transport.post(f"{path}/archive", {"inputs": [{"from": {"id": of}, "to": ends}]})

    def _fault(self, plan: _Plan, fault: HubSpotFault) -> None:
        if fault.status == MISSING and plan.change.external_id is not None:
            self._answer(plan, Outcome.MOVED, fault.sentence)
        else:
            self._answer(plan, Outcome.FAILED if _is_passing(fault) else Outcome.REFUSED, fault.sentence)

    def _answer(self, plan: _Plan, outcome: Outcome, reason: str, *, raw: Raw | None = None) -> None:
        self.answers[plan.place] = Written(outcome=outcome, external_id=plan.change.external_id, raw=raw, reason=reason)


def _is_passing(fault: HubSpotFault) -> bool:
    """Tell whether a refusal may be over later: of a scope that a person can add, and of what broke there."""
    return fault.status in (FORBIDDEN, TOO_MANY) or fault.status >= BROKEN


def _reason(faults: Sequence[Row], word: str) -> str:
    """Return what HubSpot says of one record of a batch; where it names none, of all."""
    for fault in faults:
        context = fault.get("context")
        named = [str(each) for found in context.values() for each in _all(found)] if isinstance(context, dict) else []
        if not named or word in named:
            return (text(fault.get("message")) or "")[:500]
    return ""


def _all(found: Json) -> list[Json]:
    return found if isinstance(found, list) else [found]


def _no_key(feed: str, key: str) -> str:
    what = "a contact without e-mail address" if feed == CONTACTS else f"one of {feed}"
    return (
        f"HubSpot cannot be kept from making {what} twice: "
        f"there, make a text property {key or 'isthmus_key'} for {feed} that requires unique values."
    )


def _tombstone(change: Change) -> Raw:
    return Raw(external_id=change.external_id or "", body={}, deleted=True)


def _failed(change: Change, reason: str) -> Written:
    return Written(outcome=Outcome.FAILED, external_id=change.external_id, reason=reason)

"""The lead pipeline: validate, find duplicates and merge, score, CRM, assign, follow up; in one transaction."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from isthmus.analytics import Catalog
from isthmus.domains import Count, Custom, Moment, Tags
from isthmus.domains.sales.assignment import Assigner
from isthmus.domains.sales.crm import Crm, connected_crm, crm_step, places, wait_for
from isthmus.domains.sales.duplicates import NAME_EVIDENCE, known_addresses, known_names
from isthmus.domains.sales.follow_up import Following, following, start
from isthmus.domains.sales.metrics import touches_by_lead
from isthmus.domains.sales.records import CaptureKind, Lead, LeadStatus, LeadStep, LeadStepKind, LeadStepState
from isthmus.domains.sales.rules import CLOSED_LEADS, Score, lead_faults, name_key, score, status_after
from isthmus.domains.sales.settings import SalesSettings
from isthmus.kernel.errors import Fault
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json, Line, Text
from isthmus.kernel.money import Money
from isthmus.store.database import Transaction
from isthmus.store.records import Stored, find
from isthmus.sync.connector import Connector
from isthmus.sync.ingest import Store
from isthmus.sync.intake import Arrival, Arrived, arrive, edit_many, settings_of

LEAD = "sales.lead"
EVIDENCE = {"same email": "the same e-mail", NAME_EVIDENCE: "the same name and company"}


class NewLead(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A capture. E-mail, first name and company are needed; `source` says how the lead reached us."""

    email: str
    first_name: str
    company: str
    last_name: Line | None = None
    phone: Line | None = None
    title: Line | None = None
    message: Text | None = None
    country: Line | None = None
    region: Line | None = None
    industry: Line | None = None
    company_size: Count | None = None
    source: CaptureKind = CaptureKind.API
    campaign_id: str | None = None
    captured_at: Moment | None = None
    expected_value: Money | None = None
    tags: Tags = []
    custom: Custom = {}


@dataclass(frozen=True)
class Capture:
    """A capture under the caller's id, with the campaign that was found for it."""

    external_id: str
    lead: NewLead
    campaign_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class Captured:
    """What became of a capture: the lead it is now, and how it came to it; or the faults for which it is none."""

    lead: UUID | None
    arrived: Arrived


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What the steps work with."""

    tx: Transaction
    store: Store
    catalog: Catalog
    connectors: Mapping[str, Connector]

    @property
    def now(self) -> datetime:
        """The moment of the capture."""
        return self.tx.scope.now

    async def capture(self, captures: Sequence[Capture]) -> list[Captured]:
        """Run captures, whose ids differ, through all steps, and return one result for each, in their order."""
        settings = await settings_of(self.tx, "sales", SalesSettings)
        done: dict[str, Captured] = {}
        for some in _rounds(captures):
            arrivals = await self._arrivals(some)
            arrived = await arrive(self.tx, self.store, LEAD, arrivals)
            new = {each.record_id: each for each in arrived if not each.faults and not each.repeated}
            await self.run({lead: each for lead, each in new.items() if lead}, settings)
            for one, each in zip(some, arrived, strict=True):
                done[one.external_id] = Captured(lead=None if each.faults else each.record_id, arrived=each)
        return [done[each.external_id] for each in captures]

    async def run(
        self, leads: Mapping[UUID, Arrived], settings: SalesSettings, *, recent: datetime | None = None
    ) -> None:
        """Take leads that have arrived through the steps after their arrival, and write down how each went.

        No follow-up begins on a lead that was captured before `recent`.
        """
        stored = await find(self.tx, self.store.vault, self.store.schema[LEAD], list(leads))
        touches = await touches_by_lead(self.tx, self.catalog, list(stored))
        crm = await connected_crm(self.tx, self.connectors)
        there = await places(self.tx, crm.system, list(stored)) if crm else {}
        assigner = await Assigner.of(self.tx, settings)
        edits: dict[UUID, dict[str, Json]] = {}
        begin = await following(self.tx, self.store.schema, settings.follow_up)
        to_follow: list[UUID] = []
        for lead, each in stored.items():
            scored = score(
                lead_of(each),
                touches=touches.get(lead, {}),
                target_industries=settings.target_industries,
                threshold=settings.mql_threshold,
            )
            owner, assigned = await assigner.owner(each)
            crm_now = crm_step(crm, there.get(lead), now=self.now)
            follow = self._follow(each, begin, settings, recent=recent)
            steps = [*self._local(leads[lead], each, scored), crm_now, assigned, follow]
            if steps[-1].state is LeadStepState.DONE:
                to_follow.append(lead)
            edits[lead] = self._edit(each, scored, owner, steps)
        await edit_many(self.tx, self.store, LEAD, edits)
        await start(self.tx, to_follow, begin.workflow)
        await self._wait(crm, edits)

    async def _wait(self, crm: Crm | None, edits: Mapping[UUID, dict[str, Json]]) -> None:
        if crm is not None and not crm.obstacle:
            there = await places(self.tx, crm.system, list(edits))
            await wait_for(self.tx, crm, [lead for lead in edits if lead not in there])

    async def _arrivals(self, captures: Sequence[Capture]) -> list[Arrival]:
        """Name the lead that is meant where the name and the company say so and the address does not."""
        taken = await known_addresses(self.tx, self.store, [each.lead.email for each in captures])
        keys = {
            each.external_id: key
            for each in captures
            if each.lead.email not in taken and (key := _name_key(each.lead)) is not None
        }
        same = await known_names(self.tx, self.store, list(keys.values()))
        return [
            Arrival(
                external_id=each.external_id,
                fields=_fields(each, fresh=each.lead.email not in taken, now=self.now),
                same_as=same.get(keys[each.external_id]) if each.external_id in keys else None,
                evidence=NAME_EVIDENCE,
            )
            for each in captures
        ]

    def _local(self, arrived: Arrived, lead: Stored, scored: Score) -> Iterator[LeadStep]:
        done, now = LeadStepState.DONE, self.now
        faults = lead_faults(lead.values)
        reason = " ".join(each.detail for each in faults) or "E-mail, first name and company are there and in order."
        valid = LeadStepState.FAILED if faults else done
        yield LeadStep(kind=LeadStepKind.VALIDATION, state=valid, at=now, reason=reason)
        yield LeadStep(kind=LeadStepKind.DUPLICATES, state=done, at=now, **_merged(arrived))
        reasons = "; ".join(f"{each.reason} {each.points:+d}" for each in scored.reasons)
        verdict = "qualifies" if scored.qualified else "does not qualify yet"
        reason = f"{scored.points} of 100, which {verdict}. {reasons}"
        yield LeadStep(kind=LeadStepKind.SCORING, state=done, at=now, reason=reason)

    def _follow(self, lead: Stored, begin: Following, settings: SalesSettings, *, recent: datetime | None) -> LeadStep:
        kind, workflow = LeadStepKind.FOLLOW_UP, begin.workflow
        status = lead.values.get("status")
        if status in CLOSED_LEADS:
            reason = f"The lead is {status}."
            return LeadStep(kind=kind, state=LeadStepState.SKIPPED, at=self.now, reason=reason)
        if begin.obstacle:
            return LeadStep(kind=kind, state=LeadStepState.SKIPPED, at=self.now, reason=begin.obstacle)
        captured = lead_of(lead).captured_at
        if recent is not None and captured is not None and captured < recent:
            reason = f"It was captured on {captured.date()}, over {settings.follow_up_days} days ago."
            return LeadStep(kind=kind, state=LeadStepState.SKIPPED, at=self.now, reason=reason)
        definition = workflow.definition
        reason = f"{definition.title!r}, version {workflow.version}, {len(definition.steps)} steps."
        return LeadStep(kind=kind, state=LeadStepState.DONE, at=self.now, reason=reason)

    def _edit(self, lead: Stored, scored: Score, owner: str, steps: Sequence[LeadStep]) -> dict[str, Json]:
        status = LeadStatus(str(lead.values.get("status") or LeadStatus.NEW))
        after = status_after(scored, status=status)
        edit: dict[str, Json] = {
            "score": float(scored.points),
            "score_reasons": msgspec.to_builtins(scored.reasons),
            "status": str(after),
            "steps": msgspec.to_builtins(steps),
        }
        if lead.values.get("owner_id") != owner:
            edit["owner_id"] = owner
        if after is LeadStatus.QUALIFIED and lead.values.get("qualified_at") is None:
            edit["qualified_at"] = self.now.isoformat()
        return edit


def faults_of(lead: NewLead) -> tuple[Fault, ...]:
    """Return what is wrong with a capture, one fault for each field."""
    return lead_faults(msgspec.to_builtins(lead, builtin_types=(datetime,)))


def lead_of(stored: Stored) -> Lead:
    """Return a stored lead as the struct that the rules take."""
    given = {name: value for name, value in stored.values.items() if value is not None}
    needed = dict.fromkeys(("email", "first_name", "company"), "unknown@erased.example")
    return msgspec.convert({**needed, **given}, Lead)


def _merged(arrived: Arrived) -> dict[str, str]:
    if arrived.fresh or arrived.merge is None:
        return {"reason": "No lead has this e-mail, or this name and company."}
    why = EVIDENCE.get(arrived.evidence, arrived.evidence)
    return {"reason": f"Merged into the lead that was there, by {why}.", "link": undo_link(arrived.merge)}


def undo_link(merge: UUID) -> str:
    """Return the address under which a merge is undone (POST)."""
    return f"/api/v1/merges/{text_of('merge', merge)}:undo"


def _name_key(lead: NewLead) -> tuple[str, str] | None:
    return name_key(first_name=lead.first_name, last_name=lead.last_name, company=lead.company)


def _fields(capture: Capture, *, fresh: bool, now: datetime) -> dict[str, Json]:
    """Return what a capture says; the first capture of a lead says when that was."""
    said = msgspec.to_builtins(capture.lead)
    fields = {name: value for name, value in said.items() if value not in (None, [], {})}
    fields.pop("campaign_id", None)
    if capture.campaign_id is not None:
        fields["campaign_id"] = str(capture.campaign_id)
    if fresh:
        fields["captured_at"] = (capture.lead.captured_at or now).isoformat()
    else:
        fields.pop("captured_at", None)
    return fields


def _rounds(captures: Sequence[Capture]) -> Iterator[list[Capture]]:
    """Yield captures so that no two of one round may mean one lead: the later one is to find the earlier one stored."""
    rest = list(captures)
    while rest:
        seen: set[object] = set()
        now, later = list[Capture](), list[Capture]()
        for each in rest:
            keys = {each.lead.email.strip().casefold(), _name_key(each.lead)} - {None}
            (later if keys & seen else now).append(each)
            seen |= keys
        yield now
        rest = later

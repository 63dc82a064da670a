"""Pairs that are probably one, and merges, as they are shown over HTTP and at the terminal alike."""

from datetime import datetime

from msgspec import Struct

from isthmus.kernel.ids import text_of
from isthmus.matching.candidates import CANDIDATE_PREFIX, Candidate, Proposal, Why
from isthmus.store.schema import Schema
from isthmus.sync.merges import Merge

MERGE_PREFIX = "merge"


class CandidateView(Struct, frozen=True, kw_only=True):
    """A pair: `one` is the older record, which keeps its id when they are merged. `reasons` name no values."""

    id: str
    type: str
    one: str
    other: str
    chance: float
    reasons: list[Why]
    status: str
    seen_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    merge: str | None


class MergeView(Struct, frozen=True, kw_only=True):
    """A merge: `kept` holds what `merged` said as well; `ids` are the outside ids that moved; `evidence` says why."""

    id: str
    type: str
    kept: str
    merged: str
    ids: list[tuple[str, str]]
    evidence: str
    at: datetime
    by: str
    undone_at: datetime | None
    undone_by: str | None


class LikelyView(Struct, frozen=True, kw_only=True):
    """A record that another probably is, with the chance and the reasons, which name no values."""

    record: str
    chance: float
    reasons: list[Why]


def likely_view(found: Proposal, prefix: str) -> LikelyView:
    """Return a likely match as it is shown."""
    return LikelyView(record=text_of(prefix, found.other), chance=found.chance, reasons=found.reasons)


def candidate_view(pair: Candidate, schema: Schema) -> CandidateView:
    """Return a pair as it is shown."""
    prefix = schema[pair.type].prefix
    return CandidateView(
        id=text_of(CANDIDATE_PREFIX, pair.id),
        type=pair.type,
        one=text_of(prefix, pair.one),
        other=text_of(prefix, pair.other),
        chance=pair.chance,
        reasons=pair.reasons,
        status=pair.status,
        seen_at=pair.seen_at,
        decided_at=pair.decided_at,
        decided_by=pair.decided_by,
        merge=text_of(MERGE_PREFIX, pair.merge_id) if pair.merge_id else None,
    )


def merge_view(merge: Merge, schema: Schema) -> MergeView:
    """Return a merge as it is shown."""
    prefix = schema[merge.type].prefix
    return MergeView(
        id=text_of(MERGE_PREFIX, merge.id),
        type=merge.type,
        kept=text_of(prefix, merge.winner),
        merged=text_of(prefix, merge.loser),
        ids=merge.refs,
        evidence=merge.evidence,
        at=merge.at,
        by=merge.actor,
        undone_at=merge.undone_at,
        undone_by=merge.undone_by,
    )

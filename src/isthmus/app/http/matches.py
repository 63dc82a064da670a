"""Routes of matching: pairs that are probably one, merging or refusing them, and the merges there are."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from isthmus.app.http.readable import is_readable, is_writable, readable_type, readable_types
from isthmus.app.match_views import (
    MERGE_PREFIX,
    CandidateView,
    LikelyView,
    MergeView,
    candidate_view,
    likely_view,
    merge_view,
)
from isthmus.app.matching import TYPES, accept, refuse
from isthmus.app.matching_near import RecordMissing, likely
from isthmus.gateway import Call, Page, Paging, Route
from isthmus.kernel.errors import Denied, Invalid
from isthmus.kernel.ids import uuid_of
from isthmus.matching.candidates import (
    CANDIDATE_PREFIX,
    Candidate,
    CandidateDecided,
    CandidateMissing,
    candidate_of,
    candidates,
)
from isthmus.matching.near import Probes
from isthmus.matching.probable.people import PEOPLE
from isthmus.store.database import Transaction
from isthmus.sync.ingest import Store
from isthmus.sync.merges import NotMergeable, merges

_TAGS = ("matching",)
_PROBES = Probes(PEOPLE)
_Name = Annotated[str, Meta(min_length=1, max_length=200)]


class CandidateQuery(Paging, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pairs."""

    status: Literal["open", "merged", "refused", "all"] = "open"
    type: _Name | None = None


class LikelyMatches(Struct, frozen=True, kw_only=True):
    """Who a record probably is, the likeliest first; none before the first run over all records."""

    data: list[LikelyView]


async def list_candidates(call: Call) -> Page[CandidateView]:
    """List pairs of records that the caller may read."""
    wanted, after = call.query(CandidateQuery), call.after()
    types = readable_types(call) if wanted.type is None else (readable_type(call, wanted.type).name,)
    status = None if wanted.status == "all" else wanted.status
    last = None if after is None else uuid_of(CANDIDATE_PREFIX, after)
    async with call.services.database.transaction(call.scope) as tx:
        found = await candidates(tx, types=types, status=status, after=last, limit=wanted.limit + 1)
    shown = [candidate_view(each, call.services.schema) for each in found]
    return call.page(shown, limit=wanted.limit, after=lambda each: each.id)


async def accept_candidate(call: Call) -> CandidateView:
    """Merge a pair."""
    async with call.services.database.transaction(call.scope) as tx:
        pair = await _writable(call, tx)
        done = await accept(tx, call.services.of(Store), pair.id)
    return candidate_view(done, call.services.schema)


async def refuse_candidate(call: Call) -> CandidateView:
    """Say that a pair is two."""
    async with call.services.database.transaction(call.scope) as tx:
        pair = await _writable(call, tx)
        done = await refuse(tx, pair.id)
    return candidate_view(done, call.services.schema)


async def list_likely(call: Call) -> LikelyMatches:
    """List who one person or lead probably is."""
    text = call.path["record_id"]
    type_name = next((name for name in TYPES if text.startswith(f"{call.services.schema[name].prefix}_")), None)
    if type_name is None or not is_readable(call, type_name):
        raise RecordMissing("There is no person or lead with this id.", fix="Copy the id of a living record.")
    prefix = call.services.schema[type_name].prefix
    own = call.id_in_path("record_id", prefix, missing=RecordMissing)
    async with call.services.database.transaction(call.scope) as tx:
        found = await likely(tx, call.services.of(Store), _PROBES, type_name, own)
    return LikelyMatches(data=[likely_view(each, prefix) for each in found])


async def list_merges(call: Call) -> Page[MergeView]:
    """List merges of records that the caller may read, the oldest first."""
    wanted, after = call.query(Paging), call.after()
    last = None if after is None else uuid_of(MERGE_PREFIX, after)
    async with call.services.database.transaction(call.scope) as tx:
        found = await merges(tx, types=readable_types(call), after=last, limit=wanted.limit + 1)
    shown = [merge_view(each, call.services.schema) for each in found]
    return call.page(shown, limit=wanted.limit, after=lambda each: each.id)


async def _writable(call: Call, tx: Transaction) -> Candidate:
    """Return the pair in the path; one that the caller may not read is not there for it."""
    text = call.path["candidate_id"]
    try:
        pair = await candidate_of(tx, uuid_of(CANDIDATE_PREFIX, text))
    except Invalid as error:
        raise CandidateMissing(error.detail, fix=error.fix) from error
    if not is_readable(call, pair.type):
        raise CandidateMissing("There is no pair with this id.", fix="List them: GET /api/v1/match-candidates")
    if not is_writable(call, pair.type):
        raise Denied("You may not change these records.", fix="Ask for the permission to write them.")
    return pair


_ONE = "/api/v1/match-candidates/{candidate_id}"
ROUTES = (
    Route(
        method="GET",
        path="/api/v1/likely-matches/{record_id}",
        permission="sales:read",
        handler=list_likely,
        operation="listLikelyMatches",
        summary="List who one person or lead probably is, with the chance and the reasons",
        description="It takes milliseconds, by what the last run over all records learned. Reasons name no values.",
        tags=_TAGS,
        response=LikelyMatches,
        errors=(RecordMissing,),
    ),
    Route(
        method="GET",
        path="/api/v1/match-candidates",
        permission="sales:read",
        handler=list_candidates,
        summary="List pairs of records that are probably one, with the chance and the reasons",
        description="Reasons name fields and how alike they are, never values.",
        tags=_TAGS,
        query=CandidateQuery,
        response=Page[CandidateView],
    ),
    Route(
        method="POST",
        path=f"{_ONE}:accept",
        permission="sales:write",
        handler=accept_candidate,
        summary="Merge a pair; the older record keeps its id",
        description="It can be taken back with `POST /api/v1/merges/{merge_id}:undo`, exactly.",
        tags=_TAGS,
        response=CandidateView,
        errors=(CandidateMissing, CandidateDecided, NotMergeable),
    ),
    Route(
        method="POST",
        path=f"{_ONE}:refuse",
        permission="sales:write",
        handler=refuse_candidate,
        summary="Say that a pair is two; it is not asked again",
        tags=_TAGS,
        response=CandidateView,
        errors=(CandidateMissing, CandidateDecided),
    ),
    Route(
        method="GET",
        path="/api/v1/merges",
        permission="sales:read",
        handler=list_merges,
        summary="List merges with their evidence, undone ones among them",
        tags=_TAGS,
        query=Paging,
        response=Page[MergeView],
    ),
)

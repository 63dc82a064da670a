"""Routes of policies: what there is, one more, one less, what a change would have done, and why calls end so."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from msgspec import Meta, Struct

from isthmus.auth.accounts import find_account
from isthmus.auth.custom_roles import list_roles
from isthmus.auth.keys import ApiKey, KeyMissing, find_key, principal_of
from isthmus.auth.keytext import KEY_PREFIX
from isthmus.auth.roles import GrantTooWide, all_permissions
from isthmus.gateway import FRESH_S, Call, Response, Route
from isthmus.gateway.policy.book import Book
from isthmus.gateway.policy.explain import Explained, RouteUnknown, Step, explain, find_route
from isthmus.gateway.policy.facts import Situation
from isthmus.gateway.policy.gate import PolicyGate
from isthmus.gateway.policy.language import PolicyUnreadable, PolicyUnsupported, read_policy
from isthmus.gateway.policy.replay import Simulated, changed_policies, simulate
from isthmus.gateway.policy.rows import (
    KeptPolicy,
    PolicyMissing,
    TooManyPolicies,
    list_policies,
    read_kept,
    remove_policy,
    save_policy,
)
from isthmus.gateway.policy.sample import read_sample
from isthmus.gateway.policy.vocabulary import Vocabulary
from isthmus.kernel.errors import NotFound
from isthmus.kernel.ids import InvalidId, uuid_of
from isthmus.kernel.money import Money
from isthmus.store.database import Transaction
from isthmus.store.schema import Schema

_TAGS = ("access",)
_EXAMPLE = """@id("night-exports")
@reason("Exports run by day, when somebody is there to see them.")
forbid (principal, action in Action::"sales:read", resource) when { context.hour < 6 };"""
_Text = Annotated[str, Meta(min_length=1, max_length=20_000)]
_DAYS_MAX = 8


class NewPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy in Cedar with its annotations; `mode` stands over the text's own."""

    text: _Text
    mode: Literal["enforced", "shadow"] | None = None


class PolicyList(Struct, frozen=True, kw_only=True):
    """All policies by name."""

    data: list[KeptPolicy]


class PolicyChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change to try: policies to add (each counts as enforced), and names of policies to leave out."""

    add: Annotated[list[_Text], Meta(max_length=50)] = []
    remove: Annotated[list[Annotated[str, Meta(max_length=80)]], Meta(max_length=500)] = []
    days: Annotated[int, Meta(ge=1, le=_DAYS_MAX)] = 7


class PolicyQuestion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call to explain: the id of its key, its route, and circumstances that differ from those of this request."""

    key: Annotated[str, Meta(max_length=100)]
    route: Annotated[str, Meta(max_length=300)]
    at: Annotated[datetime, Meta(tz=True)] | None = None
    client: Annotated[str, Meta(max_length=100)] = ""
    purpose: Annotated[str, Meta(max_length=100)] = ""
    amount: Money | None = None


async def show_policies(call: Call) -> PolicyList:
    """List policies."""
    async with call.services.database.transaction(call.scope) as tx:
        return PolicyList(data=await list_policies(tx))


async def add_policy(call: Call) -> KeptPolicy:
    """Keep a policy."""
    wanted, gate = call.body(NewPolicy), call.services.of(PolicyGate)
    policy = read_policy(wanted.text, mode=wanted.mode)
    everything = all_permissions(domains=sorted({each.domain for each in call.services.schema}))
    async with call.services.database.transaction(call.scope) as tx:
        kept = await save_policy(
            tx, policy, vocabulary=gate.vocabulary, giver=call.principal.permissions, all_there_is=everything
        )
    gate.forget(call.scope.workspace)
    return kept


async def drop_policy(call: Call) -> Response:
    """Take a policy away."""
    async with call.services.database.transaction(call.scope) as tx:
        await remove_policy(tx, call.path["name"])
    call.services.of(PolicyGate).forget(call.scope.workspace)
    return Response(status=204)


async def simulate_policies(call: Call) -> Simulated:
    """Try a change over the decisions of the last days."""
    vocabulary = call.services.of(PolicyGate).vocabulary
    async with call.services.database.transaction(call.scope) as tx:
        return await tried(tx, call.body(PolicyChange), vocabulary=vocabulary)


async def explain_call(call: Call) -> Explained:
    """Tell step by step how a call is decided."""
    vocabulary = call.services.of(PolicyGate).vocabulary
    async with call.services.database.transaction(call.scope) as tx:
        return await explained(
            tx, call.body(PolicyQuestion), vocabulary=vocabulary, schema=call.services.schema, client=call.client
        )


async def tried(tx: Transaction, change: PolicyChange, *, vocabulary: Vocabulary) -> Simulated:
    """Return what a change would have allowed or denied; raises PolicyUnreadable, PolicyUnsupported, PolicyMissing."""
    added = [read_policy(text, mode="enforced") for text in change.add]
    for each in added:
        vocabulary.check(each)
    there = [read_kept(each) for each in await list_policies(tx)]
    unknown = sorted(set(change.remove) - {each.name for each in there})
    if unknown:
        raise PolicyMissing(f"There is no policy {unknown[0]!r}.", fix="List the policies.")
    decisions = await read_sample(tx, since=tx.scope.now - timedelta(days=change.days))
    after = changed_policies(there, added=added, removed=change.remove)
    return simulate(decisions, before=there, after=after, vocabulary=vocabulary)


async def explained(
    tx: Transaction, wanted: PolicyQuestion, *, vocabulary: Vocabulary, schema: Schema, client: str
) -> Explained:
    """Return how a call of a key is decided; raises KeyMissing and RouteUnknown."""
    try:
        key_id = uuid_of(KEY_PREFIX, wanted.key)
    except InvalidId as error:
        raise NotFound(error.detail, fix=error.fix) from error
    route = find_route(vocabulary.by_name, wanted.route)
    domains = sorted({each.domain for each in schema})
    key = await find_key(tx, key_id)
    principal, roles = await principal_of(tx, key, domains=domains)
    now = wanted.at.astimezone(UTC) if wanted.at else tx.scope.now
    return explain(
        Situation(
            principal=principal,
            route=route,
            now=now,
            client=wanted.client or client,
            purpose=wanted.purpose,
            amount=wanted.amount,
        ),
        credential=await _credential(tx, key, now),
        roles=roles,
        custom=await list_roles(tx),
        domains=domains,
        book=Book.of([read_kept(each) for each in await list_policies(tx)], vocabulary),
        schema=schema,
    )


async def _credential(tx: Transaction, key: ApiKey, now: datetime) -> Step:
    expired = key.expires_at is not None and key.expires_at <= now
    disabled = key.account is not None and (await find_account(tx, key.account)).disabled_at is not None
    state = "is known and has not ended"
    if key.revoked_at is not None:
        state = "was revoked"
    elif expired:
        state = "has expired"
    elif disabled:
        state = "belongs to a service account that is disabled"
    passes = not (key.revoked_at or expired or disabled)
    return Step(step="credential", passes=passes, detail=f"The key {key.name!r} {state}.")


ROUTES = (
    Route(
        method="GET",
        path="/api/v1/policies",
        permission="gateway:read",
        handler=show_policies,
        summary="List policies with their reasons",
        tags=_TAGS,
        response=PolicyList,
    ),
    Route(
        method="POST",
        path="/api/v1/policies",
        permission="gateway:write",
        handler=add_policy,
        summary="Keep a policy, in place of the one of its name",
        description="It is in force on every server within a second. A permit may be kept by an owner alone.",
        tags=_TAGS,
        body=NewPolicy,
        response=KeptPolicy,
        status=201,
        fresh_s=FRESH_S,
        request_example={"text": _EXAMPLE, "mode": "shadow"},
        errors=(PolicyUnreadable, PolicyUnsupported, GrantTooWide, TooManyPolicies),
    ),
    Route(
        method="DELETE",
        path="/api/v1/policies/{name}",
        permission="gateway:write",
        handler=drop_policy,
        summary="Take a policy away",
        tags=_TAGS,
        status=204,
        errors=(PolicyMissing,),
    ),
    Route(
        method="POST",
        path="/api/v1/policies:simulate",
        permission="gateway:read",
        handler=simulate_policies,
        summary="Tell what a change of policies would have allowed or denied",
        description="Decisions of up to eight days are made again with and without the change, at the gate.",
        tags=_TAGS,
        body=PolicyChange,
        response=Simulated,
        request_example={"add": [_EXAMPLE], "days": 7},
        errors=(PolicyUnreadable, PolicyUnsupported, PolicyMissing),
    ),
    Route(
        method="POST",
        path="/api/v1/policies:explain",
        permission="gateway:read",
        handler=explain_call,
        summary="Tell step by step how a call of a key is decided",
        tags=_TAGS,
        body=PolicyQuestion,
        response=Explained,
        request_example={"key": "key_01KAX3V9Q2M4T8Z5N7P6R1S0WD", "route": "GET /api/v1/leads"},
        errors=(KeyMissing, RouteUnknown),
    ),
)

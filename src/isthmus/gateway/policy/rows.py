"""Policies as a workspace keeps them. Every change is audited with the text before and after."""

from datetime import datetime
from typing import LiteralString

from msgspec import Struct

from isthmus.auth.roles import check_grant
from isthmus.auth.trace import trace
from isthmus.gateway.policy.language import Effect, Mode, Policy, read_policy
from isthmus.gateway.policy.vocabulary import Vocabulary
from isthmus.kernel.errors import Conflicting, NotFound
from isthmus.store.database import Transaction

POLICIES_MAX = 500
_LIST: LiteralString = """
select name, text, effect, reason, mode, created_at, created_by from policy
where workspace = current_workspace() and (%(only)s::text is null or name = %(only)s) order by name
"""
_SAVE: LiteralString = """
insert into policy (workspace, name, text, effect, reason, mode, created_at, created_by)
values (current_workspace(), %(name)s, %(text)s, %(effect)s, %(reason)s, %(mode)s, %(now)s, %(actor)s)
on conflict (workspace, name) do update set text = excluded.text, effect = excluded.effect, reason = excluded.reason,
    mode = excluded.mode, created_at = excluded.created_at, created_by = excluded.created_by
"""
_REMOVE: LiteralString = "delete from policy where workspace = current_workspace() and name = %s"


class PolicyMissing(NotFound):
    """The workspace has no such policy."""

    code, title = "policy-missing", "There is no such policy"


class TooManyPolicies(Conflicting):
    """The workspace has as many policies as it may have."""

    code, title = "too-many-policies", "There are too many policies"


class KeptPolicy(Struct, frozen=True, kw_only=True):
    """A policy as it is kept."""

    name: str
    text: str
    effect: Effect
    reason: str
    mode: Mode
    created_at: datetime
    created_by: str


async def list_policies(tx: Transaction) -> list[KeptPolicy]:
    """Return all policies by name."""
    rows = await (await tx.connection.execute(_LIST, {"only": None})).fetchall()
    names = ("name", "text", "effect", "reason", "mode", "created_at", "created_by")
    return [KeptPolicy(**dict(zip(names, row, strict=True))) for row in rows]


async def save_policy(
    tx: Transaction,
    policy: Policy,
    *,
    vocabulary: Vocabulary,
    giver: frozenset[str] | None,
    all_there_is: frozenset[str],
) -> KeptPolicy:
    """Keep a policy under its name, in place of the one that has it.

    A permit widens what roles allow, so only who has every permission (`all_there_is`) may keep one; `giver` None is
    the machine's owner. Raises PolicyUnreadable, PolicyUnsupported, GrantTooWide and TooManyPolicies.
    """
    vocabulary.check(policy)
    if policy.effect == "permit" and giver is not None:
        check_grant(all_there_is, giver=giver)
    there = {each.name: each for each in await list_policies(tx)}
    if policy.name not in there and len(there) >= POLICIES_MAX:
        raise TooManyPolicies(f"There are {POLICIES_MAX} policies.", fix="Remove those that decide nothing.")
    given = {
        "name": policy.name,
        "text": policy.text,
        "effect": policy.effect,
        "reason": policy.reason,
        "mode": policy.mode,
    }
    await tx.connection.execute(_SAVE, {**given, "now": tx.scope.now, "actor": tx.scope.actor})
    before = there.get(policy.name)
    was = None if before is None else {"text": before.text, "mode": before.mode}
    details = {**given, "before": was}
    await trace(tx, action="policy.saved", resource="policy", record_id=None, details=details)
    return next(each for each in await list_policies(tx) if each.name == policy.name)


async def remove_policy(tx: Transaction, name: str) -> None:
    """Take a policy away; raises PolicyMissing."""
    there = next((each for each in await list_policies(tx) if each.name == name), None)
    if there is None:
        raise PolicyMissing(f"There is no policy {name[:80]!r}.", fix="List the policies.")
    await tx.connection.execute(_REMOVE, (name,))
    details = {"name": name, "before": {"text": there.text, "mode": there.mode}}
    await trace(tx, action="policy.removed", resource="policy", record_id=None, details=details)


def read_kept(kept: KeptPolicy) -> Policy:
    """Return a kept policy, read again; `mode` as it is kept."""
    return read_policy(kept.text, mode=kept.mode)

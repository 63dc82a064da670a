"""What can open nothing any more is deleted: expired requests, codes, tokens, proofs, and grants nobody can use."""

from datetime import timedelta
from typing import LiteralString

from isthmus.auth.oauth.grants import CONSENT_LIFE
from isthmus.store.database import Transaction

KEPT = timedelta(days=1)
"""A used code is remembered for longer than any token that could be revoked because it is used again."""
_EXPIRED: tuple[LiteralString, ...] = (
    "delete from oauth_request where workspace = current_workspace() and expires_at < %(before)s",
    "delete from oauth_code where workspace = current_workspace() and expires_at < %(grants)s",
    "delete from oauth_refresh where workspace = current_workspace() and expires_at < %(before)s",
    "delete from oauth_device where workspace = current_workspace() and expires_at < %(before)s",
    "delete from oauth_seen where workspace = current_workspace() and expires_at < %(before)s",
    "delete from oauth_revoked where workspace = current_workspace() and expires_at < %(before)s",
    "delete from oauth_grant where workspace = current_workspace() and expires_at < %(grants)s",
)


async def sweep(tx: Transaction) -> int:
    """Delete what has expired in a workspace, and return how many rows that were.

    Grants stay for as long as they tell that a person was asked before, and codes for as long as grants.
    """
    values = {"before": tx.scope.now - KEPT, "grants": tx.scope.now - CONSENT_LIFE}
    gone = 0
    for statement in _EXPIRED:
        gone += (await tx.connection.execute(statement, values)).rowcount
    return gone

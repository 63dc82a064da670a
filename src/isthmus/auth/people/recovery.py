"""Recovery codes: ten, shown once, each of use once, for somebody whose second factor is lost.

A code has 50 random bits; kept is its HMAC under a key of the vault.
"""

import hmac
import secrets
from typing import LiteralString
from uuid import UUID

from isthmus.auth.trace import trace
from isthmus.store.database import Transaction
from isthmus.vault import Vault

CODES, CHARACTERS = 10, 10
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ_AS = str.maketrans("OILU", "011V")
_PURPOSE = "recovery codes"
_FORGET: LiteralString = "delete from recovery_code where workspace = current_workspace() and login = %s"
_INSERT: LiteralString = """
insert into recovery_code (workspace, login, digest, created_at)
select current_workspace(), %s, unnest(%s::bytea[]), %s
"""
_USE: LiteralString = """
update recovery_code set used_at = %s
where workspace = current_workspace() and login = %s and digest = %s and used_at is null returning 1
"""


async def new_codes(tx: Transaction, vault: Vault, login: UUID) -> list[str]:
    """Return new codes, shown this once; those before open nothing any more."""
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(CHARACTERS)) for _ in range(CODES)]
    digests = [_digest(vault, tx.scope.workspace, login, code) for code in codes]
    await tx.connection.execute(_FORGET, (login,))
    await tx.connection.execute(_INSERT, (login, digests, tx.scope.now))
    await trace(tx, action="recovery-codes.made", resource="user", record_id=login, details={"codes": CODES})
    return [f"{code[:5]}-{code[5:]}" for code in codes]


async def forget_codes(tx: Transaction, login: UUID) -> None:
    """Let no code open anything any more."""
    await tx.connection.execute(_FORGET, (login,))


async def use_code(tx: Transaction, vault: Vault, login: UUID, code: str) -> bool:
    """Use a code up; of many who try at once one succeeds."""
    given = "".join(each for each in code.upper().translate(_READ_AS) if each in _ALPHABET)
    if len(given) != CHARACTERS:
        return False
    digest = _digest(vault, tx.scope.workspace, login, given)
    used = await (await tx.connection.execute(_USE, (tx.scope.now, login, digest))).fetchone()
    if used is not None:
        await trace(tx, action="recovery-code.used", resource="user", record_id=login, details={})
    return used is not None


def _digest(vault: Vault, workspace: int, login: UUID, code: str) -> bytes:
    key = vault.workspace(workspace).derived(_PURPOSE)
    return hmac.digest(key, login.bytes + code.encode(), "sha256")

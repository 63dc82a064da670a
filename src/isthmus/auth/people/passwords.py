"""Passwords: which are taken, and how they are kept.

Kept is Argon2id (RFC 9106) with OWASP's profile (19 MiB, 2 passes, 1 lane) over HMAC-SHA-256 of the password in NFKC
under a key of the vault, so that a stolen table alone cannot be tried. The parameters stand in the hash; one with
others is made anew when its password was right. Rules follow NIST SP 800-63B-4: at least 15 characters alone and 8
beside a second factor, none of the common ones, nothing else.
"""

import asyncio
import hmac
import re
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from isthmus.auth.people.errors import SignInBusy, WeakPassword
from isthmus.vault import Vault

ALONE_CHARACTERS_MIN, BESIDE_CHARACTERS_MIN, CHARACTERS_MAX = 15, 8, 1_000
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
THREADS, WAITING_MAX = 2, 64
CONTEXT_CHARACTERS_MIN = 4
_UNIT_CHARACTERS_MAX = 4
_PURPOSE = "password pepper"
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$u7yqD5nTeE7l71XRctHcCw$ehCprO+Y2s+olC9PgopgsTbxcdbo+H0KISW0ceSmF7w"
"""A hash of the same cost, which is checked where there is none."""
_ROWS = ("abcdefghijklmnopqrstuvwxyz", "0123456789", "qwertyuiopasdfghjklzxcvbnm", "1qaz2wsx3edc4rfv5tgb6yhn7ujm")
_LOOKS_LIKE = str.maketrans({"0": "o", "1": "l", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i"})
_NOT_LETTERS = re.compile(r"[\W\d_]+")
T = TypeVar("T")


@dataclass(frozen=True)
class Verdict:
    """Whether a password was right; `renewed` is its hash with the present parameters, where it had others."""

    right: bool
    renewed: str | None = field(default=None, repr=False)


def check_password(password: str, *, alone: bool, context: Sequence[str] = ()) -> str:
    """Return the password in NFKC; raises WeakPassword.

    `alone` tells that no second factor stands beside it. `context` are words that everybody would try first here, such
    as the person's name.
    """
    text = unicodedata.normalize("NFKC", password)
    least = ALONE_CHARACTERS_MIN if alone else BESIDE_CHARACTERS_MIN
    if len(text) < least:
        beside = "" if not alone else f" {BESIDE_CHARACTERS_MIN} are enough beside a second factor."
        raise WeakPassword(f"The password has fewer than {least} characters.", fix=f"Take a longer one.{beside}")
    if len(text) > CHARACTERS_MAX:
        raise WeakPassword(f"The password has over {CHARACTERS_MAX} characters.", fix="Take a shorter one.")
    if _is_common(text.casefold(), context):
        raise WeakPassword("The password is one of those that are tried first.", fix="Take some unrelated words.")
    return text


def context_of(*, email: str, name: str) -> tuple[str, ...]:
    """Return the words that everybody would try first for a person."""
    return (email.partition("@")[0], name, *name.split())


def long_enough_alone(password: str) -> bool:
    """Tell whether a password may stand without a second factor."""
    return len(unicodedata.normalize("NFKC", password)) >= ALONE_CHARACTERS_MIN


class Passwords:
    """Hashes and checks passwords, two at a time, so that a flood of sign-ins leaves the program its processors."""

    def __init__(self, vault: Vault, *, memory_kib: int = MEMORY_KIB) -> None:
        """Take the peppers from the vault. What is made with less memory is made anew when it is next checked."""
        self._vault = vault
        self._hasher = PasswordHasher(PASSES, memory_kib, LANES, 32, 16, type=Type.ID)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        self._waiting = 0

    async def hashed(self, password: str, *, workspace: int) -> str:
        """Return what is stored of a password; raises SignInBusy."""
        return await self._run(lambda: self._hasher.hash(self._peppered(password, workspace)))

    async def verify(self, stored: str | None, password: str, *, workspace: int) -> Verdict:
        """Tell whether a password is right; without a stored one it costs the same and is wrong. Raises SignInBusy."""
        return await self._run(lambda: self._verify(stored, password[:CHARACTERS_MAX], workspace))

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise SignInBusy("Too many people sign in at this moment.", fix="Try again in a moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    def _verify(self, stored: str | None, password: str, workspace: int) -> Verdict:
        peppered = self._peppered(password, workspace)
        try:
            self._hasher.verify(stored or _NOBODY, peppered)
        except (VerificationError, InvalidHashError):
            return Verdict(right=False)
        if stored is None:
            return Verdict(right=False)
        renewed = self._hasher.hash(peppered) if self._hasher.check_needs_rehash(stored) else None
        return Verdict(right=True, renewed=renewed)

    def _peppered(self, password: str, workspace: int) -> bytes:
        key = self._vault.workspace(workspace).derived(_PURPOSE)
        return hmac.digest(key, unicodedata.normalize("NFKC", password).encode(), "sha256")


def _is_common(text: str, context: Sequence[str]) -> bool:
    letters = _NOT_LETTERS.sub("", text)
    read = _NOT_LETTERS.sub("", text.translate(_LOOKS_LIKE))
    known = _common() | {_NOT_LETTERS.sub("", each.casefold()) for each in context if _says_something(each)}
    forms = {text, letters, read, _unit(letters), _unit(read)}
    return bool(forms & known) or len(_unit(text)) <= _UNIT_CHARACTERS_MAX or _is_row(text)


def _says_something(word: str) -> bool:
    return len(_NOT_LETTERS.sub("", word)) >= CONTEXT_CHARACTERS_MIN


def _unit(text: str) -> str:
    """Return the part of which a text is a repetition (the last one may be cut short)."""
    return next((text[:size] for size in range(1, len(text)) if text == (text[:size] * len(text))[: len(text)]), text)


def _is_row(text: str) -> bool:
    rows = [row * (len(text) // len(row) + 2) for row in _ROWS]
    return any(text in row or text in row[::-1] for row in rows)


@cache
def _common() -> frozenset[str]:
    text = files("isthmus.auth.people").joinpath("common.txt").read_text("utf-8")
    return frozenset(each for line in text.splitlines() if not line.startswith("#") for each in line.split())

"""Who makes a call, once it is proven: a machine with a key or a token, or a person with a session."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class Principal:
    """A caller of one workspace with everything it may do; `id` is that of the key, the session or the token.

    `csrf` is the token that forms of a session carry. `user` is the person behind it and `client` the registered
    program, where there is one; `behind` names who really acts when a token was exchanged for another's. A person
    proved itself at `proven_at` by `methods` (RFC 8176: `pwd`, `otp`, `hwk`, …), and showed a second factor at
    `mfa_at`. `only` narrows the grant: of a record type that it names, the listed records alone are there.
    """

    workspace: int
    kind: Literal["key", "session", "token"]
    id: UUID
    name: str
    permissions: frozenset[str]
    csrf: str = field(default="", repr=False)
    user: UUID | None = None
    client: str = ""
    behind: str = ""
    roles: tuple[str, ...] = ()
    methods: frozenset[str] = frozenset()
    proven_at: datetime | None = None
    mfa_at: datetime | None = None
    only: Mapping[str, frozenset[UUID]] = field(default_factory=dict[str, frozenset[UUID]])

    @property
    def actor(self) -> str:
        """How the audit log names it."""
        return f"{self.kind}:{self.id}"

    def may(self, permission: str) -> bool:
        """Tell whether it has a permission such as `audit:read`."""
        return permission in self.permissions

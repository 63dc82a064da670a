"""Who makes a call, once it is proven: a machine with a key, or a person with a session."""

from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class Principal:
    """A caller of one workspace with everything it may do; `id` is that of the key or the session.

    `csrf` is the token that forms of a session carry.
    """

    workspace: int
    kind: Literal["key", "session"]
    id: UUID
    name: str
    permissions: frozenset[str]
    csrf: str = field(default="", repr=False)

    @property
    def actor(self) -> str:
        """How the audit log names it."""
        return f"{self.kind}:{self.id}"

    def may(self, permission: str) -> bool:
        """Tell whether it has a permission such as `audit:read`."""
        return permission in self.permissions

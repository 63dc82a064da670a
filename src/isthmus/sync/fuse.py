"""The fuse: how much may change at once before a person has to agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from isthmus.store.database import Transaction
from isthmus.sync.connector import ConnectorError, Feed

_LIVING: LiteralString = """
select count(*) from ref
where workspace = current_workspace() and type = any(%s) and system = %s and not deleted
"""


@dataclass(frozen=True, kw_only=True)
class Fuse:
    """How many records may go, or change, at once before a person has to agree: the larger of the two limits."""

    rows_max: int = 20
    share_max: float = 0.2

    def holds(self, moving: int, *, living: int) -> bool:
        """Tell whether so many of the living may go."""
        return moving <= max(self.rows_max, self.share_max * living)


FUSE = Fuse()
CHANGES = Fuse(rows_max=1_000, share_max=0.5)


class FuseTripped(ConnectorError):
    """More would be deleted or changed than happens by itself."""

    status, code, title = 409, "fuse-tripped", "Too much would be deleted or changed at once"


@dataclass(slots=True, kw_only=True)
class Guard:
    """Stands before what one run takes in from one feed; the first reading, and what a person agreed to, pass.

    A page that goes over the limit is not taken in, and neither is what follows it.
    """

    system: str
    feed: Feed
    since: datetime | None
    confirmed: bool
    gone: int = 0
    changed: int = 0

    async def check(self, tx: Transaction, *, gone: int, changed: int) -> None:
        """Raise FuseTripped when what the run took in so far, and this, is too much."""
        if self.since is None or self.confirmed:
            return
        await self._hold(tx, self.gone + gone, fuse=FUSE, verb="deleted")
        await self._hold(tx, self.changed + changed, fuse=CHANGES, verb="changed")

    def took(self, *, gone: int, changed: int) -> None:
        """Count what was taken in."""
        self.gone += gone
        self.changed += changed

    async def _hold(self, tx: Transaction, moving: int, *, fuse: Fuse, verb: str) -> None:
        if moving <= fuse.rows_max:
            return
        living = await _living(tx, self.feed.types, system=self.system) + (moving if verb == "deleted" else 0)
        if not fuse.holds(moving, living=living):
            raise FuseTripped(
                f"{moving:,} of {living:,} records of {self.feed.name} would be {verb} at once, because {self.system!r}"
                " says so. The rest waits.",
                fix=f"If that is right, confirm it: isthmus sync run {self.system} --confirmed",
            )


async def _living(tx: Transaction, types: Sequence[str], *, system: str) -> int:
    row = await (await tx.connection.execute(_LIVING, (list(types), system))).fetchone()
    return int(row[0]) if row else 0

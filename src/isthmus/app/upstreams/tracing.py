"""What the audit log is told of changes at services behind the gate, which write no audit rows of ours themselves."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from isthmus.audit.entry import Entry
from isthmus.audit.queue import AuditQueue
from isthmus.gateway.decide import UNSAFE
from isthmus.kernel.marks import Json
from isthmus.store.database import Scope

_NAMES_NOBODY = re.compile(r"[A-Za-z0-9_.:-]{0,64}")
_SEGMENTS_MAX = 20
_UNTOLD = "…"


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A call that passes on to an upstream. `target` is the path there, as it was sent."""

    scope: Scope
    upstream: str
    method: str
    target: str

    async def tell(self, trail: AuditQueue) -> None:
        """Return once a change stands in the log, before it is made; raises TraceRefused. Reads are not told."""
        if self.method in UNSAFE:
            await trail.keep(self._entry("upstream.write", {}))

    def failed(self, trail: AuditQueue, *, status: int) -> None:
        """Tell that a change which stands in the log was not answered with success."""
        if self.method in UNSAFE:
            trail.note(self._entry("upstream.write-failed", {"status": status}))

    def _entry(self, action: str, more: Mapping[str, Json]) -> Entry:
        scope, came = self.scope, self.scope.circumstances
        decision = msgspec.json.decode(came.decision, type=dict[str, Json]) if came and came.decision else None
        return Entry(
            workspace=scope.workspace,
            at=scope.now,
            actor=scope.actor,
            on_behalf_of=(came and came.behind) or None,
            action=action,
            resource=f"upstream:{self.upstream}",
            request_id=scope.cause,
            purpose=(came and came.purpose) or None,
            network=(came and came.network) or None,
            decision=decision,
            details={"method": self.method, "path": _told(self.target), **more},
        )


def _told(target: str) -> str:
    """Return a path without its query and without segments that may name somebody."""
    segments = target.partition("?")[0].split("/")[: _SEGMENTS_MAX + 1]
    return "/".join(each if _NAMES_NOBODY.fullmatch(each) else _UNTOLD for each in segments)

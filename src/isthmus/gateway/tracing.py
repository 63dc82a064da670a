"""What the gateway itself writes into the audit log: refused calls, and reads that showed personal fields."""

import re
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from isthmus.audit.entry import Entry, network_of
from isthmus.auth.principal import Principal
from isthmus.gateway.decide import UNSAFE, Asked
from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.marks import Json
from isthmus.store.database import Circumstances

NOBODY = 0
PURPOSE_HEADER = "isthmus-purpose"
DENIED = frozenset({401, 403, 429})
PURPOSE_CHARACTERS_MAX = 100
_NAMES_NOBODY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_network = lru_cache(maxsize=4_096)(network_of)


def purpose_of(headers: Mapping[str, str]) -> str:
    """Return the purpose that the caller states, cut to a sensible length."""
    return headers.get(PURPOSE_HEADER, "")[:PURPOSE_CHARACTERS_MAX]


def circumstances_of(asked: Asked, principal: Principal, headers: Mapping[str, str]) -> Circumstances | None:
    """Return what every audit row of a change tells about its call; None for calls that change nothing."""
    if asked.route.method not in UNSAFE:
        return None
    decision = {"permission": asked.route.permission, "reasons": asked.reasons}
    return Circumstances(
        behind=principal.behind,
        purpose=purpose_of(headers),
        network=_network(asked.client) or "",
        decision=msgspec.json.encode(decision).decode(),
    )


def denied(asked: Asked, error: IsthmusError, headers: Mapping[str, str]) -> Entry:
    """Return the entry of a refused call; one that nobody is known for belongs to workspace 0."""
    details: dict[str, Json] = {"method": asked.route.method, "permission": asked.route.permission, "code": error.code}
    return _entry(asked, headers, action="call.denied", status=error.status, details=details)


def shown(asked: Asked, headers: Mapping[str, str], *, status: int, fields: set[str], path: Mapping[str, str]) -> Entry:
    """Return the entry of a read that showed personal fields; `fields` are the permissions that opened them."""
    named: dict[str, Json] = {name: value for name, value in path.items() if _NAMES_NOBODY.fullmatch(value)}
    details: dict[str, Json] = {"method": asked.route.method, "opened_by": list[Json](sorted(fields)), "path": named}
    return _entry(asked, headers, action="personal.read", status=status, details=details)


def _entry(asked: Asked, headers: Mapping[str, str], *, action: str, status: int, details: Mapping[str, Json]) -> Entry:
    principal = asked.principal
    return Entry(
        workspace=NOBODY if principal is None else principal.workspace,
        at=asked.now,
        actor="nobody" if principal is None else principal.actor,
        on_behalf_of=(principal.behind or None) if principal is not None else None,
        action=action,
        resource=asked.route.path,
        request_id=asked.request_id,
        purpose=purpose_of(headers) or None,
        network=_network(asked.client),
        decision={"status": status, "reasons": list[Json](asked.reasons)},
        details=details,
    )

"""The trail of a record: its claims read back and folded into a state."""

from collections.abc import Iterable, Sequence
from typing import LiteralString
from uuid import UUID

import msgspec

from isthmus.kernel.marks import Json, Rule
from isthmus.store.database import Transaction
from isthmus.store.fold import Claim, Place
from isthmus.vault import Vault

SEEN = "~seen"
_Map = dict[str, Json]
# Looked up record by record: as long as nothing is known of a young table, the planner would read all of it instead.
_CLAIMS: LiteralString = """
select found.* from unnest(%s::uuid[]) as wanted(id)
cross join lateral (
    select record_id, hlc, system, external_id, fields::text, sealed, coalesce(subject, record_id), basis, deleted
    from claim where workspace = (select current_workspace()) and record_id = wanted.id
    offset 0
) as found
"""


async def claims_of(tx: Transaction, vault: Vault, records: Sequence[UUID]) -> dict[UUID, list[Claim]]:
    """Return the claims of each record, opened; what an erased key sealed is absent from them."""
    cursor = await tx.connection.execute(_CLAIMS, (list(dict.fromkeys(records)),))
    rows = await cursor.fetchall()
    sealed = [(subject, bytes(envelope)) for _, _, _, _, _, envelope, subject, _, _ in rows if envelope is not None]
    opened = iter(vault.open_many(workspace=tx.scope.workspace, values=sealed))
    claims: dict[UUID, list[Claim]] = {record: [] for record in records}
    for record_id, hlc, system, external_id, fields, envelope, _, basis, deleted in rows:
        personal = next(opened) if envelope is not None else None
        said = msgspec.json.decode(fields, type=_Map)
        claim = claim_from(
            (hlc, system, external_id), open_fields=said, personal=personal, basis=basis, deleted=deleted
        )
        claims[record_id].append(claim)
    return claims


def claim_from(
    place: tuple[int, str, str], *, open_fields: _Map, personal: bytes | None, basis: _Map | None, deleted: bool
) -> Claim:
    """Return a claim from its stored parts."""
    said: _Map = dict(open_fields)
    seen: _Map | None = None
    if basis is not None and isinstance(shown := basis.get("seen"), dict):
        seen = dict(shown)
    if personal:
        opened = msgspec.json.decode(personal, type=_Map)
        shown = opened.pop(SEEN, None)
        if isinstance(shown, dict):
            seen = (seen or {}) | shown
        said |= opened
    settles = basis.get("settles") if basis else None
    names = frozenset(str(each) for each in settles) if isinstance(settles, list) else frozenset[str]()
    reopens = basis.get("reopens") if basis else None
    places = msgspec.convert(reopens, dict[str, Place]) if reopens else None
    rules, span = (basis.get("rules"), basis.get("span")) if basis else (None, None)
    return Claim(
        *place,
        said=said,
        seen=seen,
        settles=names,
        deleted=deleted,
        reopens=places,
        rules=msgspec.convert(rules, dict[str, Rule]) if rules else None,
        span=msgspec.convert(span, tuple[int, int]) if span else None,
    )


def split_personal(personal: Iterable[str], values: _Map) -> tuple[_Map, _Map]:
    """Return (open, personal) parts of values by field name."""
    names = personal if isinstance(personal, frozenset) else frozenset(personal)
    sealed = {name: value for name, value in values.items() if name in names}
    return {name: value for name, value in values.items() if name not in names}, sealed

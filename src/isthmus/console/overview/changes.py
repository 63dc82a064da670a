"""What changed last, the changes of one cause to one kind of record together."""

from collections.abc import Callable
from typing import LiteralString
from uuid import UUID

from isthmus.console import words
from isthmus.console.overview.titles import titles
from isthmus.console.overview.views import ChangeView
from isthmus.store.database import Transaction
from isthmus.store.schema import Schema
from isthmus.vault import Vault

LINES_MAX = 8
EVENTS_LOOKED_AT = 2_000
FIELDS_MAX = 3
_VERBS = ("created", "changed", "deleted")
# The events of one cause follow each other, so that the last few hundred make a handful of lines even in an import.
_LAST: LiteralString = """
with latest as materialized (
    select seq, type, record_type, actor, cause from event
    where workspace = current_workspace() and bundle is not null and record_type = any(%(types)s)
    order by bundle desc, seq desc limit %(events)s
), line as (
    select record_type, type, actor, count(*) as count, max(seq) as seq from latest
    group by cause, record_type, type, actor order by max(seq) desc limit %(lines)s
)
select line.record_type, line.type, line.actor, line.count, event.at, event.record_id, event.changed
from line cross join lateral event_at(line.seq) as event order by line.seq desc
"""


async def load_changes(
    tx: Transaction, vault: Vault, schema: Schema, *, may: Callable[[str], bool]
) -> tuple[ChangeView, ...]:
    """Return the latest changes that the viewer may see, newest first."""
    types = [each.name for each in schema if may(f"{each.domain}:read")]
    cursor = await tx.connection.execute(_LAST, {"types": types, "events": EVENTS_LOOKED_AT, "lines": LINES_MAX})
    rows = await cursor.fetchall()
    single: list[tuple[str, UUID]] = [(row[0], row[5]) for row in rows if row[3] == 1]
    named = await titles(tx, vault, schema, single, may=may)
    return tuple(
        ChangeView(
            kind=words.kind(record_type, count=count),
            count=count,
            verb=next((verb for verb in _VERBS if f".{verb}." in event_type), "changed"),
            title=named.get(record, ""),
            fields=tuple(words.plain(each) for each in changed[:FIELDS_MAX]) if count == 1 else (),
            by=who(actor),
            at=at,
        )
        for record_type, event_type, actor, count, at, record, changed in rows
    )


def who(actor: str) -> str:
    """Return an actor in words: systems by their names, people and machines by what they are."""
    kind, _, name = actor.partition(":")
    if kind == "session":
        return "somebody in the console"
    if kind == "key":
        return "an API key"
    return name or kind

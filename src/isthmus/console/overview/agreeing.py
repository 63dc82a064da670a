"""How far the systems and what is held of them agree, in one sentence's worth of numbers."""

from typing import LiteralString

from isthmus.console import words
from isthmus.console.overview.views import AgreeingView
from isthmus.store.database import Transaction
from isthmus.sync.reconciling.found import AGREEING_PROMISED, exactness

_OPEN: LiteralString = """
select count(*) from reconciliation_difference d
join connection c on c.workspace = d.workspace and c.id = d.connection_id
where d.workspace = current_workspace() and d.status = 'open' and c.removed_at is null
"""


async def load_agreeing(tx: Transaction) -> AgreeingView | None:
    """Return what the last comparisons found; None before the first."""
    exact = await exactness(tx)
    if exact.share is None:
        return None
    row = await (await tx.connection.execute(_OPEN)).fetchone()
    return AgreeingView(
        share=words.exact_percent(exact.share),
        compared=exact.compared,
        promised=words.exact_percent(AGREEING_PROMISED),
        kept=exact.share >= AGREEING_PROMISED,
        open=int(row[0]) if row else 0,
    )

"""The overview tells how far the systems agree, once they were compared."""

from isthmus.console.live import drawn
from isthmus.console.overview.agreeing import load_agreeing
from isthmus.console.overview.views import Overview
from isthmus.kernel.clock import FrozenClock
from isthmus.store.database import Scope
from isthmus.sync.connections import connect
from isthmus.sync.ingest import Store
from isthmus.sync.reconciling.comparing import DifferenceKind
from isthmus.sync.reconciling.found import keep
from isthmus.sync.reconciling.systems import Finding, Reconciled
from tests.rooms.sync.vendor import Vendor


async def test_the_share_that_agrees_and_what_is_open_stand_among_the_systems(store: Store, scope: Scope) -> None:
    found = Finding(kind=DifferenceKind.FIELD, type="sales.account", external_id="1", field="city")
    told = Reconciled(
        type="sales.account", there=9, here=9, compared=1_000, differing=1, unvisited=0, findings=(found,)
    )
    connector = Vendor("crm", FrozenClock(scope.now)).connector()
    async with store.database.transaction(scope) as tx:
        made = await connect(tx, store.vault, connector, name="crm", settings={"token": "s3cr3t"})
        assert await load_agreeing(tx) is None
        await keep(tx, store, made.id, [told])
        agreeing = await load_agreeing(tx)
    assert agreeing is not None
    assert (agreeing.share, agreeing.kept, agreeing.open) == ("99.9%", False, 1)
    overview = Overview(
        now=scope.now,
        workspace="Acme",
        domains=(),
        running=(),
        systems=(),
        credit=None,
        cases=None,
        changes=(),
        agreeing=agreeing,
    )
    shown = drawn("panels/systems.html", {"it": overview, "origin": "http://127.0.0.1"}).html
    assert "<b>99.9%</b> of 1,000 compared fields agreed" in shown
    assert 'below the 99.95% that are promised; 1 difference <a href="/connections/agreement">open</a>' in shown

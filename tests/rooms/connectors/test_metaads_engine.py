"""The engine between a workspace and an ad account: amounts that move replace what was said, and add nothing."""

from dataclasses import replace
from datetime import timedelta

from isthmus.connectors.metaads import CONNECTOR
from isthmus.connectors.metaads.conformance import MetaCounterpart, advertised
from isthmus.connectors.metaads.vendor_http import Site, serving
from isthmus.kernel.status import Status
from isthmus.store.records import Stored, page
from isthmus.sync.connections import connect
from isthmus.sync.ingest import Store
from isthmus.sync.running import EVERYTHING, synchronise
from isthmus.sync.runs import Run
from tests.conformance.conftest import Bench, Side


async def sync(bench: Bench) -> Run:
    """Run the connection, ids compared."""
    engine = replace(bench.engine, connectors={CONNECTOR.name: CONNECTOR})
    run = await synchronise(
        engine, workspace=bench.workspace, connection="vendor", parts=EVERYTHING, sweep_every_s=0, confirmed=True
    )
    assert run.status is Status.HEALTHY, run.error
    return run


async def all_of(bench: Bench, kind: str) -> list[Stored]:
    """Return the living records of a type."""
    async with bench.store.database.transaction(bench.scope()) as tx:
        return await page(tx, bench.store.vault, bench.store.schema[kind], limit=100)


async def test_a_day_has_one_amount_however_often_meta_changes_it(store: Store, workspace: int) -> None:
    with serving(Site()) as site:
        account = site.account
        running, over = advertised(site)
        counterpart = MetaCounterpart(site, site.settings | {"first_days": "60"})
        bench = Bench(Side(CONNECTOR, counterpart), store, workspace)
        async with store.database.transaction(bench.scope()) as tx:
            await connect(tx, store.vault, CONNECTOR, name="vendor", settings=dict(counterpart.settings))
        await sync(bench)
        first = await all_of(bench, "finance.spend")
        campaigns = {str(each.id): each.values["name"] for each in await all_of(bench, "marketing.campaign")}
        assert sorted(campaigns.values(), key=str) == ["Spring leads", "Winter brand"]
        assert {str(each.values["campaign_id"]) for each in first} == set(campaigns)
        assert len(await all_of(bench, "marketing.audience")) == 2
        again = await sync(bench)
        assert (again.created, again.changed) == (0, 0), "what was read again and is the same changes nothing"

        account.spend(running, account.today, "31.25")
        account.spend(running, account.today - timedelta(days=1), None)
        del account.audiences[next(iter(account.audiences))]
        account.status(over, "DELETED")
        moved = await sync(bench)
        assert (moved.created, moved.changed) == (0, 4)
        second = await all_of(bench, "finance.spend")
        assert {each.id for each in second} == {each.id for each in first}
        amounts = {str(each.values["day"]): each.values["amount"] for each in second}
        assert amounts[str(account.today)] == {"amount": "31.25", "currency": "EUR"}
        assert amounts[str(account.today - timedelta(days=1))] == {"amount": "0.00", "currency": "EUR"}
        assert len(await all_of(bench, "marketing.audience")) == 1
        assert [each.values["name"] for each in await all_of(bench, "marketing.campaign")] == ["Spring leads"]

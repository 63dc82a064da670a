"""What domains publish and read fits together, and a metric sees what it declares and nothing else."""

from dataclasses import replace

import psycopg
import pytest

from isthmus.analytics import Catalog, Metric, lineage
from isthmus.analytics.catalog import UnknownColumn, UnknownRelation
from isthmus.app.discovery import catalog, schema
from isthmus.domains.sales.metrics import ATTRIBUTION
from tests.rooms.domains.desk import Desk, said

DEALS = Metric(name="test.deals", reads={"sales.deal": ("amount",)}, compute=len, permission="sales:read")


def test_every_metric_reads_what_is_published() -> None:
    found = catalog()
    assert {each.name for each in found.metrics} == {
        *("sales.attribution", "sales.lead_touches", "sales.performance", "marketing.performance"),
        *("finance.roi", "finance.budget_variance", "product.adoption", "success.health", "success.health_daily"),
        *("success.expansion", "success.renewing", "success.reached", "sales.reached"),
    }
    assert {"sales.deal", "marketing.touch", "sales.credit"} <= set(found.relations)


def test_no_personal_field_is_published() -> None:
    found = catalog()
    for record in schema():
        personal = {each.name for each in record.personal_fields}
        assert not personal & set(found.relations[record.name].columns)


@pytest.mark.parametrize(
    ("reads", "error"),
    [
        ({"sales.deal": ("amuont",)}, UnknownColumn),
        ({"sales.lead": ("email",)}, UnknownColumn),
        ({"sales.deel": ("amount",)}, UnknownRelation),
    ],
)
def test_a_metric_that_reads_what_nobody_publishes_is_refused(
    reads: dict[str, tuple[str, ...]], error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"test\.deals"):
        Catalog(schema(), (replace(DEALS, reads=reads),))


def test_the_declarations_are_the_lineage() -> None:
    edges = {(each.relation, each.column) for each in lineage(catalog().metrics) if each.metric == "finance.roi"}
    assert ("sales.credit", "amount") in edges
    assert ("finance.spend", "day") in edges


async def test_a_query_sees_no_column_that_is_not_declared(desk: Desk) -> None:
    await desk.put(said("sales.deal", "D1", name="One", amount={"amount": "5", "currency": "EUR"}))
    async with desk.store.database.transaction(desk.scope) as tx:
        assert len(await catalog().rows(tx, DEALS, 'select amount from "sales.deal"')) == 1
    with pytest.raises(psycopg.errors.UndefinedColumn):
        async with desk.store.database.transaction(desk.scope) as tx:
            await catalog().rows(tx, DEALS, 'select name from "sales.deal"')
    with pytest.raises(psycopg.errors.UndefinedTable):
        async with desk.store.database.transaction(desk.scope) as tx:
            await catalog().rows(tx, DEALS, 'select 1 from "sales.lead"')


async def test_deleted_records_are_out_of_sight(desk: Desk) -> None:
    deal = said("sales.deal", "D1", name="One")
    await desk.put(deal)
    desk.later(minutes=1)
    await desk.put(type(deal)(type=deal.type, system=deal.system, external_id="D1", deleted=True))
    async with desk.store.database.transaction(desk.scope) as tx:
        assert await catalog().rows(tx, DEALS, 'select id from "sales.deal"') == []


async def test_tables_keep_empty_text_apart_from_none_and_money_exact(desk: Desk) -> None:
    await desk.put(
        said("marketing.touch", "T1", channel='a "b", c', at="2026-10-01T12:00:00.123456Z"),
        said("sales.deal", "D1", name="One", amount={"amount": "0.1234", "currency": "EUR"}, won=True),
    )
    metric = replace(DEALS, reads={"marketing.touch": ("channel", "kind", "at"), "sales.deal": ("amount", "won")})
    async with desk.store.database.transaction(desk.scope) as tx:
        query = (
            'select t.channel, t.kind, t.at, d.amount, d.won, %(none)s::text from "marketing.touch" t, "sales.deal" d'
        )
        found = await catalog().table(
            tx,
            metric,
            query,
            columns={
                "channel": "text",
                "kind": "text",
                "at": "moment",
                "amount": "amount",
                "won": "flag",
                "no": "text",
            },
            given={"none": ""},
        )
    shown = [found.column(name).combine_chunks().to_pylist()[0] for name in found.column_names]
    assert [str(each) for each in shown] == [
        *('a "b", c', "None", "2026-10-01 12:00:00.123456+00:00", "0.1234", "True", "")
    ]


def test_attribution_reads_no_column_more_than_its_query_names() -> None:
    text = ATTRIBUTION.steps + ATTRIBUTION.outcomes
    for columns in ATTRIBUTION.metric.reads.values():
        assert [each for each in columns if each not in text] == []

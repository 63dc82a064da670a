"""A metric reads what is published, or nothing starts."""

import pytest

from isthmus.analytics import Edge, Metric, Relation, Table, check, lineage
from isthmus.analytics.catalog import DuplicateName, PersonalColumn, UnknownColumn, UnknownRelation

REACH = Relation(name="market.reach", columns=("person_id", "program_id", "at"))
WON = Relation(name="trade.won", columns=("person_id", "amount"))


def same(table: Table) -> Table:
    return table


def metric(name: str = "trade.credit", **reads: tuple[str, ...]) -> Metric:
    return Metric(
        name=name,
        reads={relation.replace("__", "."): columns for relation, columns in reads.items()},
        compute=same,
        permission="trade:read",
    )


def test_a_metric_that_reads_what_is_published_passes() -> None:
    check(relations=[REACH, WON], metrics=[metric(market__reach=("at",), trade__won=("amount", "person_id"))])


def test_an_unknown_relation_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownRelation) as caught:
        check(relations=[REACH, WON], metrics=[metric(market__raech=("at",))])
    assert "trade.credit" in caught.value.detail
    assert "market.raech" in caught.value.detail
    assert caught.value.fix.startswith("Did you mean market.reach?")


def test_an_unknown_column_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownColumn) as caught:
        check(relations=[REACH], metrics=[metric(market__reach=("programid",))])
    assert caught.value.detail == "Metric trade.credit reads column programid of market.reach, which is not published."
    assert caught.value.fix.startswith("Did you mean program_id?")


def test_with_nothing_published_there_is_no_nearest_name() -> None:
    with pytest.raises(UnknownRelation, match="Nothing is published yet"):
        check(relations=[], metrics=[metric(market__reach=("at",))])


def test_a_name_declared_twice_is_refused() -> None:
    with pytest.raises(DuplicateName, match=r"Two relations are called trade\.won"):
        check(relations=[WON, WON], metrics=[])
    with pytest.raises(DuplicateName, match=r"Two metrics are called trade\.credit"):
        check(relations=[], metrics=[metric(), metric()])
    with pytest.raises(DuplicateName, match="lists a column twice"):
        check(relations=[Relation(name="a.b", columns=("x", "x"))], metrics=[])


def test_a_personal_column_cannot_be_published() -> None:
    with pytest.raises(PersonalColumn, match=r"market\.reach would publish email"):
        Relation.publish(name="market.reach", columns=("at", "email"), personal={"email", "phone"})
    published = Relation.publish(name="market.reach", columns=iter(("at", "program_id")), personal={"email"})
    assert published.columns == ("at", "program_id")


def test_lineage_is_what_the_metrics_declare() -> None:
    edges = lineage([metric("b", trade__won=("amount",)), metric("a", market__reach=("at", "program_id"))])
    assert edges == (
        Edge(relation="market.reach", column="at", metric="a"),
        Edge(relation="market.reach", column="program_id", metric="a"),
        Edge(relation="trade.won", column="amount", metric="b"),
    )

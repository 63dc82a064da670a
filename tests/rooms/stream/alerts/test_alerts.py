"""An alert opens once, is told once, stays quiet when somebody looks after it, and ends when its cause has ended."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import psycopg
import pytest

from isthmus.audit.search import search
from isthmus.store.database import Database, Scope
from isthmus.stream.alerts.channels import (
    TRIES_MAX,
    ChannelMissing,
    ChannelRefused,
    ChannelTaken,
    Kind,
    Mail,
    NotSent,
    Telling,
    Webhook,
    add_channel,
    channels,
    deliver,
    queue,
    remove_channel,
    tell_test,
)
from isthmus.stream.alerts.rules import Gauge, Reading, Rule, holding
from isthmus.stream.alerts.state import (
    SETTLED,
    TOLD_AGAIN,
    AlertOver,
    News,
    acknowledge,
    alerts,
    evaluate,
    silence,
    unresolved,
)
from isthmus.stream.outbound import Outbound, OutboundRefused
from isthmus.sync.ingest import Store
from tests.rooms.stream.alerts.receiving import Received, mail_server, web_server

SLOW = Rule(name="latency", gauge="p95", threshold=500, severity="page", title="Answers are slow")
WRONG = Rule(name="errors", gauge="share", threshold=0.05, severity="page", title="Many errors")
RULES = (SLOW, WRONG)
MINUTE = timedelta(minutes=1)


def reading(**values: float) -> Reading:
    return Reading(
        gauges=[Gauge(name="p95", about=name, value=value, reason=f"{value:g} ms") for name, value in values.items()],
        names=frozenset({"p95", "share"}),
    )


async def told(database: Database, scope: Scope, found: Reading, *, after: timedelta = timedelta()) -> list[News]:
    async with database.transaction(replace(scope, now=scope.now + after)) as tx:
        news = await evaluate(tx, RULES, found)
        assert news is not None
        await queue(tx, news)
        return news


def names(news: list[News]) -> list[tuple[str, list[str], bool]]:
    return [(each.rule, sorted(one.about for one in each.alerts), each.resolved) for each in news]


def test_a_rule_holds_for_what_is_over_its_threshold_and_not_for_what_is_at_it() -> None:
    found = holding(RULES, reading(a=500, b=500.1))
    assert [(rule.name, gauge.about) for rule, gauge in found] == [("latency", "b")]


async def test_alerts_of_one_rule_are_told_together_and_once(database: Database, scope: Scope) -> None:
    assert names(await told(database, scope, reading(a=900, b=800, c=1))) == [("latency", ["a", "b"], False)]
    assert await told(database, scope, reading(a=950, b=800), after=MINUTE) == []
    async with database.transaction(scope) as tx:
        found = {each.about: each.value for each in await unresolved(tx)}
    assert found == {"a": 950, "b": 800}


async def test_what_stays_open_untouched_is_told_again_and_what_is_looked_after_is_not(
    database: Database, scope: Scope
) -> None:
    first = (await told(database, scope, reading(a=900, b=900)))[0]
    ours = next(each for each in first.alerts if each.about == "a")
    async with database.transaction(scope) as tx:
        assert (await acknowledge(tx, ours.id)).acknowledged_by == scope.actor
    assert names(await told(database, scope, reading(a=900, b=900), after=TOLD_AGAIN)) == [("latency", ["b"], False)]
    async with database.transaction(scope) as tx:
        actions = [each.action for each in await search(tx, before=None, limit=9)]
    assert actions == ["alert.acknowledged", "alert.opened", "alert.opened"]


async def test_an_alert_is_over_when_its_rule_has_not_held_for_a_while(database: Database, scope: Scope) -> None:
    await told(database, scope, reading(a=900))
    assert await told(database, scope, reading(a=100), after=MINUTE) == []
    assert await told(database, scope, reading(a=900), after=2 * MINUTE) == []
    assert await told(database, scope, reading(a=100), after=SETTLED) == []
    assert names(await told(database, scope, reading(), after=2 * MINUTE + SETTLED)) == [("latency", ["a"], True)]
    async with database.transaction(scope) as tx:
        found = await alerts(tx, status="resolved", before=None, limit=5)
        with pytest.raises(AlertOver):
            await acknowledge(tx, found[0].id)


async def test_a_gauge_that_was_not_read_ends_no_alert(database: Database, scope: Scope) -> None:
    await told(database, scope, reading(a=900))
    silent = Reading(gauges=[], names=frozenset({"share"}))
    assert await told(database, scope, silent, after=SETTLED * 10) == []
    async with database.transaction(scope) as tx:
        assert len(await unresolved(tx)) == 1


async def test_what_is_silenced_is_told_when_the_silence_ends(database: Database, scope: Scope) -> None:
    async with database.transaction(scope) as tx:
        await silence(tx, rule="latency", about="a", until=scope.now + timedelta(hours=1), reason="moving")
    assert names(await told(database, scope, reading(a=900, b=900))) == [("latency", ["b"], False)]
    later = await told(database, scope, reading(a=900, b=900), after=timedelta(hours=1))
    assert names(later) == [("latency", ["a"], False)]


async def test_two_programs_do_not_evaluate_at_once(database: Database, scope: Scope) -> None:
    async with database.transaction(scope) as one, database.transaction(scope) as two:
        assert await evaluate(one, RULES, reading(a=900)) is not None
        assert await evaluate(two, RULES, reading(a=900)) is None


async def test_mail_and_webhook_are_told_and_the_targets_are_nowhere_in_the_clear(
    database: Database, scope: Scope, store: Store
) -> None:
    async with mail_server() as mails, web_server() as hooks:
        ways = _ways(mails, hooks)
        outbound = Outbound(["127.0.0.1/32"])
        hook = f"http://127.0.0.1:{hooks.port}/services/T0/secret"
        async with database.transaction(scope) as tx:
            await add_channel(tx, store.vault, outbound, name="mail", kind="email", target="oncall@example.test")
            await add_channel(tx, store.vault, outbound, name="chat", kind="webhook", target=hook)
        await told(database, scope, reading(**{"<!channel> & co": 900}))
        assert await deliver(database, store.vault, scope, ways, RULES) == 2
        assert await deliver(database, store.vault, scope, ways, RULES) == 0
    assert "Subject: isthmus: Answers are slow" in mails.mails[0]
    assert "To: oncall@example.test" in mails.mails[0]
    body = msgspec.json.decode(hooks.requests[0].partition("\r\n\r\n")[2], type=dict[str, str])
    assert body["text"].startswith("*isthmus: Answers are slow*\n&lt;!channel&gt; &amp; co: 900 ms")
    async with database.transaction(scope) as tx:
        kept = await (await tx.connection.execute("select to_jsonb(c)::text from alert_channel c")).fetchall()
    assert not any("oncall" in row[0] or "secret" in row[0] for row in kept)


async def test_what_is_not_taken_is_tried_later_and_at_last_given_up(
    database: Database, scope: Scope, store: Store
) -> None:
    async with web_server() as hooks:
        hooks.status = "500 Oops"
        ways: dict[Kind, Telling] = {"webhook": Webhook(Outbound(["127.0.0.1/32"]))}
        async with database.transaction(scope) as tx:
            url = f"http://127.0.0.1:{hooks.port}/"
            await add_channel(tx, store.vault, Outbound(["127.0.0.1/32"]), name="chat", kind="webhook", target=url)
        await told(database, scope, reading(a=900))
        at = scope
        for attempt in range(1, TRIES_MAX + 1):
            assert await deliver(database, store.vault, at, ways, RULES) == 0
            assert len(hooks.requests) == attempt
            assert await deliver(database, store.vault, at, ways, RULES) == 0
            at = replace(at, now=at.now + timedelta(hours=1))
        assert await deliver(database, store.vault, at, ways, RULES) == 0
        assert len(hooks.requests) == TRIES_MAX
    async with database.transaction(scope) as tx:
        row = await (
            await tx.connection.execute("select failure, given_up_at is not null from alert_notice")
        ).fetchone()
    assert row == ("not-sent: The webhook answered 500.", True)


async def test_a_channel_is_named_once_checked_tried_and_taken_away(
    database: Database, scope: Scope, store: Store
) -> None:
    outbound = Outbound()
    async with database.transaction(scope) as tx:
        made = await add_channel(tx, store.vault, outbound, name="mail", kind="email", target="a@example.test")
        with pytest.raises(ChannelTaken):
            await add_channel(tx, store.vault, outbound, name="mail", kind="email", target="b@example.test")
        for target in ("nobody", "a@b", "a@example.test\nBcc: c@example.test", "a@x.test,b@x.test"):
            with pytest.raises(ChannelRefused):
                await add_channel(tx, store.vault, outbound, name="other", kind="email", target=target)
        with pytest.raises(OutboundRefused):
            await add_channel(tx, store.vault, outbound, name="x", kind="webhook", target="https://169.254.169.254/")
        with pytest.raises(NotSent):
            await tell_test(tx, store.vault, {}, made.id)
        assert [each.name for each in await channels(tx)] == ["mail"]
        await remove_channel(tx, store.vault, made.id)
        with pytest.raises(ChannelMissing):
            await remove_channel(tx, store.vault, made.id)
        assert await channels(tx) == []


async def test_only_one_alert_of_a_rule_about_a_thing_is_open(database: Database, scope: Scope) -> None:
    await told(database, scope, reading(a=900))
    async with database.transaction(scope) as tx:
        again = (
            "insert into alert select workspace, gen_random_uuid(), rule, about, severity, status, value, threshold,"
            " reason, opened_at, seen_at from alert"
        )
        with pytest.raises(psycopg.errors.UniqueViolation):
            await tx.connection.execute(again)


def _ways(mails: Received, hooks: Received) -> dict[Kind, Telling]:
    assert hooks.port
    return {
        "email": Mail(url=f"smtp+plain://127.0.0.1:{mails.port}", sender="isthmus@example.test"),
        "webhook": Webhook(Outbound(["127.0.0.1/32"])),
    }

"""Reading: nothing is missed, nothing is doubled, whatever happens while pages are read."""

from contextlib import suppress
from copy import deepcopy

import msgspec
import pytest

from isthmus.app.discovery import schema
from isthmus.sync.connector import ConnectorError, Outcome, Throttled
from isthmus.sync.drift import drift_of, unexpected
from tests.conformance.bending import Counting
from tests.conformance.conftest import Side, ids, latest, pages, rows


async def test_check_says_who_we_are(side: Side) -> None:
    async with side.connector.open(side.settings) as session:
        assert (await session.check()).strip()


async def test_wrong_key_is_refused_with_a_fix(side: Side) -> None:
    assert side.counterpart.wrong
    with pytest.raises(ConnectorError) as caught:
        async with side.connector.open(side.settings | dict(side.counterpart.wrong)) as session:
            await session.check()
    assert caught.value.fix
    assert not any(value in str(caught.value) for value in side.counterpart.wrong.values() if len(value) > 8)


async def test_everything_is_read(side: Side) -> None:
    made = {side.make()[0] for _ in range(3)}
    async with side.connector.open(side.settings) as session:
        found = [row for row in rows(await pages(session, side.feed.name)) if not row.deleted]
        there = await ids(session, side.feed.name)
    told = {row.external_id for row in found}
    assert made <= told
    assert len({(row.external_id, row.version) for row in found}) == len(told)
    assert told == set(there)


async def test_pages_keep_their_size(side: Side) -> None:
    async with side.connector.open(side.settings) as session:
        cursor = await latest(side, session)
        side.counterpart.burst(side.counterpart.page_rows + 1)
        found = await pages(session, side.feed.name, cursor)
    assert len(found) > 1
    assert max(len(page.rows) for page in found) <= min(side.counterpart.page_rows, side.feed.page_rows_max)
    assert [page.more for page in found] == [True] * (len(found) - 1) + [False]


async def test_rows_come_oldest_first(side: Side) -> None:
    side.make()
    side.make()
    async with side.connector.open(side.settings) as session:
        stamps = [row.at for row in rows(await pages(session, side.feed.name)) if row.at is not None]
    assert stamps == sorted(stamps)


async def test_second_reading_brings_nothing_new(side: Side) -> None:
    side.make()
    async with side.connector.open(side.settings) as session:
        first = await pages(session, side.feed.name, side.cursor)
        known = {(row.external_id, row.version, row.at) for row in rows(first)}
        second = await pages(session, side.feed.name, first[-1].cursor)
        assert {(row.external_id, row.version, row.at) for row in rows(second)} <= known


async def test_overlap_is_read_again(side: Side) -> None:
    made, _ = side.make()
    async with side.connector.open(side.settings) as session:
        first = await pages(session, side.feed.name, side.cursor)
        again = [row.external_id for row in rows(await pages(session, side.feed.name, first[-1].cursor))]
    assert made in again


async def test_new_record_is_read(side: Side) -> None:
    async with side.connector.open(side.settings) as session:
        cursor = await latest(side, session)
        made, text = side.make()
        (row,) = [row for row in rows(await pages(session, side.feed.name, cursor)) if row.external_id == made]
    assert side.said(row)[side.counterpart.fields[0]] == text


async def test_edit_is_read_with_a_new_version(side: Side) -> None:
    name = side.counterpart.fields[0]
    async with side.connector.open(side.settings) as session:
        cursor = await latest(side, session)
        made, _ = side.make()
        first = await pages(session, side.feed.name, cursor)
        (before,) = [row for row in rows(first) if row.external_id == made]
        text = side.name("Edited")
        side.counterpart.put(made, {name: text})
        found = [row for row in rows(await pages(session, side.feed.name, first[-1].cursor)) if row.external_id == made]
    assert side.said(found[-1])[name] == text
    assert found[-1].version is None or found[-1].version != before.version


async def test_burst_within_one_stamp_is_read_whole(side: Side) -> None:
    async with side.connector.open(side.settings) as session:
        cursor = await latest(side, session)
        made = side.counterpart.burst(side.counterpart.page_rows * 3 + 1)
        found = await pages(session, side.feed.name, cursor)
    assert set(made) <= {row.external_id for row in rows(found)}
    assert len([page for page in found if page.rows]) > 3


async def test_reading_resumes_after_every_page(side: Side) -> None:
    async with side.connector.open(side.settings) as session:
        cursor = await latest(side, session)
        made = set(side.counterpart.burst(side.counterpart.page_rows * 2 + 1))
        whole = await pages(session, side.feed.name, cursor)
        for number, page in enumerate(whole):
            left = {row.external_id for row in rows(whole[number + 1 :])} & made
            again = {row.external_id for row in rows(await pages(session, side.feed.name, page.cursor))}
            assert left <= again


async def test_pages_that_shift_lose_nothing(side: Side) -> None:
    async with side.connector.open(side.settings) as session:
        cursor = await latest(side, session)
    made = side.counterpart.burst(side.counterpart.page_rows * 3)
    gone, edited = made[0], made[1]
    seen: set[str] = set()
    late = ""
    async with side.connector.open(side.settings) as session:
        async for page in session.read(side.feed.name, cursor=cursor):
            seen |= {row.external_id for row in page.rows}
            cursor = page.cursor
            if not late and set(made) & seen:
                side.counterpart.delete(gone)
                side.counterpart.put(edited, {side.counterpart.fields[0]: side.name("Shifted")})
                late, _ = side.make("Late")
        seen |= {row.external_id for row in rows(await pages(session, side.feed.name, cursor))}
    assert {*made, late} - {gone} <= seen


async def test_foreign_cursor_is_refused(side: Side) -> None:
    async with side.connector.open(side.settings) as session:
        with pytest.raises(ConnectorError):
            await pages(session, side.feed.name, "{of somebody else}")


async def test_unknown_feed_is_refused(side: Side) -> None:
    async with side.connector.open(side.settings) as session:
        with pytest.raises(ConnectorError):
            await pages(session, "no.such.feed")


async def test_ids_are_what_is_there(side: Side) -> None:
    made, gone = side.counterpart.burst(2)
    side.counterpart.delete(gone)
    async with side.connector.open(side.settings) as session:
        found = await ids(session, side.feed.name)
    assert len(set(found)) == len(found)
    assert made in found
    assert gone not in found


async def test_deletion_is_seen(side: Side) -> None:
    (gone,) = side.counterpart.burst(1)
    async with side.connector.open(side.settings) as session:
        cursor = await latest(side, session)
        side.counterpart.delete(gone)
        told = [row.external_id for row in rows(await pages(session, side.feed.name, cursor)) if row.deleted]
        there = await ids(session, side.feed.name)
    assert gone in told or (side.feed.deletes and gone not in there)
    assert side.counterpart.held(gone) is None


async def test_leave_is_asked(side: Side) -> None:
    counting = Counting()
    async with side.connector.open(side.settings, leave=counting.leave()) as session:
        cursor = await latest(side, session)
        side.counterpart.burst(side.counterpart.page_rows * 2)
        counting.asked = 0
        found = await pages(session, side.feed.name, cursor)
    assert counting.asked >= len([page for page in found if page.rows])


async def test_without_leave_nothing_is_sent(side: Side) -> None:
    made, text = side.make()
    counting = Counting(refusing=Throttled("The allowance is used up.", retry_after_s=60))
    change = side.change({side.counterpart.fields[0]: "Not sent"}, of=made)
    with suppress(Throttled):
        async with side.connector.open(side.settings, leave=counting.leave()) as session:
            answers = await session.write(side.feed.name, [change])
            assert [each.outcome for each in answers] == [Outcome.FAILED]
    assert counting.asked
    held = side.counterpart.held(made)
    assert held is not None
    assert held[side.counterpart.fields[0]] == text


async def test_reading_can_stop_early(side: Side) -> None:
    async with side.connector.open(side.settings) as session:
        cursor = await latest(side, session)
        side.counterpart.burst(side.counterpart.page_rows * 2)
        first = await anext(aiter(session.read(side.feed.name, cursor=cursor)))
        assert first.rows
        assert len(await pages(session, side.feed.name, cursor)) > 1


async def test_every_row_maps(side: Side) -> None:
    side.make()
    async with side.connector.open(side.settings) as session:
        for feed in side.connector.feeds_of(side.settings):
            for row in rows(await pages(session, feed.name)):
                if row.deleted:
                    continue
                for each in side.connector.normalise(feed.name, row):
                    kind = schema().types[each.type]
                    assert each.type in feed.types
                    assert each.external_id
                    assert [name for name in (*each.fields, *each.links) if kind.field(name) is None] == []


async def test_mapping_is_pure(side: Side) -> None:
    side.make()
    async with side.connector.open(side.settings) as session:
        for row in rows(await pages(session, side.feed.name, side.cursor)):
            kept = deepcopy(row)
            if not row.deleted:
                first = [msgspec.to_builtins(each) for each in side.connector.normalise(side.feed.name, row)]
                second = [msgspec.to_builtins(each) for each in side.connector.normalise(side.feed.name, row)]
                assert first == second
                assert row == kept


async def test_rows_are_as_expected(side: Side) -> None:
    side.make()
    async with side.connector.open(side.settings) as session:
        for feed in side.connector.feeds_of(side.settings):
            assert feed.expects, f"{feed.name} says not what it expects"
            found = [row for row in rows(await pages(session, feed.name)) if not row.deleted]
            assert [fault for row in found if (fault := drift_of(feed, row.body))] == []
            assert unexpected(feed, found) == set()

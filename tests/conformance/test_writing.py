"""Writing: each change has its answer, nothing is overwritten unseen, and nothing is made twice."""

from typing import cast

from isthmus.kernel.marks import Json
from isthmus.sync.connector import Change, Outcome, Raw, Session, Written
from tests.conformance.conftest import Side, ids, latest, pages, rows


async def written(session: Session, side: Side, change: Change) -> Written:
    """Write one change."""
    (answer,) = await session.write(side.feed.name, [change])
    return answer


async def read(session: Session, side: Side, external_id: str, cursor: str) -> Raw:
    """Return the last that is told of a record after a cursor."""
    return [row for row in rows(await pages(session, side.feed.name, cursor)) if row.external_id == external_id][-1]


def held(side: Side, external_id: str) -> tuple[str | None, str | None]:
    """Return the two texts that a record holds there."""
    found = side.counterpart.held(external_id)
    assert found is not None
    first, second = side.counterpart.fields
    return found[first], found[second]


async def test_new_record_is_made(side: Side) -> None:
    first, second = side.counterpart.fields
    text = side.name("Made")
    async with side.connector.open(side.settings) as session:
        answer = await written(session, side, side.change({first: text, second: "Ghent"}))
    assert answer.outcome is Outcome.WRITTEN, answer.reason
    assert answer.external_id
    assert held(side, answer.external_id) == (text, "Ghent")


async def test_write_is_read_back(side: Side) -> None:
    made, _ = side.make()
    text = side.name("Written")
    async with side.connector.open(side.settings) as session:
        answer = await written(session, side, side.change({side.counterpart.fields[0]: text}, of=made))
    assert answer.outcome is Outcome.WRITTEN, answer.reason
    assert answer.raw is not None
    assert answer.raw.external_id == made
    assert side.said(answer.raw)[side.counterpart.fields[0]] == text


async def test_only_named_fields_are_written(side: Side) -> None:
    made, text = side.make()
    async with side.connector.open(side.settings) as session:
        await written(session, side, side.change({side.counterpart.fields[1]: "Bruges"}, of=made))
    assert held(side, made) == (text, "Bruges")


async def test_stale_version_overwrites_nothing(side: Side) -> None:
    first, _ = side.counterpart.fields
    async with side.connector.open(side.settings) as session:
        cursor = await latest(side, session)
        made, _ = side.make()
        version = (await read(session, side, made, cursor)).version
        assert version, "a version is what a write is made on the condition of"
        text = side.name("Theirs")
        side.counterpart.put(made, {first: text})
        answer = await written(session, side, side.change({first: "Ours"}, of=made, version=version))
    assert answer.outcome is Outcome.MOVED
    assert held(side, made)[0] == text


async def test_gone_record_is_told(side: Side) -> None:
    (gone,) = side.counterpart.burst(1)
    side.counterpart.delete(gone)
    async with side.connector.open(side.settings) as session:
        answer = await written(session, side, side.change({side.counterpart.fields[0]: "Ghost"}, of=gone))
    assert answer.outcome in (Outcome.MOVED, Outcome.REFUSED)
    assert side.counterpart.held(gone) is None


async def test_refusal_stops_no_other(side: Side) -> None:
    first, _ = side.counterpart.fields
    one, two, three = side.counterpart.burst(3)
    text = side.name("Written")
    changes = [
        side.change({first: text}, of=one),
        side.change(dict(side.counterpart.refused), of=two),
        side.change({first: text}, of=three),
    ]
    async with side.connector.open(side.settings) as session:
        answers = await session.write(side.feed.name, changes)
    assert [each.outcome for each in answers] == [Outcome.WRITTEN, Outcome.REFUSED, Outcome.WRITTEN]
    assert answers[1].reason
    assert held(side, one)[0] == held(side, three)[0] == text


async def test_answers_keep_their_order(side: Side) -> None:
    first, _ = side.counterpart.fields
    made = side.counterpart.burst(8)
    texts = [side.name(f"Order {number}") for number in range(8)]
    changes = [side.change({first: text}, of=each) for text, each in zip(texts, made, strict=True)]
    async with side.connector.open(side.settings) as session:
        answers = await session.write(side.feed.name, changes)
    assert [each.external_id for each in answers] == made
    assert [held(side, each)[0] for each in made] == texts


async def test_same_key_makes_once(side: Side) -> None:
    first, second = side.counterpart.fields
    change = side.change({first: side.name("Once"), second: "Ghent"})
    async with side.connector.open(side.settings) as session:
        one = await written(session, side, change)
    async with side.connector.open(side.settings) as session:
        two = await written(session, side, change)
    assert one.external_id
    assert one.external_id == two.external_id


async def test_record_is_deleted_there(side: Side) -> None:
    (gone,) = side.counterpart.burst(1)
    async with side.connector.open(side.settings) as session:
        answer = await written(session, side, side.change({}, of=gone, deleted=True))
        assert answer.outcome is Outcome.WRITTEN, answer.reason
        assert gone not in await ids(session, side.feed.name)
    assert side.counterpart.held(gone) is None


async def test_read_only_feeds_refuse(side: Side) -> None:
    only_read = [each for each in side.connector.feeds_of(side.settings) if not each.writes]
    assert only_read
    change = Change(record_id=side.change({}).record_id, type=only_read[0].types[0], fields={}, external_id="1")
    async with side.connector.open(side.settings) as session:
        (answer,) = await session.write(only_read[0].name, [change])
    assert answer.outcome is Outcome.REFUSED
    assert answer.reason


async def test_null_clears(side: Side) -> None:
    made, text = side.make()
    async with side.connector.open(side.settings) as session:
        answer = await written(session, side, side.change({side.counterpart.fields[1]: None}, of=made))
    assert answer.outcome is Outcome.WRITTEN, answer.reason
    assert held(side, made) == (text, None)


async def test_version_after_a_write_is_current(side: Side) -> None:
    first, _ = side.counterpart.fields
    made, _ = side.make()
    text = side.name("Second")
    async with side.connector.open(side.settings) as session:
        one = await written(session, side, side.change({first: side.name("First")}, of=made))
        assert one.raw is not None
        two = await written(session, side, side.change({first: text}, of=made, version=one.raw.version))
    assert two.outcome is Outcome.WRITTEN, two.reason
    assert held(side, made)[0] == text


async def test_what_we_say_is_what_it_holds(side: Side) -> None:
    first, second = side.counterpart.fields
    said: dict[str, Json] = {first: side.name("Société Générale & fils – 名"), second: "Liège"}
    async with side.connector.open(side.settings) as session:
        cursor = await latest(side, session)
        answer = await written(session, side, side.change(dict(said)))
        row = await read(session, side, cast("str", answer.external_id), cursor)
    mapped = side.said(row)
    assert {name: mapped[name] for name in said} == said

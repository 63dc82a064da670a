"""Changes that are written one by one, several at a time."""

import asyncio
from collections import Counter
from uuid import UUID

import pytest

from isthmus.sync.abreast import abreast
from isthmus.sync.connector import Change, ConnectorError, KeyRefused, Outcome, Throttled, Written


def _changes(count: int, *, ids: int | None = None) -> list[Change]:
    numbers = range(count)
    return [
        Change(record_id=UUID(int=n), type="sales.lead", fields={"n": n}, external_id=str(n % ids) if ids else None)
        for n in numbers
    ]


async def test_every_change_is_answered_in_its_place_and_no_more_than_agreed_are_under_way() -> None:
    under_way, most = 0, 0

    async def write(change: Change) -> Written:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(int(change.record_id) % 5):
            await asyncio.sleep(0)
        under_way -= 1
        return Written(outcome=Outcome.WRITTEN, external_id=f"made-{change.fields['n']}")

    answers = await abreast(_changes(50), write, at_once=4)
    assert [each.external_id for each in answers] == [f"made-{n}" for n in range(50)]
    assert most == 4


async def test_changes_of_one_record_are_written_in_their_order() -> None:
    said: dict[str, list[int]] = {}

    async def write(change: Change) -> Written:
        await asyncio.sleep(0)
        assert change.external_id is not None
        said.setdefault(change.external_id, []).append(int(change.record_id))
        return Written(outcome=Outcome.WRITTEN, external_id=change.external_id)

    await abreast(_changes(30, ids=3), write)
    assert said == {str(n): list(range(n, 30, 3)) for n in range(3)}


async def test_after_the_vendor_was_lost_nothing_is_begun_and_the_rest_has_failed() -> None:
    async def write(change: Change) -> Written:
        await asyncio.sleep(0)
        if change.fields["n"] == 5:
            raise ConnectorError("It does not answer.", fix="Wait.")
        return Written(outcome=Outcome.WRITTEN, external_id="x")

    answers = await abreast(_changes(40), write, at_once=2)
    outcomes = Counter(each.outcome for each in answers)
    assert outcomes[Outcome.WRITTEN] <= 7
    assert outcomes[Outcome.FAILED] == 40 - outcomes[Outcome.WRITTEN]
    assert {each.reason for each in answers if each.outcome == Outcome.FAILED} == {"It does not answer. Wait."}


async def test_a_refused_key_is_raised() -> None:
    async def write(change: Change) -> Written:
        raise KeyRefused("No.", fix=f"Give another for {change.type}.")

    with pytest.raises(KeyRefused):
        await abreast(_changes(3), write)


async def test_records_that_point_to_one_and_those_in_turn_are_written_in_their_order() -> None:
    order: list[str] = []

    async def write(change: Change) -> Written:
        name = str(change.fields["n"])
        order.append(f"+{name}")
        await asyncio.sleep(0)
        order.append(f"-{name}")
        return Written(outcome=Outcome.WRITTEN, external_id=name)

    def pointing(n: str, *to: str, of: str | None = None) -> Change:
        links = {f"link{at}": each for at, each in enumerate(to)}
        return Change(record_id=UUID(int=1), type="sales.deal", fields={"n": n}, links=links, external_id=of)

    changes = [pointing("a", "x"), pointing("b", "y"), pointing("c", "x", "y"), pointing("d", of="x"), pointing("e")]
    await abreast(changes, write)
    assert [each for each in order if each[1] != "e"] == ["+a", "-a", "+b", "-b", "+c", "-c", "+d", "-d"]
    assert order.index("+e") == 1, "what has nothing in common with others waits for none"
    order.clear()
    await abreast([pointing("a"), pointing("b")], write, in_turn=lambda change: change.external_id is None)
    assert order == ["+a", "-a", "+b", "-b"]


@pytest.mark.parametrize("error", [Throttled("Slow down.", retry_after_s=9), LookupError("results")])
async def test_what_went_wrong_before_anything_was_written_is_raised_as_it_is(error: Exception) -> None:
    async def write(change: Change) -> Written:
        if change.fields["n"] == 0:
            raise error
        return Written(outcome=Outcome.REFUSED)

    with pytest.raises(type(error)) as raised:
        await abreast(_changes(3), write, at_once=1)
    assert raised.value is error


async def test_what_was_written_is_told_although_the_vendor_asks_to_slow_down() -> None:
    async def write(change: Change) -> Written:
        if change.fields["n"] == 1:
            raise Throttled("Slow down.", retry_after_s=9)
        return Written(outcome=Outcome.WRITTEN)

    outcomes = [each.outcome for each in await abreast(_changes(3), write, at_once=1)]
    assert outcomes == [Outcome.WRITTEN, Outcome.FAILED, Outcome.FAILED]

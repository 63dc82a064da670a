"""Changes that are written one by one, several at a time."""

import asyncio
from collections import Counter
from uuid import UUID

import pytest

from isthmus.sync.abreast import abreast
from isthmus.sync.connector import Change, ConnectorError, KeyRefused, Outcome, Written


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

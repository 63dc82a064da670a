"""Ids are sortable, tell their kind, and come back from their outside form."""

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.kernel.ids import ENTROPY_BYTES, InvalidId, ids_ms, mint, mint_many, text_of, uuid_of

MS = st.integers(0, (1 << 47) - 1)
CHANCE = st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES)


@given(MS, CHANCE)
def test_an_id_is_a_version_7_uuid_of_its_millisecond(unix_ms: int, chance: bytes) -> None:
    made = mint(unix_ms=unix_ms, entropy=chance)
    assert (made.version, made.variant, made.int >> 80) == (7, "specified in RFC 4122", unix_ms)


@given(st.uuids(), st.sampled_from(["lead", "acc", "key"]))
def test_an_id_comes_back_from_its_outside_form_in_any_case(uuid: UUID, prefix: str) -> None:
    text = text_of(prefix, uuid)
    assert uuid_of(prefix, text) == uuid
    assert uuid_of(prefix, f"{prefix}_{text.rpartition('_')[2].lower()}") == uuid


@given(st.lists(st.uuids(), min_size=2, max_size=20))
def test_outside_forms_sort_as_the_ids_do(uuids: list[UUID]) -> None:
    assert sorted(text_of("x", each) for each in uuids) == [text_of("x", each) for each in sorted(uuids)]


@settings(deadline=None)
@given(MS, st.lists(st.integers(0, 9_000), max_size=4))
def test_ids_of_batches_that_follow_each_other_grow(unix_ms: int, sizes: list[int]) -> None:
    made: list[UUID] = []
    for size in sizes:
        made += mint_many(unix_ms=unix_ms, count=size, entropy=bytes(size * ENTROPY_BYTES))
        unix_ms += ids_ms(size)
    assert made == sorted(set(made))


@pytest.mark.parametrize(
    "text",
    ["", "lead", "lead_", "deal_01JD0000000000000000000000", "lead_01JD000000000000000000000U", "lead_9" + "0" * 25],
)
def test_what_is_no_id_of_the_kind_is_refused(text: str) -> None:
    with pytest.raises(InvalidId):
        uuid_of("lead", text)

"""Lists given to a statement come back as they were."""

from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import DataError

from isthmus.store.database import Database

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)
QUIET = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@QUIET
@given(texts=st.lists(st.none() | TEXTS | st.sampled_from(["", "null", "NULL", '"', "\\", "{}", ",", ' a"b\\ '])))
async def test_texts_of_any_kind_and_nulls(database: Database, texts: list[str | None]) -> None:
    async with database.plain() as connection:
        cursor = await connection.execute("select %s::text[]", (texts,))
        assert await cursor.fetchone() == (texts,)


@QUIET
@given(ids=st.lists(st.uuids()), numbers=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)))
async def test_ids_and_numbers(database: Database, ids: list[UUID], numbers: list[int | None]) -> None:
    async with database.plain() as connection:
        cursor = await connection.execute("select %s::uuid[], %s::bigint[]", (ids, numbers))
        assert await cursor.fetchone() == (ids, numbers)


async def test_a_text_with_nul_is_refused_before_it_is_sent(database: Database) -> None:
    async with database.plain() as connection:
        with pytest.raises(DataError, match="NUL"):
            await connection.execute("select %s::text[]", (["a\0b"],))

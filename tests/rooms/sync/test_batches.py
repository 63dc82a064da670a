"""Pages of a long reading are stored together: never out of order, never much to read again, never past the fuse."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from isthmus.sync.batches import ahead, stored, together
from isthmus.sync.connector import Page, Raw
from isthmus.sync.fuse import FuseTripped
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import Killed, Vendor

_AT = datetime(2026, 1, 1, tzinfo=UTC)
_CLAIMS = "select count(*) from claim where workspace = current_workspace()"


def _page(number: int, *, rows: int = 10, **raw: object) -> Page:
    made = tuple(Raw(external_id=f"{number}-{n}", body={}, **raw) for n in range(rows))  # pyright: ignore[reportArgumentType] - as given by the test.
    return Page(rows=made, cursor=str(number), more=True)


async def _pages(pages: Sequence[Page], failing: Exception | None = None) -> AsyncIterator[Page]:
    for page in pages:
        yield page
    if failing is not None:
        raise failing


async def _cursors(pages: Sequence[Page], *, apart: bool = False) -> list[list[str]]:
    found = together(_pages(pages), apart=apart, now=lambda: _AT)
    return [[page.cursor for page in batch] async for batch in found]


async def test_a_short_reading_goes_page_by_page_and_a_long_one_has_at_most_a_quarter_to_read_again() -> None:
    batches = await _cursors([_page(number) for number in range(200)])
    assert all(len(batch) == 1 for batch in batches[:7])
    taken = 0
    for batch in batches:
        taken += 10 * len(batch)
        assert 10 * len(batch) <= max(10, taken / 4)
    assert [int(cursor) for batch in batches for cursor in batch] == list(range(200))
    assert len(batches) < 40


async def test_pages_that_must_come_alone_do() -> None:
    plain = [_page(number) for number in range(100)]
    again, gone = _page(98), _page(101, deleted=True)
    batches = await _cursors([*plain, again, gone, _page(102)])
    assert [gone.cursor] in batches
    assert all(batch.count("98") <= 1 for batch in batches)
    assert all(len(batch) == 1 for batch in await _cursors(plain, apart=True))


async def test_what_was_read_slowly_does_not_wait_to_be_stored() -> None:
    ticks = iter(range(10_000))
    found = together(
        _pages([_page(number) for number in range(300)]),
        apart=False,
        now=lambda: _AT + timedelta(seconds=next(ticks)),
    )
    assert max([len(batch) async for batch in found]) <= 3


async def test_what_was_read_before_the_reading_failed_comes_before_the_failure() -> None:
    pages = [_page(number) for number in range(50)]
    found: list[str] = []

    async def read() -> None:
        async for batch in ahead(together(_pages(pages, ValueError("gone")), apart=False, now=lambda: _AT)):
            found.extend(page.cursor for page in batch)

    with pytest.raises(ValueError, match="gone"):
        await read()
    assert found == [page.cursor for page in pages]


async def test_a_batch_that_trips_the_fuse_is_stored_as_far_as_its_pages_may_go() -> None:
    pages = [_page(number) for number in range(3)]
    done: list[str] = []

    async def store(page: Page) -> None:
        if len(page.rows) > 10 or page.cursor == "2":
            raise FuseTripped("Too much.", fix="Look.")
        done.append(page.cursor)

    with pytest.raises(FuseTripped):
        await stored(pages, store)
    assert done == ["0", "1"]


async def test_a_long_reading_that_is_killed_goes_on_and_doubles_nothing(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    crm.page_rows = 20
    for number in range(900):
        crm.put("contacts", email=f"p{number}@company.example", first_name="Ada")
    crm.troubles = [*[None] * 41, Killed()]
    with pytest.raises(Killed):
        await bench.sync("crm")
    ((stored_rows,),) = await bench.rows(_CLAIMS)
    assert isinstance(stored_rows, int)
    assert 600 <= stored_rows <= 800
    (run,) = await bench.sync("crm")
    assert (run.created, run.rejected) == (900 - stored_rows, 0)
    assert await bench.rows(_CLAIMS) == [(900,)]
    kept = "select count(distinct version), count(distinct payload) from ref join claim using (workspace, record_id)"
    assert await bench.rows(kept) == [(900, 900)]


async def test_in_a_long_reading_who_is_known_who_shares_an_address_and_who_cannot_be_stored_are_told_apart(
    bench: Bench, crm: Vendor
) -> None:
    await bench.connect(crm)
    crm.page_rows = 500
    known = crm.put("contacts", email="known@company.example", first_name="Ada")
    await bench.sync("crm")
    crm.put("contacts", known, first_name="Grace")
    for number in range(300):
        crm.put("contacts", email=f"p{number}@company.example", first_name="Ada")
    bench.tick()
    crm.put("contacts", email="p7@company.example", first_name="Again")
    broken = crm.put("contacts", email="x" * 9_000, first_name="Broken")
    (run,) = await bench.sync("crm")
    assert (run.read, run.created, run.changed, run.rejected) == (303, 300, 1, 1)
    people = {each.values["email"]: each.values["first_name"] for each in await bench.records("sales.person")}
    assert (len(people), people["known@company.example"], people["p7@company.example"]) == (301, "Grace", "Again")
    assert await bench.rows("select external_id from rejected") == [(broken,)]
    versions = await bench.rows("select count(distinct version) from ref where not deleted")
    assert versions == [(302,)]

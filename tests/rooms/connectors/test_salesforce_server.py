"""The client against the fake organisation: order, deletions and merges, quotas, jobs, and conditional writes."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as some
from joserfc.jwk import RSAKey

from isthmus.connectors.salesforce import CONNECTOR
from isthmus.connectors.salesforce.fake.faults import Refused
from isthmus.connectors.salesforce.fake.fields import KEY_FIELD, Organisation
from isthmus.connectors.salesforce.fake.server import REFRESH_TOKEN, SECRET, Fake, running
from isthmus.kernel.marks import Json
from isthmus.sync.connector import (
    Change,
    ConnectorError,
    FeedTrouble,
    KeyRefused,
    Outcome,
    Page,
    Raw,
    Scanning,
    Session,
    Throttled,
    Written,
    freely,
)
from isthmus.sync.oauth import consent_url, exchange, renew
from tests.rooms.connectors.changes import change
from tests.rooms.connectors.salesforce_room import company, pages, rows, settings

CONTACTS, PERSON = "contacts", "sales.person"
BACK, PROOF = "https://isthmus.example/back", "a-verifier-of-43-characters-at-least-for-pkce"


@pytest.fixture
def fake() -> Iterator[Fake]:
    """An organisation without records."""
    with running(Fake()) as own:
        yield own


def made(fake: Fake, count: int, **values: Json) -> list[str]:
    """Let people make contacts one after the other."""
    return [
        fake.records.create("Contact", {"LastName": f"Person {number}", **values}, by=fake.records.human)
        for number in range(count)
    ]


async def scanned(session: Session, feed: str, cursor: str | None = None) -> list[Page]:
    """Read everything."""
    assert isinstance(session, Scanning)
    return [page async for page in session.scan(feed, cursor=cursor)]


async def written(fake: Fake, *changes: Change, feed: str = CONTACTS, **more: str) -> list[Written]:
    """Write changes in a session of their own."""
    async with CONNECTOR.open(settings(fake, **more)) as session:
        return await session.write(feed, changes)


@examples(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    bursts=some.lists(some.integers(1, 14), min_size=1, max_size=4),
    page_rows=some.integers(1, 6),
    moves=some.lists(some.tuples(some.integers(0, 60), some.booleans()), max_size=12),
)
def test_whatever_changes_while_pages_are_read_the_last_state_of_every_record_is_told(
    bursts: list[int], page_rows: int, moves: list[tuple[int, bool]]
) -> None:
    """Bursts have one stamp and more rows than a page; between pages records are changed and deleted."""

    async def read() -> None:
        own = Fake()
        records, told = own.records, dict[str, Raw]()
        with running(own):
            known = [
                each
                for count in bursts
                for each in records.burst("Contact", [{"LastName": f"B {n}"} for n in range(count)], by=records.human)
            ]
            left = list(moves)
            async with CONNECTOR.open(settings(own, page_rows=str(page_rows), overlap_s="0")) as session:
                cursor: str | None = None
                async for page in session.read(CONTACTS, cursor=None):
                    assert len(page.rows) <= page_rows
                    told |= {row.external_id: row for row in page.rows}
                    cursor = page.cursor
                    for at, gone in left[:2]:
                        _move(own, known[at % len(known)], gone=gone)
                    left = left[2:]
                told |= {row.external_id: row for row in rows(await pages(session, CONTACTS, cursor))}
        held = {str(row["Id"]): row for row in records.rows("Contact")}
        assert set(told) == set(held)
        for of, row in held.items():
            assert told[of].deleted is row["IsDeleted"]
            assert told[of].deleted or told[of].body["MailingCity"] == row["MailingCity"]

    asyncio.run(read())


def _move(fake: Fake, of: str, *, gone: bool) -> None:
    row = fake.records.find("Contact", of)
    assert row is not None
    if row["IsDeleted"] is True:
        return
    if gone:
        fake.records.delete("Contact", of, by=fake.records.human)
    else:
        fake.records.change("Contact", of, {"MailingCity": str(fake.records.now)}, by=fake.records.human)


async def test_answers_in_parts_are_read_to_their_end_and_go_on_by_place_when_the_list_is_forgotten(fake: Fake) -> None:
    known = set(made(fake, 9))
    fake.rest.batch_rows = 2
    seen: set[str] = set()
    async with CONNECTOR.open(settings(fake)) as session:
        async for page in session.read(CONTACTS, cursor=None):
            assert len(page.rows) <= 2
            seen |= {row.external_id for row in page.rows}
            if len(seen) == 4:
                fake.rest.forget_lists()
    assert seen == known


async def test_a_query_that_takes_too_long_is_asked_for_half_as_many_rows(fake: Fake) -> None:
    known = made(fake, 60)
    fake.rest.slow_from = 30
    async with CONNECTOR.open(settings(fake, page_rows="100")) as session:
        found = await pages(session, CONTACTS)
        assert {row.external_id for row in rows(found)} == set(known)
        assert max(len(page.rows) for page in found) <= 25
        fake.rest.slow_from = 1
        with pytest.raises(ConnectorError, match="too long"):
            await pages(session, CONTACTS)


async def test_deletions_and_merges_come_in_order_and_what_was_purged_is_missing_among_the_ids(fake: Fake) -> None:
    kept, merged, gone, purged = made(fake, 4)
    async with CONNECTOR.open(settings(fake, overlap_s="0")) as session:
        cursor = (await pages(session, CONTACTS))[-1].cursor
        fake.records.merge("Contact", kept, merged, by=fake.records.human)
        fake.records.delete("Contact", gone, by=fake.records.human)
        fake.records.delete("Contact", purged, by=fake.records.human)
        fake.records.purge("Contact", purged)
        told = {row.external_id: row for row in rows(await pages(session, CONTACTS, cursor))}
        ids = [each async for part in session.ids(CONTACTS) for each in part]
    assert (told[merged].deleted, told[merged].merged_into) == (True, kept)
    assert (told[gone].deleted, told[gone].merged_into) == (True, None)
    assert purged not in told
    assert ids == [kept]


async def test_everything_is_read_by_a_job_as_by_lists_and_goes_on_where_it_was_interrupted(fake: Fake) -> None:
    company(fake)
    async with CONNECTOR.open(settings(fake, page_rows="1")) as session:
        for feed in ("accounts", "contacts", "opportunity_history", "tasks", "leads"):
            listed, job = rows(await pages(session, feed)), await scanned(session, feed)
            assert {row.external_id: row for row in rows(job)} == {row.external_id: row for row in listed}
        first = job[0]
        assert first.more
        rest = await scanned(session, "leads", first.cursor)
        assert [row.external_id for row in rows(rest)] == [row.external_id for row in rows(job)[1:]]
    assert fake.jobs.left == 10_000 - 5


async def test_a_job_whose_results_are_no_longer_kept_is_begun_anew(fake: Fake) -> None:
    known = set(made(fake, 4))
    async with CONNECTOR.open(settings(fake, page_rows="2")) as session:
        first = (await scanned(session, CONTACTS))[0]
        fake.jobs.forget()
        again = rows(await scanned(session, CONTACTS, first.cursor))
    assert {row.external_id for row in again} == known


async def test_without_jobs_for_the_day_everything_is_read_by_lists(fake: Fake) -> None:
    known = made(fake, 7)
    fake.jobs.left = 0
    async with CONNECTOR.open(settings(fake)) as session:
        found = await scanned(session, CONTACTS)
        assert {row.external_id for row in rows(found)} == set(known)
        again = await scanned(session, CONTACTS, found[0].cursor)
        assert {row.external_id for row in rows(again)} | {row.external_id for row in found[0].rows} == set(known)


async def test_at_the_reserve_a_run_ends_with_its_place_and_goes_on_when_there_is_room_again(fake: Fake) -> None:
    known = set(made(fake, 12))
    fake.allowed = 20
    told: list[Page] = []

    async def read() -> None:
        async with CONNECTOR.open(settings(fake, page_rows="2", reserve="80")) as session:
            async for page in session.read(CONTACTS, cursor=None):
                told.append(page)  # noqa: PERF401 - what was read before the error is wanted.

    with pytest.raises(Throttled, match="of the 20 requests") as caught:
        await read()
    seen = {row.external_id for row in rows(told)}
    assert (caught.value.retry_after_s, fake.used) == (3600, 4)
    assert seen < known
    fake.used = 0
    async with CONNECTOR.open(settings(fake, page_rows="4", reserve="0")) as session:
        left = rows(await pages(session, CONTACTS, told[-1].cursor))
    assert {row.external_id for row in left} == known - seen


async def test_when_salesforce_says_that_the_limit_is_exceeded_nothing_is_waited_for(fake: Fake) -> None:
    fake.allowed = fake.used = 5
    with pytest.raises(Throttled, match="Limit exceeded"):
        await written(fake, change(PERSON, {"last_name": "Late"}), reserve="0")
    assert fake.used == 6


async def test_a_busy_server_is_asked_again_and_an_ended_session_renewed_once(fake: Fake) -> None:
    known = made(fake, 3)
    async with CONNECTOR.open(settings(fake)) as session:
        fake.failing = [Refused(503, "SERVER_UNAVAILABLE", "The server is busy.")]
        fake.tokens.end()
        assert {row.external_id for row in rows(await pages(session, CONTACTS))} == set(known)
        assert fake.failing == []
        fake.records.now += timedelta(hours=3)
        assert len(rows(await pages(session, CONTACTS))) == 3


async def test_three_ways_to_sign_in_and_none_shows_what_was_given() -> None:
    key, other = RSAKey.generate_key(2048), RSAKey.generate_key(2048)
    pem, wrong = (each.as_pem(private=True).decode() for each in (key, other))
    user = {"user": "ines@quince.example", "client_secret": ""}
    with running(Fake(public_key=key.as_pem(private=False).decode())) as fake:
        good = {
            "isthmus@": {},
            "ines@": {"refresh_token": REFRESH_TOKEN},
            "ines@q": {"private_key": pem, **user},
        }
        for name, more in good.items():
            async with CONNECTOR.open(settings(fake, **more)) as session:
                assert (await session.check()).startswith(name)
        bad = (
            {"client_secret": "secret-of-nobody"},
            {"refresh_token": "token-of-nobody"},
            {"private_key": wrong, **user},
            {"private_key": pem, **user, "user": "nobody@quince.example"},
        )
        for more in bad:
            with pytest.raises(KeyRefused) as caught:
                async with CONNECTOR.open(settings(fake, **more)):
                    pass
            assert not any(each in str(caught.value) for each in (SECRET, "of-nobody", pem[40:80]))
        for more in ({"client_secret": ""}, {"private_key": pem}, {"private_key": "no key", **user}, {"client_id": ""}):
            with pytest.raises(ConnectorError) as missing:
                async with CONNECTOR.open(settings(fake, **more)):
                    pass
            assert missing.value.fix


async def test_a_person_consents_with_the_apps_key_alone_and_is_who_isthmus_then_is(fake: Fake) -> None:
    given = settings(fake, client_secret="", currency="")
    assert CONNECTOR.oauth is not None
    assert CONNECTOR.consents(given)
    others: tuple[dict[str, str], ...] = ({"client_secret": "x"}, {"refresh_token": "x"}, {"private_key": "x"})
    assert not any(CONNECTOR.consents(given | other) for other in others)
    address = parse_qs(
        urlsplit(consent_url(CONNECTOR.oauth, given, state="s", redirect_uri=BACK, verifier=PROOF)).query
    )
    code = fake.tokens.consent(challenge=address["code_challenge"][0], redirect_uri=BACK)
    now = fake.records.now
    granted = await exchange(CONNECTOR, given, code=code, verifier=PROOF, redirect_uri=BACK, now=now)
    renewed = await renew(CONNECTOR, given, granted.tokens, dies_at=None, now=now)

    async def authorise(_: bool) -> dict[str, str]:  # noqa: FBT001 - as Calls asks it.
        return {"Authorization": f"Bearer {renewed.tokens.access}"}

    async with CONNECTOR.oauth.begin(given | renewed.tokens.told, freely, authorise) as session:
        assert await session.check() == f"ines@quince.example at {fake.url}"
        [answer] = await session.write(CONTACTS, [change(PERSON, {"last_name": "By Ines"}, key="k")])
    assert answer.outcome is Outcome.WRITTEN
    with pytest.raises(KeyRefused):
        await exchange(CONNECTOR, given, code=code, verifier=PROOF, redirect_uri=BACK, now=now)


async def test_an_organisation_with_one_currency_is_told_which() -> None:
    with running(Fake(Organisation(currencies=False))) as own:
        company(own)
        async with CONNECTOR.open(settings(own)) as session:
            with pytest.raises(FeedTrouble, match="one currency"):
                await session.check()
        async with CONNECTOR.open(settings(own, currency="gbp")) as session:
            [row] = rows(await pages(session, "opportunities"))
    [deal] = CONNECTOR.normalise("opportunities", row)
    assert deal.fields["amount"] == {"amount": "43000", "currency": "GBP"}


async def test_a_change_that_came_too_late_is_refused_by_salesforce_itself(fake: Fake) -> None:
    [of] = made(fake, 1)
    async with CONNECTOR.open(settings(fake)) as session:
        [row] = rows(await pages(session, CONTACTS))

        def edited() -> None:
            fake.records.now += timedelta(seconds=2)
            fake.records.change("Contact", of, {"LastName": "Theirs"}, by=fake.records.human)

        fake.rest.meanwhile = edited
        [answer] = await session.write(CONTACTS, [change(PERSON, {"last_name": "Ours"}, of=of, version=row.version)])
    assert answer.outcome is Outcome.MOVED
    held = fake.records.find("Contact", of)
    assert held is not None
    assert held["LastName"] == "Theirs"


@pytest.mark.parametrize("more", [{}, {"bulk_rows": "3"}])
async def test_many_changes_have_one_answer_each_in_order(fake: Fake, more: dict[str, str]) -> None:
    known = made(fake, 40)
    fake.records.locked.add(known[5][:15])
    async with CONNECTOR.open(settings(fake, page_rows="100")) as session:
        told = {row.external_id: row.version for row in rows(await pages(session, CONTACTS))}
    changes = [change(PERSON, {"city": f"Town {n}"}, of=of, version=told[of]) for n, of in enumerate(known)]
    changes[7] = change(PERSON, {"email": "no address"}, of=known[7], version=told[known[7]])
    changes[9] = change(PERSON, {"city": "Stale"}, of=known[9], version="stale")
    changes += [change(PERSON, {"last_name": f"New {n}"}, key=f"key-{n}") for n in range(4)]
    answers = await written(fake, *changes, **more)
    expected = [Outcome.WRITTEN] * 44
    expected[5], expected[7], expected[9] = Outcome.FAILED, Outcome.REFUSED, Outcome.MOVED
    assert [each.outcome for each in answers] == expected
    assert "invalid email address" in answers[7].reason
    assert "exclusive access" in answers[5].reason
    for number, of in enumerate(known):
        held = fake.records.find("Contact", of)
        assert held is not None
        assert held["MailingCity"] == (None if number in (5, 7, 9) else f"Town {number}")
    assert all(each.raw is not None for each in answers if each.outcome is Outcome.WRITTEN)
    assert fake.jobs.left == 10_000 - (2 if more else 0)


async def test_without_jobs_for_the_day_many_changes_go_as_collections(fake: Fake) -> None:
    fake.jobs.left = 0
    changes = [change(PERSON, {"last_name": f"New {n}", "city": "Gent"}, key=f"key-{n}") for n in range(5)]
    answers = await written(fake, *changes, bulk_rows="3")
    assert {each.outcome for each in answers} == {Outcome.WRITTEN}
    assert len(list(fake.records.rows("Contact"))) == 5


@pytest.mark.parametrize("more", [{}, {"bulk_rows": "1"}])
async def test_with_a_key_field_a_new_record_is_made_once_whatever_people_do_with_it(
    fake: Fake, more: dict[str, str]
) -> None:
    new = change(PERSON, {"last_name": "Once", "custom": {"Score__c": 3}}, key="key-1")
    [one] = await written(fake, new, key_field=KEY_FIELD, **more)
    assert one.raw is not None
    assert KEY_FIELD not in str(one.raw.body), "our key is no field of theirs"
    fake.records.change("Contact", str(one.external_id), {"MailingCity": "Gent"}, by=fake.records.human)
    [two] = await written(fake, new, key_field=KEY_FIELD, **more)
    assert two.external_id == one.external_id
    async with CONNECTOR.open(settings(fake, key_field="Nowhere__c")) as session:
        with pytest.raises(ConnectorError, match="Nowhere__c"):
            await session.check()


async def test_a_deal_is_made_and_moved_in_the_organisations_own_stages_and_its_owner_found(fake: Fake) -> None:
    fields: dict[str, Json] = {"name": "Jars", "close_date": "2026-12-24", "owner_id": "ines@quince.example"}
    fields |= {"amount": {"amount": "12.50", "currency": "USD"}}
    [answer] = await written(fake, change("sales.deal", fields), feed="opportunities")
    assert answer.raw is not None, answer.reason
    body = answer.raw.body
    assert (body["StageName"], body["Amount"], body["CurrencyIsoCode"]) == ("Qualification", 12.5, "USD")
    assert body["Owner"] == {"Name": "Ines", "Email": "ines@quince.example"}
    moved = change("sales.deal", {"stage": "negotiation"}, of=answer.external_id, version=answer.raw.version)
    unknown = change("sales.deal", {"owner_id": "nobody@quince.example"}, of=answer.external_id)
    one, two = await written(fake, moved, unknown, feed="opportunities")
    assert one.raw is not None
    assert one.raw.body["StageName"] == "Legal Check"
    assert (two.outcome, "nobody@quince.example" in two.reason) == (Outcome.REFUSED, True)
    [refused] = await written(fake, change("sales.deal", {"name": "No date"}), feed="opportunities")
    assert (refused.outcome, "CloseDate" in refused.reason) == (Outcome.REFUSED, True)


async def test_what_our_user_may_not_write_or_see_is_named(fake: Fake) -> None:
    [of] = made(fake, 1)
    contact = fake.organisation.tables["Contact"]
    kept = dict(contact.fields)
    kept.pop("Department")
    object.__setattr__(contact, "fields", kept)
    [answer] = await written(fake, change(PERSON, {"department": "Jam"}, of=of))
    assert (answer.outcome, "Department" in answer.reason) == (Outcome.REFUSED, True)
    fake.organisation.tables.pop("Case")
    async with CONNECTOR.open(settings(fake)) as session:
        with pytest.raises(FeedTrouble, match="no Case"):
            await pages(session, "cases")
    with pytest.raises(ConnectorError, match="no feed"):
        CONNECTOR.feeds_of(settings(fake, feeds="contacts,quotes"))
    assert [each.name for each in CONNECTOR.feeds_of(settings(fake, feeds="leads, contacts"))] == [CONTACTS, "leads"]

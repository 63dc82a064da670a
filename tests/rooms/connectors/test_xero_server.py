"""Xero's connector and our own organisation, beside what others wrote: Prism, localstack-xero and xero-python."""

from http import HTTPStatus
from pathlib import Path
from uuid import UUID

from isthmus.connectors.xero import CONNECTOR
from isthmus.connectors.xero.conformance import booked
from isthmus.connectors.xero.vendor import TENANT
from isthmus.connectors.xero.vendor_http import Site, serving
from isthmus.connectors.xero.wire import CONTACTS, CREDIT_NOTES, INVOICES, PAYMENTS
from isthmus.sync.connector import Change, Outcome, Raw, Session
from isthmus.sync.drift import drift_of
from tests.rooms.connectors.xero_room import program, running_localstack, running_prism
from tests.rooms.sync.consent_room import asked

FEEDS = {each.name: each for each in CONNECTOR.feeds}
RECORD = UUID(int=7)


async def read(session: Session, feed: str, cursor: str | None = None) -> list[Raw]:
    """Return the rows of a feed, each as it is expected."""
    rows = [row async for page in session.read(feed, cursor=cursor) for row in page.rows]
    assert [drift_of(FEEDS[feed], row.body) for row in rows if not row.deleted] == [None] * len(
        [row for row in rows if not row.deleted]
    )
    return rows


def types(feed: str, rows: list[Raw]) -> list[str]:
    """Return the types of all records that rows say something of."""
    return [each.type for row in rows if not row.deleted for each in CONNECTOR.normalise(feed, row)]


async def test_every_request_is_as_xeros_openapi_file_describes_it_and_its_examples_are_understood(
    tmp_path: Path,
) -> None:
    since = '{"since":"2020-02-06T20:17:43Z"}'
    change = Change(record_id=RECORD, type="sales.account", fields={"name": "Contoso", "city": "Kiel"}, key="k")
    with serving(Site()) as tokens, running_prism(tmp_path) as prism:
        settings = tokens.custom | {"url": prism, "tenant_id": TENANT}
        # It refuses what does not fit, so that what it answers does.
        assert asked(f"{prism}/api.xro/2.0/Contacts")[0].status >= HTTPStatus.BAD_REQUEST
        async with CONNECTOR.open(settings) as session:
            assert (await session.check()).endswith(f"at {prism}")
            found = {feed: types(feed, await read(session, feed, since)) for feed in FEEDS}
            for feed in FEEDS:
                assert [each async for some in session.ids(feed) for each in some]
            (written,) = await session.write(CONTACTS, [change])
    assert "sales.account" in found[CONTACTS]
    assert set(found[INVOICES]) == {"finance.invoice"}
    assert set(found[CREDIT_NOTES]) <= {"finance.invoice"}
    assert "finance.payment" in found[PAYMENTS]
    assert written.outcome is Outcome.WRITTEN


async def test_what_others_book_at_a_server_of_others_is_read_and_a_contact_is_made_there() -> None:
    change = Change(record_id=RECORD, type="sales.account", fields={"name": "Contoso", "city": "Kiel"}, key="k")
    with running_localstack() as url:
        made = program(url, "any", TENANT, "book")["book"]["id"]
        settings = {"custom_id": "any", "custom_secret": "any", "url": url, "identity_url": url, "tenant_id": TENANT}
        async with CONNECTOR.open(settings) as session:
            (written,) = await session.write(CONTACTS, [change])
            contacts, invoices = await read(session, CONTACTS), await read(session, INVOICES)
            there = [each async for some in session.ids(CONTACTS) for each in some]
    assert written.outcome is Outcome.WRITTEN
    assert {row.external_id for row in contacts} == {str(made), written.external_id} == set(there)
    assert types(CONTACTS, contacts) == ["sales.account", "sales.person", "sales.account"]
    (invoice,) = [each for row in invoices for each in CONNECTOR.normalise(INVOICES, row)]
    assert invoice.fields["amount"] == {"amount": "119.0", "currency": "EUR"}
    assert (invoice.fields["issued_on"], invoice.links["account_id"].external_id) == ("2026-11-02", made)


def test_xeros_own_library_finds_our_organisation_as_it_knows_xero() -> None:
    with serving(Site()) as site:
        booked(site)
        token = str(site.organisation.token({"grant_type": "client_credentials"})["access_token"])
        did = program(site.url, token, TENANT, "make", "refuse", "read", "stranger")
        assert did["make"]["id"] in site.organisation.held[CONTACTS]
    assert (did["make"]["same"], did["make"]["refused"]) == (True, ["The contact name must be specified."])
    assert did["refuse"] == {"status": 400, "reason": "The contact name must be specified."}
    assert did["stranger"] == {"status": 403}
    assert did["read"] == {
        "page": ["Fabrikam", "Litware Media"],
        "later": [],
        "items": 3,
        "invoices": [["INV-1", "119.0", "2026-11-02"], ["M-77", "500.0", "2026-11-02"]],
        "notes": ["CN-1"],
        "paid": ["119.0"],
        "organisation": "EUR",
    }

"""A customer's program: Xero's own library for Python does what it is asked for, and tells how it went, as JSON.

Run by a Python that has it: python xero_program.py ADDRESS TOKEN TENANT WISH...
"""

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from importlib import import_module
from typing import Protocol, cast


class Loose(Protocol):
    """Anything of the library, which tells no types."""

    def __getattr__(self, name: str) -> "Loose": ...
    def __getitem__(self, key: int) -> "Loose": ...
    def __call__(self, *given: object, **named: object) -> "Loose": ...
    def __iter__(self) -> Iterator["Loose"]: ...


told = cast("Loose", import_module("xero_python.accounting"))
clients = cast("Loose", import_module("xero_python.api_client"))
tokens = cast("Loose", import_module("xero_python.api_client.oauth2"))
HttpError = cast("type[Exception]", import_module("xero_python.exceptions").HTTPStatusException)
Answer = dict[str, object]


def opened(url: str, token: str) -> Loose:
    """Return the library, with a token that somebody else got."""
    held: Answer = {"access_token": token, "token_type": "Bearer", "refresh_token": "", "id_token": ""}
    held |= {"scope": ["accounting.contacts"], "expires_in": 1800, "expires_at": 4_000_000_000}
    own = tokens.OAuth2Token(client_id="-", client_secret="-")
    client = clients.ApiClient(clients.configuration.Configuration(oauth2_token=own))
    client.oauth2_token_getter(lambda: held)
    client.oauth2_token_saver(held.update)
    return told.AccountingApi(client, base_url=f"{url}/api.xro/2.0")


def contacts(**named: object) -> Loose:
    """Return one contact, as it is sent."""
    return told.Contacts(contacts=[told.Contact(**named)])


def make(api: Loose, tenant: str) -> Answer:
    """Make two contacts, of which one is refused by itself, and the same again under the same key."""
    sent = told.Contacts(
        contacts=[told.Contact(name="Adventure", email_address="a@works.example"), told.Contact(name="")]
    )
    first = api.update_or_create_contacts(tenant, sent, summarize_errors=False, idempotency_key="once")
    again = api.update_or_create_contacts(tenant, sent, summarize_errors=False, idempotency_key="once")
    good, bad = first.contacts
    return {
        "id": good.contact_id,
        "same": again.contacts[0].contact_id == good.contact_id,
        "refused": [each.message for each in bad.validation_errors],
    }


def refuse(api: Loose, tenant: str) -> Answer:
    """Make a contact that cannot be, with all errors as one."""
    try:
        api.update_or_create_contacts(tenant, contacts(name=""))
    except HttpError as error:
        return {"status": cast("Loose", error).status, "reason": cast("Loose", error).reason}
    return {}


def read(api: Loose, tenant: str) -> Answer:
    """Read contacts page by page, those since a time, and what is booked."""
    first = api.get_contacts(tenant, order="UpdatedDateUTC ASC", page=1, page_size=2)
    later = api.get_contacts(tenant, if_modified_since=datetime(2100, 1, 1, tzinfo=UTC), page=1)
    invoices = api.get_invoices(tenant, page=1).invoices
    return {
        "page": [each.name for each in first.contacts],
        "later": [each.name for each in later.contacts],
        "items": first.pagination.item_count,
        "invoices": [[each.invoice_number, str(each.total), str(each.date)] for each in invoices],
        "notes": [each.credit_note_number for each in api.get_credit_notes(tenant, page=1).credit_notes],
        "paid": [str(each.amount) for each in api.get_payments(tenant, page=1).payments],
        "organisation": api.get_organisations(tenant).organisations[0].base_currency.value,
    }


def stranger(api: Loose, tenant: str) -> Answer:
    """Call for an organisation that is not ours."""
    try:
        api.get_contacts(f"not-{tenant}", page=1)
    except HttpError as error:
        return {"status": cast("Loose", error).status}
    return {}


def book(api: Loose, tenant: str) -> Answer:
    """Book a contact with an invoice, as anybody's program does."""
    made = api.update_or_create_contacts(tenant, contacts(name="Fabrikam", email_address="a@fab.example"))
    own, day = made.contacts[0].contact_id, date(2026, 11, 2)
    sold = told.Invoice(
        type="ACCREC",
        contact=told.Contact(contact_id=own),
        date=day,
        due_date=day,
        invoice_number="INV-7",
        total=119.0,
        total_tax=19.0,
        status="AUTHORISED",
        currency_code=told.CurrencyCode.EUR,
    )
    api.create_invoices(tenant, told.Invoices(invoices=[sold]))
    return {"id": own}


KNOWN: dict[str, Callable[[Loose, str], Answer]] = {
    "make": make,
    "refuse": refuse,
    "read": read,
    "stranger": stranger,
    "book": book,
}


def main() -> None:
    """Do what is wished for."""
    url, token, tenant, *wishes = sys.argv[1:]
    api = opened(url, token)
    sys.stdout.write(json.dumps({wish: KNOWN[wish](api, tenant) for wish in wishes}))


if __name__ == "__main__":
    main()

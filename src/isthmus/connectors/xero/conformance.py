"""Xero's counterpart: our own organisation of its documented protocol, changed as its people would."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from isthmus.connectors.xero.vendor_http import Site, serving
from isthmus.connectors.xero.wire import CONTACTS, CREDIT_NOTES, INVOICES, PAYMENTS, Row, rows, told
from isthmus.kernel.marks import Json

PAGE_ROWS = 5


@dataclass
class XeroCounterpart:
    """Implements `isthmus.sync.conformance.Counterpart`."""

    site: Site
    settings: Mapping[str, str]
    wrong: Mapping[str, str] = field(default_factory=lambda: {"custom_secret": "of-nobody-at-all"})
    feed: str = CONTACTS
    type: str = "sales.account"
    fields: tuple[str, str] = ("name", "city")
    page_rows: int = PAGE_ROWS
    refused: Mapping[str, Json] = field(default_factory=lambda: {"name": None})

    def put(self, external_id: str | None, values: Mapping[str, str]) -> str:
        """Make or change a contact."""
        given: Row = {"ContactID": external_id} if external_id else {}
        if "name" in values:
            given["Name"] = values["name"]
        if "city" in values:
            given["Addresses"] = [{"AddressType": "STREET", "City": values["city"]}]
        return str(self.site.organisation.contact(given)["ContactID"])

    def burst(self, count: int) -> list[str]:
        """Import contacts, all with one stamp."""
        organisation = self.site.organisation
        organisation.tick()
        names = [f"Burst {organisation.made + at}" for at in range(count)]
        return [str(organisation.contact({"Name": name}, still=True)["ContactID"]) for name in names]

    def delete(self, external_id: str) -> None:
        """Archive a contact, which is how one goes."""
        self.site.organisation.contact({"ContactID": external_id, "ContactStatus": "ARCHIVED"})

    def held(self, external_id: str) -> Mapping[str, str | None] | None:
        """Return what a contact holds."""
        row = self.site.organisation.held[CONTACTS].get(external_id)
        if row is None or row["ContactStatus"] != "ACTIVE":
            return None
        (place,) = [each for each in rows(row["Addresses"]) if each["AddressType"] == "STREET"]
        return {"name": str(row["Name"]), "city": str(place["City"]) or None}


def booked(site: Site) -> None:
    """Book an invoice with its payment, a bill and a credit note."""
    organisation = site.organisation
    day = told(organisation.now)
    customer = organisation.contact({"Name": "Fabrikam", "EmailAddress": "ada@fabrikam.example", "IsCustomer": True})
    seller = organisation.contact({"Name": "Litware Media", "IsSupplier": True})
    contact: Row = {"ContactID": customer["ContactID"], "Name": customer["Name"]}
    told_of: Row = {"Date": day, "DueDate": day, "CurrencyCode": "EUR", "LineItems": [], "Status": "AUTHORISED"}
    sold: Row = {**told_of, "Type": "ACCREC", "Contact": contact, "InvoiceNumber": "INV-1", "Total": 119.0}
    invoice = organisation.put(INVOICES, {**sold, "TotalTax": 19.0, "AmountPaid": 119.0, "Status": "PAID"})
    bill: Row = {**told_of, "Type": "ACCPAY", "Contact": {"ContactID": seller["ContactID"]}, "Total": 500.0}
    organisation.put(INVOICES, {**bill, "InvoiceNumber": "M-77", "TotalTax": 0.0})
    note: Row = {**told_of, "Type": "ACCRECCREDIT", "Contact": contact, "CreditNoteNumber": "CN-1", "Total": 11.9}
    organisation.put(CREDIT_NOTES, {**note, "TotalTax": 1.9})
    of: Row = {"InvoiceID": invoice["InvoiceID"], "CurrencyCode": "EUR", "Contact": contact}
    paid: Row = {"PaymentType": "ACCRECPAYMENT", "Status": "AUTHORISED", "Date": day, "Amount": 119.0, "Invoice": of}
    organisation.put(PAYMENTS, {**paid, "CurrencyRate": 1.0})


@contextmanager
def begin(home: Path) -> Generator[XeroCounterpart]:
    """Yield an organisation with a few bookings, as a custom connection."""
    del home
    with serving(Site()) as site:
        booked(site)
        settings = {**site.custom, "page_rows": str(PAGE_ROWS)}
        yield XeroCounterpart(site, settings)

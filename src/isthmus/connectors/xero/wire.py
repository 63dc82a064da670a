"""Xero's wire forms: `/Date(…)/`, amounts as numbers, and the names of feeds and of what their rows hold."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

from isthmus.kernel.marks import Json

CONTACTS, INVOICES, CREDIT_NOTES, PAYMENTS = "contacts", "invoices", "credit_notes", "payments"
# What a feed is called in paths and answers, and its id.
RESOURCES = {
    CONTACTS: ("Contacts", "ContactID"),
    INVOICES: ("Invoices", "InvoiceID"),
    CREDIT_NOTES: ("CreditNotes", "CreditNoteID"),
    PAYMENTS: ("Payments", "PaymentID"),
}
STAMP = "UpdatedDateUTC"
# What the client adds: the currency of the organisation, for payments that do not say theirs.
BASE_CURRENCY = "isthmus_base_currency"
# Milliseconds since 1970; what follows is the zone in which it was entered, and moves nothing.
_DATE = re.compile(r"/Date\((-?\d+)([+-]\d{4})?\)/")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = dict[str, Json]


def _kinds(text: str = "", number: str = "", truth: str = "", several: str = "", whole: str = "") -> dict[str, str]:
    """Return what may be there and need not, by its kind."""
    told = {"text": text, "number": number, "truth": truth, "list": several, "map": whole}
    return {name: f"{kind} null absent" for kind, names in told.items() for name in names.split()}


_SAID = "StatusAttributeString"
EXPECTED: dict[str, dict[str, str]] = {
    CONTACTS: {
        **_kinds(
            "MergedToContactID ContactNumber AccountNumber FirstName LastName CompanyNumber EmailAddress SkypeUserName"
            " BankAccountDetails TaxNumber TaxNumberType AccountsReceivableTaxType AccountsPayableTaxType"
            " SalesDefaultLineAmountType PurchasesDefaultLineAmountType DefaultCurrency XeroNetworkKey"
            " SalesDefaultAccountCode PurchasesDefaultAccountCode TrackingCategoryName TrackingCategoryOption Website"
            f" {_SAID}",
            "Discount",
            "IsSupplier IsCustomer HasAttachments HasValidationErrors",
            "ContactPersons SalesTrackingCategories PurchasesTrackingCategories ContactGroups Attachments"
            " ValidationErrors",
            "PaymentTerms BrandingTheme BatchPayments Balances",
        ),
        "ContactID": "text",
        "Name": "text",
        "ContactStatus": "text",
        STAMP: "text",
        "Addresses": "list absent",
        "Phones": "list absent",
    },
    INVOICES: {
        **_kinds(
            "DueDate DateString DueDateString InvoiceNumber Reference BrandingThemeID Url CurrencyCode"
            " ExpectedPaymentDate PlannedPaymentDate RepeatingInvoiceID FullyPaidOnDate UpdatedDateUTCString"
            f" LineAmountTypes {_SAID}",
            "CurrencyRate CISDeduction CISRate SubTotal TotalDiscount AmountDue AmountPaid AmountCredited",
            "SentToContact HasAttachments IsDiscounted HasErrors",
            "LineItems Payments Prepayments Overpayments CreditNotes Attachments ValidationErrors Warnings"
            " InvoiceAddresses InvoicePaymentServices",
        ),
        **dict.fromkeys(("InvoiceID", "Type", "Status", STAMP), "text"),
        "Date": "text absent",
        "Total": "number",
        "TotalTax": "number absent",
        "Contact": "map",
    },
    CREDIT_NOTES: {
        **_kinds(
            "DueDate DateString DueDateString CreditNoteNumber Reference BrandingThemeID CurrencyCode FullyPaidOnDate"
            f" UpdatedDateUTCString LineAmountTypes {_SAID}",
            "CurrencyRate CISDeduction CISRate SubTotal RemainingCredit AppliedAmount",
            "SentToContact HasAttachments HasErrors HasValidationErrors",
            "LineItems Allocations Payments ValidationErrors Warnings InvoiceAddresses",
        ),
        **dict.fromkeys(("CreditNoteID", "Type", "Status", STAMP), "text"),
        "Date": "text absent",
        "Total": "number",
        "TotalTax": "number absent",
        "Contact": "map",
    },
    PAYMENTS: {
        **_kinds(
            "InvoiceNumber CreditNoteNumber Code Reference BatchPaymentID BankAccountNumber Particulars Details"
            f" UpdatedDateUTCString {_SAID} {BASE_CURRENCY}",
            "CurrencyRate BankAmount",
            "IsReconciled HasAccount HasValidationErrors",
            "ValidationErrors Warnings",
            "Invoice CreditNote Prepayment Overpayment BatchPayment Account",
        ),
        **dict.fromkeys(("PaymentID", "PaymentType", "Status", "Date", STAMP), "text"),
        "Amount": "number",
    },
}


def moment(value: Json) -> datetime | None:
    """Return the time of `/Date(1573755038314+0000)/`, in UTC."""
    found = _DATE.fullmatch(value) if isinstance(value, str) else None
    return _EPOCH + timedelta(milliseconds=int(found[1])) if found else None


def told(at: datetime) -> str:
    """Return a time as `/Date(1573755038314+0000)/`."""
    return f"/Date({(at - _EPOCH) // timedelta(milliseconds=1)}+0000)/"


def since(at: datetime) -> str:
    """Return a time as If-Modified-Since takes it, in whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(value: Json) -> str | None:
    """Return the date of `/Date(…)/`; Xero tells dates as midnight in UTC, whatever the organisation's zone."""
    at = moment(value)
    return at.date().isoformat() if at else None


def decimal(value: Json) -> Decimal | None:
    """Return a number as it was written; some of Xero's come as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


def money(value: Json, currency: Json, *, sign: int = 1) -> Json:
    """Return an amount in our form; nothing where the amount or the currency is not told."""
    amount = decimal(value)
    if amount is None or not isinstance(currency, str) or not currency:
        return None
    return {"amount": format(sign * amount + 0, "f"), "currency": currency}


def rows(value: Json) -> list[Row]:
    """Return the objects of a list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []

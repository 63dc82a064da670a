"""Xero's contacts, invoices, credit notes and payments in our words, and our accounts in Xero's. Pure, both ways.

A contact is an account and, where it has an e-mail address, a person of it; one that only sells to us is a vendor. A
sales invoice is an invoice, a bill is what was spent, a credit note an invoice below zero.
"""

from collections.abc import Iterable, Mapping

from isthmus.connectors.xero.wire import (
    BASE_CURRENCY,
    CONTACTS,
    CREDIT_NOTES,
    INVOICES,
    PAYMENTS,
    Row,
    day,
    moment,
    money,
    rows,
)
from isthmus.kernel.marks import LINE_MAX, Json
from isthmus.kernel.words import Word, at_path, text

ACCOUNT, PERSON, VENDOR = "sales.account", "sales.person", "finance.vendor"
INVOICE, SPEND, PAYMENT = "finance.invoice", "finance.spend", "finance.payment"
STREET, POBOX, PHONE = "STREET", "POBOX", "DEFAULT"
STATUSES = {"DRAFT": "draft", "SUBMITTED": "draft", "AUTHORISED": "open", "PAID": "paid", "VOIDED": "void"}
GONE = frozenset({"DELETED"})
CATEGORIES = ("media_spend", "creative_production", "platform_fees", "operational_overhead")
# The names of tracking categories that say something of what was spent, in small letters.
_TRACKED = {"department": "department", "channel": "channel", "region": None}
_CATEGORY = "spend category"
_LINES = ("AddressLine1", "AddressLine2", "AddressLine3", "AddressLine4")
_ADDRESS = {"city": "City", "region": "Region", "postal_code": "PostalCode", "country": "Country"}
_PATHS = {
    ACCOUNT: {"name": "Name", "tax_id": "TaxNumber"},
    PERSON: {"email": "EmailAddress", "first_name": "FirstName", "last_name": "LastName"},
}
WRITABLE: dict[str, tuple[str, ...]] = {
    ACCOUNT: ("name", "tax_id", "phone", "street", "city", "region", "postal_code", "country"),
    PERSON: ("email", "first_name", "last_name", "account_id"),
}
_PLACE = frozenset({"street", *_ADDRESS})


def words(feed: str, body: Row) -> Iterable[Word]:
    """Return what a row of a feed says."""
    yield from _WORDS[feed](body)


def gone(feed: str, body: Row) -> bool:
    """Tell whether a row is of something that is no longer there: archived, deleted, or a bill that was voided."""
    if feed == CONTACTS:
        return body.get("ContactStatus") != "ACTIVE"
    status = body.get("Status")
    return status in GONE or (status == "VOIDED" and body.get("Type") == "ACCPAY")


def _contact(body: Row) -> Iterable[Word]:
    place = _place(body)
    if not body.get("IsSupplier") or body.get("IsCustomer"):
        phone = _phone(body)
        fields: Row = {
            "name": _line(text(body.get("Name"))),
            "tax_id": _line(text(body.get("TaxNumber"))),
            "phone": phone,
            "website": _line(text(body.get("Website"))),
            **place,
        }
        yield Word(type=ACCOUNT, fields=fields)
        if email := text(body.get("EmailAddress")):
            human: Row = {
                "email": email,
                "first_name": _line(text(body.get("FirstName"))),
                "last_name": _line(text(body.get("LastName"))),
            }
            yield Word(type=PERSON, fields=human, links={"account_id": str(body["ContactID"])})
    if body.get("IsSupplier"):
        sells: Row = {
            "name": _line(text(body.get("Name"))),
            "tax_id": _line(text(body.get("TaxNumber"))),
            "country": place["country"],
        }
        yield Word(type=VENDOR, fields=sells)


def address_of(body: Row) -> Row:
    """Return the address that counts: the street's, and where that is empty the one for post."""
    known = {str(each.get("AddressType")): each for each in rows(body.get("Addresses"))}
    named = (*_LINES, *_ADDRESS.values())
    filled = [kind for kind in (STREET, POBOX) if any(text(known.get(kind, {}).get(name)) for name in named)]
    return known.get(filled[0] if filled else STREET, {"AddressType": STREET})


def _place(body: Row) -> Row:
    found = address_of(body)
    lines = [line for name in _LINES if (line := text(found.get(name)))]
    return {
        "street": _line(", ".join(lines) or None),
        **{name: _line(text(found.get(theirs))) for name, theirs in _ADDRESS.items()},
    }


def _phone(body: Row) -> str | None:
    for each in rows(body.get("Phones")):
        if each.get("PhoneType") == PHONE:
            parts = [text(each.get(f"Phone{name}")) for name in ("CountryCode", "AreaCode", "Number")]
            return _line(" ".join(part for part in parts if part) or None)
    return None


def _invoice(body: Row) -> Iterable[Word]:
    if body.get("Type") == "ACCPAY":
        yield from _bill(body)
        return
    currency = body.get("CurrencyCode")
    fields: Row = {
        "amount": money(body.get("Total"), currency),
        "invoice_number": _line(text(body.get("InvoiceNumber"))),
        "status": STATUSES[str(body["Status"])],
        "paid": money(body.get("AmountPaid"), currency),
        "tax": money(body.get("TotalTax"), currency),
        "issued_on": day(body.get("Date")),
        "due_on": day(body.get("DueDate")),
        "paid_at": _moment(body.get("FullyPaidOnDate")),
    }
    yield Word(type=INVOICE, fields=fields, links=_link("account_id", body.get("Contact")))


def _bill(body: Row) -> Iterable[Word]:
    """Return a bill that was approved as what was spent; a draft is no spend yet."""
    if STATUSES[str(body["Status"])] not in ("open", "paid"):
        return
    tracked = _tracking(body)
    category = (tracked.get(_CATEGORY) or "").casefold().replace(" ", "_")
    fields: Row = {
        "amount": money(body.get("Total"), body.get("CurrencyCode")),
        "day": day(body.get("Date")),
        "category": category if category in CATEGORIES else "operational_overhead",
        "reference": _line(text(body.get("InvoiceNumber")) or text(body.get("Reference"))),
        **{ours: _line(tracked.get(theirs)) for theirs, ours in _TRACKED.items() if ours},
    }
    yield Word(type=SPEND, fields=fields, links=_link("vendor_id", body.get("Contact")))


def _tracking(body: Row) -> dict[str, str]:
    """Return the options of tracking categories on which all lines agree, by their names in small letters."""
    lines = [
        {(text(each.get("Name")) or "").casefold(): text(each.get("Option")) for each in rows(line.get("Tracking"))}
        for line in rows(body.get("LineItems"))
    ]
    names = {name for line in lines for name in line}
    agreed = {name: {line.get(name) for line in lines} for name in names}
    return {name: option for name, options in agreed.items() for option in options if option and len(options) == 1}


def _credit_note(body: Row) -> Iterable[Word]:
    """Return a credit note to a customer as an invoice below zero; those of vendors lower what was spent elsewhere."""
    if body.get("Type") != "ACCRECCREDIT":
        return
    currency = body.get("CurrencyCode")
    fields: Row = {
        "amount": money(body.get("Total"), currency, sign=-1),
        "invoice_number": _line(text(body.get("CreditNoteNumber"))),
        "status": STATUSES[str(body["Status"])],
        "tax": money(body.get("TotalTax"), currency, sign=-1),
        "issued_on": day(body.get("Date")),
        "paid_at": _moment(body.get("FullyPaidOnDate")),
    }
    yield Word(type=INVOICE, fields=fields, links=_link("account_id", body.get("Contact")))


def _payment(body: Row) -> Iterable[Word]:
    """Return money from a customer, and money back to one below zero; what we paid is not a payment of ours."""
    kind = body.get("PaymentType")
    if kind not in ("ACCRECPAYMENT", "ARCREDITPAYMENT"):
        return
    of = "Invoice" if kind == "ACCRECPAYMENT" else "CreditNote"
    currency = at_path(body, of, "CurrencyCode")
    if currency is None and body.get("CurrencyRate") in (None, 1, 1.0):
        currency = body.get(BASE_CURRENCY)
    fields: Row = {
        "amount": money(body.get("Amount"), currency, sign=1 if of == "Invoice" else -1),
        "reference": str(body["PaymentID"]),
        "status": "succeeded",
        "at": _moment(body.get("Date")),
        "method": _line(text(at_path(body, "Account", "Name")) or text(at_path(body, "Account", "Code"))),
    }
    links = _link("account_id", at_path(body, of, "Contact"))
    if of == "Invoice" and (number := text(at_path(body, "Invoice", "InvoiceID"))):
        links["invoice_id"] = number
    yield Word(type=PAYMENT, fields=fields, links=links)


_WORDS = {CONTACTS: _contact, INVOICES: _invoice, CREDIT_NOTES: _credit_note, PAYMENTS: _payment}


def express(kind: str, fields: Row, *, links: Mapping[str, str]) -> Row:
    """Return what a change of a contact means in Xero; `Address` and `Phone` are merged into what is there.

    An empty text clears a field there.
    """
    del links
    wanted: Row = {theirs: _cleared(fields[name]) for name, theirs in _PATHS.get(kind, {}).items() if name in fields}
    if kind == ACCOUNT:
        place: Row = {theirs: _cleared(fields[name]) for name, theirs in _ADDRESS.items() if name in fields}
        if "street" in fields:
            place |= {_LINES[0]: _cleared(fields["street"]), **dict.fromkeys(_LINES[1:], "")}
        if place:
            wanted["Address"] = place
        if "phone" in fields:
            wanted["Phone"] = _cleared(fields["phone"])
    return wanted


def merged(wanted: Row, current: Row) -> Row:
    """Return what to send for a contact that stands like `current`: Xero takes an address only as a whole."""
    sent = {name: value for name, value in wanted.items() if name not in ("Address", "Phone")}
    if isinstance(place := wanted.get("Address"), dict):
        sent["Addresses"] = [{**address_of(current), **place}]
    if "Phone" in wanted:
        number = {"PhoneNumber": wanted["Phone"], "PhoneAreaCode": "", "PhoneCountryCode": ""}
        sent["Phones"] = [{"PhoneType": PHONE, **number}]
    return sent


def _cleared(value: Json) -> Json:
    return "" if value is None else value


def _moment(value: Json) -> str | None:
    at = moment(value)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def _link(name: str, contact: Json) -> dict[str, str]:
    found = text(at_path(contact, "ContactID"))
    return {} if found is None else {name: found}


def _line(value: str | None) -> str | None:
    return value[:LINE_MAX] if value else None

"""Tryton's words into ours and back; pure.

A party is a company unless it is in the category Person. An opportunity is a deal from its first day, whatever its
state: its number stays the same from lead to won, and so does our record. Supplier invoices and credit notes are left
out. A payment is a posted move of a cash or statement journal that touches what a customer owes.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import cast

from isthmus.connectors.tryton.wire import day, day_form, decimal, decimal_form, rows
from isthmus.kernel.marks import LINE_MAX, Json
from isthmus.kernel.words import Word, at_path, text

PARTIES, OPPORTUNITIES, INVOICES = "party.party", "sale.opportunity", "account.invoice"
PAYMENTS = "account.move"
PERSON_CATEGORY = "Person"
_PLACE = ("street", "postal_code", "city", "subdivision.name", "country.code")
FIELDS: dict[str, tuple[str, ...]] = {
    PARTIES: (
        *("name", "code", "active", "lang.code", "tax_identifier.code", "categories.name", "last_modified_at"),
        *(f"contact_mechanisms.{name}" for name in ("type", "value", "active", "last_modified_at")),
        *(f"addresses.{name}" for name in (*_PLACE, "last_modified_at")),
        "_timestamp",
    ),
    OPPORTUNITIES: (
        *("number", "reference", "description", "state", "amount", "currency.code", "conversion_probability"),
        *("party.categories.name", "employee.party.email", "employee.party.name", "start_date", "end_date"),
        *("lost_reason", "last_modified_at", "_timestamp"),
    ),
    INVOICES: (
        *("number", "type", "state", "party.categories.name", "currency.code", "total_amount", "tax_amount"),
        *("amount_to_pay", "invoice_date", "lines_to_pay.maturity_date", "reconciled"),
        *("last_modified_at", "_timestamp"),
    ),
    PAYMENTS: (
        *("number", "date", "description", "company.currency.code", "lines.debit", "lines.credit"),
        *("lines.amount_second_currency", "lines.second_currency.code", "lines.account.type.receivable"),
        *("lines.party.categories.name", "last_modified_at", "_timestamp"),
    ),
}
# A payment that is not posted yet may still be thrown away.
BOOKED: tuple[Json, ...] = (["journal.type", "in", ["cash", "statement"]], ["state", "=", "posted"])
# Parts with a time of change of their own, which does not move that of the record: model, field that names the record.
PARTS: dict[str, tuple[tuple[str, str], ...]] = {
    PARTIES: (("party.contact_mechanism", "party"), ("party.address", "party"), ("party.identifier", "party")),
    OPPORTUNITIES: (),
    INVOICES: (("account.invoice.line", "invoice"),),
    PAYMENTS: (),
}
STAGES = {
    "lead": "qualification",
    "opportunity": "needs_analysis",
    "converted": "proposal",
    "won": "closed_won",
    "lost": "closed_lost",
    "cancelled": "closed_lost",
}
STATES = {
    "qualification": "lead",
    "needs_analysis": "opportunity",
    "proposal": "opportunity",
    "negotiation": "opportunity",
    "closed_won": "won",
    "closed_lost": "lost",
}
INVOICE_STATES = {"draft": "draft", "validated": "draft", "posted": "open", "paid": "paid", "cancelled": "void"}
# The buttons that lead from one state to another; a sale stands behind `converted` and `won`, which only Tryton makes.
BUTTONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("lead", "opportunity"): ("opportunity",),
    ("lead", "lost"): ("lost",),
    ("opportunity", "lead"): ("lead",),
    ("opportunity", "lost"): ("lost",),
    ("lost", "lead"): ("lead",),
    ("lost", "opportunity"): ("lead", "opportunity"),
    ("cancelled", "lead"): ("lead",),
    ("cancelled", "opportunity"): ("lead", "opportunity"),
}
ENDED = ("won", "lost", "cancelled")
# The buttons after which Tryton lets an opportunity be deleted; behind a sale it never does.
CANCELLING = {"lead": ("cancel",), "opportunity": ("cancel",), "lost": ("lead", "cancel")}
# States that already are what is wanted, in Tryton's finer or coarser words.
_ENOUGH = {("converted", "opportunity"), ("cancelled", "lost")}
PHONES = ("phone", "mobile")
# A VAT number of the European Union begins with its country (EL is Greece, XI Northern Ireland).
EU_VAT = re.compile(r"(AT|BE|BG|CY|CZ|D[EK]|E[ELS]|F[IR]|H[RU]|I[ET]|L[TUV]|MT|NL|P[LT]|RO|S[EIK]|XI)[0-9A-Z+* .-]+")

# What a payment provider calls a payment, such as `ch_3MmlLrLkdIwHu7ix0snN0B15`; any other words may be said twice.
PROVIDERS_NUMBER = re.compile(r"[a-z]{2,6}_[A-Za-z0-9]{8,}")


class Refusal(Exception):
    """What is wanted cannot be said in Tryton; the sentence says why and what to do there."""


def words(feed: str, body: dict[str, Json]) -> Iterable[Word]:
    """Return what a row of a feed says; nothing for rows that mean nothing to us."""
    if feed == PARTIES:
        person = is_person(body)
        fields = _person(body) if person else _account(body)
        yield Word(type="sales.person" if person else "sales.account", fields=fields)
    elif feed == OPPORTUNITIES:
        yield Word(type="sales.deal", fields=_deal(body), links=_party_link(body))
    elif feed == INVOICES and body.get("type") == "out":
        fields = _invoice(body)
        if fields is not None:
            yield Word(type="finance.invoice", fields=fields, links=_account_link(body))
    elif feed == PAYMENTS:
        yield from _payment(body)


def is_person(party: Json) -> bool:
    """Tell whether a party is a human."""
    return any(each.get("name") == PERSON_CATEGORY for each in rows(at_path(party, "categories")))


def money(digits: str | None, currency: Json) -> Json:
    """Return an amount in our form; nothing without a currency."""
    code = text(currency)
    return {"amount": digits, "currency": code} if digits is not None and code is not None else None


def contact(party: dict[str, Json], *kinds: str) -> dict[str, Json] | None:
    """Return the first active contact of these kinds."""
    found = (each for each in rows(party.get("contact_mechanisms")) if each.get("active") and each.get("type") in kinds)
    return next(found, None)


def host(website: str | None) -> str | None:
    """Return the domain that a web address belongs to: `https://www.acme.example/de` gives `acme.example`."""
    if website is None:
        return None
    name = website.partition("://")[2] or website
    name = name.partition("/")[0].partition(":")[0].rpartition("@")[2].lower().removeprefix("www.")
    return name if "." in name else None


def _account(party: dict[str, Json]) -> dict[str, Json]:
    website = _contact_value(party, "website")
    return {
        "name": text(party.get("name")) or f"[{party.get('code')}]",
        "tax_id": text(at_path(party, "tax_identifier", "code")),
        "website": website,
        "domain": host(website),
        "phone": _contact_value(party, *PHONES),
        "tags": _tags(party),
        **_place(party),
    }


def _person(party: dict[str, Json]) -> dict[str, Json]:
    first, _, last = (text(party.get("name")) or "").partition(" ")
    return {
        "email": _contact_value(party, "email"),
        "phone": _contact_value(party, *PHONES),
        "first_name": first or None,
        "last_name": last.strip() or None,
        "language": text(at_path(party, "lang", "code")),
        "tags": _tags(party),
        **_place(party),
    }


def _contact_value(party: dict[str, Json], *kinds: str) -> str | None:
    found = contact(party, *kinds)
    return text(found.get("value")) if found else None


def _tags(party: dict[str, Json]) -> Json:
    names = (text(each.get("name")) for each in rows(party.get("categories")))
    return cast("Json", sorted(name for name in names if name and name != PERSON_CATEGORY))


def _place(party: dict[str, Json]) -> dict[str, Json]:
    address: Json = next(iter(rows(party.get("addresses"))), None)
    street = text(at_path(address, "street"))
    return {
        "street": street.replace("\n", ", ") if street else None,
        "postal_code": text(at_path(address, "postal_code")),
        "city": text(at_path(address, "city")),
        "region": text(at_path(address, "subdivision", "name")),
        "country": text(at_path(address, "country", "code")),
    }


def _deal(row: dict[str, Json]) -> dict[str, Json]:
    state = cast("str", row["state"])
    ended = state in ENDED
    end, start, reason = day(row.get("end_date")), day(row.get("start_date")), text(row.get("lost_reason"))
    fields: dict[str, Json] = {
        "name": text(row.get("description")) or f"Opportunity {row.get('number')}",
        "deal_number": text(row.get("reference")),
        "stage": STAGES[state],
        "won": state == "won" if ended else None,
        "amount": money(decimal(row.get("amount")), at_path(row, "currency", "code")),
        "probability": row.get("conversion_probability"),
        "owner_id": text(at_path(row, "employee", "party", "email")) or text(at_path(row, "employee", "party", "name")),
        "close_date": end,
        "opened_at": f"{start}T00:00:00Z" if start else None,
        "closed_at": f"{end}T00:00:00Z" if ended and end else None,
        "lost_reason": reason[:LINE_MAX] if reason else None,
    }
    return fields if row.get("party") is not None else fields | {"account_id": None}


def _party_link(row: dict[str, Json]) -> dict[str, str]:
    number = at_path(row, "party", "id")
    return {} if number is None else {"person_id" if is_person(row["party"]) else "account_id": str(number)}


def _account_link(row: dict[str, Json]) -> dict[str, str]:
    return {name: number for name, number in _party_link(row).items() if name == "account_id"}


def _invoice(row: dict[str, Json]) -> dict[str, Json] | None:
    currency = at_path(row, "currency", "code")
    total = Decimal(decimal(row.get("total_amount")) or 0)
    status = INVOICE_STATES[cast("str", row["state"])]
    if total < 0 or not currency:
        return None
    due = [on for line in rows(row.get("lines_to_pay")) if (on := day(line.get("maturity_date")))]
    left = Decimal(decimal(row.get("amount_to_pay")) or 0) if status in ("open", "paid") else total
    settled = day(row.get("reconciled"))
    return {
        "amount": money(str(total), currency),
        "invoice_number": text(row.get("number")),
        "status": status,
        "paid": money(str(total - left), currency),
        "tax": money(decimal(row.get("tax_amount")), currency),
        "issued_on": day(row.get("invoice_date")),
        "due_on": max(due, default=None),
        "paid_at": f"{settled}T00:00:00Z" if settled else None,
    }


def _payment(row: dict[str, Json]) -> Iterable[Word]:
    """Return what came in from a customer, or went back to one below zero; nothing for other moves."""
    owed = [line for line in rows(row.get("lines")) if at_path(line, "account", "type", "receivable")]
    amounts = [_paid_by(line, at_path(row, "company", "currency", "code")) for line in owed]
    currencies = {currency for _, currency in amounts}
    if len(currencies) != 1:
        return
    on, told = day(row.get("date")), text(row.get("description")) or ""
    fields: dict[str, Json] = {
        "amount": money(str(sum((amount for amount, _ in amounts), Decimal(0))), currencies.pop()),
        "reference": told if PROVIDERS_NUMBER.fullmatch(told) else None,
        "status": "succeeded",
        "at": f"{on}T00:00:00Z" if on else None,
    }
    yield Word(type="finance.payment", fields=fields, links=_account_link(owed[0]))


def _paid_by(line: dict[str, Json], company: Json) -> tuple[Decimal, str | None]:
    """Return by how much less is owed, in the currency of the payment, which may be another than the company's."""
    if currency := text(at_path(line, "second_currency", "code")):
        return -Decimal(decimal(line.get("amount_second_currency")) or 0), currency
    return Decimal(decimal(line.get("credit")) or 0) - Decimal(decimal(line.get("debit")) or 0), text(company)


# What of ours goes where; a path with a dot is a part of the record that `values` puts in place.
_ADDRESS = {name: f"address.{name}" for name in ("street", "postal_code", "city", "country")}
_PATHS: dict[str, dict[str, str]] = {
    "sales.account": {"name": "name", "tax_id": "tax_identifier", "website": "contact.website"}
    | {"phone": "contact.phone"}
    | _ADDRESS,
    "sales.person": {"first_name": "name.first", "last_name": "name.last", "email": "contact.email"}
    | {"phone": "contact.phone", "language": "lang"}
    | _ADDRESS,
    "sales.deal": {
        "name": "description",
        "deal_number": "reference",
        "owner_id": "employee",
        "lost_reason": "lost_reason",
    },
}
WRITABLE: dict[str, tuple[str, ...]] = {
    "sales.account": (*_PATHS["sales.account"], "domain"),
    "sales.person": tuple(_PATHS["sales.person"]),
    "sales.deal": (
        *_PATHS["sales.deal"],
        *("stage", "amount", "probability", "close_date", "opened_at", "account_id", "person_id"),
    ),
}
# A party has one name; where its halves meet is our guess.
TOGETHER = {"sales.person": (("first_name", "last_name"),)}
# Paths whose value is a code that Tryton keeps as a record: model, the fields one of which holds it.
CODES: dict[str, tuple[str, tuple[str, ...]]] = {
    "currency": ("currency.currency", ("code",)),
    "lang": ("ir.lang", ("code",)),
    "address.country": ("country.country", ("code",)),
    "category": ("party.category", ("name",)),
    "employee": ("company.employee", ("party.contact_mechanisms.value", "party.name")),
}


def express(kind: str, fields: dict[str, Json], *, links: dict[str, str], new: bool) -> dict[str, Json]:
    """Return what a change of a record means in Tryton, by path; what Tryton has no place for is left out."""
    paths = _PATHS.get(kind, {})
    wanted = {path: fields[name] for name, path in paths.items() if name in fields}
    if kind == "sales.account" and "website" not in fields and isinstance(fields.get("domain"), str):
        wanted["contact.website"] = f"https://{fields['domain']}"
    if kind == "sales.person" and new:
        wanted["category"] = PERSON_CATEGORY
    if kind == "sales.deal":
        wanted |= _deal_wanted(fields, new=new)
        party = links.get("account_id") or links.get("person_id")
        if party is not None:
            wanted["party"] = int(party)
        elif "account_id" in fields:
            wanted["party"] = None
    return wanted


def _deal_wanted(fields: dict[str, Json], *, new: bool) -> dict[str, Json]:
    wanted: dict[str, Json] = {}
    if "amount" in fields:
        amount = fields["amount"]
        digits = at_path(amount, "amount")
        wanted["amount"] = decimal_form(str(digits)) if digits is not None else None
        if digits is not None:
            wanted["currency"] = at_path(amount, "currency")
    if isinstance(fields.get("probability"), int | float):
        wanted["conversion_probability"] = fields["probability"]
    if "close_date" in fields:
        close = text(fields["close_date"])
        wanted["end_date"] = day_form(close) if close else None
    if new and (opened := text(fields.get("opened_at"))):
        wanted["start_date"] = day_form(opened)
    if stage := text(fields.get("stage")):
        wanted["state"] = STATES[stage]
    return wanted


def values(wanted: dict[str, Json], *, current: dict[str, Json]) -> dict[str, Json]:
    """Return the values to write for what is wanted of a record that stands as `current` says (empty for a new one).

    Codes are already numbers. The state is left out: it is reached by pressing buttons.
    """
    found = {path: value for path, value in wanted.items() if "." not in path}
    found.pop("state", None)
    if "currency" in found and found["currency"] == at_path(current, "currency", "id"):
        # It is fixed in Tryton once a lead has become an opportunity, and saying it again is refused as well.
        del found["currency"]
    if "name.first" in wanted or "name.last" in wanted:
        found["name"] = _whole_name(wanted, current=current)
    if "category" in found:
        found["categories"] = [["add", [found.pop("category")]]]
    if "tax_identifier" in found:
        found["identifiers"] = _identifier(text(found.pop("tax_identifier")), current=current)
    contacts = [command for kind in ("email", "phone", "website") for command in _contact(kind, wanted, current)]
    if contacts:
        found["contact_mechanisms"] = contacts
    address = {path.partition(".")[2]: value for path, value in wanted.items() if path.startswith("address.")}
    if "street" in address:
        address["street_unstructured"] = address.pop("street")
    if address:
        there: Json = next(iter(rows(current.get("addresses"))), None)
        number = at_path(there, "id")
        found["addresses"] = [["create", [address]] if number is None else ["write", [number], address]]
    return found


def telling(feed: str, wanted: dict[str, Json], *, written: dict[str, Json]) -> list[Json]:
    """Return the conditions by which a record that we made is known again, when it is uncertain whether we did.

    Nothing is returned where too little is known to tell it from another: a name alone, a deal without customer.
    """
    if feed != PARTIES:
        names = ("description", "party", "amount", "currency", "start_date", "end_date")
        clauses: list[Json] = [[name, "=", written[name]] for name in names if name in written]
        return clauses if written.get("description") and written.get("party") else []
    paths = [(f"contact.{kind}", "contact_mechanisms.value") for kind in ("email", "website", "phone")]
    paths += [(f"address.{name}", f"addresses.{name}") for name in ("city", "postal_code")]
    parts: list[Json] = [[name, "=", value] for path, name in paths if (value := text(wanted.get(path)))]
    return [["name", "=", written.get("name")], *parts] if parts else []


def buttons(current: str, wanted: str) -> tuple[str, ...]:
    """Return the buttons to press to come from one state to another; raises Refusal where there is no way."""
    if current == wanted or (current, wanted) in _ENOUGH:
        return ()
    if wanted == "won":
        raise Refusal("In Tryton a deal is won by confirming its sale: convert the opportunity and confirm it there.")
    way = BUTTONS.get((current, wanted))
    if way is None:
        raise Refusal(f"Tryton leads nowhere from {current} to {wanted}: change its sale there.")
    return way


def _whole_name(wanted: dict[str, Json], *, current: dict[str, Json]) -> str | None:
    first, _, last = (text(current.get("name")) or "").partition(" ")
    halves = (wanted.get("name.first", first), wanted.get("name.last", last))
    return " ".join(half for each in halves if (half := text(each))) or None


def _identifier(code: str | None, *, current: dict[str, Json]) -> Json:
    number = at_path(current, "tax_identifier", "id")
    if code is None:
        return [["delete", [number]]] if number is not None else []
    if number is not None:
        return [["write", [number], {"code": code}]]
    if EU_VAT.fullmatch(code.upper()) is None:
        raise Refusal(f"The kind of tax id {code!r} is unknown: enter it in Tryton, where its kind can be chosen.")
    return [["create", [{"type": "eu_vat", "code": code}]]]


def _contact(kind: str, wanted: dict[str, Json], current: dict[str, Json]) -> list[Json]:
    path = f"contact.{kind}"
    if path not in wanted:
        return []
    value = text(wanted[path])
    there = contact(current, *(PHONES if kind == "phone" else (kind,)))
    if there is None:
        return [["create", [{"type": kind, "value": value}]]] if value else []
    return [["write", [there["id"]], {"value": value}] if value else ["delete", [there["id"]]]]

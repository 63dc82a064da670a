"""What a record says in Tryton, read by plain RPC and put in our words, without a line of the connector."""

from typing import cast

from isthmus.app.counterparts.tryton_rpc import TrytonLogin
from isthmus.kernel.marks import Json

PARTIES, OPPORTUNITIES, CONTACTS = "party.party", "sale.opportunity", "party.contact_mechanism"
MODELS = (PARTIES, OPPORTUNITIES, CONTACTS, "party.address", "party.identifier", "account.invoice", "party.category")
STAGES = {"lead": "qualification", "opportunity": "needs_analysis", "converted": "proposal", "won": "closed_won"}
_SALE = ("description", "reference", "amount", "currency", "conversion_probability", "state", "end_date", "party")
Row = dict[str, Json]


def decimal(digits: str) -> Json:
    """Return Tryton's wire form of a decimal."""
    return {"__class__": "Decimal", "decimal": digits}


def sale_words(login: TrytonLogin, number: int) -> Row:
    """Return an opportunity; `party` is the number of its customer."""
    row = login.read(OPPORTUNITIES, number, *_SALE, "employee", "lost_reason")
    amount, end = row["amount"], row["end_date"]
    currency = login.read("currency.currency", cast("int", row["currency"]), "code")["code"]
    return {
        "name": row["description"],
        "deal_number": row["reference"] or None,
        "amount": {"amount": amount["decimal"], "currency": currency} if isinstance(amount, dict) else None,
        "probability": row["conversion_probability"],
        "stage": STAGES.get(str(row["state"]), "closed_lost"),
        "close_date": f"{end['year']:04}-{end['month']:02}-{end['day']:02}" if isinstance(end, dict) else None,
        "lost_reason": row["lost_reason"] or None,
        "owner_id": _employee(login, row["employee"]),
        "party": row["party"],
    }


def party_words(login: TrytonLogin, number: int) -> Row:
    """Return a party: its name, contacts, first address and language."""
    row = login.read(PARTIES, number, "name", "lang", "contact_mechanisms", "addresses", "tax_identifier")
    words: Row = {"name": row["name"], "language": None, "tax_id": None}
    if row["lang"] is not None:
        words["language"] = login.read("ir.lang", cast("int", row["lang"]), "code")["code"]
    if row["tax_identifier"] is not None:
        words["tax_id"] = login.read("party.identifier", cast("int", row["tax_identifier"]), "code")["code"]
    words |= dict.fromkeys(("email", "phone", "website", "street", "postal_code", "city", "country"))
    for each in cast("list[int]", row["contact_mechanisms"]):
        contact = login.read(CONTACTS, each, "type", "value")
        words[str(contact["type"])] = contact["value"]
    for each in cast("list[int]", row["addresses"])[:1]:
        place = login.read("party.address", each, "street", "postal_code", "city", "country")
        words |= {name: place[name] or None for name in ("street", "postal_code", "city")}
        if place["country"] is not None:
            words["country"] = login.read("country.country", cast("int", place["country"]), "code")["code"]
    return words


def _employee(login: TrytonLogin, number: Json) -> Json:
    if number is None:
        return None
    party = login.read("company.employee", cast("int", number), "party")["party"]
    contacts = login.find(CONTACTS, ["party", "=", party], ["type", "=", "email"])
    return login.read(CONTACTS, contacts[0], "value")["value"] if contacts else None

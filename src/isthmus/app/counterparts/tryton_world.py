"""The small company that a fresh Tryton begins with, filled in through its RPC as its own client would."""

from typing import cast

from isthmus.app.counterparts.tryton_rpc import TrytonLogin
from isthmus.kernel.marks import Json

YEARS = (2025, 2026, 2027, 2028)
COUNTRIES = {"DE": "Germany", "FR": "France", "NL": "Netherlands", "US": "United States"}
CURRENCIES = {"EUR": ("Euro", "€", "978"), "USD": ("US Dollar", "$", "840")}
# Company, tax id, website, phone, street, postal code, city, country.
CUSTOMERS = """\
Harbour Lantern Freight|DE136695976|https://www.harbour-lantern.example|+49 40 5550101|Speicherstadt 8|20457|Hamburg|DE
Quince & Compass Foods|FR40303265045|https://quince-compass.example|+33 1 55 50 01 02|12 rue des Coings|75011|Paris|FR
Tidewater Instruments||https://tidewater-instruments.example|+1 617 555 0103|88 Long Wharf|02110|Boston|US
Polder & Dyke Engineering|NL123456782B90|https://polder-dyke.example|+31 20 555 0104|Dijkgraaf 3|1018 AB|Amsterdam|NL
"""
# Name, e-mail, phone.
PEOPLE = (
    ("Marit Osterloh", "marit.osterloh@harbour-lantern.example", "+49 40 5550111"),
    ("Ines Quettier", "ines.quettier@quince-compass.example", "+33 1 55 50 01 12"),
    ("Wade Tillman", "wade.tillman@tidewater-instruments.example", "+1 617 555 0113"),
)
# Customer, description, amount, currency, probability, state.
OPPORTUNITIES = (
    (0, "Fleet visibility, 40 seats", "48000.00", "EUR", 0.6, "opportunity"),
    (0, "Warehouse pilot", "9500.00", "EUR", 0.25, "lead"),
    (1, "Cold chain reporting", "31250.50", "EUR", 0.4, "opportunity"),
    (1, "Recipe archive", "4200.00", "EUR", 0.1, "lost"),
    (2, "Calibration portal", "72000.00", "USD", 0.75, "converted"),
    (2, "Field kit renewal", "18000.00", "USD", 0.5, "lead"),
    (3, "Pump telemetry", "120000.00", "EUR", 0.8, "opportunity"),
    (3, "Survey drones", "15000.00", "EUR", 0.2, "cancelled"),
)
_WITH_PARTY: list[Json] = ["party_required", "=", True]
_POSTABLE: list[Json] = ["closed", "!=", True]
_BUTTONS = {
    "lead": (),
    "opportunity": ("opportunity",),
    "converted": ("opportunity", "convert"),
    "lost": ("lost",),
    "cancelled": ("cancel",),
}


def decimal(text: str) -> Json:
    """Return Tryton's wire form of a decimal."""
    return {"__class__": "Decimal", "decimal": text}


def day(year: int, month: int, number: int) -> Json:
    """Return Tryton's wire form of a date."""
    return {"__class__": "date", "year": year, "month": month, "day": number}


def fill(login: TrytonLogin) -> None:
    """Make the company, its books, its customers and their business; raises TrytonFault."""
    currencies = {
        code: login.create("currency.currency", {"name": name, "code": code, "symbol": symbol, "numeric_code": number})[
            0
        ]
        for code, (name, symbol, number) in CURRENCIES.items()
    }
    for number in currencies.values():
        login.create("currency.currency.rate", {"currency": number, "rate": decimal("1"), "date": day(2025, 1, 1)})
    countries = {
        code: login.create("country.country", {"name": name, "code": code})[0] for code, name in COUNTRIES.items()
    }
    company = _company(login, currency=currencies["EUR"])
    _books(login, company=company)
    person = login.create("party.category", {"name": "Person"})[0]
    customers = [_customer(login, row, countries=countries) for row in CUSTOMERS.splitlines()]
    login.create("party.party", *(_person(row, category=person) for row in PEOPLE))
    _opportunities(login, customers=customers, currencies=currencies)
    _invoices(login, customers=customers, company=company, currency=currencies["EUR"])


def _company(login: TrytonLogin, *, currency: int) -> int:
    """Make the company and its one employee, and let the signed-in user act for both."""
    party, seller = login.create("party.party", {"name": "Isthmus Demonstration"}, {"name": "Sales Desk"})
    login.create("party.contact_mechanism", {"party": seller, "type": "email", "value": "sales.desk@isthmus.example"})
    company = login.create("company.company", {"party": party, "currency": currency})[0]
    employee = login.create("company.employee", {"party": seller, "company": company})[0]
    acts: dict[str, Json] = {"companies": [["add", [company]]], "company": company}
    login.call("model.res.user.write", [login.user_number], acts)
    login.call("model.res.user.write", [login.user_number], {"employees": [["add", [employee]]], "employee": employee})
    login.renew_context()
    return company


def _books(login: TrytonLogin, *, company: int) -> None:
    """Make the chart of accounts and the fiscal years, without which nothing can be invoiced."""
    template = login.find("account.account.template", ["parent", "=", None])[0]
    session = cast("list[Json]", login.call("wizard.account.create_chart.create"))[0]
    form: dict[str, Json] = {"account": {"company": company, "account_template": template}}
    login.call("wizard.account.create_chart.execute", session, form, "create_account")
    chosen: dict[str, Json] = {
        "company": company,
        "account_receivable": login.find("account.account", ["type.receivable", "=", True], _WITH_PARTY)[0],
        "account_payable": login.find("account.account", ["type.payable", "=", True], _WITH_PARTY)[0],
    }
    login.call("wizard.account.create_chart.execute", session, {**form, "properties": chosen}, "create_properties")
    kinds = {name: login.find("ir.sequence.type", ["name", "=", name])[0] for name in ("Account Move", "Invoice")}
    for year in YEARS:
        sequences = {
            name: login.create("ir.sequence.strict", _sequence(f"{name} {year}", kind=kind, company=company))[0]
            for name, kind in kinds.items()
        }
        invoices: dict[str, Json] = {"company": company}
        for each in ("out_invoice", "in_invoice", "out_credit_note", "in_credit_note"):
            invoices[f"{each}_sequence"] = sequences["Invoice"]
        values: dict[str, Json] = {
            "name": str(year),
            "start_date": day(year, 1, 1),
            "end_date": day(year, 12, 31),
            "company": company,
            "move_sequence": sequences["Account Move"],
            "invoice_sequences": [["create", [invoices]]],
        }
        login.press("account.fiscalyear", "create_period", login.create("account.fiscalyear", values)[0])


def _sequence(name: str, *, kind: int, company: int) -> dict[str, Json]:
    return {"name": name, "sequence_type": kind, "company": company, "prefix": f"{name[-4:]}-"}


def _customer(login: TrytonLogin, row: str, *, countries: dict[str, int]) -> int:
    name, tax_id, website, phone, street, postal_code, city, country = row.split("|")
    address: dict[str, Json] = {
        "street_unstructured": street,
        "postal_code": postal_code,
        "city": city,
        "country": countries[country],
    }
    contacts: list[Json] = [{"type": "website", "value": website}, {"type": "phone", "value": phone}]
    values: dict[str, Json] = {
        "name": name,
        "addresses": [["create", [address]]],
        "contact_mechanisms": [["create", contacts]],
    }
    if tax_id:
        values["identifiers"] = [["create", [{"type": "eu_vat", "code": tax_id}]]]
    return login.create("party.party", values)[0]


def _person(row: tuple[str, ...], *, category: int) -> dict[str, Json]:
    name, email, phone = row
    contacts: list[Json] = [{"type": "email", "value": email}, {"type": "phone", "value": phone}]
    return {"name": name, "categories": [["add", [category]]], "contact_mechanisms": [["create", contacts]]}


def _opportunities(login: TrytonLogin, *, customers: list[int], currencies: dict[str, int]) -> None:
    for index, (customer, description, amount, currency, probability, state) in enumerate(OPPORTUNITIES):
        values: dict[str, Json] = {
            "party": customers[customer],
            "description": description,
            "amount": decimal(amount),
            "currency": currencies[currency],
            "conversion_probability": probability,
            "start_date": day(2026, 9, 1 + index),
            "end_date": day(2026, 12, 1 + index),
            "employee": cast("int", login.context["employee"]),
            "company": cast("int", login.context["company"]),
        }
        number = login.create("sale.opportunity", values)[0]
        for button in _BUTTONS[state]:
            login.press("sale.opportunity", button, number)


def _invoices(login: TrytonLogin, *, customers: list[int], company: int, currency: int) -> None:
    """Make two invoices: one posted, one a draft."""
    term = login.create("account.invoice.payment_term", {"name": "30 days", "lines": [["create", [_thirty_days()]]]})[0]
    for customer, amount, post in ((0, "11424.00", True), (1, "2500.00", False)):
        line: dict[str, Json] = {
            "type": "line",
            "description": "Licence",
            "quantity": 1.0,
            "unit_price": decimal(amount),
            "account": login.find("account.account", ["type.revenue", "=", True], _POSTABLE)[0],
            "currency": currency,
            "company": company,
        }
        values: dict[str, Json] = {
            "type": "out",
            "party": customers[customer],
            "invoice_address": login.find("party.address", ["party", "=", customers[customer]])[0],
            "company": company,
            "currency": currency,
            "journal": login.find("account.journal", ["type", "=", "revenue"])[0],
            "account": login.find("account.account", ["type.receivable", "=", True], _WITH_PARTY)[0],
            "payment_term": term,
            "invoice_date": day(2026, 10, 15),
            "lines": [["create", [line]]],
        }
        number = login.create("account.invoice", values)[0]
        if post:
            login.press("account.invoice", "post", number)


def _thirty_days() -> dict[str, Json]:
    return {"type": "remainder", "relativedeltas": [["create", [{"days": 30}]]]}

"""The fake billing system: customers, orders, subscriptions, invoices, payments, vendors and budgets.

It counts in cents and in Unix seconds, as billing systems do.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import NamedTuple

from isthmus.connectors.demo.names import VENDORS, slug
from isthmus.connectors.demo.plants import Plants, Row, Rows, external_id
from isthmus.connectors.demo.rows_crm import deal_name
from isthmus.connectors.demo.world import Company, Sale, World, day_cost, stream
from isthmus.kernel.marks import Json

DAYS_PER_MONTH, TERM_DAYS, MONTHS_MAX = 30, 14, 12
LATE_SHARE, FAILED_SHARE, CANCELED_SHARE = 0.08, 0.03, 0.08
TAX_PERCENT = {"EUR": 19, "USD": 0}
SEAT_PRICE_CENTS = 4_500
CARD_SHARE = 0.6


class Plan(NamedTuple):
    """What a customer subscribed to, as billing holds it."""

    company: Company
    sale: Sale | None
    start: datetime
    monthly: int
    canceled_at: datetime | None


def billing_rows(world: World, plants: Plants) -> Rows:
    """Return what the billing system holds, by feed."""
    rng = stream(world.seed, "billing")
    plans = _plans(rng, world=world)
    invoices: list[Row] = []
    payments: list[Row] = []
    for plan in plans:
        for invoice, payment in _bills(rng, plan=plan, now=world.now):
            invoices.append(invoice)
            if payment is not None:
                payments.append(payment)
    day = world.now - timedelta(days=1)
    invoices.append(Row(external_id("billing", "invoice", 80_001), _broken(amount=100, currency="euro"), day))
    payments.append(Row(external_id("billing", "payment", 80_001), _broken(amount="12x", currency="eur"), day))
    return {
        "billing.customers": [_customer(each, plants, now=world.now) for each in world.customers],
        "billing.orders": [_order(sale, plants) for sale in world.won],
        "billing.subscriptions": [_subscription(plan, now=world.now, rng=rng) for plan in plans],
        "billing.invoices": invoices,
        "billing.payments": payments,
        "billing.vendors": [_vendor(number, now=world.now) for number in range(1, len(VENDORS) + 1)],
        "billing.budgets": list(_budgets(world)),
    }


def _broken(*, amount: Json, currency: str) -> dict[str, Json]:
    return {"amount": amount, "currency": currency}


def _customer(firm: Company, plants: Plants, *, now: datetime) -> Row:
    body: dict[str, Json] = {
        "name": firm.name,
        "legal_name": plants.word("billing", "company", firm.number, "legal_name", true=firm.legal_name),
        "website": f"https://{firm.domain}",
        "tax_id": firm.tax_id,
        "city": plants.word("billing", "company", firm.number, "city", true=firm.city),
        "country": firm.place.country,
    }
    return Row(external_id("billing", "customer", firm.number), body, now - timedelta(days=100, seconds=-firm.number))


def _order(sale: Sale, plants: Plants) -> Row:
    amount: Json = {"amount": f"{sale.amount:.2f}", "currency": sale.company.place.currency}
    money = plants.word("billing", "sale", sale.number, "amount", true=amount)
    assert isinstance(money, dict), "an amount is planted as money"
    assert sale.closed_at is not None, "an order comes from a won deal"
    body: dict[str, Json] = {
        "number": sale.order_number,
        "description": deal_name(sale),
        "customer": external_id("billing", "customer", sale.company.number),
        "amount": int(Decimal(str(money["amount"])) * 100),
        "currency": str(money["currency"]).lower(),
    }
    return Row(external_id("billing", "order", sale.number), body, sale.closed_at + timedelta(hours=5))


def _plans(rng: Random, *, world: World) -> list[Plan]:
    plans: list[Plan] = []
    sold = {sale.company.number: sale for sale in world.won}
    for firm in world.customers:
        sale = sold.get(firm.number)
        yearly = sale.amount if sale else Decimal(6_000 + firm.employees * 20)
        start = sale.closed_at if sale and sale.closed_at else world.now - timedelta(days=400 + firm.number)
        age_days = (world.now - start).days
        canceled = age_days > 90 and rng.random() < CANCELED_SHARE  # noqa: PLR2004 - nobody leaves in the first quarter.
        canceled_at = start + timedelta(days=rng.randrange(60, age_days)) if canceled else None
        plans.append(Plan(firm, sale, start, int(yearly * 100 / 12), canceled_at))
    return plans


def _subscription(plan: Plan, *, now: datetime, rng: Random) -> Row:
    seats = max(3, plan.monthly // SEAT_PRICE_CENTS)
    body: dict[str, Json] = {
        "customer": external_id("billing", "customer", plan.company.number),
        "order": external_id("billing", "order", plan.sale.number) if plan.sale else None,
        "plan": "Enterprise" if seats > 60 else "Team",  # noqa: PLR2004 - where the fake price list draws it.
        "status": "canceled" if plan.canceled_at else "active",
        "amount": plan.monthly,
        "currency": plan.company.place.currency.lower(),
        "interval": "month",
        "quantity": seats,
        "quantity_used": min(seats, round(seats * rng.uniform(0.3, 1.05))),
        "start_date": _unix(plan.start),
        "current_period_end": _unix(now + timedelta(days=plan.company.number % DAYS_PER_MONTH)),
        "canceled_at": _unix(plan.canceled_at) if plan.canceled_at else None,
    }
    at = plan.canceled_at or plan.start + timedelta(hours=1)
    return Row(external_id("billing", "subscription", plan.company.number), body, at)


def _bills(rng: Random, *, plan: Plan, now: datetime) -> Iterator[tuple[Row, Row | None]]:
    """Return the invoices of at most twelve months, each with the payment that answered it."""
    until = plan.canceled_at or now
    months = max(1, (until - plan.start).days // DAYS_PER_MONTH)
    for month in range(max(0, months - MONTHS_MAX), months):
        issued = plan.start + timedelta(days=month * DAYS_PER_MONTH)
        delay_days = rng.randrange(20, 45) if rng.random() < LATE_SHARE else rng.randrange(1, TERM_DAYS)
        paid_at = issued + timedelta(days=delay_days)
        failed = rng.random() < FAILED_SHARE
        number = plan.company.number * 100 + month
        open_still = paid_at > now or failed
        invoice = _invoice(plan, number=number, issued=issued, paid_at=None if open_still else paid_at)
        payment = None if paid_at > now else _payment(rng, plan=plan, number=number, at=paid_at, failed=failed)
        yield invoice, payment


def _total(plan: Plan) -> int:
    return plan.monthly * (100 + TAX_PERCENT[plan.company.place.currency]) // 100


def _invoice(plan: Plan, *, number: int, issued: datetime, paid_at: datetime | None) -> Row:
    total = _total(plan)
    body: dict[str, Json] = {
        "number": f"INV-{number:06d}",
        "customer": external_id("billing", "customer", plan.company.number),
        "subscription": external_id("billing", "subscription", plan.company.number),
        "order": external_id("billing", "order", plan.sale.number) if plan.sale else None,
        "amount": total,
        "amount_paid": total if paid_at else 0,
        "tax": total - plan.monthly,
        "currency": plan.company.place.currency.lower(),
        "status": "paid" if paid_at else "open",
        "created": _unix(issued),
        "due_date": _unix(issued + timedelta(days=TERM_DAYS)),
        "paid_at": _unix(paid_at) if paid_at else None,
    }
    return Row(external_id("billing", "invoice", number), body, paid_at or issued)


def _payment(rng: Random, *, plan: Plan, number: int, at: datetime, failed: bool) -> Row:
    body: dict[str, Json] = {
        "reference": f"PAY-{number:06d}",
        "customer": external_id("billing", "customer", plan.company.number),
        "invoice": external_id("billing", "invoice", number),
        "amount": _total(plan),
        "currency": plan.company.place.currency.lower(),
        "status": "failed" if failed else "succeeded",
        "created": _unix(at),
        "method": "card" if rng.random() < CARD_SHARE else "bank_transfer",
        "failure_message": "insufficient_funds" if failed else None,
    }
    return Row(external_id("billing", "payment", number), body, at)


def _vendor(number: int, *, now: datetime) -> Row:
    name, category = VENDORS[number - 1]
    body: dict[str, Json] = {
        "name": name,
        "legal_name": f"{name} GmbH",
        "website": f"{slug(name)}.example",
        "tax_id": f"DE{990_000_000 + number * 11}",
        "category": category,
        "country": "DE",
        "contract_amount": 1_200_000 + number * 100_000,
        "currency": "eur",
        "contract_start": _unix(now - timedelta(days=330)),
        "contract_end": _unix(now + timedelta(days=35 * number)),
    }
    return Row(external_id("billing", "vendor", number), body, now - timedelta(days=300))


def _budgets(world: World) -> Iterator[Row]:
    """Return a budget for every paid channel and month of the spend's half year."""
    months = sorted({f"{world.now - timedelta(days=age):%Y-%m}" for age in range(180)})
    channels = sorted({each.channel for each in world.campaigns})
    number = 0
    for month in months:
        for channel in channels:
            number += 1
            body: dict[str, Json] = {
                "period": month,
                "department": "Marketing",
                "channel": channel,
                "category": "media_spend",
                "amount": round(day_cost(channel, companies=len(world.companies)) * DAYS_PER_MONTH * 100),
                "currency": "eur",
            }
            yield Row(external_id("billing", "budget", number), body, world.now - timedelta(days=190))


def _unix(at: datetime) -> int:
    return int(at.timestamp())

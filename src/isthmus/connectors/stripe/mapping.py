"""Stripe's objects in our words, and ours in Stripe's. No clock, no network: what is read twice says the same twice.

A customer is who pays: it becomes an account, and its e-mail address, where it has one, a person of that account.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import cast

from isthmus.connectors.stripe.wire import day, digest, moment, money, own_id, rows, whole
from isthmus.kernel.marks import LINE_MAX, Json
from isthmus.kernel.words import Word, at_path, text

CUSTOMERS, SUBSCRIPTIONS, INVOICES = "customers", "subscriptions", "invoices"
CREDIT_NOTES, CHARGES, REFUNDS = "credit_notes", "charges", "refunds"
ACCOUNT, PERSON, SUBSCRIPTION = "sales.account", "sales.person", "finance.subscription"
INVOICE, PAYMENT = "finance.invoice", "finance.payment"
# Metadata of ours, by which a customer that we made is known again; it is not one of the fields people made.
MARK = "isthmus_key"
# Set in what a call of Stripe's carries: names of products are not in it, and are known from reading.
PARTIAL = "isthmus_partial"
KEY_CHARACTERS_MAX, VALUE_CHARACTERS_MAX, METADATA_MAX = 40, 500, 50
COUNTRY_LETTERS = 2
MONTHS_A_YEAR = Decimal(12)
STATUSES = {
    "incomplete": "unpaid",
    "incomplete_expired": "canceled",
    "trialing": "trialing",
    "active": "active",
    "past_due": "past_due",
    "unpaid": "unpaid",
    "paused": "paused",
    "canceled": "canceled",
}
CHARGE_STATUSES = {"succeeded": "succeeded", "pending": "pending", "failed": "failed"}
REFUND_STATUSES = {"succeeded": "succeeded", "failed": "failed", "canceled": "failed"}
# Our intervals by (theirs, count); any other is turned into an amount for a month.
INTERVALS = {("month", 1): "month", ("month", 3): "quarter", ("year", 1): "year", ("month", 12): "year"}
PER_MONTH = {
    "day": Decimal(365) / MONTHS_A_YEAR,
    "week": Decimal(52) / MONTHS_A_YEAR,
    "month": Decimal(1),
    "year": 1 / MONTHS_A_YEAR,
}
# What of ours goes where, for customers; `custom` is the metadata.
_ADDRESS = {"street": "line1", "postal_code": "postal_code", "city": "city", "region": "state", "country": "country"}
_PATHS: dict[str, dict[str, str]] = {
    ACCOUNT: {"name": "name", "phone": "phone", "description": "description"},
    PERSON: {"email": "email"},
}
WRITABLE: dict[str, tuple[str, ...]] = {
    ACCOUNT: (*_PATHS[ACCOUNT], *_ADDRESS, "custom"),
    PERSON: ("email", "language", "first_name", "last_name", "account_id"),
    SUBSCRIPTION: ("status", "cancel_reason", "custom"),
}
# What a conditional write looks at: Stripe keeps no version of an object, so this is what must not have moved.
_WATCHED = ("name", "email", "phone", "description", "address", "preferred_locales", "metadata")
_WATCHED_SUBSCRIPTION = ("status", "metadata", "cancel_at_period_end", "pause_collection")
Row = dict[str, Json]


def words(feed: str, body: Row) -> Iterable[Word]:
    """Return what an object of a feed says."""
    return _WORDS[feed](body)


def version(body: Row) -> str:
    """Return what stands for the version of an object: a digest of what is written, and of nothing that is not."""
    names = _WATCHED_SUBSCRIPTION if body.get("object") == "subscription" else _WATCHED
    return digest({name: _tidy(body.get(name)) for name in names})


def _tidy(value: Json) -> Json:
    """Return a value without its empty parts, which Stripe and those who imitate it leave out or not."""
    if isinstance(value, dict):
        return {name: inner for name, inner in value.items() if _tidy(inner) is not None} or None
    return None if value in ("", []) else value


def _customer(body: Row) -> Iterable[Word]:
    email = text(body.get("email"))
    name = text(body.get("name")) or text(body.get("business_name")) or text(body.get("individual_name"))
    fields: Row = {
        "name": _line(name or email or f"[{body.get('id')}]"),
        "phone": _line(text(body.get("phone"))),
        "description": text(body.get("description")),
        **_place(body.get("address")),
        **_custom(body),
    }
    for known in rows(body.get("tax_ids"))[:1]:
        fields["tax_id"] = text(known.get("value"))
    yield Word(type=ACCOUNT, fields=fields)
    if email is not None:
        yield Word(type=PERSON, fields=_contact(body, email), links={"account_id": str(body["id"])})


def _contact(body: Row, email: str) -> Row:
    locales = body.get("preferred_locales")
    fields: Row = {"email": email, "language": text(locales[0]) if isinstance(locales, list) and locales else None}
    if human := text(body.get("individual_name")):
        first, _, last = human.partition(" ")
        fields |= {"first_name": first, "last_name": last.strip() or None}
    return fields


def _place(address: Json) -> Row:
    lines = [line for name in ("line1", "line2") if (line := text(at_path(address, name)))]
    return {
        "street": _line(", ".join(lines) or None),
        "postal_code": text(at_path(address, "postal_code")),
        "city": text(at_path(address, "city")),
        "region": text(at_path(address, "state")),
        "country": text(at_path(address, "country")),
    }


def _custom(body: Row) -> Row:
    """Return the metadata as our own fields; where there is none, nothing is said about them."""
    metadata = body.get("metadata")
    found = {name: value for name, value in metadata.items() if name != MARK} if isinstance(metadata, dict) else {}
    kept: Row = {name: value for name, value in found.items() if text(value) is not None}
    return {"custom": kept} if kept else {}


def _subscription(body: Row) -> Iterable[Word]:
    items = rows(body.get("items"))
    details = body.get("cancellation_details")
    reason = next((said for name in ("comment", "feedback", "reason") if (said := text(at_path(details, name)))), None)
    status = STATUSES[cast("str", body["status"])]
    paused = status in ("active", "trialing") and body.get("pause_collection") is not None
    ended = body.get("canceled_at") or body.get("ended_at")
    fields: Row = {
        **_plan_named(body, items),
        "status": "paused" if paused else status,
        **_recurring(items),
        "quantity": _quantity(items),
        "started_on": day(body.get("start_date")),
        "period_ends_on": day(_period_end(body, items)),
        "canceled_on": day(ended),
        "cancel_reason": _line(reason),
        **_custom(body),
    }
    yield Word(type=SUBSCRIPTION, fields=fields, links=_link("account_id", body.get("customer")))


def _plan(item: Row) -> Row:
    """Return the price of an item, or its plan, which is what a price was called before."""
    found = item.get("price") or item.get("plan")
    return found if isinstance(found, dict) else {}


def product_to_name(item: Row) -> str | None:
    """Return the id of the product whose name is the only name of what an item costs."""
    plan = _plan(item)
    return None if text(plan.get("nickname")) else text(plan.get("product"))


def _plan_named(body: Row, items: list[Row]) -> Row:
    if body.get(PARTIAL) and any(map(product_to_name, items)):
        return {}
    return {"plan": _line(" + ".join(dict.fromkeys(map(_plan_name, items))) or str(body["id"]))}


def _plan_name(item: Row) -> str:
    plan = _plan(item)
    named = (plan.get("nickname"), at_path(plan, "product", "name"), plan.get("lookup_key"))
    return next((said for each in (*named, own_id(plan.get("product"))) if (said := text(each))), str(plan.get("id")))


def _quantity(items: list[Row]) -> Json:
    counts = [count for each in items if isinstance(count := each.get("quantity"), int)]
    return sum(counts) if counts else None


def _recurring(items: list[Row]) -> Row:
    """Return the amount of one interval; nothing where items cannot be added, or cost what is used."""
    parts = [_part(each) for each in items]
    if not parts or None in parts:
        return {"recurring": None}
    known = [each for each in parts if each is not None]
    if len({currency for currency, _, _ in known}) > 1:
        return {"recurring": None}
    intervals = {INTERVALS.get(each) for _, each, _ in known}
    [currency] = {currency for currency, _, _ in known}
    if len(intervals) == 1 and None not in intervals:
        total = sum((amount for _, _, amount in known), Decimal(0))
        return {"recurring": money(whole(total), currency), "billing_interval": intervals.pop()}
    monthly = sum((amount * PER_MONTH[unit] / count for _, (unit, count), amount in known), Decimal(0))
    return {"recurring": money(whole(monthly), currency), "billing_interval": "month"}


def _part(item: Row) -> tuple[str, tuple[str, int], Decimal] | None:
    """Return currency, interval and amount in the smallest unit of an item; nothing where it costs what is used."""
    plan = _plan(item)
    unit = next((plan[name] for name in ("unit_amount_decimal", "unit_amount", "amount") if plan.get(name)), None)
    each = plan.get("recurring") if isinstance(plan.get("recurring"), dict) else plan
    interval, count, currency = at_path(each, "interval"), at_path(each, "interval_count"), text(plan.get("currency"))
    if unit is None and 0 in (plan.get("unit_amount"), plan.get("amount")):
        unit = 0
    if unit is None or currency is None or interval not in PER_MONTH or plan.get("billing_scheme") == "tiered":
        return None
    quantity = item.get("quantity")
    many = quantity if isinstance(quantity, int) else 1
    return currency, (interval, count if isinstance(count, int) else 1), Decimal(str(unit)) * many


def _period_end(body: Row, items: list[Row]) -> Json:
    """Return when the period ends; newer versions tell it of each item."""
    ends = [end for each in items if isinstance(end := each.get("current_period_end"), int)]
    return body.get("current_period_end") or (max(ends) if ends else None)


def _invoice(body: Row) -> Iterable[Word]:
    currency = body.get("currency")
    amount = money(body.get("total"), currency)
    if amount is None:
        return
    times = body.get("status_transitions")
    finalised = at_path(times, "finalized_at") or body.get("effective_at")
    fields: Row = {
        "amount": amount,
        "invoice_number": text(body.get("number")),
        "status": text(body.get("status")) or "draft",
        "paid": money(body.get("amount_paid"), currency),
        "tax": money(_tax(body), currency),
        "issued_on": day(finalised or body.get("created")),
        "due_on": day(body.get("due_date")),
        "paid_at": moment(at_path(times, "paid_at")),
        **_custom(body),
    }
    subscription = body.get("subscription") or at_path(body, "parent", "subscription_details", "subscription")
    links = _link("account_id", body.get("customer")) | _link("subscription_id", subscription)
    yield Word(type=INVOICE, fields=fields, links=links)


def _tax(body: Row) -> Json:
    """Return the tax in the smallest unit; newer versions tell it by rate."""
    parts = rows(body.get("total_taxes")) or rows(body.get("total_tax_amounts"))
    if parts:
        return sum(amount for each in parts if isinstance(amount := each.get("amount"), int))
    return body.get("tax") if isinstance(body.get("tax"), int) else 0


def _credit_note(body: Row) -> Iterable[Word]:
    """Return a credit note as an invoice below zero; what was given back after a payment is paid below zero."""
    currency = body.get("currency")
    total = body.get("total")
    if not isinstance(total, int):
        return
    back = body.get("post_payment_amount")
    if not isinstance(back, int):
        back = total if body.get("type") == "post_payment" else 0
    gone = body.get("status") == "void"
    fields: Row = {
        "amount": money(-total, currency),
        "invoice_number": text(body.get("number")),
        "status": "void" if gone else "paid",
        "paid": money(0 if gone else -back, currency),
        "tax": money(-cast("int", _tax(body)), currency),
        "issued_on": day(body.get("effective_at") or body.get("created")),
        **_custom(body),
    }
    yield Word(type=INVOICE, fields=fields, links=_link("account_id", body.get("customer")))


def _charge(body: Row) -> Iterable[Word]:
    """Return a charge as a payment; what was only authorised has not come in yet."""
    captured = body.get("captured", True)
    part = body.get("amount_captured")
    amount = part if captured and isinstance(part, int) and part else body.get("amount")
    status = CHARGE_STATUSES[cast("str", body["status"])]
    if status == "succeeded":
        status = "pending" if not captured else "refunded" if body.get("refunded") else "succeeded"
    method = body.get("payment_method_details")
    reason = text(body.get("failure_message")) or text(at_path(body, "outcome", "seller_message"))
    fields: Row = {
        "amount": money(amount, body.get("currency")),
        "reference": str(body["id"]),
        "status": status,
        "at": moment(body.get("created")),
        "method": text(at_path(method, "type")),
        "failure_reason": _line(reason) if status == "failed" else None,
        **_custom(body),
    }
    links = _link("account_id", body.get("customer")) | _link("invoice_id", body.get("invoice"))
    yield Word(type=PAYMENT, fields=fields, links=links)


def _refund(body: Row) -> Iterable[Word]:
    """Return a refund as a payment below zero, so that payments add up to what stayed."""
    amount = body.get("amount")
    if not isinstance(amount, int):
        return
    charge = body.get("charge")
    fields: Row = {
        "amount": money(-amount, body.get("currency")),
        "reference": str(body["id"]),
        "status": REFUND_STATUSES.get(text(body.get("status")) or "", "pending"),
        "at": moment(body.get("created")),
        "method": "refund",
        "failure_reason": _line(text(body.get("failure_reason"))),
        **_custom(body),
    }
    links = _link("account_id", body.get("customer") or at_path(charge, "customer"))
    links |= _link("invoice_id", at_path(charge, "invoice"))
    yield Word(type=PAYMENT, fields=fields, links=links)


_WORDS: Mapping[str, Callable[[Row], Iterable[Word]]] = {
    CUSTOMERS: _customer,
    SUBSCRIPTIONS: _subscription,
    INVOICES: _invoice,
    CREDIT_NOTES: _credit_note,
    CHARGES: _charge,
    REFUNDS: _refund,
}


def _link(name: str, target: Json) -> dict[str, str]:
    found = own_id(target)
    return {} if found is None else {name: found}


def _line(value: str | None) -> str | None:
    return value[:LINE_MAX] if value else None


def express(kind: str, fields: Row, *, links: Mapping[str, str], new: bool) -> Row:
    """Return what a change means in Stripe, by parameter; what Stripe has no place for is left out."""
    if kind == SUBSCRIPTION:
        return {} if new else _subscription_wanted(fields)
    wanted: Row = {path: fields[name] for name, path in _PATHS.get(kind, {}).items() if name in fields}
    if kind == PERSON:
        if text(fields.get("language")):
            wanted["preferred_locales"] = [fields["language"]]
        if new:
            wanted = wanted | _newcomer(fields, links) if text(wanted.get("email")) else {}
        return wanted
    address = {path: fields[name] for name, path in _ADDRESS.items() if name in fields}
    country = text(address.get("country"))
    if country is not None and len(country) != COUNTRY_LETTERS:
        del address["country"]
    if address:
        wanted["address"] = address
    if isinstance(fields.get("custom"), dict):
        wanted["metadata"] = metadata(cast("Row", fields["custom"]))
    return wanted


def _newcomer(fields: Row, links: Mapping[str, str]) -> Row:
    """Return whose contact a new person becomes: of the customer that is its account, else of one of its own."""
    if "account_id" in links:
        return {"customer": links["account_id"]}
    halves = (text(fields.get(name)) for name in ("first_name", "last_name"))
    name = " ".join(half for half in halves if half)
    return {"name": name} if name else {}


def _subscription_wanted(fields: Row) -> Row:
    wanted: Row = {}
    if status := text(fields.get("status")):
        wanted["status"] = status
        if reason := text(fields.get("cancel_reason")):
            wanted["cancellation_details"] = {"comment": reason}
    if isinstance(fields.get("custom"), dict):
        wanted["metadata"] = metadata(cast("Row", fields["custom"]))
    return wanted


def metadata(custom: Row) -> Row:
    """Return fields of ours as metadata, which are at most 50 short texts; those that do not fit stay here."""
    texts: Row = {}
    for name, value in custom.items():
        said = ("true" if value else "false") if isinstance(value, bool) else "" if value is None else str(value)
        named = 0 < len(name) <= KEY_CHARACTERS_MAX and "[" not in name and "]" not in name
        if named and 0 < len(said) <= VALUE_CHARACTERS_MAX and len(texts) < METADATA_MAX - 1:
            texts[name] = said
    return texts


def parameters(wanted: Row, *, current: Row) -> Row:
    """Return the parameters to send for what is wanted of an object that stands as `current` says.

    An address goes whole, since a part of one is not merged everywhere. Metadata that is no longer wanted is cleared.
    """
    found = dict(wanted)
    if isinstance(address := found.get("address"), dict):
        before = current.get("address")
        kept = {name: value for name, value in before.items() if text(value)} if isinstance(before, dict) else {}
        if "line1" in address and "line2" in kept:
            kept["line2"] = None
        found["address"] = kept | address if current else {name: each for name, each in address.items() if text(each)}
    if "metadata" in found:
        there = current.get("metadata")
        gone = {name: "" for name in there if name != MARK} if isinstance(there, dict) else {}
        found["metadata"] = gone | cast("Row", found["metadata"])
    return found

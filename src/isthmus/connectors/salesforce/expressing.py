"""Our changes in Salesforce's words: which fields, and which words of the organisation's own lists; pure."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import cast

from isthmus.connectors.salesforce import meaning
from isthmus.connectors.salesforce.mapping import UNKNOWN, stage_of
from isthmus.connectors.salesforce.shapes import Shape
from isthmus.connectors.salesforce.tables import Table
from isthmus.connectors.salesforce.wire import CUSTOM, OWNER, Row, number
from isthmus.kernel.marks import Json
from isthmus.kernel.words import text

STAGE = "StageName"
_MONEY = ("AnnualRevenue", "Amount", "BudgetedCost")
_NEEDED = {"LastName": UNKNOWN, "Company": UNKNOWN}
_PHONES = ("Phone", "MobilePhone")


class Refusal(Exception):
    """What is wanted cannot be said in Salesforce; the sentence says why and what to do there."""


def express(table: Table, fields: Row, *, links: Mapping[str, str]) -> Row:
    """Return what a change means, by Salesforce's fields; lists still hold our words, amounts are our money."""
    wanted: Row = {}
    for ours in table.writes:
        if ours == "custom":
            given = fields.get(ours)
            if isinstance(given, dict):
                wanted[CUSTOM] = {name: value for name, value in given.items() if name.endswith("__c")}
        elif ours == "owner_id":
            wanted |= {OWNER: fields[ours]} if ours in fields else {}
        elif ours in links:
            wanted[table.plain[ours]] = links[ours]
        elif ours in fields:
            wanted[table.plain[ours]] = fields[ours]
    return wanted


def values(shape: Shape, wanted: Row, *, current: Row, stages: Sequence[Row]) -> Row:
    """Return what to send for what is wanted of a record that stands as `current` says (empty for a new one).

    The owner is left to the caller. What stands as it is wanted is left out. Raises Refusal.
    """
    sent: Row = {}
    for name, value in wanted.items():
        if name == CUSTOM:
            sent |= _customs(shape, cast("Row", value or {}), current)
        elif name in _MONEY:
            sent |= _money(shape, name, value, current)
        elif name == "Phone" and shape.table.name == "Contact":
            sent[next((each for each in _PHONES if text(current.get(each))), name)] = value
        elif name != OWNER:
            said = _word(shape, name, value, current=current, stages=stages)
            sent |= {name: said} if said is not None or value is None else {}
    for name, unknown in _NEEDED.items():
        if name in shape.columns and ((not current and not sent.get(name)) or (name in sent and not sent[name])):
            sent[name] = unknown
    if current:
        return {name: value for name, value in sent.items() if not stands(name, value, current)}
    return {name: value for name, value in sent.items() if value is not None}


def stands(name: str, value: Json, current: Row) -> bool:
    """Tell whether a field holds a value, as Salesforce tidies it: without spaces around, and one form of new lines."""
    own = current.get(CUSTOM)
    held = own.get(name) if isinstance(own, dict) and name in own else current.get(name)
    if isinstance(value, int | float) and isinstance(held, int | float) and not isinstance(value, bool):
        return Decimal(str(value)) == Decimal(str(held))
    return _tidy(value) == _tidy(held)


def _tidy(value: Json) -> Json:
    if isinstance(value, str):
        return value.replace("\r\n", "\n").strip() or None
    return value


def _customs(shape: Shape, given: Row, current: Row) -> Row:
    """Return the organisation's own fields to write; one that we hold no more is cleared."""
    held = current.get(CUSTOM)
    cleared = {name: None for name, value in held.items() if value is not None} if isinstance(held, dict) else {}
    wanted = {**cleared, **given}
    named = [name for name in shape.own if name in wanted and _writable(shape, name, new=not current)]
    # A box that is ticked or not is never empty.
    return {name: False if wanted[name] is None and _box(shape, name) else wanted[name] for name in named}


def _box(shape: Shape, name: str) -> bool:
    return shape.columns[name].kind == "boolean"


def _writable(shape: Shape, name: str, *, new: bool) -> bool:
    column = shape.columns.get(name)
    return column is not None and (column.creatable if new else column.changeable)


def unwritable(shape: Shape, sent: Row, *, new: bool) -> list[str]:
    """Return the fields that our user may not write there."""
    return [name for name in sent if not _writable(shape, name, new=new)]


def _money(shape: Shape, name: str, value: Json, current: Row) -> Row:
    told = number(value)
    if told is None:
        return {name: None}
    currency = cast("Row", value).get("currency")
    sent: Row = {name: int(told) if told == told.to_integral_value() else float(told)}
    if "CurrencyIsoCode" in shape.columns:
        return sent | ({"CurrencyIsoCode": currency} if currency != current.get("CurrencyIsoCode") else {})
    if currency != shape.currency:
        raise Refusal(f"The organisation has amounts in {shape.currency} only, and this is one in {currency}.")
    return sent


def _word(shape: Shape, name: str, value: Json, *, current: Row, stages: Sequence[Row]) -> Json:
    """Return the organisation's word for ours; what already means it stays as it is. Raises Refusal."""
    wanted, listed = text(value), (shape.table.name, name)
    means = _MEANS.get(listed)
    if wanted is None or (means is None and listed != ("Opportunity", STAGE)):
        return value
    if current and _meant(listed, current) == wanted:
        return current.get(name)
    if listed == ("Lead", "Status") and wanted == "converted":
        raise Refusal("A lead is converted in Salesforce itself, where its company and contact are chosen.")
    words = shape.columns[name].words if name in shape.columns else ()
    found = meaning.stage_word(stages, wanted) if means is None else meaning.chosen(words, means, wanted)
    # Kinds of companies are told by each organisation in its own way: one that it has no word for stays untold.
    if found is None and listed != ("Account", "Type"):
        raise Refusal(f"The list {name} of {listed[0]} has no value that means {wanted}: add one in Salesforce.")
    return found


def _meant(listed: tuple[str, str], current: Row) -> str | None:
    """Return what the word that a record holds means."""
    held = current.get(listed[1])
    match listed:
        case ("Opportunity", _):
            return stage_of(current)
        case ("Lead", _):
            return meaning.lead_status(held, converted=current.get("IsConverted") is True)
        case ("Case", "Status"):
            return meaning.case_status(held, closed=current.get("IsClosed") is True)
        case _:
            return _MEANS[listed](held) if isinstance(held, str) else None


_MEANS: dict[tuple[str, str], meaning.Means] = {
    ("Account", "Type"): meaning.account_kind,
    ("Campaign", "Status"): lambda word: meaning.CAMPAIGN_STATUSES.get(word.lower()),
    ("Case", "Priority"): meaning.priority,
    ("Case", "Status"): lambda word: meaning.CASE_STATUSES.get(word.lower()),
    ("Lead", "Status"): lambda word: meaning.lead_status(word, converted=False),
}

"""What is planted: who is in which system, what differs there, what stands twice, what is broken.

All of it is known, so that matching, conflicts and rejections can be counted against the truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from random import Random
from typing import NamedTuple, TypeAlias

from msgspec import Struct

from isthmus.connectors.demo.names import PLACES, SHORT_NAMES
from isthmus.connectors.demo.world import Company, Human, Interest, Sale, World, stream
from isthmus.kernel.marks import Json

SYSTEMS = ("crm", "marketing", "billing", "product", "desk")
MARKETING_SHARE, PRODUCT_SHARE, DESK_SHARE = 0.7, 0.9, 0.6
AMOUNT_CONFLICTS, LEGAL_NAME_CONFLICTS = 4, 2
TITLE_CHANGES, SHORT_FIRST_NAMES, LANGUAGE_CHANGES = 14, 6, 6
SIZE_CHANGES, INDUSTRY_CHANGES, CITY_CHANGES = 8, 4, 2
PHONE_ONLY, OTHER_EMAIL = 15, 10
CONTACTS_TWICE, LEADS_TWICE, COMPANIES_TWICE = 12, 18, 4


class Row(NamedTuple):
    """A record as a fake system holds it, and when it was last changed there."""

    id: str
    body: dict[str, Json]
    at: datetime


Rows: TypeAlias = dict[str, list[Row]]


class Difference(Struct, frozen=True, kw_only=True):
    """Two systems hold different values of one field. `key` is the record's id in the first of them."""

    type: str
    field: str
    key: str
    values: dict[str, Json]
    critical: bool


class BadRow(Struct, frozen=True, kw_only=True):
    """A row that must be rejected, the field at fault, and why."""

    system: str
    feed: str
    external_id: str
    field: str
    reason: str


@dataclass(frozen=True)
class Plants:
    """The plan. `said` overrides the true value of (system, kind, number, field); sets hold numbers of humans etc."""

    marketing: frozenset[int]
    product: frozenset[int]
    desk: frozenset[int]
    phone_only: frozenset[int]
    other_email: frozenset[int]
    contacts_twice: tuple[int, ...]
    leads_twice: tuple[int, ...]
    companies_twice: tuple[int, ...]
    said: dict[tuple[str, str, int, str], Json]
    differences: tuple[Difference, ...]

    def word(self, system: str, kind: str, number: int, field: str, *, true: Json) -> Json:
        """Return what a system says, which is the truth unless a difference is planted."""
        return self.said.get((system, kind, number, field), true)


def external_id(system: str, kind: str, number: int) -> str:
    """Return the id under which a system keeps something; every system counts in its own way."""
    match system:
        case "crm":
            return f"{kind[:3].upper()}{number:07d}"
        case "marketing":
            return f"{kind}-{700_000 + number * 3}"
        case "billing":
            return f"{kind[:3]}_{number:06x}demo"
        case _:
            return f"{system[0]}{kind[0]}{number}"


BAD_ROWS = tuple(
    BadRow(
        system=system, feed=f"{system}.{feed}", external_id=external_id(system, kind, number), field=field, reason=why
    )
    for system, feed, kind, number, field, why in (
        ("crm", "leads", "lead", 80_001, "email", "the e-mail address is no address"),
        ("crm", "leads", "lead", 80_002, "email", "the e-mail address has no @"),
        ("crm", "leads", "lead", 80_003, "email", "the e-mail address has two @"),
        ("crm", "leads", "lead", 80_004, "company", "the company is empty"),
        ("marketing", "contacts", "contact", 80_001, "email", "the e-mail address ends with its @"),
        ("marketing", "touches", "touch", 80_001, "at", "the moment is no moment"),
        ("billing", "invoices", "invoice", 80_001, "amount", "EURO is no currency"),
        ("billing", "payments", "payment", 80_001, "amount", "the amount is no number"),
    )
)


class _Planter:
    """Draws differences until each field has its wanted number, never two on one record."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.said: dict[tuple[str, str, int, str], Json] = {}
        self.differences: list[Difference] = []
        self._used: set[tuple[str, int]] = set()

    def plant(
        self,
        among: Sequence[int],
        *,
        kind: str,
        field: str,
        values: dict[int, tuple[Json, Json]],
        systems: tuple[str, str],
        count: int,
    ) -> None:
        """Plant `count` differences in a field: `values` are (true, other) by number; the second system says other."""
        record_type = {"human": "sales.person", "company": "sales.account", "sale": "sales.deal"}[kind]
        free = [number for number in among if (kind, number) not in self._used and number in values]
        for number in sorted(self.rng.sample(free, min(count, len(free)))):
            self._used.add((kind, number))
            true, other = values[number]
            self.said[systems[1], kind, number, field] = other
            self.differences.append(
                Difference(
                    type=record_type,
                    field=field,
                    key=external_id(systems[0], NOUNS[kind], number),
                    values={systems[0]: true, systems[1]: other},
                    critical=field in {"amount", "legal_name"},
                )
            )


NOUNS = {"human": "contact", "company": "account", "sale": "opportunity"}


@lru_cache(maxsize=2)
def make_plants(world: World) -> Plants:
    """Return the plan of a world; equal worlds have equal plans."""
    rng = stream(world.seed, "plants")
    customers = {each.number for each in world.customers}
    everyone = [human.number for human in world.humans]
    users = [human.number for human in world.humans if human.company.number in customers]
    marketing = sorted(number for number in everyone if rng.random() < MARKETING_SHARE)
    product = frozenset(number for number in users if rng.random() < PRODUCT_SHARE)
    desk = frozenset(number for number in users if rng.random() < DESK_SHARE)
    odd = rng.sample(marketing, min(len(marketing) // 4, PHONE_ONLY + OTHER_EMAIL))
    phone_only, other_email = frozenset(odd[:PHONE_ONLY]), frozenset(odd[PHONE_ONLY:])
    planter = _Planter(rng)
    plain = [number for number in marketing if number not in set(odd)]
    _plant_humans(planter, {human.number: human for human in world.humans}, among=plain)
    _plant_companies(planter, {firm.number: firm for firm in world.companies}, customers=sorted(customers))
    _plant_amounts(planter, world.won)
    crm_leads = [each.number for each in world.interests if in_crm(each)]
    return Plants(
        marketing=frozenset(marketing),
        product=product,
        desk=desk,
        phone_only=phone_only,
        other_email=other_email,
        contacts_twice=tuple(sorted(rng.sample(everyone, min(CONTACTS_TWICE, len(everyone) // 8)))),
        leads_twice=tuple(sorted(rng.sample(crm_leads, min(LEADS_TWICE, len(crm_leads) // 8)))),
        companies_twice=tuple(sorted(rng.sample(range(1, len(world.companies) + 1), COMPANIES_TWICE))),
        said=planter.said,
        differences=tuple(planter.differences),
    )


def in_crm(interest: Interest) -> bool:
    """Tell whether the customer system has the lead; sign-ups for mail never get there."""
    return interest.kind != "email_signup"


def in_marketing(interest: Interest) -> bool:
    """Tell whether the marketing tool has the lead; imports and calls of the API pass it by."""
    return interest.kind not in {"list_import", "api"}


def _plant_humans(planter: _Planter, humans: dict[int, Human], *, among: Sequence[int]) -> None:
    short = {
        number: (each.first, SHORT_NAMES[each.first]) for number, each in humans.items() if each.first in SHORT_NAMES
    }
    titles: dict[int, tuple[Json, Json]] = {
        number: (each.title, f"Senior {each.title}") for number, each in humans.items()
    }
    languages: dict[int, tuple[Json, Json]] = {}
    for number, each in humans.items():
        true = each.company.place.language
        languages[number] = (true, "en" if true != "en" else "es")
    pair = ("crm", "marketing")
    planter.plant(among, kind="human", field="first_name", values=dict(short), systems=pair, count=SHORT_FIRST_NAMES)
    planter.plant(among, kind="human", field="title", values=titles, systems=pair, count=TITLE_CHANGES)
    planter.plant(among, kind="human", field="language", values=languages, systems=pair, count=LANGUAGE_CHANGES)


def _plant_companies(planter: _Planter, firms: dict[int, Company], *, customers: Sequence[int]) -> None:
    sizes: dict[int, tuple[Json, Json]] = {}
    industries: dict[int, tuple[Json, Json]] = {}
    cities: dict[int, tuple[Json, Json]] = {}
    legal: dict[int, tuple[Json, Json]] = {}
    all_cities = [city for place in PLACES for city, _ in place.cities]
    for number, firm in firms.items():
        sizes[number] = (firm.employees, firm.employees * 11 // 10 + 3)
        industries[number] = (firm.industry, f"{firm.industry} (other)")
        cities[number] = (firm.city, all_cities[(all_cities.index(firm.city) + 1) % len(all_cities)])
        legal[number] = (firm.legal_name, f"{firm.name} Holding {firm.place.form}")
    to_billing, to_marketing = ("crm", "billing"), ("crm", "marketing")
    planter.plant(
        customers, kind="company", field="legal_name", values=legal, systems=to_billing, count=LEGAL_NAME_CONFLICTS
    )
    planter.plant(customers, kind="company", field="city", values=cities, systems=to_billing, count=CITY_CHANGES)
    everyone = sorted(firms)
    planter.plant(
        everyone, kind="company", field="employee_count", values=sizes, systems=to_marketing, count=SIZE_CHANGES
    )
    planter.plant(
        everyone, kind="company", field="industry", values=industries, systems=to_marketing, count=INDUSTRY_CHANGES
    )


def _plant_amounts(planter: _Planter, won: Sequence[Sale]) -> None:
    """Sales gave a discount that billing never heard of, or billing added what sales never saw."""
    values: dict[int, tuple[Json, Json]] = {}
    for sale in won:
        other = round(sale.amount * (95 if sale.number % 2 else 104) / 100)
        currency = sale.company.place.currency
        values[sale.number] = (
            {"amount": f"{sale.amount:.2f}", "currency": currency},
            {"amount": f"{other}.00", "currency": currency},
        )
    numbers = [sale.number for sale in won]
    planter.plant(
        numbers, kind="sale", field="amount", values=values, systems=("crm", "billing"), count=AMOUNT_CONFLICTS
    )

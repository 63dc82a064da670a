"""What is true of the fake company, for counting how well it was found out."""

from collections import defaultdict
from datetime import datetime

from msgspec import Struct

from isthmus.connectors.demo.making import make_world
from isthmus.connectors.demo.plants import (
    BAD_ROWS,
    BadRow,
    Difference,
    Plants,
    external_id,
    in_crm,
    in_marketing,
    make_plants,
)
from isthmus.connectors.demo.world import COMPANIES_DEFAULT, Company, Human, World

TWIN_OFFSET = 90_000


class Cluster(Struct, frozen=True, kw_only=True):
    """The records of several systems that are one. `members` are (feed, external id).

    `by_handle` says whether every member shares an identifying value with another, so that exact matching can find it.
    """

    type: str
    members: tuple[tuple[str, str], ...]
    by_handle: bool = True


class Truth(Struct, frozen=True, kw_only=True):
    """Everything that is known. `shares` are of won revenue by currency and cause; `baseline` stands for no touch."""

    clusters: tuple[Cluster, ...]
    differences: tuple[Difference, ...]
    bad_rows: tuple[BadRow, ...]
    shares: dict[str, dict[str, float]]
    won_deals: int
    people: int
    accounts: int


def truth(*, seed: int, now: datetime, companies: int = COMPANIES_DEFAULT) -> Truth:
    """Return the truth of the world that the demo systems with these settings show."""
    world = make_world(seed=seed, now=now, companies=companies)
    plants = make_plants(world)
    people = [_human(each, plants) for each in world.humans]
    accounts = [_company(each, world, plants) for each in world.companies]
    return Truth(
        clusters=(*people, *accounts, *_leads(world, plants), *_deals(world)),
        differences=plants.differences,
        bad_rows=BAD_ROWS,
        shares=_shares(world),
        won_deals=len(world.won),
        people=len(people),
        accounts=len(accounts),
    )


def _human(human: Human, plants: Plants) -> Cluster:
    number = human.number
    members = [("crm.contacts", external_id("crm", "contact", number))]
    if number in plants.contacts_twice:
        members.append(("crm.contacts", external_id("crm", "contact", TWIN_OFFSET + number)))
    if number in plants.marketing:
        members.append(("marketing.contacts", external_id("marketing", "contact", number)))
    if number in plants.product:
        members.append(("product.users", external_id("product", "user", number)))
    if number in plants.desk:
        members.append(("desk.users", external_id("desk", "user", number)))
    return Cluster(type="sales.person", members=tuple(members), by_handle=number not in plants.other_email)


def _company(firm: Company, world: World, plants: Plants) -> Cluster:
    number = firm.number
    members = [
        ("crm.accounts", external_id("crm", "account", number)),
        ("marketing.companies", external_id("marketing", "company", number)),
    ]
    if number in plants.companies_twice:
        members.append(("crm.accounts", external_id("crm", "account", TWIN_OFFSET + number)))
    if firm in world.customers:
        members.append(("billing.customers", external_id("billing", "customer", number)))
        members.append(("product.groups", external_id("product", "group", number)))
    if any(human.company is firm for human in world.humans if human.number in plants.desk):
        members.append(("desk.organisations", external_id("desk", "organisation", number)))
    return Cluster(type="sales.account", members=tuple(members))


def _leads(world: World, plants: Plants) -> list[Cluster]:
    clusters: list[Cluster] = []
    for interest in world.interests:
        members: list[tuple[str, str]] = []
        if in_crm(interest):
            members.append(("crm.leads", external_id("crm", "lead", interest.number)))
        if interest.number in plants.leads_twice:
            members.append(("crm.leads", external_id("crm", "lead", TWIN_OFFSET + interest.number)))
        if in_marketing(interest):
            members.append(("marketing.submissions", external_id("marketing", "submission", interest.number)))
        clusters.append(Cluster(type="sales.lead", members=tuple(members)))
    return clusters


def _deals(world: World) -> list[Cluster]:
    clusters: list[Cluster] = []
    for sale in world.sales:
        members = [("crm.opportunities", external_id("crm", "opportunity", sale.number))]
        if sale.stage == "closed_won":
            members.append(("billing.orders", external_id("billing", "order", sale.number)))
        clusters.append(Cluster(type="sales.deal", members=tuple(members)))
    return clusters


def _shares(world: World) -> dict[str, dict[str, float]]:
    """Return the expected share of every cause in won revenue, currency by currency."""
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for sale in world.won:
        for cause, share in sale.causes:
            sums[sale.company.place.currency][cause] += share * float(sale.amount)
    return {
        currency: {cause: part / sum(parts.values()) for cause, part in sorted(parts.items())}
        for currency, parts in sorted(sums.items())
    }

"""Makes the true world of a seed: who there is, what reached them, who bought, who showed interest."""

import math
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from random import Random

from isthmus.connectors.demo.journeys import make_contacts, make_sales
from isthmus.connectors.demo.names import (
    FIRST_NAMES,
    LAST_NAMES,
    OWNERS,
    PLACE_WEIGHTS,
    PLACES,
    TITLES,
    company_names,
    slug,
)
from isthmus.connectors.demo.world import (
    CAMPAIGNS,
    COMPANIES_DEFAULT,
    HORIZON_DAYS,
    Campaign,
    Company,
    Human,
    Interest,
    World,
    day_cost,
    stream,
)

LEADS_PER_COMPANY, KNOWN_SHARE, FREE_MAIL_SHARE, PHONE_SHARE = 5, 0.4, 0.15, 0.5
LEAD_KINDS = ("form_submission", "email_signup", "webinar_registration", "list_import", "api")
LEAD_KIND_WEIGHTS = (40, 20, 20, 15, 5)
OPEN_STATUSES, OPEN_STATUS_WEIGHTS = ("new", "working", "qualified", "disqualified"), (45, 25, 15, 15)


@lru_cache(maxsize=2)
def make_world(*, seed: int, now: datetime, companies: int = COMPANIES_DEFAULT) -> World:
    """Return the world of a seed; equal arguments give an equal world. `companies` is 12 to 600."""
    rng = stream(seed, "companies")
    firms = _companies(rng, count=companies)
    humans = _humans(stream(seed, "humans"), firms=firms)
    campaigns = _campaigns(stream(seed, "campaigns"), now=now, companies=companies)
    start = now - timedelta(days=HORIZON_DAYS)
    contacts = make_contacts(stream(seed, "contacts"), humans=humans, campaigns=campaigns, start=start)
    sales = make_sales(stream(seed, "sales"), firms=firms, contacts=contacts, start=start, now=now)
    interests = _interests(
        stream(seed, "interests"), humans=humans, campaigns=campaigns, start=start, count=LEADS_PER_COMPANY * companies
    )
    return World(seed, now, firms, humans, campaigns, contacts, sales, interests)


def _companies(rng: Random, *, count: int) -> tuple[Company, ...]:
    firms: list[Company] = []
    for number, (name, industry) in enumerate(company_names(rng, count=count), start=1):
        place = rng.choices(PLACES, PLACE_WEIGHTS)[0]
        city, region = rng.choice(place.cities)
        employees = round(math.exp(rng.gauss(5.2, 1.2))) + 5
        fit = math.exp(rng.gauss(-0.18, 0.6))
        domain = f"{slug(name)}.example"
        owner = OWNERS[number % len(OWNERS)]
        installed = number % 8 == 0
        firms.append(Company(number, name, domain, industry, employees, city, region, place, owner, fit, installed))
    return tuple(firms)


def _humans(rng: Random, *, firms: tuple[Company, ...]) -> tuple[Human, ...]:
    humans: list[Human] = []
    for firm in firms:
        names: set[tuple[str, str]] = set()
        for title, department, role in rng.sample(TITLES, 2 + firm.number % 3):
            name = (rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES))
            while name in names:
                name = (rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES))
            names.add(name)
            number = len(humans) + 1
            email = f"{name[0]}.{name[1]}@{firm.domain}".lower()
            phone = f"+{firm.place.prefix}30{5_550_000 + number * 7}"
            humans.append(Human(number, firm, *name, email, phone, title, department, role))
    return tuple(humans)


def _campaigns(rng: Random, *, now: datetime, companies: int) -> tuple[Campaign, ...]:
    made: list[Campaign] = []
    for number, (name, channel) in enumerate(CAMPAIGNS, start=1):
        starts_at = now - timedelta(days=HORIZON_DAYS - rng.randrange(20))
        budget = Decimal(round(day_cost(channel, companies=companies) * HORIZON_DAYS / 100) * 100)
        made.append(Campaign(number, name, channel, f"{slug(name)}-{starts_at:%Y}", starts_at, budget))
    return tuple(made)


def _interests(
    rng: Random, *, humans: tuple[Human, ...], campaigns: tuple[Campaign, ...], start: datetime, count: int
) -> tuple[Interest, ...]:
    known = rng.sample(humans, min(len(humans), round(count * KNOWN_SHARE)))
    strangers = company_names(rng, count=min(count, 600))
    interests: list[Interest] = []
    for number in range(1, count + 1):
        campaign = rng.choice(campaigns)
        captured_at = start + timedelta(seconds=rng.randrange(HORIZON_DAYS * 86_400 - 3600))
        kind = rng.choices(LEAD_KINDS, LEAD_KIND_WEIGHTS)[0]
        if number <= len(known):
            human = known[number - 1]
            interests.append(_known(human, number=number, kind=kind, campaign=campaign, at=captured_at))
        else:
            name, industry = strangers[number % len(strangers)]
            interests.append(
                _stranger(rng, number=number, company=(name, industry), kind=kind, campaign=campaign, at=captured_at)
            )
    interests.sort(key=lambda each: each.number)
    return tuple(interests)


def _known(human: Human, *, number: int, kind: str, campaign: Campaign, at: datetime) -> Interest:
    firm = human.company
    return Interest(
        number=number,
        human=human,
        company_name=firm.name,
        first=human.first,
        last=human.last,
        email=human.email,
        phone=human.phone,
        title=human.title,
        place=firm.place,
        industry=firm.industry,
        size=firm.employees,
        kind=kind,
        campaign=campaign,
        captured_at=at,
        status="converted",
    )


def _stranger(
    rng: Random, *, number: int, company: tuple[str, str], kind: str, campaign: Campaign, at: datetime
) -> Interest:
    first, last, place = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES), rng.choices(PLACES, PLACE_WEIGHTS)[0]
    host = "freemail.example" if rng.random() < FREE_MAIL_SHARE else f"{slug(company[0])}-lead.example"
    return Interest(
        number=number,
        human=None,
        company_name=company[0],
        first=first,
        last=last,
        email=f"{first}.{last}.{number}@{host}".lower(),
        phone=f"+{place.prefix}40{6_660_000 + number * 7}" if rng.random() < PHONE_SHARE else None,
        title=rng.choice(TITLES)[0],
        place=place,
        industry=company[1],
        size=round(math.exp(rng.gauss(4.5, 1.3))) + 3,
        kind=kind,
        campaign=campaign,
        captured_at=at,
        status=rng.choices(OPEN_STATUSES, OPEN_STATUS_WEIGHTS)[0],
    )

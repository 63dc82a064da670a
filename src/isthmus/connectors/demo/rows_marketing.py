"""The fake marketing tool: audiences, campaigns, contacts, submissions, members, touches, spend and consents."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

from isthmus.connectors.demo.plants import Plants, Row, Rows, external_id, in_marketing
from isthmus.connectors.demo.world import Campaign, Contact, Human, Interest, World, day_cost, stream
from isthmus.kernel.marks import Json

SPEND_DAYS = 180
CONSENT_SHARE, WITHDRAWN_SHARE = 0.85, 0.12
PARTNER_FEE = "25.00"
WEEKEND_DAY = 5
KINDS = {"form_submission": "form", "email_signup": "newsletter", "webinar_registration": "webinar"}
AUDIENCES = (
    ("Software buyers", "sales.account", "industry", "is", "Software", 4200),
    ("Large accounts", "sales.account", "employee_count", "at_least", 500, 900),
    ("German-speaking", "sales.account", "country", "is", "DE", 12500),
    ("All engaged", "marketing.touch", "at", "in_last_days", 90, 30000),
)


def marketing_rows(world: World, plants: Plants) -> Rows:
    """Return what the marketing tool holds, by feed."""
    return {
        "marketing.audiences": _audiences(world),
        "marketing.campaigns": [_campaign(each) for each in world.campaigns],
        "marketing.companies": _companies(world, plants),
        "marketing.contacts": _contacts(world, plants),
        "marketing.submissions": [_submission(each, plants) for each in world.interests if in_marketing(each)],
        "marketing.members": _members(world, plants),
        "marketing.touches": _touches(world, plants),
        "marketing.spend": list(_spend(stream(world.seed, "spend"), world=world)),
        "marketing.consents": list(_consents(stream(world.seed, "consents"), world=world, plants=plants)),
    }


def _audiences(world: World) -> list[Row]:
    rows: list[Row] = []
    for number, (name, relation, column, operator, value, size) in enumerate(AUDIENCES, start=1):
        rule: Json = {"relation": relation, "column": column, "operator": operator, "value": value}
        body: dict[str, Json] = {"name": name, "filters": [rule], "size": size}
        rows.append(Row(external_id("marketing", "list", number), body, world.now - timedelta(days=90 + number)))
    return rows


def _campaign(campaign: Campaign) -> Row:
    body: dict[str, Json] = {
        "name": campaign.name,
        "utm_campaign": campaign.code,
        "channel": campaign.channel,
        "state": "running",
        "start": f"{campaign.starts_at:%Y-%m-%d}",
        "budget": f"{campaign.budget:.2f}",
        "currency": "EUR",
        "list": external_id("marketing", "list", campaign.number % len(AUDIENCES) + 1),
        "list_size": AUDIENCES[campaign.number % len(AUDIENCES)][-1],
    }
    return Row(external_id("marketing", "campaign", campaign.number), body, campaign.starts_at)


def _companies(world: World, plants: Plants) -> list[Row]:
    rows: list[Row] = []
    for firm in world.companies:
        body: dict[str, Json] = {
            "name": firm.name,
            "domain": firm.domain.upper() if firm.number % 6 == 0 else firm.domain,
            "industry": plants.word("marketing", "company", firm.number, "industry", true=firm.industry),
            "size": plants.word("marketing", "company", firm.number, "employee_count", true=firm.employees),
        }
        at = world.now - timedelta(days=250, minutes=-firm.number)
        rows.append(Row(external_id("marketing", "company", firm.number), body, at))
    return rows


def _contacts(world: World, plants: Plants) -> list[Row]:
    won = {sale.human.number for sale in world.won}
    rows: list[Row] = []
    for human in (each for each in world.humans if each.number in plants.marketing):
        body = _contact(human, plants, customer=human.number in won)
        at = world.now - timedelta(days=150, minutes=-human.number)
        rows.append(Row(external_id("marketing", "contact", human.number), body, at))
    broken: dict[str, Json] = {"email": "broken@", "firstname": "Broken", "lastname": "Row"}
    rows.append(Row(external_id("marketing", "contact", 80_001), broken, world.now - timedelta(days=3)))
    return rows


def _contact(human: Human, plants: Plants, *, customer: bool) -> dict[str, Json]:
    place = human.company.place

    def said(field: str, true: Json) -> Json:
        return plants.word("marketing", "human", human.number, field, true=true)

    body: dict[str, Json] = {
        "email": email_here(human, plants),
        "firstname": said("first_name", human.first),
        "lastname": human.last,
        "jobtitle": said("title", human.title),
        "language": said("language", place.language),
        "country": place.country,
        "lifecyclestage": "customer" if customer else "lead",
        "company": external_id("marketing", "company", human.company.number),
    }
    if human.number in plants.phone_only or (human.number % 2 and human.number not in plants.other_email):
        digits = human.phone[len(place.prefix) + 1 :]
        body["phone"] = f"00{place.prefix}-{digits[:2]}-{digits[2:]}"
    return body


def email_here(human: Human, plants: Plants) -> str | None:
    """Return the address the marketing tool has: the usual one, a private one, or none."""
    if human.number in plants.phone_only:
        return None
    if human.number in plants.other_email:
        return f"{human.first}.{human.last}.{human.number}@freemail.example".lower()
    return human.email


def _submission(interest: Interest, plants: Plants) -> Row:
    body: dict[str, Json] = {
        "email": interest.email,
        "firstname": interest.first,
        "lastname": interest.last,
        "company": interest.company_name,
        "phone": interest.phone,
        "jobtitle": interest.title,
        "country": interest.place.country,
        "kind": KINDS[interest.kind],
        "campaign": external_id("marketing", "campaign", interest.campaign.number),
        "submitted_at": interest.captured_at.isoformat(),
    }
    if interest.human is not None and interest.human.number in plants.marketing - plants.other_email:
        body["contact"] = external_id("marketing", "contact", interest.human.number)
    return Row(external_id("marketing", "submission", interest.number), body, interest.captured_at)


def _members(world: World, plants: Plants) -> list[Row]:
    """Return one membership for everybody whom a campaign reached, as of the first time."""
    first: dict[tuple[int, int], Contact] = {}
    for contact in world.contacts:
        if contact.campaign and contact.human.number in plants.marketing:
            first.setdefault((contact.campaign.number, contact.human.number), contact)
    rows: list[Row] = []
    for (campaign, human), contact in first.items():
        responded = contact.kind in {"clicked", "submitted", "registered", "attended"}
        body: dict[str, Json] = {
            "campaign": external_id("marketing", "campaign", campaign),
            "contact": external_id("marketing", "contact", human),
            "state": "responded" if responded else "sent",
            "added_at": contact.at.isoformat(),
            "responded_at": contact.at.isoformat() if responded else None,
        }
        rows.append(Row(external_id("marketing", "member", campaign * 100_000 + human), body, contact.at))
    return rows


def _touches(world: World, plants: Plants) -> list[Row]:
    rows: list[Row] = []
    for number, contact in enumerate(world.contacts, start=1):
        body: dict[str, Json] = {
            "channel": contact.channel,
            "kind": contact.kind,
            "occurred_at": contact.at.isoformat(),
            "company": external_id("marketing", "company", contact.company.number),
            "role": contact.human.role,
        }
        if contact.human.number in plants.marketing:
            body["contact"] = external_id("marketing", "contact", contact.human.number)
        if contact.campaign:
            body["campaign"] = external_id("marketing", "campaign", contact.campaign.number)
        if contact.channel == "partner":
            body |= {"cost": PARTNER_FEE, "currency": "EUR"}
        rows.append(Row(external_id("marketing", "touch", number), body, contact.at))
    broken: dict[str, Json] = {"channel": "email", "kind": "sent", "occurred_at": "some time in May"}
    rows.append(Row(external_id("marketing", "touch", 80_001), broken, world.now - timedelta(days=2)))
    return rows


def _spend(rng: Random, *, world: World) -> Iterator[Row]:
    """Return what every campaign cost on every day; weekends cost less, and partners are paid by referral instead."""
    midnight = world.now.replace(hour=0, minute=0, second=0, microsecond=0)
    for campaign in (each for each in world.campaigns if each.channel != "partner"):
        cost = day_cost(campaign.channel, companies=len(world.companies))
        shared = sum(each.channel == campaign.channel for each in world.campaigns)
        for age in range(SPEND_DAYS, 0, -1):
            day = midnight - timedelta(days=age)
            quiet = 0.5 if day.weekday() >= WEEKEND_DAY else 1.0
            cents = round(cost * 100 / shared * quiet * rng.uniform(0.7, 1.3))
            body: dict[str, Json] = {
                "campaign": external_id("marketing", "campaign", campaign.number),
                "channel": campaign.channel,
                "date": f"{day:%Y-%m-%d}",
                "amount": f"{Decimal(cents) / 100:.2f}",
                "currency": "EUR",
                "category": "media",
            }
            number = campaign.number * 1000 + SPEND_DAYS - age
            yield Row(external_id("marketing", "spend", number), body, day + timedelta(hours=23))


def _consents(rng: Random, *, world: World, plants: Plants) -> Iterator[Row]:
    plain = plants.marketing - plants.phone_only
    for human in (each for each in world.humans if each.number in plain and rng.random() < CONSENT_SHARE):
        given_at = world.now - timedelta(hours=rng.randrange(24, 24 * 150))
        withdrawn = rng.random() < WITHDRAWN_SHARE
        body: dict[str, Json] = {
            "contact": external_id("marketing", "contact", human.number),
            "email": email_here(human, plants),
            "purpose": "marketing",
            "channel": "email",
            "state": "opted_out" if withdrawn else "opted_in",
            "source": rng.choice(("preference page", "form", "trade fair")),
            "text": "2026-03",
            "at": _seconds(given_at),
        }
        yield Row(external_id("marketing", "consent", human.number), body, given_at)


def _seconds(at: datetime) -> str:
    return at.replace(microsecond=0).isoformat()

"""The fake company's true world: customers, people, campaigns, journeys, deals and leads, as no system sees them."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from random import Random

from isthmus.connectors.demo.names import Place

COMPANIES_DEFAULT, COMPANIES_MIN, COMPANIES_MAX = 300, 12, 600
HORIZON_DAYS = 360
MEMORY_DAYS = 21.0
BASELINE_PER_DAY = 0.0035
WON_SHARE, LOST_SHARE, OPEN_SHARE = 0.37, 0.50, 0.30
OPEN_STAGES = ("qualification", "needs_analysis", "proposal", "negotiation")
BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class Way:
    """A channel as it truly works: effect of a touch, touches per account and year, what they are.

    `day_cost` is what it costs a day in a market of the usual number of companies.
    """

    weight: float
    touches: float
    kinds: tuple[str, ...]
    day_cost: float


WAYS = {
    "paid_search": Way(0.90, 4.0, ("clicked", "visited"), 1_800),
    "paid_social": Way(0.35, 6.0, ("impression", "clicked"), 1_400),
    "display": Way(0.04, 8.0, ("impression", "clicked"), 800),
    "email": Way(0.22, 9.5, ("delivered", "opened", "clicked"), 450),
    "webinar": Way(1.60, 1.6, ("registered", "attended"), 640),
    "event": Way(2.20, 0.8, ("attended",), 1_000),
    "content": Way(0.40, 5.0, ("visited", "submitted"), 620),
    "partner": Way(1.30, 0.9, ("submitted",), 60),
    "direct": Way(0.0, 4.5, ("visited",), 0),
}
CAMPAIGNS = (
    ("Search Brand", "paid_search"),
    ("Search Category", "paid_search"),
    ("Social Lookalike", "paid_social"),
    ("Social Stories", "paid_social"),
    ("Display Retargeting", "display"),
    ("Newsletter Monthly", "email"),
    ("Webinar Series", "webinar"),
    ("Trade Fair Tour", "event"),
    ("Handbook Download", "content"),
    ("Partner Referral", "partner"),
)


@dataclass(frozen=True, slots=True)
class Company:
    """A customer company, as it truly is. `fit` is 1 on average; `installed` ones were customers before."""

    number: int
    name: str
    domain: str
    industry: str
    employees: int
    city: str
    region: str
    place: Place
    owner: str
    fit: float
    installed: bool

    @property
    def legal_name(self) -> str:
        """The name with its legal form."""
        return f"{self.name} {self.place.form}"

    @property
    def tax_id(self) -> str:
        """The number that tax offices know it by; invented, as all of it."""
        return f"{self.place.country}{810_000_000 + self.number * 37}"


@dataclass(frozen=True, slots=True)
class Human:
    """Somebody at a company, as they truly are."""

    number: int
    company: Company
    first: str
    last: str
    email: str
    phone: str
    title: str
    department: str
    role: str


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign of ours."""

    number: int
    name: str
    channel: str
    code: str
    starts_at: datetime
    budget: Decimal


@dataclass(frozen=True, slots=True)
class Contact:
    """A campaign, or nothing but curiosity, brought somebody of a company into touch with us."""

    company: Company
    human: Human
    channel: str
    campaign: Campaign | None
    kind: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Sale:
    """A deal. `path` is its stages with the moments they were entered; `causes` the share of every cause of a win."""

    number: int
    company: Company
    human: Human
    campaign: Campaign | None
    stage: str
    amount: Decimal
    opened_at: datetime
    committed_at: datetime | None
    closed_at: datetime | None
    path: tuple[tuple[str, datetime], ...]
    causes: tuple[tuple[str, float], ...] = ()

    @property
    def order_number(self) -> str:
        """The number on the order, which sales and billing both know."""
        return f"SO-{20_000 + self.number}"


@dataclass(frozen=True, slots=True)
class Interest:
    """Somebody showed interest: a lead, of a known human or of somebody unknown."""

    number: int
    human: Human | None
    company_name: str
    first: str
    last: str
    email: str
    phone: str | None
    title: str
    place: Place
    industry: str
    size: int
    kind: str
    campaign: Campaign
    captured_at: datetime
    status: str


@dataclass(frozen=True, slots=True)
class World:
    """Everything, as it truly is at `now`."""

    seed: int
    now: datetime
    companies: tuple[Company, ...]
    humans: tuple[Human, ...]
    campaigns: tuple[Campaign, ...]
    contacts: tuple[Contact, ...]
    sales: tuple[Sale, ...]
    interests: tuple[Interest, ...]

    @property
    def won(self) -> tuple[Sale, ...]:
        """The deals that were won."""
        return tuple(sale for sale in self.sales if sale.stage == "closed_won")

    @property
    def customers(self) -> tuple[Company, ...]:
        """The companies that are customers, in order of their numbers."""
        numbers = {sale.company.number for sale in self.won}
        return tuple(each for each in self.companies if each.installed or each.number in numbers)


def day_cost(channel: str, *, companies: int) -> float:
    """Return what a channel costs a day; it grows with the market, as what it earns does."""
    return WAYS[channel].day_cost * companies / COMPANIES_DEFAULT


def stream(world_seed: int, name: str) -> Random:
    """Return the seeded generator of one part of the world, so that parts do not disturb each other."""
    return Random(f"isthmus demo {world_seed} {name}")

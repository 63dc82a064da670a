"""Invented names. Every address ends in `.example`, which RFC 2606 keeps out of the real world for ever."""

from dataclasses import dataclass
from random import Random

BANNER = "Fake company, fake people, fake money: a demonstration that runs on this machine only."


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = _words(
    """Ada Amir Anouk Anton Bea Bela Carla Cem Clara Dana Dario David Edda Elif Emil Enzo Fadi Finn Freya Gita Hanna
    Hugo Ida Ines Ivan Jana Jonas Jun Kai Katharina Kofi Lale Lars Lea Leo Lina Luca Maja Malik Mara Mateo Mei Milan
    Mina Nadia Nils Noa Nora Olga Omar Otto Paula Petra Quinn Rafael Ravi Rosa Ruth Samir Sara Selma Sofia Sven Tara
    Theo Tilda Tomas Uma Vera Viktor Wanda Willem Xenia Yara Yusuf Zoe"""
)
SHORT_NAMES = {"Katharina": "Kathi", "Rafael": "Rafa", "Viktor": "Vik", "Tomas": "Tom", "Sofia": "Sofi"}
LAST_NAMES = _words(
    """Abel Adler Albers Amsel Bakker Banda Becker Berg Blume Brandt Castro Chen Conti Costa Dahl Demir Diaz Ebert
    Engel Falk Farah Fischer Fontana Frank Garcia Gold Graf Gupta Haas Hansen Hartmann Hayashi Hoffmann Holm Horn
    Ivanova Jansen Kaya Keller Khan Kim Klein Koch Kowalska Kraus Kumar Lang Larsen Lehmann Lindt Lopez Ludwig Maas
    Marino Meier Mensah Moreau Moser Nowak Okafor Olsen Park Patel Peters Pohl Quast Reyes Ricci Roth Sander Santos
    Sato Schulz Silva Sommer Stein Suzuki Tanaka Toth Ulrich Vogel Wagner Weber Winter Wolf Yilmaz Zimmer"""
)
COMPANY_HEADS = _words(
    """Nordwind Silberbach Blaufels Morgenrot Steinadler Quellwerk Sonnhof Ahornfeld Birkental Eisenbruck Falkenau
    Glockner Hafenstern Kupferberg Lindenhain Mondsee Ostkamp Pinegrove Quartzline Redcliff Seabright Thornfield
    Umberwood Valebrook Westmere Yarrowgate Zephyrine Brightwater Coldspring Dunmore Eastvale Foxhollow Greystone
    Highmoor Ironwood Juniper Kestrel Larkspur"""
)
COMPANY_TAILS = {
    "Software": ("Software", "Systems", "Cloud"),
    "Manufacturing": ("Werke", "Machinery", "Tools"),
    "Logistics": ("Logistik", "Freight"),
    "Financial Services": ("Capital", "Insurance"),
    "Healthcare": ("Health", "Clinics"),
    "Retail": ("Retail", "Markets"),
    "Energy": ("Energy", "Solar"),
    "Professional Services": ("Consulting", "Partners"),
}
TITLES = (
    ("Chief Marketing Officer", "Marketing", "decision maker"),
    ("VP Sales", "Sales", "decision maker"),
    ("Chief Technology Officer", "Technology", "decision maker"),
    ("Head of Operations", "Operations", "influencer"),
    ("Marketing Director", "Marketing", "influencer"),
    ("Product Manager", "Product", "influencer"),
    ("Marketing Manager", "Marketing", "user"),
    ("Sales Operations Manager", "Sales", "user"),
    ("Data Analyst", "Technology", "user"),
    ("Finance Manager", "Finance", "approver"),
)
OWNERS = ("eva.demo", "tom.demo", "kim.demo", "jo.demo", "sam.demo")


@dataclass(frozen=True, slots=True)
class Place:
    """A country where the fake company sells; `prefix` opens its phone numbers, `form` its legal names."""

    country: str
    currency: str
    language: str
    prefix: str
    form: str
    cities: tuple[tuple[str, str], ...]


PLACES = (
    Place("DE", "EUR", "de", "49", "GmbH", (("Berlin", "Berlin"), ("Hamburg", "Hamburg"), ("Munich", "Bavaria"))),
    Place("AT", "EUR", "de", "43", "GmbH", (("Vienna", "Vienna"), ("Graz", "Styria"))),
    Place("FR", "EUR", "fr", "33", "SAS", (("Lyon", "Auvergne-Rhône-Alpes"), ("Lille", "Hauts-de-France"))),
    Place("NL", "EUR", "nl", "31", "B.V.", (("Utrecht", "Utrecht"), ("Eindhoven", "North Brabant"))),
    Place("US", "USD", "en", "1", "Inc.", (("Austin", "Texas"), ("Denver", "Colorado"), ("Boston", "Massachusetts"))),
)
PLACE_WEIGHTS = (34, 10, 14, 12, 30)
FEATURES = (
    ("dashboards", "Dashboards", "analytics", True, False),
    ("imports", "Imports", "platform", True, False),
    ("segments", "Segments", "marketing", True, False),
    ("journeys", "Journeys", "marketing", True, True),
    ("alerts", "Alerts", "analytics", True, False),
    ("forecast", "Forecast", "analytics", False, True),
    ("api_access", "API access", "platform", False, True),
    ("sso", "Single sign-on", "platform", False, True),
    ("exports", "Exports", "platform", False, False),
    ("comments", "Comments", "collaboration", False, False),
    ("mobile", "Mobile", "platform", False, False),
    ("audit_trail", "Audit trail", "platform", False, True),
)
VENDORS = (
    ("Suchwerk Ads", "media_spend"),
    ("Linkwise Social", "media_spend"),
    ("Bannerhof", "media_spend"),
    ("Kreativraum Studio", "creative_production"),
    ("Postbote Mail", "platform_fees"),
    ("Halle Nord Events", "media_spend"),
    ("Wort und Bild", "creative_production"),
    ("Partnernetz", "platform_fees"),
    ("Webinarium", "platform_fees"),
    ("Tagwerk Agency", "operational_overhead"),
)


def company_names(rng: Random, *, count: int) -> list[tuple[str, str]]:
    """Return `count` different company names with their industries, at most 684."""
    heads_and_tails = ((tail, field) for field, tails in COMPANY_TAILS.items() for tail in tails)
    pairs = [(f"{head} {tail}", field) for tail, field in heads_and_tails for head in COMPANY_HEADS]
    return rng.sample(pairs, count)


def slug(name: str) -> str:
    """Return the name as part of a domain."""
    return name.lower().replace(" ", "-")

"""The fake product: groups, users, features, usage events, feedback and launches."""

from collections.abc import Iterator
from datetime import timedelta
from random import Random

from isthmus.connectors.demo.names import FEATURES
from isthmus.connectors.demo.plants import Plants, Row, Rows, external_id
from isthmus.connectors.demo.world import Human, World, stream
from isthmus.kernel.marks import Json

EVENTS_PER_COMPANY = 20
USAGE_DAYS = 60
SUCCESS_SHARE = 0.93
FEEDBACK_SHARE, NPS_SHARE = 0.5, 0.6
FEATURE_WEIGHTS = (20, 14, 12, 10, 9, 7, 8, 3, 8, 4, 3, 2)
WISHES = ("Please add a dark mode.", "An export to spreadsheets would help.", "Alerts should reach our chat.")
WORDS = ("Saves us hours every week.", "Good, but slow on Mondays.", "The import failed twice.", "Support was quick.")
THEMES = ("speed", "imports", "alerts", "exports", "support")
LAUNCHES = (("Journeys 2.0", "journeys", -75), ("Forecast", "forecast", -20), ("Audit trail", "audit_trail", 40))


def product_rows(world: World, plants: Plants) -> Rows:
    """Return what the product holds, by feed."""
    users = [human for human in world.humans if human.number in plants.product]
    since = world.now - timedelta(days=120)
    features = [_feature(number, world=world) for number in range(1, len(FEATURES) + 1)]
    groups = [
        Row(external_id("product", "group", firm.number), {"name": firm.name, "domain": firm.domain}, since)
        for firm in world.customers
    ]
    return {
        "product.groups": groups,
        "product.users": [_user(human, world=world) for human in users],
        "product.features": features,
        "product.events": list(_events(stream(world.seed, "events"), world=world, users=users)),
        "product.feedback": list(_feedback(stream(world.seed, "feedback"), world=world, users=users)),
        "product.launches": [_launch(number, world=world) for number in range(1, len(LAUNCHES) + 1)],
    }


def _user(human: Human, *, world: World) -> Row:
    body: dict[str, Json] = {
        "email": human.email.upper() if human.number % 7 == 0 else human.email,
        "group": external_id("product", "group", human.company.number),
    }
    at = world.now - timedelta(days=110, seconds=-human.number)
    return Row(external_id("product", "user", human.number), body, at)


def _feature(number: int, *, world: World) -> Row:
    key, name, area, essential, paid = FEATURES[number - 1]
    body: dict[str, Json] = {"key": key, "name": name, "area": area, "essential": essential, "paid": paid}
    return Row(external_id("product", "feature", number), body, world.now - timedelta(days=350))


def _events(rng: Random, *, world: World, users: list[Human]) -> Iterator[Row]:
    """Return usage of the last 60 days; some users use it much, some hardly."""
    weights = [rng.paretovariate(1.3) for _ in users]
    keys = [key for key, *_ in FEATURES]
    for number in range(1, EVENTS_PER_COMPANY * len(world.companies) + 1):
        human = rng.choices(users, weights)[0]
        feature = rng.choices(range(len(keys)), FEATURE_WEIGHTS)[0]
        at = world.now - timedelta(seconds=rng.randrange(60, USAGE_DAYS * 86_400))
        body: dict[str, Json] = {
            "event": keys[feature],
            "timestamp": at.isoformat(),
            "userId": external_id("product", "user", human.number),
            "groupId": external_id("product", "group", human.company.number),
            "featureId": external_id("product", "feature", feature + 1),
            "sessionId": f"s{human.number}-{at:%Y%m%d}",
            "durationMs": rng.randrange(800, 400_000),
            "ok": rng.random() < SUCCESS_SHARE,
        }
        yield Row(external_id("product", "event", number), body, at)


def _feedback(rng: Random, *, world: World, users: list[Human]) -> Iterator[Row]:
    for human in (each for each in users if rng.random() < FEEDBACK_SHARE):
        at = world.now - timedelta(seconds=rng.randrange(3600, 100 * 86_400))
        rated = rng.random() < NPS_SHARE
        feature = rng.randrange(1, len(FEATURES) + 1)
        body: dict[str, Json] = {
            "kind": "nps" if rated else rng.choice(("feature_request", "text")),
            "submittedAt": at.isoformat(),
            "score": rng.choice((3, 5, 6, 7, 8, 8, 9, 9, 10, 10)) if rated else None,
            "comment": rng.choice(WORDS if rated else WISHES),
            "userId": external_id("product", "user", human.number),
            "groupId": external_id("product", "group", human.company.number),
            "featureId": external_id("product", "feature", feature),
            "themes": [rng.choice(THEMES)],
        }
        yield Row(external_id("product", "answer", human.number), body, at)


def _launch(number: int, *, world: World) -> Row:
    name, key, offset_days = LAUNCHES[number - 1]
    on = world.now + timedelta(days=offset_days)
    feature = [each for each, *_ in FEATURES].index(key) + 1
    body: dict[str, Json] = {
        "name": name,
        "state": "live" if offset_days < 0 else "planned",
        "date": f"{on:%Y-%m-%d}",
        "featureId": external_id("product", "feature", feature),
        "targetShare": 0.3 + 0.1 * number,
        "targetDays": 60,
    }
    at = min(on, world.now) - timedelta(days=7)
    return Row(external_id("product", "launch", number), body, at)

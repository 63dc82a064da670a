"""The fake support desk: organisations, users and tickets."""

from collections.abc import Iterator
from datetime import timedelta
from random import Random

from isthmus.connectors.demo.plants import Plants, Row, Rows, external_id
from isthmus.connectors.demo.world import Human, World, stream
from isthmus.kernel.marks import Json

TICKETS_PER_USER = 2.2
TICKET_DAYS = 120
SUBJECTS = (
    ("question", "How do I invite a colleague?"),
    ("incident", "The import stopped at 40 percent"),
    ("incident", "Dashboards are slow this morning"),
    ("problem", "Alerts arrive twice"),
    ("task", "Please change our billing address"),
    ("question", "Where do I find the API key?"),
)
PRIORITIES, PRIORITY_WEIGHTS = ("low", "normal", "high", "urgent"), (20, 55, 18, 7)
AGENTS = ("ana.demo", "ben.demo", "cleo.demo")
SOLVED_SHARE, ESCALATED_SHARE, RATED_SHARE = 0.85, 0.06, 0.4


def desk_rows(world: World, plants: Plants) -> Rows:
    """Return what the desk holds, by feed."""
    users = [human for human in world.humans if human.number in plants.desk]
    numbers = {human.company.number for human in users}
    firms = [firm for firm in world.customers if firm.number in numbers]
    since = world.now - timedelta(days=130)
    organisations = [
        Row(external_id("desk", "organisation", firm.number), {"name": firm.name, "domain_names": [firm.domain]}, since)
        for firm in firms
    ]
    return {
        "desk.organisations": organisations,
        "desk.users": [_user(human, world=world) for human in users],
        "desk.tickets": list(_tickets(stream(world.seed, "desk"), world=world, users=users)),
    }


def _user(human: Human, *, world: World) -> Row:
    place = human.company.place
    digits = human.phone[len(place.prefix) + 1 :]
    body: dict[str, Json] = {
        "email": f" {human.email}" if human.number % 11 == 0 else human.email,
        "phone": f"+{place.prefix} ({digits[:2]}) {digits[2:5]} {digits[5:]}",
        "name": f"{human.first} {human.last}",
        "organization_id": external_id("desk", "organisation", human.company.number),
    }
    at = world.now - timedelta(days=125, seconds=-human.number)
    return Row(external_id("desk", "user", human.number), body, at)


def _tickets(rng: Random, *, world: World, users: list[Human]) -> Iterator[Row]:
    for number in range(1, round(TICKETS_PER_USER * len(users)) + 1):
        human = rng.choice(users)
        kind, subject = rng.choice(SUBJECTS)
        opened = world.now - timedelta(seconds=rng.randrange(7200, TICKET_DAYS * 86_400))
        answered = opened + timedelta(minutes=rng.randrange(4, 600))
        solved = answered + timedelta(hours=rng.randrange(1, 120))
        done = rng.random() < SOLVED_SHARE and solved < world.now
        answered_yet = answered < world.now
        body: dict[str, Json] = {
            "ticket": f"T-{number:05d}",
            "type": kind,
            "subject": subject,
            "description": f"{human.first} {human.last} wrote: {subject}",
            "status": "solved" if done else "open" if answered_yet else "new",
            "priority": rng.choices(PRIORITIES, PRIORITY_WEIGHTS)[0],
            "escalated": rng.random() < ESCALATED_SHARE,
            "via": rng.choice(("email", "web", "chat")),
            "requester_id": external_id("desk", "user", human.number),
            "organization_id": external_id("desk", "organisation", human.company.number),
            "assignee": AGENTS[number % len(AGENTS)] if answered_yet else None,
            "created_at": opened.isoformat(),
            "replied_at": answered.isoformat() if answered_yet else None,
            "solved_at": solved.isoformat() if done else None,
            "rating": rng.choice(("good", "good", "good", "bad")) if done and rng.random() < RATED_SHARE else None,
        }
        yield Row(external_id("desk", "ticket", number), body, solved if done else min(answered, world.now))

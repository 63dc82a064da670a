"""A playbook writes to the person of its intervention, once, and only where it may."""

import pytest

from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.rooms.domains.desk import said
from tests.rooms.domains.posting import GRACE, Post

START = "/api/v1/integrations/success/interventions"
STEPS: Json = [{"kind": "send", "subject": "How are you?", "text": "We would like to know."}]


@pytest.fixture
async def post(store: Store, scope: Scope) -> Post:
    """Somebody with a mail tool, an account with one person, and a playbook that writes."""
    post = Post(store, scope)
    await post.connect()
    await post.desk.put(said("sales.account", "A1", name="Navy", owner_id="eva"))
    await post.desk.put(said("sales.person", "P1", email=GRACE["email"], first_name="Grace", account_id="A1"))
    wanted: Json = {"subject": "sales.account", "title": "Ask", "steps": STEPS}
    assert (await post.desk.call("PUT", "/api/v1/workflows/ask", wanted)).status == 200
    return post


async def asked(post: Post, *, person: str = "") -> str:
    """Begin the playbook for the account, let everything run, and return what the log says."""
    desk = post.desk
    wanted: dict[str, Json] = {
        "playbook": "ask",
        "account_id": await desk.id_of("sales.account", "A1"),
        "owner_id": "max",
    }
    if person:
        wanted["person_id"] = await desk.id_of("sales.person", person)
    assert (await desk.post(START, wanted)).status == 201
    await post.deliver()
    (run,) = (await desk.get("/api/v1/workflow-runs")).rows("data")
    log = run["log"]
    assert isinstance(log, list)
    assert isinstance(log[0], dict)
    return str(log[0]["what"])


async def agree(post: Post, person: str, state: str = "granted") -> None:
    """Say what a person agreed to."""
    await post.desk.put(
        said("marketing.consent", f"C-{person}", purpose="service", channel="any", state=state, person_id=person)
    )


async def test_the_only_person_of_the_account_is_written_to_once(post: Post) -> None:
    await agree(post, "P1")
    assert await asked(post) == "How are you? (by mailer)"
    assert post.sent == ["How are you?"]
    (written,) = (await post.desk.get("/api/v1/activities")).rows("data")
    person, account = await post.desk.id_of("sales.person", "P1"), await post.desk.id_of("sales.account", "A1")
    assert (written["person_id"], written["account_id"], written["owner_id"]) == (person, account, "max")


async def test_of_several_people_the_one_that_the_intervention_names_is_written_to(post: Post) -> None:
    await post.desk.put(said("sales.person", "P2", email="ada@lace.example", first_name="Ada", account_id="A1"))
    await agree(post, "P2")
    assert await asked(post, person="P2") == "How are you? (by mailer)"
    (written,) = (await post.desk.get("/api/v1/activities")).rows("data")
    assert written["person_id"] == await post.desk.id_of("sales.person", "P2")


async def test_of_several_people_none_is_guessed(post: Post) -> None:
    await post.desk.put(said("sales.person", "P2", email="ada@lace.example", first_name="Ada", account_id="A1"))
    await agree(post, "P1")
    assert (await asked(post)).startswith("Not sent: The intervention names no person")
    assert post.sent == []


@pytest.mark.parametrize(
    ("state", "reason"),
    [("unknown", "There is no consent to service by email."), ("withdrawn", "Consent to service was withdrawn.")],
)
async def test_without_consent_nothing_goes_out(post: Post, state: str, reason: str) -> None:
    await agree(post, "P1", state)
    assert (await asked(post), post.sent) == (f"Not sent: {reason}", [])


async def test_the_cap_counts_what_reached_the_person_by_every_domain(post: Post) -> None:
    await agree(post, "P1")
    touches = [
        said("marketing.touch", f"T{n}", channel="email", kind="sent", at=f"2026-11-01T0{n}:00:00Z", person_id="P1")
        for n in range(2)
    ]
    at = "2026-11-01T09:00:00Z"
    sent = said("sales.activity", "M1", kind="email", outbound=True, at=at, person_id="P1")
    await post.desk.put(*touches, sent)
    assert await asked(post) == "Not sent: It was reached 3 times in 7 days; at most 3 are allowed."

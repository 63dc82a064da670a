"""A message goes out once, by the one connection that delivers it, and only to whom it may go."""

import pytest

from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.rooms.domains.desk import said
from tests.rooms.domains.posting import GRACE, Post


@pytest.fixture
def post(store: Store, scope: Scope) -> Post:
    """Somebody with a lead, and a mail tool."""
    return Post(store, scope)


async def test_who_agreed_is_written_to_once_by_the_connection(post: Post) -> None:
    await post.connect()
    await post.agree()
    assert await post.written() == "Welcome (by mailer)"
    assert post.sent == ["Welcome"]


async def test_without_consent_nothing_goes_out_and_the_log_says_so(post: Post) -> None:
    await post.connect()
    assert await post.written() == "Not sent: There is no consent to sales by email."
    assert post.sent == []


async def test_consent_by_the_address_counts_and_its_withdrawal_for_every_way_too(post: Post) -> None:
    await post.connect()
    await post.agree()
    key = f"{GRACE['email']}|sales|any"
    await post.desk.put(said("marketing.consent", "C2", purpose="sales", channel="any", state="withdrawn", key=key))
    assert await post.written() == "Not sent: Consent to sales was withdrawn."


async def test_consent_that_has_run_out_is_none(post: Post) -> None:
    await post.connect()
    await post.agree(expires_at="2026-10-01T00:00:00Z")
    assert await post.written() == "Not sent: There is no consent to sales by email."


@pytest.mark.parametrize(("given_at", "sent"), [("2026-01-01T00:00:00Z", []), ("2026-10-30T00:00:00Z", ["Welcome"])])
async def test_who_unsubscribed_is_written_to_only_after_a_later_consent(
    post: Post, given_at: str, sent: list[str]
) -> None:
    await post.connect()
    await post.agree(given_at=given_at)
    at = "2026-10-20T00:00:00Z"
    await post.desk.put(said("marketing.touch", "T1", channel="email", kind="unsubscribed", at=at, person_id="P1"))
    assert ("suppressed" in await post.written(), post.sent) == (not sent, sent)


async def test_nobody_is_reached_more_than_three_times_in_seven_days(post: Post) -> None:
    await post.connect()
    await post.agree()
    touches = [
        said("marketing.touch", f"T{n}", channel="email", kind="sent", at=f"2026-11-01T0{n}:00:00Z", person_id="P1")
        for n in range(3)
    ]
    await post.desk.put(*touches)
    assert await post.written() == "Not sent: It was reached 3 times in 7 days; at most 3 are allowed."


async def test_where_none_or_two_connections_would_deliver_it_nothing_goes_out(post: Post) -> None:
    await post.connect(create=())
    await post.agree()
    assert (await post.written()).startswith("Not sent: No connection delivers messages")
    await post.connect("second")
    await post.connect("third")
    post.desk.later(days=1)
    (lead,) = await post.desk.put(said("sales.lead", "L1", **GRACE))
    await post.desk.post("/api/v1/workflows/welcome:start", {"subject_id": lead})
    await post.desk.steps()
    (last, _) = (await post.desk.get("/api/v1/workflow-runs")).rows("data")
    assert "second, third would each deliver it" in str(last["log"])
    assert post.sent == []

"""An endpoint with a filter is told of the records that it lets pass, and a filter that does not fit is refused."""

import pytest

from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.stream.filters import BadFilter, EventFilter, check_filter, read_clause
from isthmus.stream.webhooks.endpoints import EndpointChange, change
from tests.rooms.domains.desk import said
from tests.rooms.stream.webhooks.conftest import Post
from tests.rooms.stream.webhooks.receiving import Receiver

DEALS = ["isthmus.sales.deal.*"]
LARGE: Json = {"field": "amount", "is": "at_least", "value": 10_000}


def deal(name: str, amount: int, **fields: Json) -> Observation:
    """A deal."""
    return said("sales.deal", name, name=name, amount={"amount": str(amount), "currency": "EUR"}, **fields)


async def test_only_deals_above_an_amount_are_told(post: Post, receiving: Receiver) -> None:
    await post.register(receiving.url, events=DEALS, filter={"where": [LARGE]})
    await post.put(deal("small", 100), deal("large", 20_000))
    assert await post.go() == 1
    await post.put(deal("small", 30_000), deal("large", 5))
    assert await post.go() == 1
    assert len({str(each.event["subject"]) for each in receiving.messages}) == 2


async def test_of_changes_only_those_of_a_named_field_are_told(post: Post, receiving: Receiver) -> None:
    await post.register(receiving.url, events=DEALS, filter={"changed": ["stage"]})
    await post.put(deal("one", 100, stage="proposal"))
    assert await post.go() == 1
    await post.put(deal("one", 200, stage="proposal"))
    assert await post.go() == 0
    await post.put(deal("one", 200, stage="negotiation"))
    assert await post.go() == 1


async def test_records_of_one_other_are_named_by_its_id(post: Post, receiving: Receiver) -> None:
    await post.put(said("marketing.campaign", "C1", name="Spring"), said("marketing.campaign", "C2", name="Autumn"))
    spring = await post.id_of("marketing.campaign", "C1")
    where: Json = [{"field": "campaign_id", "is": "is", "value": spring}]
    await post.register(receiving.url, events=DEALS, filter={"where": where})
    await post.put(deal("a", 1, campaign_id="C1"), deal("b", 1, campaign_id="C2"), deal("c", 1))
    assert await post.go() == 1


async def test_a_filter_that_is_changed_holds_from_then_on_and_for_what_is_replayed(
    post: Post, receiving: Receiver
) -> None:
    endpoint, _ = await post.register(receiving.url, events=DEALS, filter={"where": [LARGE]})
    await post.put(deal("small", 100), deal("tiny", 1), deal("large", 20_000))
    assert await post.go() == 1
    wider = EventFilter(where=(read_clause("amount at_least 50", pointer=""),))
    async with post.store.database.transaction(post.now) as tx:
        changed = await change(tx, endpoint.id, EndpointChange(filter=wider), accounts=None, rules=post.rules)
    assert changed.filter == wider
    assert (await post.replay(endpoint)).deliveries == 1
    assert await post.go() == 1


@pytest.mark.parametrize(
    ("text", "pointer", "told"),
    [
        ("amount at_lest 5", "/filter/where/0", "no clause"),
        ("amount", "/filter/where/0", "no clause"),
        ("amonut at_least 5", "/filter/where/0/field", "sales.deal publishes no field 'amonut'."),
        ("amount at_least much", "/filter/where/0/value", "'at_least' takes a number."),
        ("account.segment is large", "/filter/where/0/field", "'account.segment' leads beyond sales.deal."),
        ("campaign_id is C1", "/filter/where/0/value", "'campaign_id' holds ids such as camp_01…, and 'C1' is none."),
    ],
)
def test_a_filter_that_does_not_fit_is_refused_in_words(post: Post, text: str, pointer: str, told: str) -> None:
    with pytest.raises(BadFilter) as refused:
        check_filter(
            EventFilter(where=(read_clause(text, pointer="/filter/where/0"),)),
            types=post.rules.topics.chosen(DEALS, areas={"sales"}),
            topics=post.rules.topics,
            schema=post.store.schema,
        )
    assert [each.pointer for each in refused.value.faults] == [pointer]
    assert told in refused.value.faults[0].detail


def test_a_field_must_be_of_every_record_that_is_told_of(post: Post) -> None:
    with pytest.raises(BadFilter) as refused:
        check_filter(
            EventFilter(changed=("stage",)),
            types=post.rules.topics.chosen(["isthmus.sales.deal.*", "isthmus.sales.lead.*"], areas={"sales"}),
            topics=post.rules.topics,
            schema=post.store.schema,
        )
    assert [each.detail for each in refused.value.faults] == ["sales.lead has no field 'stage'."]

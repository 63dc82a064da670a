"""How webhooks, what was sent to them and how it went are shown, over HTTP and at the terminal."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from isthmus.gateway import id_at
from isthmus.kernel.ids import text_of
from isthmus.store.schema import Schema
from isthmus.stream.filters import EventFilter
from isthmus.stream.webhooks import endpoints as ends
from isthmus.stream.webhooks.deliveries import DELIVERY_PREFIX, Attempt, Delivery, Status
from isthmus.stream.webhooks.endpoints import ENDPOINT_PREFIX, Endpoint
from isthmus.stream.webhooks.sending import Answered
from isthmus.stream.webhooks.signing import Kind

ACCOUNT = "sales.account"


class WebhookView(Struct, frozen=True, kw_only=True):
    """An endpoint and how it is. `retry_at` is when it is tried next after it failed again and again."""

    id: str
    url: str
    about: str
    events: list[str]
    accounts: list[str]
    signature: Kind
    ordered: bool
    per_second: int | None
    filter: EventFilter
    status: ends.Status
    reason: str
    failing_since: datetime | None
    retry_at: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    created_at: datetime
    created_by: str


class WebhookSecret(Struct, frozen=True, kw_only=True):
    """What the receiver verifies with: a `whsec_…` to keep secret, or a public key `whpk_…`. It is shown once."""

    webhook: WebhookView
    secret: str


class Requeued(Struct, frozen=True, kw_only=True):
    """How many deliveries are sent, and whether there is more to ask for again, `after` which number of the log."""

    deliveries: int
    has_more: bool = False
    after: int | None = None


class TestView(Struct, frozen=True, kw_only=True):
    """How a test went: what was answered, with its first bytes, or why nothing was."""

    taken: bool
    status: int | None
    took_ms: int
    answer: str
    failure: str


class DeliveryView(Struct, frozen=True, kw_only=True):
    """One event on its way to one endpoint; `message_id` is what the receiver gets as `webhook-id`."""

    id: str
    message_id: str | None
    sequence: int
    type: str
    status: Status
    attempts: int
    created_at: datetime
    next_try_at: datetime | None
    done_at: datetime | None
    reason: str


class AttemptView(Struct, frozen=True, kw_only=True):
    """One try."""

    number: int
    at: datetime
    status: int | None
    took_ms: int
    answer: str | None
    failure: str


class DeliveryDetail(DeliveryView, frozen=True, kw_only=True):
    """A delivery with all its tries."""

    tries: list[AttemptView]


def webhook_view(endpoint: Endpoint, schema: Schema) -> WebhookView:
    """Return an endpoint as it is shown."""
    account = schema[ACCOUNT]
    return WebhookView(
        id=text_of(ENDPOINT_PREFIX, endpoint.id),
        url=endpoint.url,
        about=endpoint.about,
        events=list(endpoint.chosen),
        accounts=[text_of(account.prefix, each) for each in endpoint.accounts],
        signature=endpoint.kind,
        ordered=endpoint.ordered,
        per_second=endpoint.per_s,
        filter=endpoint.filter,
        status=endpoint.status,
        reason=endpoint.withheld or endpoint.reason,
        failing_since=endpoint.failing_since,
        retry_at=endpoint.closed_until,
        last_success_at=endpoint.succeeded_at,
        last_failure_at=endpoint.failed_at,
        created_at=endpoint.created_at,
        created_by=endpoint.created_by,
    )


def delivery_view(delivery: Delivery, *, workspace: int) -> DeliveryView:
    """Return a delivery as it is shown."""
    return DeliveryView(
        id=text_of(DELIVERY_PREFIX, delivery.id),
        message_id=None if delivery.event_id is None else f"{workspace}-{delivery.event_id}",
        sequence=delivery.seq,
        type=delivery.event_type,
        status=delivery.status,
        attempts=delivery.attempts,
        created_at=delivery.created_at,
        next_try_at=delivery.due_at if delivery.done_at is None else None,
        done_at=delivery.done_at,
        reason=delivery.reason,
    )


def delivery_detail(delivery: Delivery, tries: Sequence[Attempt], *, workspace: int) -> DeliveryDetail:
    """Return a delivery as it is shown, with its tries."""
    view = delivery_view(delivery, workspace=workspace)
    shown = [
        AttemptView(
            number=each.number,
            at=each.at,
            status=each.status,
            took_ms=each.took_ms,
            answer=None if each.answer is None else each.answer.decode(errors="replace"),
            failure=each.failure,
        )
        for each in tries
    ]
    return DeliveryDetail(**{name: getattr(view, name) for name in view.__struct_fields__}, tries=shown)


def test_view(answered: Answered) -> TestView:
    """Return how a test went, as it is shown."""
    return TestView(
        taken=answered.taken,
        status=answered.status,
        took_ms=answered.took_ms,
        answer=answered.answer.decode(errors="replace"),
        failure=answered.failure,
    )


def account_ids(texts: Sequence[str], schema: Schema) -> list[UUID]:
    """Return the ids of accounts in a body; raises Invalid with a pointer."""
    return [id_at(f"/accounts/{at}", text, schema[ACCOUNT]) for at, text in enumerate(texts)]

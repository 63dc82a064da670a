"""The commands of `isthmus webhooks` about what was sent: secrets, tests, the log, and sending again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import click

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Command
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.webhooks_inbound import list_inbound
from isthmus.app.cli.wording import Duration, ago, counted, id_of
from isthmus.app.clock import SystemClock
from isthmus.app.discovery import schema
from isthmus.app.topics import topics
from isthmus.app.webhook_views import (
    DeliveryDetail,
    DeliveryView,
    Requeued,
    TestView,
    WebhookSecret,
    delivery_detail,
    delivery_view,
    test_view,
    webhook_view,
)
from isthmus.kernel.errors import Unavailable
from isthmus.stream.webhooks.deliveries import (
    DELIVERY_PREFIX,
    attempts_of,
    deliveries,
    delivery_of,
    recover,
    replay_missing,
    resend,
)
from isthmus.stream.webhooks.endpoints import ENDPOINT_PREFIX, rotate

if TYPE_CHECKING:
    from isthmus.app.program import Program
    from isthmus.store.database import Transaction
    from isthmus.stream.webhooks.deliveries import Status

_HINT = "List them: isthmus webhooks ls"
_STATUSES = ("pending", "retrying", "delivered", "needs attention")
_LENGTH = Duration()
_COLUMNS = ("id", "number", "type", "status", "tries", "made", "reason")


class NotTaken(Unavailable):
    """The receiver did not take the test."""

    code, title = "test-not-taken", "The receiver did not take the test"


@click.command("rotate", cls=Command)
@click.argument("webhook", metavar="ID")
@click.option("--overlap", type=_LENGTH, default=timedelta(hours=24), show_default="24h", help="Both sign so long.")
@at_terminal
def rotate_secret(terminal: Terminal, webhook: str, *, overlap: timedelta) -> None:
    """Sign with a new secret, for a while beside the old one. It is shown this once.

    Example: isthmus webhooks rotate whep_01KAX3V9Q2M4T8Z5N7P6R1S0WD --overlap 48h
    """
    own = _id(webhook)

    async def work(tx: Transaction, program: Program) -> WebhookSecret:
        found, secret = await rotate(tx, program.vault, own, overlap=overlap)
        return WebhookSecret(webhook=webhook_view(found, schema()), secret=secret)

    made = terminal.transact("webhooks-rotate", work)
    terminal.answer(made, lambda: click.echo(made.secret))


@click.command("test", cls=Command)
@click.argument("webhook", metavar="ID")
@at_terminal
def try_webhook(terminal: Terminal, webhook: str) -> None:
    """Send a test now, and say how it was answered; ends with code 6 when it was not taken.

    Example: isthmus webhooks test whep_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    from isthmus.app.alerting.keeping import outbound_of
    from isthmus.app.webhooks import opened_sender
    from isthmus.stream.webhooks.trying import try_out

    own = _id(webhook)

    async def work(program: Program) -> TestView:
        scope = operator(program, "webhooks-test")
        async with opened_sender(outbound_of(program.settings)) as sender:
            return test_view(await try_out(program.database, program.vault, scope, own, sender=sender))

    made = terminal.run(work)
    terminal.answer(made, lambda: say(f"it answered {made.status} after {made.took_ms} ms" if made.taken else ""))
    if not made.taken:
        raise NotTaken(made.failure, fix="Look at the receiver, and at its address.")


@click.command("log", cls=Command)
@click.argument("webhook", metavar="ID")
@click.argument("delivery", metavar="[DELIVERY]", required=False)
@click.option("--status", type=click.Choice(_STATUSES), help="In a status only.")
@click.option("-n", "count", type=click.IntRange(1, 1_000), default=50, show_default=True, help="How many at most.")
@at_terminal
def show_log(terminal: Terminal, webhook: str, delivery: str | None, *, status: Status | None, count: int) -> None:
    """Show what was sent to a webhook and what waits, newest first; of one delivery, every try with its answer.

    Example: isthmus webhooks log whep_01KAX3V9Q2M4T8Z5N7P6R1S0WD --status 'needs attention'
    """
    own = _id(webhook)
    if delivery is not None:
        return _show_tries(terminal, own, id_of(DELIVERY_PREFIX, delivery, fix="See isthmus webhooks log ID"))

    async def ask(tx: Transaction, program: Program) -> list[DeliveryView]:
        found = await deliveries(tx, own, status=status, limit=count)
        return [delivery_view(each, workspace=program.workspace) for each in found]

    found, now = terminal.transact("webhooks-log", ask), SystemClock().now()
    rows = [
        {
            "id": each.id,
            "number": each.sequence,
            "type": each.type,
            "status": each.status,
            "tries": each.attempts,
            "made": ago(each.created_at, now=now),
            "reason": each.reason,
        }
        for each in found
    ]
    return terminal.answer(found, lambda: table(rows, columns=_COLUMNS, empty="nothing was sent yet"))


def _show_tries(terminal: Terminal, webhook: UUID, delivery: UUID) -> None:
    async def ask(tx: Transaction, program: Program) -> DeliveryDetail:
        found = await delivery_of(tx, webhook, delivery)
        tries = await attempts_of(tx, program.vault, webhook, delivery)
        return delivery_detail(found, tries, workspace=program.workspace)

    found = terminal.transact("webhooks-log", ask)
    columns = ("try", "at", "status", "ms", "failure", "answer")
    rows = [
        {
            "try": each.number,
            "at": each.at.strftime("%Y-%m-%d %H:%M:%S"),
            "status": each.status,
            "ms": each.took_ms,
            "failure": each.failure,
            "answer": " ".join((each.answer or "").split())[:80],
        }
        for each in found.tries
    ]
    terminal.answer(found, lambda: table(rows, columns=columns, empty=f"{found.status}; it was not sent yet"))


@click.command("resend", cls=Command)
@click.argument("webhook", metavar="ID")
@click.argument("delivery", metavar="DELIVERY")
@at_terminal
def send_again(terminal: Terminal, webhook: str, delivery: str) -> None:
    """Send a delivery once more.

    Example: isthmus webhooks resend whep_01KAX3V9Q2M4T8Z5N7P6R1S0WD whdl_01KAX3VA0E9C5T1YB7K2M8N4QF
    """
    own, wanted = _id(webhook), id_of(DELIVERY_PREFIX, delivery, fix="See isthmus webhooks log ID")

    async def work(tx: Transaction, program: Program) -> DeliveryView:
        return delivery_view(await resend(tx, own, wanted), workspace=program.workspace)

    made = terminal.transact("webhooks-resend", work)
    terminal.answer(made, lambda: say(f"{made.id} is sent again"))


@click.command("recover", cls=Command)
@click.argument("webhook", metavar="ID")
@click.option("--since", type=_LENGTH, required=True, help="From so long ago on, such as 12h.")
@at_terminal
def send_failed(terminal: Terminal, webhook: str, *, since: timedelta) -> None:
    """Send what failed.

    Example: isthmus webhooks recover whep_01KAX3V9Q2M4T8Z5N7P6R1S0WD --since 12h
    """
    own = _id(webhook)

    async def work(tx: Transaction, _: Program) -> Requeued:
        return Requeued(deliveries=await recover(tx, own, since=tx.scope.now - since))

    _tell(terminal, terminal.transact("webhooks-recover", work))


@click.command("replay", cls=Command)
@click.argument("webhook", metavar="ID")
@click.option("--since", type=_LENGTH, required=True, help="From so long ago on, such as 12h.")
@click.option("--after", type=click.IntRange(0), default=0, metavar="NUMBER", help="From the event after this one.")
@at_terminal
def send_missing(terminal: Terminal, webhook: str, *, since: timedelta, after: int) -> None:
    """Send events of the past that this webhook was never told.

    Example: isthmus webhooks replay whep_01KAX3V9Q2M4T8Z5N7P6R1S0WD --since 2d
    """
    own = _id(webhook)

    async def work(tx: Transaction, program: Program) -> Requeued:
        store, began = program.store, tx.scope.now - since
        done = await replay_missing(
            tx, own, topics=topics(), vault=store.vault, schema=store.schema, since=began, after=after
        )
        return Requeued(deliveries=done.deliveries, has_more=done.has_more, after=done.after if done.has_more else None)

    _tell(terminal, terminal.transact("webhooks-replay", work))


def belong_to(group: click.Group) -> None:
    """Add the commands of this file to the group."""
    for each in (rotate_secret, try_webhook, show_log, send_again, send_failed, send_missing, list_inbound):
        group.add_command(each)


def _id(text: str) -> UUID:
    return id_of(ENDPOINT_PREFIX, text, fix=_HINT)


def _tell(terminal: Terminal, made: Requeued) -> None:
    rest = f", and there is more: go on with --after {made.after}" if made.has_more else ""
    terminal.answer(made, lambda: say(f"{counted(made.deliveries, 'delivery', 'deliveries')} will be sent{rest}"))

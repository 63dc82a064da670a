"""`isthmus webhooks`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import click
from msgspec import UNSET, ValidationError, convert, to_builtins

from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.webhooks_sent import belong_to
from isthmus.app.cli.wording import ago, id_of
from isthmus.app.clock import SystemClock
from isthmus.app.discovery import schema
from isthmus.app.topics import topics
from isthmus.app.webhook_views import WebhookSecret, WebhookView, account_ids, webhook_view
from isthmus.kernel.errors import Invalid
from isthmus.stream.filters import EventFilter, read_clause
from isthmus.stream.webhooks.endpoints import (
    ENDPOINT_PREFIX,
    EndpointChange,
    NewEndpoint,
    Rules,
    change,
    endpoint_of,
    endpoints,
    pause,
    register,
    remove,
    resume,
)

if TYPE_CHECKING:
    from isthmus.app.program import Program
    from isthmus.kernel.marks import Json
    from isthmus.store.database import Transaction

HINT = "List them: isthmus webhooks ls"
_WHERE = "Only of records of which it holds, such as 'amount at_least 10000'. Can be repeated."
_CHANGED = "Of changes, only those of this field. Can be repeated."
_COLUMNS = ("id", "status", "url", "events", "last success", "reason")


class WebhookMisread(Invalid):
    """What was given does not describe a webhook."""

    code, title = "webhook-misread", "The webhook cannot be registered"


class _Webhooks(Group):
    default = "ls"


@click.group("webhooks", cls=_Webhooks)
def command() -> None:
    """Have events told to addresses, see what was sent, and send it again.

    Messages are signed as Standard Webhooks say. Without a command the webhooks are listed.

    Example: isthmus webhooks add https://hooks.example.com/isthmus --event lead-capture
    """


def own_id(text: str) -> UUID:
    """Return the id of a webhook that was typed."""
    return id_of(ENDPOINT_PREFIX, text, fix=HINT)


def rules_of(program: Program) -> Rules:
    """Return what webhooks are held to; whoever owns the data directory may read everything."""
    from isthmus.app.alerting.keeping import outbound_of

    areas = frozenset(each.area for each in topics().types.values())
    return Rules(topics=topics(), schema=schema(), outbound=outbound_of(program.settings), areas=areas)


@command.command("ls")
@at_terminal
def list_webhooks(terminal: Terminal) -> None:
    """List webhooks and how they are.

    Example: isthmus webhooks ls --json
    """

    async def ask(tx: Transaction, _: Program) -> list[WebhookView]:
        return [webhook_view(each, schema()) for each in await endpoints(tx)]

    found, now = terminal.transact("webhooks", ask), SystemClock().now()
    rows = [
        {
            "id": each.id,
            "status": each.status,
            "url": each.url,
            "events": " ".join(each.events),
            "last success": ago(each.last_success_at, now=now),
            "reason": each.reason,
        }
        for each in found
    ]
    empty = "none; add one: isthmus webhooks add URL --event TOPIC"
    terminal.answer(found, lambda: table(rows, columns=_COLUMNS, empty=empty))


@command.command("show")
@click.argument("webhook", metavar="ID")
@at_terminal
def show(terminal: Terminal, webhook: str) -> None:
    """Show a webhook and how it is.

    Example: isthmus webhooks show whep_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    own = own_id(webhook)

    async def ask(tx: Transaction, _: Program) -> WebhookView:
        return webhook_view(await endpoint_of(tx, own), schema())

    tell(terminal, terminal.transact("webhooks", ask))


@command.command("add")
@click.argument("url")
@click.option("--event", "events", multiple=True, required=True, help="A topic, a type or a pattern. Can be repeated.")
@click.option("--about", default="", help="What it is for.")
@click.option("--account", "accounts", multiple=True, help="Only what belongs to an account. Can be repeated.")
@click.option("--where", multiple=True, metavar="CLAUSE", help=_WHERE)
@click.option("--changed", multiple=True, metavar="FIELD", help=_CHANGED)
@click.option("--signature", default="hmac", type=click.Choice(["hmac", "ed25519"]), show_default=True)
@click.option("--ordered", is_flag=True, help="Wait, for each account, until what was before is taken.")
@click.option("--per-second", type=int, help="Send at most so many in a second.")
@at_terminal
def add(
    terminal: Terminal,
    /,
    events: tuple[str, ...],
    accounts: tuple[str, ...],
    where: tuple[str, ...],
    changed: tuple[str, ...],
    **given: object,
) -> None:
    """Have events told to an address from now on. The secret is shown this once.

    Example: isthmus webhooks add https://hooks.example.com/isthmus --event 'isthmus.sales.*' --ordered
    """
    given |= {"events": list(events), "accounts": list(accounts), "filter": _filter(where, changed)}
    try:
        wanted = convert(given, NewEndpoint)
    except ValidationError as error:
        raise WebhookMisread(f"{error}.", fix="See isthmus webhooks add --help.") from error
    only = account_ids(wanted.accounts, schema())

    async def work(tx: Transaction, program: Program) -> WebhookSecret:
        made, secret = await register(tx, program.vault, wanted, accounts=only, rules=rules_of(program))
        return WebhookSecret(webhook=webhook_view(made, schema()), secret=secret)

    tell_secret(terminal, terminal.transact("webhooks-add", work))


@command.command("set")
@click.argument("webhook", metavar="ID")
@click.option("--url", help="Another address.")
@click.option("--event", "events", multiple=True, help="Topics, types or patterns in place of those before.")
@click.option("--about", help="What it is for.")
@click.option("--account", "accounts", multiple=True, help="Accounts in place of those before.")
@click.option("--where", multiple=True, metavar="CLAUSE", help=f"{_WHERE} In place of the filter before.")
@click.option("--changed", multiple=True, metavar="FIELD", help=f"{_CHANGED} In place of the filter before.")
@click.option("--unfiltered", is_flag=True, help="Tell of all records again.")
@click.option("--ordered/--unordered", default=None, help="Whether to wait until what was before is taken.")
@click.option("--per-second", type=int, help="Send at most so many in a second.")
@at_terminal
def set_webhook(
    terminal: Terminal,
    /,
    webhook: str,
    events: tuple[str, ...],
    accounts: tuple[str, ...],
    where: tuple[str, ...],
    changed: tuple[str, ...],
    *,
    unfiltered: bool,
    **given: object,
) -> None:
    """Change a webhook; what is not given stays.

    Example: isthmus webhooks set whep_01KAX3V9Q2M4T8Z5N7P6R1S0WD --per-second 20
    """
    own = own_id(webhook)
    given |= {name: list(value) for name, value in (("events", events), ("accounts", accounts)) if value}
    if where or changed or unfiltered:
        given["filter"] = _filter(where, changed)
    try:
        wanted = convert({name: value for name, value in given.items() if value is not None}, EndpointChange)
    except ValidationError as error:
        raise WebhookMisread(f"{error}.", fix="See isthmus webhooks set --help.") from error
    only = None if wanted.accounts is UNSET else account_ids(wanted.accounts or (), schema())

    async def work(tx: Transaction, program: Program) -> WebhookView:
        return webhook_view(await change(tx, own, wanted, accounts=only, rules=rules_of(program)), schema())

    tell(terminal, terminal.transact("webhooks-set", work))


def _filter(where: tuple[str, ...], changed: tuple[str, ...]) -> Json:
    clauses = [read_clause(each, pointer=f"/filter/where/{at}") for at, each in enumerate(where)]
    return to_builtins(EventFilter(changed=changed, where=tuple(clauses)))


@command.command("pause")
@click.argument("webhook", metavar="ID")
@at_terminal
def pause_webhook(terminal: Terminal, webhook: str) -> None:
    """Send nothing until it is resumed; what happens meanwhile is told then.

    Example: isthmus webhooks pause whep_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    own = own_id(webhook)

    async def work(tx: Transaction, _: Program) -> WebhookView:
        return webhook_view(await pause(tx, own), schema())

    tell(terminal, terminal.transact("webhooks-pause", work))


@command.command("resume")
@click.argument("webhook", metavar="ID")
@at_terminal
def resume_webhook(terminal: Terminal, webhook: str) -> None:
    """Go on after a pause, or after it was disabled for failing.

    Example: isthmus webhooks resume whep_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    own = own_id(webhook)

    async def work(tx: Transaction, _: Program) -> WebhookView:
        return webhook_view(await resume(tx, own), schema())

    tell(terminal, terminal.transact("webhooks-resume", work))


@command.command("rm")
@click.argument("webhook", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@at_terminal
def remove_webhook(terminal: Terminal, webhook: str, *, yes: bool) -> None:
    """Take a webhook away, with its secrets and what waits for it.

    Example: isthmus webhooks rm whep_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    own = own_id(webhook)
    if not yes:
        terminal.confirm("What waits for it is not sent any more. Take it away?")

    async def work(tx: Transaction, program: Program) -> None:
        await remove(tx, program.vault, own)

    terminal.transact("webhooks-rm", work)
    terminal.answer({"removed": webhook}, lambda: say(f"{webhook} is gone"))


def tell(terminal: Terminal, view: WebhookView) -> None:
    """Print a webhook."""
    names = [each for each in view.__struct_fields__ if getattr(view, each) not in (None, "", [])]
    rows = [{"": name.replace("_", " "), "value": getattr(view, name)} for name in names]
    terminal.answer(view, lambda: table(rows, columns=("", "value"), empty=""))


def tell_secret(terminal: Terminal, made: WebhookSecret) -> None:
    """Print a webhook's secret on stdout, and the rest beside it."""

    def lines() -> None:
        say(f"{made.webhook.id} tells {made.webhook.url} of {' '.join(made.webhook.events)}")
        say("its receiver verifies with this, shown this once:")
        click.echo(made.secret)

    terminal.answer(made, lines)


belong_to(command)

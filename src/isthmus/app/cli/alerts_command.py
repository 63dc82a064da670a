"""`isthmus alerts`."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING

import click

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import Duration, ago, id_of, id_text, moment
from isthmus.app.clock import SystemClock

if TYPE_CHECKING:
    from typing import TextIO

    from isthmus.app.http.alerts import AlertView, ChannelView, SilenceView
    from isthmus.app.program import Program
    from isthmus.gateway.monitoring.objectives import ObjectiveViews
    from isthmus.store.database import Transaction

_ALERT, _CHANNEL = "alrt", "chan"
_ROWS = 200
_HINT = "List them: isthmus alerts ls --all"
_LENGTH = Duration()


class _Alerts(Group):
    default = "ls"


@click.group("alerts", cls=_Alerts)
def command() -> None:
    """See what alarms, look after it, silence it, and say where it is told.

    Without a command the alerts that are not over are listed.

    Example: isthmus alerts ls
    """


@command.command("ls")
@click.option("--all", "every", is_flag=True, help="Those that are over too.")
@at_terminal
def list_alerts(terminal: Terminal, *, every: bool) -> None:
    """List alerts, newest first.

    Example: isthmus alerts ls --json
    """
    from isthmus.app.http.alerts import alert_view
    from isthmus.stream.alerts.state import alerts, unresolved

    async def ask(program: Program) -> list[AlertView]:
        async with program.database.transaction(operator(program, "alerts")) as tx:
            found = await alerts(tx, status=None, before=None, limit=_ROWS) if every else await unresolved(tx)
        return [alert_view(each) for each in found]

    found, now = terminal.run(ask), SystemClock().now()
    rows = [
        {
            "id": each.id,
            "rule": each.rule,
            "about": each.about,
            "severity": each.severity,
            "status": each.status,
            "opened": ago(each.opened_at, now=now),
            "reason": each.reason,
        }
        for each in found
    ]
    columns = ("id", "rule", "about", "severity", "status", "opened", "reason")
    terminal.answer(found, lambda: table(rows, columns=columns, empty="nothing alarms; what did: --all"))


@command.command("ack")
@click.argument("alert_id", metavar="ID")
@at_terminal
def acknowledge_alert(terminal: Terminal, alert_id: str) -> None:
    """Say that somebody looks after an alert, so that it is not told again.

    Example: isthmus alerts ack alrt_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    from isthmus.app.http.alerts import alert_view
    from isthmus.stream.alerts.state import acknowledge

    own = id_of(_ALERT, alert_id, fix=_HINT)

    async def work(tx: Transaction, _: Program) -> AlertView:
        return alert_view(await acknowledge(tx, own))

    found = terminal.transact("alerts-ack", work)
    terminal.answer(found, lambda: click.echo(f"{found.id} ({found.rule}: {found.about}) is {found.status}"))


@command.command("silence")
@click.argument("alert_id", metavar="ID")
@click.option("--for", "length", type=_LENGTH, default=timedelta(hours=4), show_default="4h", help="For how long.")
@click.option("--reason", default="", help="Why, for those who wonder.")
@at_terminal
def silence_alert(terminal: Terminal, alert_id: str, length: timedelta, reason: str) -> None:
    """Tell nobody about what an alert is about, for a while.

    Example: isthmus alerts silence alrt_01KAX3V9Q2M4T8Z5N7P6R1S0WD --for 8h --reason "moved tonight"
    """
    from isthmus.app.http.alerts import silence_view
    from isthmus.stream.alerts.state import alert_of, silence

    own = id_of(_ALERT, alert_id, fix=_HINT)

    async def work(program: Program) -> SilenceView:
        scope = operator(program, "alerts-silence")
        async with program.database.transaction(scope) as tx:
            found = await alert_of(tx, own)
            made = await silence(tx, rule=found.rule, about=found.about, until=scope.now + length, reason=reason)
        return silence_view(made)

    made = terminal.run(work)
    until = moment(made.until.astimezone(UTC))
    terminal.answer(made, lambda: click.echo(f"nobody hears of {made.rule} about {made.about} until {until} UTC"))


@command.command("objectives")
@at_terminal
def show_objectives(terminal: Terminal) -> None:
    """Show the objectives of service and what is left of their error budgets.

    Example: isthmus alerts objectives
    """
    from isthmus.gateway.monitoring.objectives import objectives

    async def ask(program: Program) -> ObjectiveViews:
        return await objectives(program.database, operator(program, "objectives"))

    found = terminal.run(ask)
    rows = [
        {
            "objective": each.title,
            "target": f"{each.target:.2%}",
            "attained": "" if each.attained is None else f"{each.attained:.3%}",
            "budget left": f"{each.remaining:.0%}",
            "counted": each.counted,
        }
        for each in found.data
    ]
    columns = ("objective", "target", "attained", "budget left", "counted")
    terminal.answer(found, lambda: table(rows, columns=columns, empty=""))


@command.command("channels")
@at_terminal
def list_channels(terminal: Terminal) -> None:
    """List where alerts are told.

    Example: isthmus alerts channels
    """
    from isthmus.app.http.alerts import channel_view
    from isthmus.stream.alerts.channels import channels

    async def ask(tx: Transaction, _: Program) -> list[ChannelView]:
        return [channel_view(each) for each in await channels(tx)]

    found = terminal.transact("channels", ask)
    rows = [{"id": each.id, "name": each.name, "kind": each.kind, "added by": each.created_by} for each in found]
    empty = "nobody is told; add one: isthmus alerts add --help"
    terminal.answer(found, lambda: table(rows, columns=("id", "name", "kind", "added by"), empty=empty))


@command.command("add")
@click.argument("name")
@click.option("--email", metavar="ADDRESS", help="Tell by e-mail; needs the setting smtp_url.")
@click.option("--webhook-file", type=click.File(), help="A file (or -) with the address of a Slack-compatible webhook.")
@at_terminal
def add(terminal: Terminal, name: str, email: str | None, webhook_file: TextIO | None) -> None:
    """Add an e-mail address or a webhook to which alerts are told.

    The address of a webhook is a secret, so it is read from a file or from stdin and never stands on a command line.

    Example: isthmus alerts add "on call" --email oncall@example.com
    """
    if (email is None) == (webhook_file is None):
        raise click.UsageError("Say where: --email or --webhook-file.")
    from isthmus.app.alerting.keeping import outbound_of
    from isthmus.app.http.alerts import channel_view
    from isthmus.stream.alerts.channels import add_channel

    target = email or (webhook_file.read().strip() if webhook_file is not None else "")

    async def work(program: Program) -> ChannelView:
        outbound = outbound_of(program.settings)
        async with program.database.transaction(operator(program, "channels-add")) as tx:
            kind = "email" if email is not None else "webhook"
            return channel_view(await add_channel(tx, program.vault, outbound, name=name, kind=kind, target=target))

    made = terminal.run(work)
    terminal.answer(made, lambda: click.echo(f"{made.id} ({made.name}) is told of alerts"))
    say(f"try it: isthmus alerts try {made.id}")


@command.command("rm")
@click.argument("channel_id", metavar="ID")
@at_terminal
def remove(terminal: Terminal, channel_id: str) -> None:
    """Take a channel away.

    Example: isthmus alerts rm chan_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    from isthmus.app.http.alerts import channel_view
    from isthmus.stream.alerts.channels import remove_channel

    own = id_of(_CHANNEL, channel_id, fix="List them: isthmus alerts channels")

    async def work(tx: Transaction, program: Program) -> ChannelView:
        return channel_view(await remove_channel(tx, program.vault, own))

    gone = terminal.transact("channels-rm", work)
    terminal.answer(gone, lambda: click.echo(f"{gone.id} ({gone.name}) is told nothing any more"))


@command.command("try")
@click.argument("channel_id", metavar="ID")
@at_terminal
def try_channel(terminal: Terminal, channel_id: str) -> None:
    """Send a message to a channel, to see that it arrives.

    Example: isthmus alerts try chan_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    from isthmus.app.alerting.keeping import ways_of
    from isthmus.stream.alerts.channels import tell_test

    own = id_of(_CHANNEL, channel_id, fix="List them: isthmus alerts channels")

    async def work(program: Program) -> str:
        async with program.database.transaction(operator(program, "channels-try")) as tx:
            await tell_test(tx, program.vault, ways_of(program.settings), own)
        return id_text(_CHANNEL, own)

    told = terminal.run(work)
    terminal.answer({"id": told, "told": True}, lambda: click.echo(f"{told} took the message"))

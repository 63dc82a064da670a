"""`isthmus limits`."""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING, get_args

import click
from msgspec import Struct, ValidationError, convert, structs

from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.clock import SystemClock
from isthmus.app.http.limits import LimitsView, QuotaView, UsageView, read_quotas, read_use, view_of
from isthmus.gateway.limit_rules import (
    TIERS,
    LimitRule,
    LimitUnclear,
    Scope,
    Tier,
    read_limits,
    write_limits,
)
from isthmus.kernel.errors import NotFound
from isthmus.stream.limits.leases import AWAY_S, Away

if TYPE_CHECKING:
    from isthmus.app.program import Program
    from isthmus.store.database import Transaction

_RATE = re.compile(r"(\d+)/(\d*)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_ROWS_MAX = 10_000
_PERIOD = re.compile(r"\d{4}-\d{2}(-\d{2})?")


class NoSuchLimit(NotFound):
    """The workspace set no limit of that name."""

    code, title = "no-such-limit", "There is no such limit"


class Use(Struct, frozen=True, kw_only=True):
    """What was used, and how far the quotas are."""

    period: str
    callers: list[UsageView]
    quotas: list[QuotaView]


class _Window(click.ParamType[tuple[int, int]]):
    """A rate such as 100/m, 1000/h or 20/10s."""

    name = "N/s|m|h|d"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        found = _RATE.fullmatch(str(value))
        if found is None or int(found[1]) == 0:
            self.fail(f"{str(value)!r} is no rate; write 100/m, 1000/h or 20/10s.", param, ctx)
        return int(found[1]), int(found[2] or 1) * _SECONDS[found[3]]


class _Limits(Group):
    default = "ls"


@click.group("limits", cls=_Limits)
def command() -> None:
    """See and set limits and quotas, and see what was used.

    Limits hold on every worker within a second. Without a command they are listed.

    Example: isthmus limits set exports --scope caller --rate 60/m --burst 10
    """


@command.command("ls")
@at_terminal
def list_all(terminal: Terminal) -> None:
    """List the limits that hold: those of the tier, and the workspace's own.

    Example: isthmus limits ls
    """

    async def ask(tx: Transaction, _: Program) -> LimitsView:
        return view_of(await read_limits(tx))

    _answer(terminal, terminal.transact("limits", ask))


@command.command("set")
@click.argument("name", required=False)
@click.option("--tier", type=click.Choice(list(TIERS)), help="The tier of the workspace.")
@click.option("--scope", type=click.Choice(get_args(Scope)), help="What is counted together.")
@click.option("--subject", default="", help="Only this key (key_…), user:…, client:…, domain, route or upstream.")
@click.option("--rate", type=_Window(), help="How many calls in a time: 100/m, 1000/h, 20/10s.")
@click.option("--burst", type=click.IntRange(min=1), help="How many at once. Without it: the whole rate.")
@click.option("--concurrency", type=click.IntRange(min=1), help="How many in flight on a machine.")
@click.option("--quota-day", type=click.IntRange(min=1), help="How many a day (UTC).")
@click.option("--quota-month", type=click.IntRange(min=1), help="How many a month (UTC).")
@click.option("--dry-run", is_flag=True, help="Refuse nothing; count what would be refused.")
@click.option(
    "--away",
    type=click.Choice(get_args(Away)),
    default="fail_open_local",
    help="While the store of the limits is away.",
)
@click.option(
    "--away-s", type=click.IntRange(min=0), default=AWAY_S, help="For how long fail_open_local lets calls in."
)
@click.option("--remove", is_flag=True, help="Take the limit away; that of the tier holds again.")
@at_terminal
def set_limit(
    terminal: Terminal,
    name: str | None,
    *,
    tier: Tier | None,
    rate: tuple[int, int] | None,
    remove: bool,
    **given: object,
) -> None:
    """Set the tier, or one limit by its name.

    The names `caller` and `workspace` are those of the tier; a limit of that name takes its place.

    Example: isthmus limits set exports --scope caller --rate 60/m --burst 10
    """
    if name is None and tier is None:
        raise click.UsageError("Say the name of a limit, or --tier.")
    count, seconds = rate or (None, None)
    rule = None
    if name is not None and not remove:
        rule = _rule({**given, "name": name, "count": count, "seconds": seconds})

    async def work(tx: Transaction, _: Program) -> LimitsView:
        own = (await read_limits(tx)).rules
        kept = [each for each in own if each.name != name]
        if remove and len(kept) == len(own):
            raise NoSuchLimit(f"The workspace set no limit {name!r}.", fix="List them: isthmus limits ls")
        rules = None if name is None else [*kept, *([rule] if rule else [])]
        return view_of(await write_limits(tx, tier=tier, rules=rules))

    _answer(terminal, terminal.transact("limits-set", work))


@command.command("usage")
@click.option("--period", help="A month (2026-11) or a day (2026-11-23). Without it: this month.")
@at_terminal
def usage(terminal: Terminal, period: str | None) -> None:
    """Tell how much each caller used, and how far the quotas are.

    Example: isthmus limits usage --period 2026-11
    """
    now = SystemClock().now()
    if period is not None and not _PERIOD.fullmatch(period):
        raise click.UsageError("A period is a month such as 2026-11, or a day such as 2026-11-23.")
    key = period.replace("-", "") if period else f"{now.astimezone(UTC):%Y%m}"

    async def ask(tx: Transaction, _: Program) -> Use:
        callers = await read_use(tx, period=key, limit=_ROWS_MAX)
        return Use(period=key, callers=callers, quotas=await read_quotas(tx, now=now))

    found = terminal.transact("limits-usage", ask)
    terminal.answer(found, lambda: _show_use(found))


def _rule(given: dict[str, object]) -> LimitRule:
    if given.get("scope") is None:
        raise click.UsageError(f"Say what the limit counts together: --scope {'|'.join(get_args(Scope))}.")
    try:
        return convert(given, LimitRule)
    except ValidationError as error:
        raise LimitUnclear(f"The limit cannot be set: {error}.", fix="See isthmus limits set --help.") from error


def _answer(terminal: Terminal, found: LimitsView) -> None:
    terminal.answer(found, lambda: _show(found))


def _show(found: LimitsView) -> None:
    rows = [
        {
            "limit": each.name + ("" if each.name in found.own else " (tier)"),
            "counts": f"{each.scope} {each.subject}".strip(),
            "rate": f"{each.count:,} / {each.seconds:,} s" if each.count and each.seconds else "",
            "burst": str(each.burst or each.count or ""),
            "in flight": str(each.concurrency or ""),
            "a day": str(each.quota_day or ""),
            "a month": str(each.quota_month or ""),
            "mode": "dry run" if each.dry_run else each.away,
        }
        for each in found.limits
    ]
    columns = ("limit", "counts", "rate", "burst", "in flight", "a day", "a month", "mode")
    table(rows, columns=columns, empty="no limits")
    say(f"tier {found.tier}{', a tenth of it because this is a sandbox' if found.sandbox else ''}")


def _show_use(found: Use) -> None:
    rows = [structs.asdict(each) for each in found.callers]
    table(rows, columns=("subject", "period", "used"), empty=f"nothing was used in {found.period}")
    if found.quotas:
        quotas = [structs.asdict(each) for each in found.quotas]
        table(quotas, columns=("limit", "subject", "period", "used", "cap"), empty="")

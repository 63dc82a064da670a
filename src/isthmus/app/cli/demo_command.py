"""`isthmus demo`."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import click

from isthmus.app.cli.common import data_dir_option, json_option, settings_from
from isthmus.app.cli.output import print_json, say
from isthmus.app.cli.up_command import stop_on_signals
from isthmus.app.demo import COMPANIES, Found, load
from isthmus.app.links import first_link
from isthmus.app.up import start_up

if TYPE_CHECKING:
    from isthmus.app.demo_tryton import Beside, FoundThere
    from isthmus.kernel.marks import Json


@click.command("demo")
@data_dir_option
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on (default: 8080).")
@click.option("--once", is_flag=True, help="End when the main job is done.")
@click.option(
    "--with", "others", type=click.Choice(["tryton"]), multiple=True, help="Also start and connect a real ERP."
)
@click.option("--companies", type=click.IntRange(12, 600), default=COMPANIES, show_default=True, help="How many.")
@json_option
def command(
    data_dir: str | None, port: int | None, others: tuple[str, ...], companies: int, *, once: bool, as_json: bool
) -> None:
    """Start with a made-up company and watch five domains agree.

    Connects five fake systems, pulls their records, matches who is who, finds conflicts, attributes what was won to
    the channels that led to it, and pushes back what they lack. Everything in it is invented.
    """
    began = time.monotonic()
    settings = settings_from(data_dir=data_dir, port=port, workspace="demo")
    say("isthmus demo: a made-up company, nothing in it is real, nothing leaves this machine")
    up = start_up(settings, say=say)
    beside: Beside | None = None
    try:
        ready = time.monotonic() - began
        say(f"the API answers at {up.url} after {ready:.1f} s")
        stop_on_signals(up)
        link = asyncio.run(first_link(settings, up.engines, url=up.url))
        found = asyncio.run(load(settings, up.engines, companies=companies, say=say))
        if "tryton" in others:
            from isthmus.app.demo_tryton import load_tryton

            beside = asyncio.run(load_tryton(settings, up.engines, say=say))
            found["conflicts"] = beside.found["conflicts_in_all"]
        found["seconds"] |= {"until_ready": round(ready, 2), "total": round(time.monotonic() - began, 2)}
        _show(found, up.url, link, there=beside.found if beside else None, as_json=as_json)
        if not once:
            say("Ctrl-C stops it")
            up.wait()
    finally:
        try:
            if beside is not None:
                asyncio.run(beside.stop())
        finally:
            up.stop()


def _show(found: Found, url: str, link: str | None, *, there: FoundThere | None, as_json: bool) -> None:
    if as_json:
        print_json({**found, **({"tryton": there} if there else {}), "url": url, "admin_link": link})
        return
    counts = found["counts"]
    domains = [f"{name} {counts[name]:,}" for name in ("marketing", "sales", "product", "success", "finance")]
    click.echo(f"records      {' · '.join(domains)}")
    click.echo(f"matched      {found['people_matched']:,} people known to more than one system")
    click.echo(f"conflicts    {found['conflicts']} wait for a person (isthmus conflicts ls)")
    click.echo(f"rejected     {found['rejected']} rows, kept with their reasons (isthmus sync rejected)")
    click.echo(f"pushed       {found['pushed']:,} changes back to the systems")
    click.echo("attribution  by position, 90 days, until now")
    for each in sorted(found["attribution"], key=lambda one: (str(one["currency"]), -float(str(one["share"])))):
        share = float(str(each["share"]))
        bar = "█" * round(share * 40)
        click.echo(f"  {each['channel']!s:16} {each['revenue']!s:>14} {each['currency']}  {share:6.1%}  {bar}")
    _show_returns(found["roi"])
    if there is not None:
        _show_there(there)
    took = found["seconds"]
    click.echo(f"time         {took['total']} s, of which {took['until_ready']} s until the API answered")
    click.echo(f"console      {link or url}")


def _show_returns(rows: list[dict[str, Json]]) -> None:
    """Show what each campaign returned in the currency in which it was paid for, best first."""
    click.echo(
        "roi          by campaign, by position, 90 days: (credited - invested) / invested; 100% is the money doubled"
    )
    paid = [each for each in rows if float(str(each["total_investment"]))]
    for each in sorted(paid, key=lambda one: -float(str(one["roi"] or one["at_least"] or 0))):
        known = each["roi"] or each["at_least"]
        sign = ">= " if known and not each["roi"] else ""
        figure = f"{sign}{float(str(known)):,.0%}" if known else "not known"
        money = f"{each['total_investment']!s:>10} -> {each['attributed_revenue']!s:>12} {each['currency']}"
        click.echo(f"  {each['campaign']!s:20} {money}  {figure:>10}")
    if any(each["at_least"] for each in paid):
        click.echo("  >= stands where deals in other currencies came in too, and no rate between them is known")
    if free := sorted({str(each["campaign"]) for each in rows} - {str(each["campaign"]) for each in paid}):
        click.echo(f"  {', '.join(free)}: nothing was spent, so there is no return on it")


def _show_there(there: FoundThere) -> None:
    click.echo(
        f"tryton       {there['records']:,} records, {there['matched']} known to other systems,"
        f" {there['written']} changes written there, {there['conflicts']} of the conflicts"
    )
    click.echo(
        f"             look at it: curl -H @{there['look']} {there['url']}/{there['database']}/rest/model/party.party"
    )

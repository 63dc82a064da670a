"""`isthmus bench`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import click

from isthmus.app.cli.output import print_json, say, table
from isthmus.kernel.errors import NotFound

if TYPE_CHECKING:
    from isthmus.app.bench import Bench

BENCHES = {
    "gateway": "A call through the whole chain, against nginx with Lua and Redis, and Envoy.",
    "limits": "Leased limits of two to eight nodes, against one ideal bucket.",
    "jobs": "Durable jobs, against pgqueuer and procrastinate, and workers that are killed.",
    "events": "Events from commit to consumer, against a commit and an XADD by hand.",
    "realtime": "Leads from a POST to the live feed, a webhook and the CRM, 200 a second.",
    "chaos": "What becomes of acknowledged writes while every part of the program is killed.",
    "faults": "A million rows pulled through a proxy with every fault, and a source that goes wrong.",
    "threats": "The gate's decision with every detector listening, against the same without.",
    "reconcile": "Two tables compared down to the fields that differ, against reladiff.",
    "sync": "Leads taken in and written out, against dlt, the Singer target and drt.",
    "match": "Who is one with whom among made-up people, against Splink and handles alone.",
    "put": "A put of leads with everything on, against a bare load of the same rows.",
}


class NoSuchBench(NotFound):
    """There is no bench of that name."""

    code, title = "no-such-bench", "There is no such bench"


@click.command("bench")
@click.argument("name", required=False)
@click.option("--list", "listed", is_flag=True, help="List the benches.")
@click.option("--quick", is_flag=True, help="End within a minute on two cores; figures are rougher.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(context: click.Context, name: str | None, *, listed: bool, quick: bool, as_json: bool) -> None:
    """Measure against named peers. Exit 0 when every bar holds, else 1."""
    if listed or name is None:
        rows = [{"name": each, "measures": about} for each, about in BENCHES.items()]
        print_json(rows) if as_json else table(rows, columns=("name", "measures"), empty="")
        return
    if name not in BENCHES:
        raise NoSuchBench(f"There is no bench {name!r}.", fix="List them: isthmus bench --list")
    bench: Bench = import_module(f"isthmus.app.bench.{name}").run
    outcome = bench(quick=quick, say=say)
    if as_json:
        print_json(outcome.document())
    else:
        _show(outcome.figures)
        rows = [
            {"bar": each, "value": bar.value, "limit": bar.limit, "holds": "yes" if bar.holds else "NO"}
            for each, bar in outcome.bars.items()
        ]
        table(rows, columns=("bar", "value", "limit", "holds"), empty="no bars")
    if not all(bar.holds for bar in outcome.bars.values()):
        context.exit(1)


def _show(figures: dict[str, float]) -> None:
    for name, value in figures.items():
        click.echo(f"{name:32} {value:,}")

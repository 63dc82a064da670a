"""`isthmus attribute`: from files to files, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import click

from isthmus.app.cli.groups import Command
from isthmus.app.cli.output import say
from isthmus.app.cli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from isthmus.analytics import FilesAnswer, Mark, Question

MODELS = ("first", "last", "last_non_direct", "linear", "time_decay", "position")
LATER = ("incremental", "markov", "shapley")
ALL = "all"
_UNBOUNDED = "none"


class _Asked(TypedDict):
    """The options of the command."""

    touches: Path
    outcomes: Path
    accounts: Path | None
    experiments: Path | None
    spend: Path | None
    model: str
    by: str
    out: Path | None
    window: int | None
    half_life: float
    position: str
    currency: str | None
    engine: str
    seed: int
    intervals: bool
    as_json: bool


def _window(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    if value == _UNBOUNDED:
        return None
    if not value.isdecimal() or not int(value):
        raise click.BadParameter(f"{value!r} is neither a number of days nor {_UNBOUNDED!r}.", context, parameter)
    return int(value)


def _model(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if value in (*MODELS, ALL):
        return value
    there = f"These exist: {', '.join(MODELS)}, and {ALL} for all of them."
    said = f"{value} is not there yet." if value in LATER else f"There is no model {value!r}."
    raise click.BadParameter(f"{said} {there}", context, parameter)


def _engine(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if value == "spark":
        raise click.BadParameter(
            "spark is not there yet. duckdb, the default, runs on this machine.", context, parameter
        )
    return value


_file = click.Path(path_type=Path)


@click.command("attribute", cls=Command)
@click.option("--touches", type=_file, required=True, help="Touches, .parquet or .csv.")
@click.option("--outcomes", type=_file, required=True, help="Outcomes, won or not, .parquet or .csv.")
@click.option("--accounts", type=_file, help="Covariates of accounts; rule models do not read them.")
@click.option("--experiments", type=_file, help="Randomised hold-outs; rule models do not read them.")
@click.option("--spend", type=_file, help="Spend; rule models do not read it.")
@click.option("--model", callback=_model, default=ALL, show_default=True, help=f"{', '.join(MODELS)}, or {ALL}.")
@click.option(
    "--by", type=click.Choice(["channel", "campaign"]), default="channel", show_default=True, help="Who gets credit."
)
@click.option("--out", type=_file, help="Where to write: .parquet, .json or .csv. Without it a table goes to stdout.")
@click.option(
    "--window", metavar="DAYS|none", callback=_window, default="90", show_default=True, help="Before the decision."
)
@click.option("--half-life", metavar="DAYS", type=float, default=7.0, show_default=True, help="Of time_decay.")
@click.option("--position", default="u", show_default=True, help="Weights of position: u, w or full_path.")
@click.option("--currency", help="The currency of outcomes whose file has no such column.")
@click.option(
    "--engine",
    type=click.Choice(["duckdb", "spark"]),
    callback=_engine,
    default="duckdb",
    show_default=True,
    help="duckdb stands for this machine; spark is not there yet.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the intervals.")
@click.option("--intervals/--no-intervals", default=True, show_default=True, help="Low and high of each share.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(**asked: Unpack[_Asked]) -> None:
    """Attribute outcomes to touches from files, without a server.

    Touches have the columns account_id, at, channel, and optionally person_id, campaign_id, kind, role, cost; the
    channel direct is an organic or unknown visit. Outcomes have account_id, at, value, won, and optionally
    committed_at, currency. Credit sums to what was won, exactly; what has no touch is the bucket unattributed.

    Each row is bucket, revenue, share, low, high, model, then currency and grade. low and high bound 95 % of what
    chance in the sample would do to the share. Grade E0: a rule shares credit by agreement and measures no effect.

    Example: isthmus attribute --touches touches.parquet --outcomes outcomes.parquet --model all --out credit.parquet
    """
    from isthmus.app.cli import attribute_rows as rows

    unread = [name for name in ("accounts", "experiments", "spend") if asked[name] is not None]
    rows.check_target(asked["out"])
    found = _answer(asked)
    credit = rows.rows_of(found.rows)
    if asked["out"] is not None:
        rows.write(found.rows, path=asked["out"])
        say(f"wrote {counted(len(credit), 'row')} to {asked['out']}")
        if asked["as_json"]:
            rows.print_rows({"out": str(asked["out"]), "rows": len(credit)} | _totals(found))
    elif asked["as_json"]:
        rows.print_rows(credit)
    else:
        rows.show(credit)
    _remark(found, unread)


def _answer(asked: _Asked) -> FilesAnswer:
    import numpy as np

    from isthmus.analytics import attribute_files

    generator = np.random.default_rng(asked["seed"]) if asked["intervals"] else None
    return attribute_files(
        steps=asked["touches"], outcomes=asked["outcomes"], question=_question(asked), generator=generator
    )


def _question(asked: _Asked) -> Question:
    from isthmus.analytics import Question
    from isthmus.analytics.files import NO_CURRENCY

    return Question(
        by=asked["by"],
        model=asked["model"],
        window_days=asked["window"],
        half_life_days=asked["half_life"],
        position=asked["position"],
        currency=(asked["currency"] or NO_CURRENCY).upper(),
        roles=_roles(),
    )


def _roles() -> Mapping[str, Mark]:
    """Return what the words of the column `role` mean: the engine's own, and the field's words for the same."""
    from isthmus.analytics import ROLES, Mark

    said = {
        "first-touch": Mark.FIRST,
        "lead-creation": Mark.CAPTURED,
        "opportunity-creation": Mark.QUALIFIED,
        "closed-won": Mark.CLOSED,
    }
    return {**ROLES, **said, **{word.replace("-", "_"): mark for word, mark in said.items()}}


def _totals(found: FilesAnswer) -> dict[str, object]:
    first = found.answers[0]
    return {
        "models": [each.model for each in found.answers],
        "outcomes": first.outcomes,
        "journeys": first.journeys,
        "revenue": dict(first.revenue),
        "rounded": found.rounded,
    }


def _remark(found: FilesAnswer, unread: list[str]) -> None:
    first = found.answers[0]
    without = first.outcomes - first.journeys
    say(f"{counted(first.outcomes, 'won outcome')}, {without:,} of them without a touch in the window")
    if found.rounded:
        say(f"{counted(found.rounded, 'amount')} had more than four decimals and were rounded")
    if unread:
        say(f"not read: {', '.join(unread)}; rule models have no use for them")

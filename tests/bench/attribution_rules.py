"""How long all rule models take over a million steps, against the same rules in DuckDB SQL.

Run with `python -m tests.bench.attribution_rules [steps]`. All start from the same Arrow tables in memory and end with
the credit of every bucket under eight rules. Ours also checks ids and hands out the money to the cent, once
from raw rows and once over a ledger that is kept sorted; SQL stops at shares and uses every core.
Rounds alternate, and the median of each side counts. Ratios travel between machines, seconds do not.
"""

import statistics
import sys
import time
from collections.abc import Callable

import pytest

from isthmus.analytics import MODELS, POSITIONS, UNATTRIBUTED, Table, credit
from isthmus.analytics.journeys import cut
from isthmus.analytics.ledger import Ledger
from isthmus.analytics.outcomes import Outcomes
from tests.rooms.analytics.sql_rules import RULES, sql_shares
from tests.rooms.analytics.tables import many

ROUNDS = 5
WINDOW_DAYS = 28


def from_rows(steps: Table, outcomes: Table) -> dict[str, float]:
    """Return the linear share of each bucket, having sorted the ledger and asked every model and preset."""
    return from_ledger(Ledger.of(steps), outcomes)


def from_ledger(ledger: Ledger, outcomes: Table) -> dict[str, float]:
    """Return the same from a ledger that is already sorted."""
    journeys = cut(ledger=ledger, outcomes=Outcomes.of(outcomes), window_days=WINDOW_DAYS)
    answers = [credit(journeys, model=name) for name in MODELS if name != "position"]
    answers.extend(credit(journeys, model="position", position=name) for name in POSITIONS)
    linear = next(each for each in answers if each.model == "linear")
    return {each.bucket: each.outcomes for each in linear.totals if each.bucket != UNATTRIBUTED}


def from_sql(steps: Table, outcomes: Table) -> dict[str, float]:
    """Return the same from SQL."""
    with sql_shares(steps=steps, outcomes=outcomes, window_days=WINDOW_DAYS, half_life_days=7) as connection:
        sums = ", ".join(f'sum("{rule}")' for rule in RULES if rule != "linear")
        found = connection.sql(f"select bucket, sum(linear), {sums} from shared group by bucket")  # noqa: S608 - names of rules.
        return {str(row[0]): float(row[1]) for row in found.fetchall()}


def seconds(run: Callable[[], dict[str, float]]) -> float:
    """Return the wall time of one run."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def main() -> None:
    """Print medians and ratios; end with an error when the sides differ."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    steps, outcomes = many(steps=count, units=count // 6, seed=1)
    ledger = Ledger.of(steps)
    sides: dict[str, Callable[[], dict[str, float]]] = {
        "DuckDB SQL": lambda: from_sql(steps, outcomes),
        "from raw rows": lambda: from_rows(steps, outcomes),
        "over a kept ledger": lambda: from_ledger(ledger, outcomes),
    }
    expected = from_sql(steps, outcomes)
    for run in sides.values():
        assert run() == pytest.approx(expected, rel=1e-9)
    rounds = [[seconds(run) for run in sides.values()] for _ in range(ROUNDS)]
    medians = dict(zip(sides, map(statistics.median, zip(*rounds, strict=True)), strict=True))
    for name, median in medians.items():
        print(f"{name}: {median:.2f} s, {medians['DuckDB SQL'] / median:.1f} times as fast as SQL")  # noqa: T201 - its output.


if __name__ == "__main__":
    main()

"""`python -m isthmus.app.bench.chaos [--seed N] [--kills N] [--short]`: a run that can be had again."""

import argparse
import json
import sys

from isthmus.app.bench.chaos.ground import measure
from isthmus.app.bench.chaos.plan import KILLS, long_plan, short_plan


def main() -> None:
    """Run, and print one JSON document; exit 1 when a bar does not hold."""
    parser = argparse.ArgumentParser(prog="python -m isthmus.app.bench.chaos")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--short", action="store_true")
    given = parser.parse_args()
    plan = short_plan(given.seed) if given.short else long_plan(given.seed, kills=given.kills)
    outcome = measure(plan, say=lambda line: print(line, file=sys.stderr))  # noqa: T201 - its output.
    print(json.dumps(outcome.document(), indent=2))  # noqa: T201 - its output.
    sys.exit(0 if all(each.holds for each in outcome.bars.values()) else 1)


if __name__ == "__main__":
    main()

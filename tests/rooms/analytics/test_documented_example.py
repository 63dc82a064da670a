"""The example in the explanation is what the models answer."""

import re
from decimal import Decimal
from pathlib import Path

from isthmus.analytics import MODELS
from tests.rooms.analytics.tables import Step, ask, rows

PAGE = Path(__file__).parents[3] / "docs/explanation/attribution.md"
ROW = re.compile(r"^\| `(\w+)`[^|]*\| (\d+\.\d\d) \| (\d+\.\d\d) \| (\d+\.\d\d) \| (\d+\.\d\d) \|$", re.MULTILINE)
WEEK = 7 * 24


def test_every_model_answers_what_the_page_says() -> None:
    steps = [Step(f"s{k}", hour=k * WEEK, bucket=name) for k, name in enumerate(("ads", "mail", "event"))]
    steps.append(Step("s3", hour=3 * WEEK, bucket="direct", direct=True))
    documented = {
        model: [int(Decimal(cell) * 100) for cell in cells] for model, *cells in ROW.findall(PAGE.read_text("utf-8"))
    }
    assert documented == {model: [row["minor"] for row in rows(ask(steps, model=model))] for model in MODELS}

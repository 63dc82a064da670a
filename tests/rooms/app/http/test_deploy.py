"""What lies ready in deploy/ names only metrics that we show, and Prometheus' own tool finds nothing wrong with it."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from isthmus.gateway.metrics import RouteLabel, Traffic
from isthmus.gateway.monitoring.exposition import text_of_traffic
from tests.counterparts import require_debian
from tests.house.sources import HOUSE

DEPLOY = HOUSE / "deploy"
RULES = DEPLOY / "prometheus" / "isthmus.rules.yml"
BOARD = DEPLOY / "grafana" / "isthmus.json"
NAME = re.compile(r"\bisthmus_[a-z_]+")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}


@pytest.fixture(scope="module")
def shown() -> str:
    """All metrics as they are shown."""
    traffic = Traffic([RouteLabel("GET", "/a/{id}", "sales"), RouteLabel("POST", "/b")])
    for status, micros in ((200, 900), (404, 20), (503, 900_000)):
        traffic.count(0, status=status, micros=micros)
        traffic.count(None, status=status, micros=micros)
        traffic.count_key("key", UUID(int=5), status=status, micros=micros)
    return text_of_traffic(traffic.snapshot())


@pytest.fixture(scope="module")
def promtool() -> Path:
    """Prometheus' own tool."""
    return require_debian("prometheus", binary="promtool")


def names(text: str) -> set[str]:
    found: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        found |= {name + each for each in SUFFIXES.get(kind, ("",))}
    return found


def expressions() -> Iterator[str]:
    board = json.loads(BOARD.read_text("utf-8"))
    for panel in cast("list[dict[str, object]]", board["panels"]):
        for target in cast("list[dict[str, str]]", panel["targets"]):
            yield target["expr"]


def test_every_metric_that_is_named_is_shown(shown: str) -> None:
    asked = set(NAME.findall(RULES.read_text("utf-8"))) | {each for one in expressions() for each in NAME.findall(one)}
    assert len(asked) > 8
    assert asked - names(shown) == set()


def test_every_metric_that_is_shown_is_in_the_reference(shown: str) -> None:
    page = (HOUSE / "docs/reference/metrics.md").read_text("utf-8")
    missing = [name for name, _ in re.findall(r"^# TYPE (\S+) (\S+)$", shown, re.MULTILINE) if f"`{name}`" not in page]
    assert missing == []


def test_the_text_is_what_prometheus_reads(promtool: Path, shown: str) -> None:
    said = subprocess.run([promtool, "check", "metrics"], input=shown, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    wrong = subprocess.run(
        [promtool, "check", "metrics"], input=shown + "isthmus_x{ 1\n", capture_output=True, text=True, check=False
    )
    assert wrong.returncode != 0


def test_the_rules_and_the_configuration_are_whole(promtool: Path) -> None:
    for command in (["check", "rules", RULES], ["check", "config", DEPLOY / "prometheus" / "prometheus.yml"]):
        said = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stdout + said.stderr


def test_what_the_dashboard_asks_is_promql(promtool: Path, tmp_path: Path) -> None:
    rules = [{"record": f"asked:{number}", "expr": each} for number, each in enumerate(expressions())]
    path = tmp_path / "asked.yml"
    path.write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}), "utf-8")
    said = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert f"{len(rules)} rules found" in said.stdout


@pytest.mark.parametrize(
    ("failing", "alerts"),
    [("0+0x400", []), ("0+2x400", ["IsthmusErrorBudgetFast", "IsthmusErrorBudgetSteady", "IsthmusErrorBudgetSlow"])],
)
def test_the_rules_alarm_when_budgets_burn_and_stay_silent_when_they_do_not(
    promtool: Path, tmp_path: Path, failing: str, alerts: list[str]
) -> None:
    series = 'isthmus_requests_total{{method="GET",route="/a",status="{}"}}'
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": series.format("2xx"), "values": "0+98x400"},
                    {"series": series.format("5xx"), "values": failing},
                ],
                "alert_rule_test": [
                    {"eval_time": "6h30m", "alertname": name, "exp_alerts": expected(name) if name in alerts else []}
                    for name in ("IsthmusErrorBudgetFast", "IsthmusErrorBudgetSteady", "IsthmusErrorBudgetSlow")
                ],
            }
        ],
    }
    path = tmp_path / "test.yml"
    path.write_text(json.dumps(test), "utf-8")
    said = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def expected(name: str) -> list[dict[str, dict[str, str]]]:
    text = RULES.read_text("utf-8").partition(f"alert: {name}\n")[2]
    severity = re.search(r"severity: (\w+)", text)
    summary = re.search(r"summary: (.+)", text)
    assert severity is not None
    assert summary is not None
    return [{"exp_labels": {"severity": severity[1]}, "exp_annotations": {"summary": summary[1]}}]

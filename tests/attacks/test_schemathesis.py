"""schemathesis calls every listed operation with what the description allows and forbids, and judges each answer.

SCHEMATHESIS_EXAMPLES sets how many examples it makes up for each operation beyond those it always tries. It is one
without the setting, and then a few types of records stand for all, whose operations one function declares.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

from tests.attacks.conftest import TwinServer
from tests.attacks.target import SANDBOX, Target
from tests.attacks.tools import scan

EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "1")
SECONDS = 400.0
POWERS = r"^/api/v1/(keys|policies|roles|users|service-accounts|clients|sessions|threats)\b"
"""Calls that change who may do what: an attacker who guesses well would shut itself out, and learn nothing more."""
LIMITS, SCIM = r"^/api/v1/limits$", r"^/scim/"
SPOKEN_FOR = (
    r"^/api/v1/(activities|audiences|budgets|campaign-members|deals|features|feedback|health-snapshots|interventions"
    r"|launches|payments|people|product-events|spend|stage-changes|subscriptions|tickets|touches|vendors)\b"
)
DECLINED = r"^/scim/v2/(Me|Bulk)$"
"""What RFC 7644 has answered with 501 where it is not offered."""
CONFIG = """
[checks.positive_data_acceptance]
# 409, 412 and 422: what no schema says, such as that a cursor was given for this list or a name is taken.
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "412", "422", "429"]
[checks.missing_required_header]
# 428 is RFC 6585's word for a change without If-Match.
expected-statuses = ["400", "401", "403", "406", "415", "422", "428"]
"""


class Failure(TypedDict):
    """One kind of failure."""

    code: str
    operations: list[str]


@dataclass(frozen=True)
class Report:
    """What was called how often, and what failed where."""

    tested: int
    calls: int
    failures: dict[str, list[str]]
    said: str


def fuzz(url: str, *more: str, cwd: Path) -> Report:
    """Run all checks on what a server describes."""
    (cwd / "schemathesis.toml").write_text(CONFIG, "utf-8")
    file = cwd / "report.json"
    given = ("--config-file", str(cwd / "schemathesis.toml"), "run", f"{url}/openapi.json", "--checks", "all")
    bounds = ("--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--workers", "2", "--seed", "1")
    reporting = ("--no-shrink", "--no-color", "--report", "json", "--report-json-path", str(file))
    said = scan("schemathesis", "schemathesis", *given, *bounds, *reporting, *more, cwd=cwd, seconds=SECONDS)
    assert file.exists(), said.text[-4000:]
    told = cast("dict[str, dict[str, int]]", json.loads(file.read_bytes()))
    failures = cast("list[Failure]", told["failures"])
    return Report(
        tested=told["operations"]["tested"],
        calls=told["test_cases"]["generated"],
        failures={each["code"]: each["operations"] for each in failures},
        said=said.text,
    )


def known(target: Target, workspace: str) -> tuple[str, ...]:
    """Return what makes it a caller who may do everything, and who trusts our certificate."""
    return (
        *("-H", f"Authorization: Bearer {target.keys[workspace]}"),
        *("--tls-verify", str(target.certified.authority)),
    )


def test_every_operation_keeps_to_its_description(target: Target, tmp_path: Path) -> None:
    left_out = "|".join([POWERS, LIMITS, SCIM, *([SPOKEN_FOR] if EXAMPLES == "1" else [])])
    report = fuzz(target.url, *known(target, "owner"), "--exclude-path-regex", left_out, cwd=tmp_path)
    assert report.failures == {}, report.said[-6000:]
    assert report.tested > 50
    assert report.calls > 10 * report.tested
    assert "Rate limited" not in report.said


def test_operations_that_change_who_may_do_what_keep_to_their_description(target: Target, tmp_path: Path) -> None:
    report = fuzz(target.url, *known(target, SANDBOX), "--include-path-regex", POWERS, cwd=tmp_path)
    assert report.failures == {}, report.said[-6000:]
    assert report.tested > 20
    assert "Rate limited" not in report.said


def test_provisioning_keeps_to_its_description(target: Target, tmp_path: Path) -> None:
    chosen = ("--include-path-regex", SCIM, "--exclude-path-regex", DECLINED)
    # What a document of SCIM must hold stands in /scim/v2/Schemas, as RFC 7643 has it; its own judge reads that.
    unknown = ("--exclude-checks", "positive_data_acceptance")
    report = fuzz(target.url, *known(target, SANDBOX), *chosen, *unknown, cwd=tmp_path)
    assert report.failures == {}, report.said[-6000:]
    assert report.tested > 10
    assert "Rate limited" not in report.said


def test_setting_limits_keeps_to_its_description(target: Target, tmp_path: Path) -> None:
    report = fuzz(target.url, *known(target, SANDBOX), "--include-path-regex", LIMITS, cwd=tmp_path)
    assert report.failures == {}, report.said[-6000:]
    assert report.tested == 2


def test_the_faults_of_the_twin_are_found(twin: TwinServer, tmp_path: Path) -> None:
    report = fuzz(twin.url, cwd=tmp_path)
    assert report.failures["ST101"] == ["GET /halves"]
    assert report.failures["ST401"] == ["GET /secret"]

"""schemathesis calls every listed operation with what the description allows and forbids, and judges each answer.

In a bounded run one type of records with its verbs (leads) stands for all types, whose operations one function
declares, and there is one made-up example for each operation beyond those it always tries.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

from isthmus.kernel.marks import Json
from tests.attacks.conftest import TwinServer
from tests.attacks.target import SANDBOX, Target
from tests.attacks.tools import DEEP, scan

EXAMPLES, SCENARIOS = ("5", "40") if DEEP else ("1", "4")
SECONDS = 3_000.0
POWERS = r"^/api/v1/(keys|policies|roles|users|service-accounts|clients|sessions|threats)\b"
"""Calls that change who may do what: an attacker who guesses well would shut itself out, and learn nothing more."""
LIMITS, SCIM = r"^/api/v1/limits$", r"^/scim/"
SPOKEN_FOR = (
    r"^/api/v1/(accounts|activities|audiences|budgets|campaign-members|consents|deals|features|feedback"
    r"|health-snapshots|interventions|invoices|launches|payments|people|product-events|spend|stage-changes"
    r"|subscriptions|tickets|touches|vendors)\b"
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
[generation]
# No text holds NUL, which PostgreSQL cannot keep; the description does not repeat that at every text.
allow-x00 = false
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
    broke: list[str]
    said: str


def fuzz(
    url: str,
    *more: str,
    cwd: Path,
    phases: str = "examples,coverage,fuzzing",
    examples: str = EXAMPLES,
) -> Report:
    """Run all checks on what a server describes; one thread, as a second one upsets the parser of Python 3.11."""
    (cwd / "schemathesis.toml").write_text(CONFIG, "utf-8")
    file = cwd / "report.json"
    given = ("--config-file", str(cwd / "schemathesis.toml"), "run", f"{url}/openapi.json", "--checks", "all")
    bounds = ("--phases", phases, "--max-examples", examples, "--workers", "1", "--seed", "1")
    reporting = ("--no-shrink", "--no-color", "--report", "json", "--report-json-path", str(file))
    said = scan("schemathesis", "schemathesis", *given, *bounds, *reporting, *more, cwd=cwd, seconds=SECONDS)
    assert file.exists(), said.text[-4000:]
    told = cast("dict[str, dict[str, int]]", json.loads(file.read_bytes()))
    failures, errors = cast("list[Failure]", told["failures"]), cast("list[Json]", told["errors"])
    return Report(
        tested=told["operations"]["tested"],
        calls=told["test_cases"]["generated"],
        failures={each["code"]: each["operations"] for each in failures},
        broke=[str(each)[:500] for each in errors],
        said=said.text,
    )


def assert_clean(report: Report, *, tested: int, limited: bool = False) -> None:
    """Nothing failed, nothing broke, more than so many operations were tried, and unless `limited` nobody sent away."""
    assert report.failures == {}, report.said[-6000:]
    assert report.broke == []
    assert report.tested > tested
    assert limited or "Rate limited" not in report.said


def known(target: Target, workspace: str) -> tuple[str, ...]:
    """Return what makes it a caller who may do everything, and who trusts our certificate."""
    return (
        *("-H", f"Authorization: Bearer {target.keys[workspace]}"),
        *("--tls-verify", str(target.certified.authority)),
    )


def test_every_operation_keeps_to_its_description(target: Target, tmp_path: Path) -> None:
    left_out = "|".join([POWERS, LIMITS, SCIM, *([] if DEEP else [SPOKEN_FOR])])
    report = fuzz(target.url, *known(target, "owner"), "--exclude-path-regex", left_out, cwd=tmp_path)
    assert_clean(report, tested=150 if DEEP else 50)
    assert report.calls > 10 * report.tested


def test_calls_that_follow_one_another_keep_to_their_description(target: Target, tmp_path: Path) -> None:
    chosen = ("--exclude-path-regex", f"{POWERS}|{LIMITS}|{SCIM}")
    given = (*known(target, "owner"), *chosen)
    report = fuzz(target.url, *given, cwd=tmp_path, phases="stateful", examples=SCENARIOS)
    assert_clean(report, tested=80 if DEEP else 10)


def test_operations_that_change_who_may_do_what_keep_to_their_description(target: Target, tmp_path: Path) -> None:
    report = fuzz(target.url, *known(target, SANDBOX), "--include-path-regex", POWERS, cwd=tmp_path)
    assert_clean(report, tested=20)


def test_provisioning_keeps_to_its_description(target: Target, tmp_path: Path) -> None:
    chosen = ("--include-path-regex", SCIM, "--exclude-path-regex", DECLINED)
    # What a document of SCIM must hold stands in /scim/v2/Schemas, as RFC 7643 has it; its own judge reads that.
    unknown = ("--exclude-checks", "positive_data_acceptance")
    report = fuzz(target.url, *known(target, SANDBOX), *chosen, *unknown, cwd=tmp_path)
    assert_clean(report, tested=10)


def test_setting_limits_keeps_to_its_description(target: Target, tmp_path: Path) -> None:
    report = fuzz(target.url, *known(target, SANDBOX), "--include-path-regex", LIMITS, cwd=tmp_path)
    # Whoever sets a low limit meets it: from then on most calls are answered by it, and that is described too.
    assert_clean(report, tested=1, limited=True)
    assert report.calls > 100


def test_the_faults_of_the_twin_are_found(twin: TwinServer, tmp_path: Path) -> None:
    report = fuzz(twin.url, cwd=tmp_path)
    assert report.failures["ST101"] == ["GET /halves"]
    assert report.failures["ST401"] == ["GET /secret"]

"""Attribution from files: exact money in every form, and models that are not there yet are named as such."""

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Protocol, cast

import pytest
from pyarrow import parquet

from isthmus.analytics import MODELS as ENGINE_MODELS
from isthmus.app.cli.attribute_command import MODELS
from isthmus.app.cli.attribute_rows import COLUMNS
from tests.rooms.app.cli.conftest import Shell

TOUCHES = """account_id,at,channel,campaign_id,role
A,2026-01-01,ads,spring,
A,2026-01-08,mail,spring,lead-creation
A,2026-01-15,event,fair,opportunity-creation
A,2026-01-22,direct,,
B,2026-01-05,ads,summer,
"""
OUTCOMES = """account_id,at,value,won
A,2026-01-29,100.01,true
B,2026-01-30,0.10,yes
C,2026-01-30,50.00,1
D,2026-01-30,,no
"""
WON = Decimal("150.11")


@pytest.fixture
def files(shell: Shell) -> tuple[str, ...]:
    """The options that name a file of touches and one of outcomes."""
    for name, text in (("touches", TOUCHES), ("outcomes", OUTCOMES)):
        (shell.here / f"{name}.csv").write_text(text, "utf-8")
    return ("attribute", "--touches", "touches.csv", "--outcomes", "outcomes.csv")


def test_the_models_of_the_help_are_those_of_the_engine() -> None:
    assert tuple(ENGINE_MODELS) == MODELS


def test_every_model_hands_out_what_was_won_to_the_cent(shell: Shell, files: tuple[str, ...]) -> None:
    said = shell.plain(*files, "--json")
    assert said.code == 0
    rows = json.loads(said.out, parse_float=Decimal)
    for model in MODELS:
        mine = [row for row in rows if row["model"] == model]
        assert sum(row["revenue"] for row in mine) == WON
        assert sum(float(row["share"]) for row in mine) == pytest.approx(1)
        assert {row["bucket"]: row["revenue"] for row in mine}["unattributed"] == Decimal("50.00")
    assert "3 won outcomes, 1 of them without a touch" in said.err


def test_the_field_s_words_for_roles_are_understood(shell: Shell, files: tuple[str, ...]) -> None:
    said = shell.plain(*files, "--model", "position", "--position", "w", "--json")
    credit = {row["bucket"]: row["revenue"] for row in json.loads(said.out, parse_float=Decimal)}
    assert credit["ads"] == Decimal("30.11")
    assert credit["mail"] == Decimal("30.00")
    assert credit["event"] == Decimal("30.00")


@pytest.mark.parametrize("suffix", ["parquet", "json", "csv"])
def test_files_are_written_in_the_form_of_their_suffix(shell: Shell, files: tuple[str, ...], suffix: str) -> None:
    out = shell.here / f"credit.{suffix}"
    said = shell.plain(*files, "--model", "linear", "--by", "campaign", "--out", str(out), "--json")
    assert said.code == 0, said
    assert said.row["rows"] == 5
    rows = read(out)
    assert list(rows[0]) == list(COLUMNS)
    assert sum(Decimal(str(row["revenue"])) for row in rows) == WON
    assert {str(row["bucket"]) for row in rows} == {"fair", "no campaign", "spring", "summer", "unattributed"}
    assert [each.name for each in shell.here.iterdir() if each.name.startswith(".")] == []


class Columns(Protocol):
    """What is used of an Arrow table."""

    def to_pylist(self) -> list[dict[str, object]]: ...


def read(path: Path) -> list[dict[str, object]]:
    """Return the rows of a file of credit."""
    if path.suffix == ".parquet":
        table = cast("Columns", parquet.read_table(path))  # pyright: ignore[reportUnknownMemberType] - no types there.
        return table.to_pylist()
    if path.suffix == ".json":
        return json.loads(path.read_text("utf-8"), parse_float=Decimal)
    with path.open(encoding="utf-8", newline="") as file:
        return [dict(row) for row in csv.DictReader(file)]


def test_what_is_not_there_yet_is_a_usage_error_that_names_what_is(shell: Shell, files: tuple[str, ...]) -> None:
    for model in ("markov", "shapley", "incremental"):
        said = shell.plain(*files, "--model", model)
        assert said.code == 2
        assert f"{model} is not there yet" in said.err
        assert all(name in said.err for name in MODELS)
    assert shell.plain(*files, "--engine", "spark").code == 2


def test_bad_files_and_targets_have_precise_errors(shell: Shell, files: tuple[str, ...]) -> None:
    missing = shell.plain("attribute", "--touches", "nowhere.csv", "--outcomes", "outcomes.csv")
    assert (missing.code, missing.out) == (3, "")
    swapped = shell.plain("attribute", "--touches", "outcomes.csv", "--outcomes", "touches.csv")
    assert swapped.code == 1
    assert "has no column `won`" in swapped.err
    assert shell.plain(*files, "--out", "credit.xls").code == 2
    assert "There is no directory" in shell.plain(*files, "--out", "nowhere/credit.csv").err
    assert shell.plain(*files, "--window", "soon").code == 2


def test_files_that_rule_models_do_not_read_are_named(shell: Shell, files: tuple[str, ...]) -> None:
    said = shell.plain(*files, "--model", "last", "--spend", "spend.csv", "--no-intervals")
    assert "not read: spend" in said.err
    assert said.out.startswith("model")

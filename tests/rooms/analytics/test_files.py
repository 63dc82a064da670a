"""Two files in, rows out; and what is wrong with a file is said so that it can be mended."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from isthmus.analytics import MODELS, FilesAnswer, Mark, Question, attribute_files
from isthmus.analytics.files import read_outcomes, read_steps
from isthmus.kernel.errors import IsthmusError
from tests.rooms.analytics.tables import listed, moment, named_columns, write_parquet

STEPS = """account_id,person_id,at,channel,campaign_id,role
001,p1,2026-01-01T00:00:00Z,ads,spring,
001,p2,2026-01-02 10:00:00,mail,,lead-in
001,,2026-01-03T12:00:00+02:00,direct,,
002,p3,2026-01-05,ads,summer,
"""
OUTCOMES = """account_id,at,committed_at,value,currency,won
001,2026-01-09,,100.00,EUR,true
002,2026-01-04,,50.005,EUR,1
003,2026-01-04,,7,JPY,yes
004,2026-01-04,,,,no
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def answer(tmp_path: Path, question: Question, *, seed: int | None = None) -> FilesAnswer:
    return attribute_files(
        steps=write(tmp_path / "steps.csv", STEPS),
        outcomes=write(tmp_path / "outcomes.csv", OUTCOMES),
        question=question,
        generator=None if seed is None else np.random.default_rng(seed),
    )


def test_csv_files_are_answered_per_bucket_currency_and_model(tmp_path: Path) -> None:
    found = answer(tmp_path, Question(model="last_non_direct"))
    assert [tuple(row.values()) for row in listed(found.rows)] == [
        ("ads", "EUR", Decimal("0.000"), 0.0, None, None, "last_non_direct", "E0"),
        ("direct", "EUR", Decimal("0.000"), 0.0, None, None, "last_non_direct", "E0"),
        ("mail", "EUR", Decimal("100.000"), 100_000 / 150_005, None, None, "last_non_direct", "E0"),
        ("unattributed", "EUR", Decimal("50.005"), 50_005 / 150_005, None, None, "last_non_direct", "E0"),
        ("unattributed", "JPY", Decimal("7.000"), 1.0, None, None, "last_non_direct", "E0"),
    ]
    assert found.rounded == 0


def test_credit_by_another_column_names_what_has_none(tmp_path: Path) -> None:
    found = answer(tmp_path, Question(model="linear", by="campaign"))
    assert [(row["bucket"], row["revenue"]) for row in listed(found.rows)][:2] == [
        ("no campaign", Decimal("66.660")),
        ("spring", Decimal("33.340")),
    ]


def test_all_models_answer_at_once_and_each_sums_to_what_was_won(tmp_path: Path) -> None:
    rows = listed(answer(tmp_path, Question(), seed=1).rows)
    for model in MODELS:
        mine = [row for row in rows if row["model"] == model]
        for currency, won in (("EUR", "150.005"), ("JPY", "7")):
            money = [Decimal(str(row["revenue"])) for row in mine if row["currency"] == currency]
            share = [float(str(row["share"])) for row in mine if row["currency"] == currency]
            assert sum(money) == Decimal(won)
            assert sum(share) == pytest.approx(1)


def test_with_a_generator_each_share_lies_in_its_interval(tmp_path: Path) -> None:
    rows = listed(answer(tmp_path, Question(), seed=1).rows)
    assert all(float(str(row["low"])) <= float(str(row["share"])) <= float(str(row["high"])) for row in rows)
    assert rows == listed(answer(tmp_path, Question(), seed=1).rows)


def test_the_words_of_a_role_get_their_marks_from_the_question(tmp_path: Path) -> None:
    question = Question(model="position", position="w", roles={"lead-in": Mark.CAPTURED})
    rows = listed(answer(tmp_path, question).rows)
    assert [row["revenue"] for row in rows if row["bucket"] == "mail"] == [Decimal("33.33")]


def test_parquet_of_other_types_gives_what_csv_gives(tmp_path: Path) -> None:
    steps = named_columns(account_id=[1, 1], at=[moment(1), moment(2)], channel=["ads", "mail"])
    outcomes = named_columns(account_id=[1, 2], at=[moment(9), moment(9)], value=[0.3, float("nan")], won=[1, 0])
    found = attribute_files(
        steps=write_parquet(steps, tmp_path / "s.parquet"),
        outcomes=write_parquet(outcomes, tmp_path / "o.PARQUET"),
        question=Question(model="linear"),
    )
    assert [(row["bucket"], row["currency"], row["revenue"]) for row in listed(found.rows)] == [
        ("ads", "XXX", Decimal("0.15")),
        ("mail", "XXX", Decimal("0.15")),
    ]
    assert found.rounded == 0


@pytest.mark.parametrize("cells", [[1.23456, 2.0], ["1.23456", "2"], [Decimal("1.23456"), Decimal(2)]])
def test_amounts_beyond_four_decimals_are_rounded_half_to_even_and_counted(tmp_path: Path, cells: list[object]) -> None:
    table = named_columns(account_id=["a", "b"], at=[moment(1)] * 2, value=cells, won=[True, True])
    found, rounded = read_outcomes(write_parquet(table, tmp_path / "o.parquet"))
    assert [row["value"] for row in listed(found)] == [Decimal("1.2346"), Decimal("2.0000")]
    assert rounded == 1


def test_zones_are_honoured_and_times_without_one_are_utc(tmp_path: Path) -> None:
    found = listed(read_steps(write(tmp_path / "s.csv", STEPS), by="channel"))
    assert [str(row["at"]) for row in found] == [
        "2026-01-01 00:00:00+00:00",
        "2026-01-02 10:00:00+00:00",
        "2026-01-03 10:00:00+00:00",
        "2026-01-05 00:00:00+00:00",
    ]
    assert [row["unit"] for row in found] == ["001", "001", "001", "002"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("account_id,at,won\na,2026-01-01,true\n", "no column `value`; found: account_id, at, won. Add or rename"),
        ("account_id,at,value\na,2026-01-01,5\n", "no column `won`; found: account_id, at, value"),
        ("account_id,at,value,won\na,soon,5,true\n", "column `at` of FILE has 'soon' in row 1, which is no time"),
        (
            "account_id,at,value,won\na,2026-01-01,5,true\n,2026-01-01,5,true\n",
            "`account_id` of FILE is empty in 1 rows",
        ),
        ("account_id,at,value,won\na,2026-01-01,5,true\nb,2026-01-01,-5,true\n", "has -5 in row 2, which is no amount"),
        ("account_id,at,value,won\na,2026-01-01,NaN,true\n", "has NaN in row 1"),
        ("account_id,at,value,won\na,2026-01-01,,true\n", "has nothing in row 1"),
        ("account_id,at,value,won\na,2026-01-01,1e99,true\n", "has 1e99 in row 1"),
        (
            "account_id,at,value,won\na,2026-01-01,5,true\nb,2026-01-01,5,maybe\n",
            "has 'maybe' in row 2, neither true nor",
        ),
        ("account_id,at,value,won,currency\na,2026-01-01,5,true,\n", "`currency` of FILE is empty in 1 rows"),
        ("account_id,at,value,won\na,2026-01-01,5,true\nb,2026-01", "FILE is broken: .*got 2"),
        ("account_id,at,at,value,won\na,2026-01-01,2026-01-01,5,true\n", "has the column at more than once"),
        ("", "FILE is broken: Empty CSV file"),
    ],
)
def test_a_broken_file_is_refused_with_file_row_and_fix(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path / "outcomes.csv", text)
    with pytest.raises(IsthmusError, match="(?i)" + said.replace("FILE", ".*outcomes.csv")) as caught:
        read_outcomes(path)
    assert str(path) in caught.value.detail
    assert caught.value.fix
    assert caught.value.status == 422


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.01, 1e16, None])
def test_a_float_that_is_no_amount_is_refused_in_what_was_won(tmp_path: Path, value: float | None) -> None:
    table = named_columns(account_id=["a", "b"], at=[moment(1)] * 2, value=[1.5, value], won=[True, True])
    with pytest.raises(IsthmusError, match="in row 2, which is no amount"):
        read_outcomes(write_parquet(table, tmp_path / "o.parquet"))


def test_a_missing_a_foreign_and_a_damaged_file_each_say_so(tmp_path: Path) -> None:
    with pytest.raises(IsthmusError, match="There is no file") as caught:
        read_steps(tmp_path / "none.csv", by="channel")
    assert caught.value.status == 404
    with pytest.raises(IsthmusError, match=r"neither \.parquet nor \.csv"):
        read_steps(write(tmp_path / "steps.xls", "x"), by="channel")
    with pytest.raises(IsthmusError, match="is broken"):
        read_steps(write(tmp_path / "steps.parquet", "PAR1 and nothing more"), by="channel")


def test_steps_need_their_columns_and_times(tmp_path: Path) -> None:
    with pytest.raises(IsthmusError, match=r"steps\.csv has no column `region`; found: account_id, person_id"):
        read_steps(write(tmp_path / "steps.csv", STEPS), by="region")
    table = named_columns(account_id=["a"], at=[17], channel=["ads"])
    with pytest.raises(IsthmusError, match="is int64, not a time"):
        read_steps(write_parquet(table, tmp_path / "s.parquet"), by="channel")

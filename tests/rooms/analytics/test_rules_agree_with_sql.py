"""Every rule is computed twice, by numpy and by SQL that shares no line with it."""

import pytest
from hypothesis import given, settings

from isthmus.analytics import attribute
from tests.rooms.analytics.sql_rules import RULES, by_step, sql_shares
from tests.rooms.analytics.tables import Outcome, Step, many, outcomes_table, rows, steps_table, worlds

SHAPES = ("u", "w", "full_path")


@settings(max_examples=30, deadline=None)
@given(world=worlds())
def test_on_random_journeys_every_rule_gives_what_sql_gives(world: tuple[list[Step], list[Outcome]]) -> None:
    steps, outcomes = steps_table(world[0]), outcomes_table(world[1])
    with sql_shares(steps=steps, outcomes=outcomes, window_days=2, half_life_days=0.5) as connection:
        for rule in RULES:
            answer = attribute(
                steps=steps,
                outcomes=outcomes,
                model="position" if rule in SHAPES else rule,
                position=rule if rule in SHAPES else "u",
                window_days=2,
                half_life_days=0.5,
            )
            ours = {
                (str(row["outcome"]), str(row["step"])): float(str(row["share"]))
                for row in rows(answer)
                if row["step"] is not None
            }
            assert ours == pytest.approx(by_step(connection, rule=rule), abs=1e-12)


def test_on_twenty_thousand_steps_the_totals_are_those_of_sql() -> None:
    steps, outcomes = many(steps=20_000, units=1_000, seed=7)
    with sql_shares(steps=steps, outcomes=outcomes, window_days=14, half_life_days=7) as connection:
        for rule in RULES:
            answer = attribute(
                steps=steps,
                outcomes=outcomes,
                model="position" if rule in SHAPES else rule,
                position=rule if rule in SHAPES else "u",
                window_days=14,
            )
            theirs = dict(
                connection.sql(f'select bucket, sum("{rule}") from shared group by bucket').fetchall()  # noqa: S608 - a rule's own name.
            )
            ours = {each.bucket: each.outcomes for each in answer.totals if each.bucket != "unattributed"}
            assert ours == pytest.approx(theirs, rel=1e-9)

"""A cell that cannot be read says why in words that somebody with the file open understands."""

import pytest

from isthmus.app.discovery import schema
from isthmus.sync.cells import Bad, column_of
from isthmus.sync.mappings import Source


@pytest.mark.parametrize(
    ("name", "cell", "reason"),
    [
        ("company_size", "many", "'many' is not a whole number"),
        ("company_size", "3.5", "'3.5' is not a whole number"),
        ("score", "NaN", "'NaN' is not a number such as 0.25"),
        ("expected_value", "ten", "'ten' is not an amount such as 1234.50"),
        ("expected_value", float("nan"), "nan is not an amount such as 1234.50"),
        ("captured_at", "soon", "'soon' is not written as 2026-11-22T09:30:00Z"),
        ("tags", "[1, ", "it begins like JSON and is none"),
    ],
)
def test_a_cell_that_cannot_be_read_says_why(name: str, cell: object, reason: str) -> None:
    source = Source(column="c", currency="EUR")
    declared = schema()["sales.lead"].field(name)
    (found,) = column_of(declared, source, {"c": [cell]}, count=1, blank_is_null=False)
    assert isinstance(found, Bad)
    assert found.reason == reason


def test_a_moment_of_the_mappings_own_format_is_asked_for_in_it() -> None:
    source = Source(column="c", format="%d.%m.%Y", zone="Europe/Brussels")
    declared = schema()["sales.lead"].field("captured_at")
    good, bad = column_of(declared, source, {"c": ["22.11.2026", "2026-11-22"]}, count=2, blank_is_null=False)
    assert good == "2026-11-21T23:00:00Z"
    assert isinstance(bad, Bad)
    assert bad.reason == "'2026-11-22' is not in the mapping's format '%d.%m.%Y'"

"""How rows of somebody's file or table become records and back."""

import pytest

from isthmus.kernel.layouts import Layout, Unfit, Way, columns, faults_of, words
from isthmus.kernel.marks import Json

ORDERS = Layout(
    type="shop.order",
    zone="Europe/Brussels",
    fields={
        "title": "label",
        "count": Way(column="pieces", form="number"),
        "ordered_on": Way(column="day", form="day", format="%d/%m/%Y"),
        "sent_at": Way(column="sent", form="moment", format="%d/%m/%Y %H:%M"),
    },
)


def said(body: dict[str, Json]) -> dict[str, Json]:
    [word] = words(ORDERS, body)
    return word.fields


def test_days_and_moments_are_read_and_written_as_the_layout_says() -> None:
    fields = said({"label": "Lamps", "pieces": "12", "day": "01/07/2026", "sent": "02/07/2026 09:30"})
    assert fields == {
        "title": "Lamps",
        "count": 12,
        "ordered_on": "2026-07-01",
        "sent_at": "2026-07-02T07:30:00+00:00",
    }
    back = columns(ORDERS, fields, {})
    assert back == {"label": "Lamps", "pieces": 12, "day": "01/07/2026", "sent": "02/07/2026 09:30"}


def test_a_column_that_a_row_lacks_says_nothing_and_an_empty_one_clears() -> None:
    assert said({"label": None}) == {"title": None}


@pytest.mark.parametrize(("told", "number"), [("0.5", 0.5), ("-3", -3), (" 7 ", 7), (8, 8)])
def test_numbers_are_read_from_text(told: Json, number: float) -> None:
    assert said({"pieces": told}) == {"count": number}


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(Unfit):
        said({"pieces": "a dozen"})


def test_a_format_needs_a_form_that_has_one() -> None:
    layout = Layout(type="shop.order", fields={"title": Way(column="label", format="%d")})
    [fault] = faults_of("orders", layout, pointer="/files/orders", types=("shop.order",))
    assert fault.pointer == "/files/orders/fields/title"
    assert "needs `form" in fault.detail

"""Sales rules, by examples counted by hand."""

from decimal import Decimal

import pytest

from isthmus.domains.sales.records import CaptureKind, DealStage, Lead, LeadStatus
from isthmus.domains.sales.rules import (
    STAGE_PROBABILITY,
    STAGES,
    Territory,
    assign,
    is_closed,
    is_won,
    lead_faults,
    score,
    status_after,
)
from isthmus.kernel.money import Money

ADA = Lead(email="ada@acme.example", first_name="Ada", company="Acme")
STRONG = Lead(
    email="vera@globex.example",
    first_name="Vera",
    company="Globex",
    title="VP Marketing",
    company_size=1200,
    phone="+49301234567",
    source=CaptureKind.FORM_SUBMISSION,
)


def test_only_a_closed_deal_is_won_or_lost() -> None:
    assert [is_won(stage) for stage in STAGES] == [None, None, None, None, True, False]
    assert [is_closed(stage) for stage in STAGES] == [False, False, False, False, True, True]
    assert STAGE_PROBABILITY[DealStage.CLOSED_WON] == 1


def test_a_bare_business_lead_scores_twenty_eight() -> None:
    found = score(ADA, touches={})
    assert (found.points, found.qualified) == (28, False)
    assert [(each.points, each.reason) for each in found.reasons] == [(8, "Business address")]


def test_a_senior_buyer_of_a_large_company_qualifies_with_reasons_largest_first() -> None:
    found = score(STRONG, touches={})
    assert found.points == 20 + 25 + 20 + 8 + 15 + 5
    assert [each.points for each in found.reasons] == [25, 20, 15, 8, 5]
    assert found.qualified


def test_bad_signs_carry_a_minus_and_the_score_ends_at_zero() -> None:
    lead = Lead(email="x@gmail.com", first_name="X", company="Y", title="Student", source=CaptureKind.LIST_IMPORT)
    found = score(lead, touches={"unsubscribed": 4, "opened": 1})
    assert found.points == 0
    assert [each.points for each in found.reasons] == [-25, -20, -15, -8, 1]


def test_touches_count_up_to_their_bound() -> None:
    assert score(ADA, touches={"visited": 3}).points == 28 + 6
    assert score(ADA, touches={"visited": 300}).points == 28 + 8


def test_a_title_counts_only_as_whole_words() -> None:
    lead = Lead(email="a@b.example", first_name="A", company="B", title="Misleading doctor")
    assert score(lead, touches={}).points == 28


def test_the_threshold_is_the_workspaces() -> None:
    assert score(ADA, touches={}, threshold=28).qualified
    assert not score(ADA, touches={}, threshold=29).qualified


def test_qualifying_never_takes_a_converted_lead_back() -> None:
    good = score(STRONG, touches={})
    assert status_after(good, status=LeadStatus.WORKING) is LeadStatus.QUALIFIED
    assert status_after(good, status=LeadStatus.CONVERTED) is LeadStatus.CONVERTED
    assert status_after(score(ADA, touches={}), status=LeadStatus.NEW) is LeadStatus.NEW


DACH = Territory(name="dach", owners=("eva", "tom"), countries=frozenset({"DE", "AT", "CH"}))
LARGE = Territory(name="large", owners=("kim",), size_min=1000)


def _assign(lead: Lead, *, loads: dict[str, int], turn: int = 0) -> tuple[str, str | None]:
    found = assign(
        lead, territories=(DACH, LARGE), loads=loads, load_max=2, turns={DACH.name: turn}, fallback_owner_id="desk"
    )
    return found.owner_id, found.territory


GERMAN = Lead(email="a@b.example", first_name="A", company="B", country="de", company_size=5000)


def test_owners_of_a_territory_take_turns() -> None:
    assert [_assign(GERMAN, loads={}, turn=turn)[0] for turn in range(3)] == ["eva", "tom", "eva"]


def test_an_owner_at_the_load_cap_is_passed_over() -> None:
    assert _assign(GERMAN, loads={"eva": 2}) == ("tom", "dach")


def test_a_full_territory_hands_on_to_the_next_that_fits() -> None:
    assert _assign(GERMAN, loads={"eva": 2, "tom": 2}) == ("kim", "large")


def test_a_lead_is_never_left_without_an_owner() -> None:
    assert _assign(GERMAN, loads={"eva": 2, "tom": 2, "kim": 2, "desk": 99}) == ("desk", None)
    assert _assign(ADA, loads={}) == ("desk", None)


def test_an_unknown_size_fits_no_territory_that_asks_for_one() -> None:
    small = Territory(name="small", owners=("jo",), size_max=50)
    found = assign(ADA, territories=(small,), loads={}, load_max=9, turns={}, fallback_owner_id="desk")
    assert (found.owner_id, found.reason) == ("desk", "No territory fits")


def test_a_complete_lead_has_no_faults() -> None:
    assert lead_faults({"email": " Ada@Acme.example ", "first_name": "Ada", "company": "Acme"}) == ()


def test_every_missing_field_is_named() -> None:
    assert [(each.pointer, each.code) for each in lead_faults({"first_name": " "})] == [
        ("/email", "required"),
        ("/first_name", "required"),
        ("/company", "required"),
    ]


@pytest.mark.parametrize("email", ["ada", "ada@acme", "a@b@c.example", 7, "x" * 250 + "@a.example"])
def test_what_is_no_email_address_is_refused(email: str | int) -> None:
    faults = lead_faults({"email": email, "first_name": "Ada", "company": "Acme"})
    assert [each.code for each in faults] == ["invalid-email"]


@pytest.mark.parametrize(
    ("amount", "code"), [("NaN", "invalid-money"), ("x", "invalid-money"), ("-1", "negative-money")]
)
def test_an_expected_value_is_a_number_above_zero(amount: str, code: str) -> None:
    fields = {"email": "a@b.example", "first_name": "A", "company": "B"}
    faults = lead_faults({**fields, "expected_value": {"amount": amount, "currency": "EUR"}})
    assert [(each.pointer, each.code) for each in faults] == [("/expected_value/amount", code)]


def test_a_named_budget_counts_only_when_it_is_one() -> None:
    named = Lead(email="a@b.example", first_name="A", company="B", expected_value=Money(Decimal(9), "EUR"))
    empty = Lead(email="a@b.example", first_name="A", company="B", expected_value=Money(Decimal(0), "EUR"))
    assert (score(named, touches={}).points, score(empty, touches={}).points) == (33, 28)

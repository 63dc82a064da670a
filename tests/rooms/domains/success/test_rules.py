"""The health score is the stated weighted mean, says what is missing, and every trigger fires at its threshold."""

from decimal import Decimal

import pytest
from msgspec import structs

from isthmus.domains.success.records import Risk
from isthmus.domains.success.rules import WEIGHTS, FeatureUse, Growth, Inputs, Quota, Seats, health, signals
from isthmus.kernel.money import Money

USE = FeatureUse(users_share=0.8, uses=20, judged=10, successes=8)
WELL = Inputs(
    used=True,
    active_days=16,
    uses=120,
    uses_before=100,
    recent_30=130,
    earlier_30=110,
    features=(USE, structs.replace(USE, users_share=0.4)),
    open_tickets=1,
    urgent_tickets=1,
    invoices_due=10,
    invoices_on_time=9,
    failed_90=1,
    touched=True,
    emailed=True,
    engaged_45=3,
    email_45=1,
)


def test_the_weights_sum_to_one() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)


def test_all_six_sub_scores_give_the_weighted_mean() -> None:
    found = health(WELL)
    # 16 of 20 working days; (80 + 40) / 2; 75 * 1.2; 100 - 10 - 15; 90 - 10; 3 * 20.
    assert found.sub_scores == {
        "usage_frequency": 80.0,
        "feature_adoption": 60.0,
        "engagement_trend": 90.0,
        "support_health": 75.0,
        "payment_stability": 80.0,
        "marketing_engagement": 60.0,
    }
    # The sum of 20, 12, 13.5, 11.25, 12 and 6.
    assert found.score == 74.75
    assert (found.missing, found.risk, found.triggers) == ([], Risk.LOW, [])
    assert sum(each.points for each in found.reasons) == pytest.approx(74.75 - 50)


def test_what_is_missing_gives_its_weight_to_the_others_and_is_named() -> None:
    found = health(Inputs(invoices_due=4, invoices_on_time=3, touched=True, engaged_45=5))
    # 75 at 0.15 and 100 at 0.10: (11.25 + 10) / 0.25
    assert found.score == 85.0
    assert found.weights == {"payment_stability": 0.6, "marketing_engagement": 0.4}
    assert found.missing == ["usage_frequency", "feature_adoption", "engagement_trend", "support_health"]
    nothing = health(Inputs())
    assert (nothing.score, nothing.missing, nothing.risk) == (None, list(WEIGHTS), Risk.LOW)


@pytest.mark.parametrize(
    ("changes", "risk", "word"),
    [
        ({"best_score_30": 94.76}, Risk.HIGH, "fell by 20 points"),
        ({"uses": 49}, Risk.HIGH, "Usage fell by 51%"),
        ({"escalated_tickets": 1}, Risk.HIGH, "escalated"),
        ({"email_45": 0}, Risk.HIGH, "45 days"),
        ({"recent_30": 105, "earlier_30": 100}, Risk.MEDIUM, "flat"),
        ({"features": (structs.replace(USE, judged=0),)}, Risk.MEDIUM, "0 of 1 essential"),
        ({"late_90": 1}, Risk.MEDIUM, "late"),
    ],
)
def test_each_trigger_fires_beyond_its_threshold(changes: dict[str, object], risk: Risk, word: str) -> None:
    found = health(structs.replace(WELL, **changes))
    assert (found.risk, len(found.triggers)) == (risk, 1)
    assert word in found.triggers[0].reason


@pytest.mark.parametrize("changes", [{"best_score_30": 94.75}, {"uses": 50}, {"recent_30": 106, "earlier_30": 100}])
def test_no_trigger_fires_at_the_threshold_itself(changes: dict[str, object]) -> None:
    assert "fell" not in " ".join(each.reason for each in health(structs.replace(WELL, **changes)).triggers)
    assert "flat" not in " ".join(each.reason for each in health(structs.replace(WELL, **changes)).triggers)


def test_a_feature_is_adopted_at_all_three_marks_and_not_below_one() -> None:
    mark = FeatureUse(users_share=0.7, uses=20, judged=5, successes=4)
    assert mark.adopted
    for below in ({"users_share": 0.69}, {"uses": 19}, {"successes": 3}, {"judged": 0, "successes": 0}):
        assert not structs.replace(mark, **below).adopted


def test_signals_come_from_their_thresholds_on_strongest_first() -> None:
    found = signals(
        Growth(
            seats=(
                Seats(plan="Pro", quantity=10, used=8, yearly=Money(Decimal("1200.00"), "EUR")),
                Seats(plan="Free", quantity=100, used=79, yearly=None),
            ),
            quotas=(Quota(feature="API", limit=100, used=100), Quota(feature="Export", limit=100, used=79)),
            new_departments=("Legal",),
            paid_requests=(("SSO", 2),),
        )
    )
    assert [(each.kind, each.strength) for each in found] == [
        ("limit", 1.0),
        ("seats", 0.8),
        ("paid_feature", 0.7),
        ("department", 0.5),
    ]
    assert found[1].value == Money(Decimal("300.00"), "EUR")
    assert "8 of 10 seats" in found[1].evidence

"""Marketing rules, by examples."""

from datetime import date
from decimal import Decimal

import pytest

from isthmus.domains.marketing.records import Campaign, CampaignStatus
from isthmus.domains.marketing.rules import campaign_faults
from isthmus.kernel.money import Money


def test_a_sound_campaign_has_no_faults() -> None:
    campaign = Campaign(
        name="Autumn", channel="email", status=CampaignStatus.ACTIVE, starts_on=date(2026, 9, 1), audience_size=100
    )
    assert campaign_faults(campaign) == ()


@pytest.mark.parametrize(
    ("size", "codes"), [(99, ["audience-size"]), (100, []), (1_000_000, []), (1_000_001, ["audience-size"])]
)
def test_an_audience_has_a_hundred_to_a_million_people(size: int, codes: list[str]) -> None:
    assert [each.code for each in campaign_faults(Campaign(name="A", audience_size=size))] == codes


def test_a_workspace_may_widen_the_audience() -> None:
    assert campaign_faults(Campaign(name="A", audience_size=5), audience_size_min=1) == ()


def test_a_campaign_does_not_end_before_it_starts_nor_cost_less_than_nothing() -> None:
    campaign = Campaign(
        name="A", starts_on=date(2026, 9, 2), ends_on=date(2026, 9, 1), budget=Money(Decimal(-1), "EUR")
    )
    assert [each.pointer for each in campaign_faults(campaign)] == ["/ends_on", "/budget/amount"]


def test_an_active_campaign_names_its_channel() -> None:
    assert [each.pointer for each in campaign_faults(Campaign(name="A", status=CampaignStatus.ACTIVE))] == ["/channel"]

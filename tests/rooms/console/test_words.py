"""How things are written: money with its sign, time in its largest unit, statuses in one vocabulary."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from isthmus.console import words
from isthmus.console.chart import bar
from isthmus.console.status import badge
from isthmus.kernel.status import Status

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("amount", "currency", "said"),
    [
        ("1234567.5", "EUR", "€1,234,568"),
        ("-3", "USD", "\N{MINUS SIGN}$3"),
        ("12", "XTS", "XTS 12"),
    ],
)
def test_money_has_its_sign_or_code(amount: str, currency: str, said: str) -> None:
    assert words.money(Decimal(amount), currency) == said


def test_a_value_in_dispute_is_written_to_the_cent() -> None:
    assert words.exact_money(Decimal("12000.00"), "EUR") == "€12,000"
    assert words.exact_money(Decimal("12000.50"), "EUR") == "€12,000.50"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "just now"),
        (59, "just now"),
        (60, "1 min ago"),
        (7_300, "2 h ago"),
        (86_400, "1 day ago"),
        (9e5, "10 days ago"),
    ],
)
def test_the_past_is_told_in_its_largest_unit(seconds: float, said: str) -> None:
    assert words.ago(NOW - timedelta(seconds=seconds), now=NOW) == said


def test_what_never_happened_is_never() -> None:
    assert words.ago(None, now=NOW) == "never"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "due now"), (0, "due now"), (30, "in under a minute"), (90, "in 1 min"), (8_000, "in 2 h")],
)
def test_the_future_does_not_count_seconds(seconds: float, said: str) -> None:
    assert words.until(NOW + timedelta(seconds=seconds), now=NOW) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(4, "4 s"), (75, "1 min 15 s"), (1_200, "20 min"), (3_700, "1 h 1 min"), (2e5, "2 days")]
)
def test_lengths_have_two_units_at_most(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("record_type", "many"),
    [
        ("sales.person", "people"),
        ("product.launch", "launches"),
        ("sales.activity", "activities"),
        ("sales.stage_change", "stage changes"),
        ("finance.spend", "spend"),
    ],
)
def test_kinds_have_their_plural(record_type: str, many: str) -> None:
    assert words.kind(record_type, count=2) == many


@pytest.mark.parametrize(("share", "said"), [(0, "0%"), (0.0123, "1.2%"), (0.0996, "10%"), (0.5, "50%"), (1, "100%")])
def test_small_shares_keep_a_decimal(share: float, said: str) -> None:
    assert words.percent(share) == said


@pytest.mark.parametrize(
    ("share", "said"), [(1.0, "100%"), (0.999999, "99.9999%"), (0.9999999, "99.9999%"), (0.9995, "99.95%"), (0.0, "0%")]
)
def test_a_share_that_is_not_all_is_never_shown_as_all(share: float, said: str) -> None:
    assert words.exact_percent(share) == said


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_an_icon_a_word_and_a_tone(status: Status) -> None:
    shown = badge(status, now=NOW)
    assert shown.word == status.value
    assert shown.icon
    assert shown.tone


def test_retrying_says_when_and_degraded_how_many() -> None:
    assert badge(Status.RETRYING, now=NOW, retry_at=NOW + timedelta(minutes=5)).word == "retrying in 5 min"
    assert badge(Status.DEGRADED, now=NOW, rejected=1_200).word == "degraded (1,200 rejected)"


def test_a_bar_is_as_long_as_its_share_and_carries_no_style() -> None:
    drawn = bar(value=0.25, low=0.2, high=0.5)
    assert 'class="value" width="250"' in drawn
    assert 'class="band" x="200" y="7" width="300"' in drawn
    assert "style=" not in drawn
    assert 'class="value"' not in bar(value=0)
    assert 'width="1000"' in bar(value=7)

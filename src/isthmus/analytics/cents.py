"""Exact money: an amount is handed out by shares in whole minor units, and nothing is lost or made.

The largest-remainder method (Hamilton): each share gets the whole part of its quota; the units left over go, one each,
to the largest fractional parts. Fractional parts are compared in steps of 2^-10 of a unit, so that the last bit of a
float decides nothing; equal ones are served in order. Negative amounts (refunds) are handed out as their absolute
value with the sign put back.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np

from isthmus.analytics._arrow import F64, I64
from isthmus.kernel.errors import Invalid

MINOR_MAX = 2**53
# Up to this amount times number of shares, float noise stays far below one unit; beyond it `split` is used.
_FLOAT_MAX = 2.0**46
_STEPS = 2**10
_SUM_TOLERANCE = 1e-6


class AmountTooLarge(Invalid):
    """The amount has more minor units than a float counts exactly."""

    code, title = "amount-too-large", "The amount is too large"


class InvalidSplit(Invalid):
    """The amount is no whole number of minor units, or the shares are no shares."""

    code, title = "invalid-split", "The amount cannot be shared like that"


def split(*, amount: Decimal, shares: Sequence[float | Fraction | Decimal], digits: int) -> tuple[Decimal, ...]:
    """Hand out one amount of a currency with `digits` decimals; exact rational arithmetic throughout.

    Raises:
        InvalidSplit: the amount is finer than its minor unit or no number; shares are negative or all zero.
    """
    if not amount.is_finite():
        raise InvalidSplit(f"{amount} is no amount.", fix="Give a finite decimal.")
    minor = Fraction(amount) * 10**digits
    if minor.denominator != 1:
        raise InvalidSplit(f"{amount} is finer than {digits} decimals.", fix="Round it to the minor unit first.")
    exact = [Fraction(share) for share in shares]
    if not exact or min(exact) < 0 or not sum(exact):
        raise InvalidSplit("Shares must not be negative, and one must be above zero.", fix="Check the shares.")
    total = sum(exact)
    quotas = [abs(minor) * share / total for share in exact]
    units = [int(quota) for quota in quotas]
    left = int(abs(minor)) - sum(units)
    ranked = sorted(range(len(quotas)), key=lambda k: (-_rank(quotas[k]), k))
    for k in ranked[:left]:
        units[k] += 1
    sign = -1 if amount < 0 else 1
    return tuple(Decimal(sign * each).scaleb(-digits) for each in units)


def split_many(*, minor: I64, shares: F64, starts: I64) -> I64:
    """Hand out n amounts among m shares at once: `minor` int64[n], `shares` float64[m], `starts` int64[n] -> int64[m].

    Group k is `starts[k]:starts[k + 1]`, never empty, and its shares sum to one (to 10^-6; they are divided by their
    sum). The results of a group sum to its amount, exactly, and each lies within one unit of its quota.

    Raises:
        AmountTooLarge: an amount is 2^53 minor units or more.
        InvalidSplit: a group is empty, its shares do not sum to one, or one is negative.
    """
    if not minor.size:
        return np.empty(0, dtype=np.int64)
    lengths = np.diff(np.append(starts, shares.size))
    whole = np.abs(minor)
    totals = _checked_totals(whole=whole, shares=shares, starts=starts, lengths=lengths)
    even = shares / np.repeat(totals, lengths)
    exactly = whole * lengths.astype(np.float64) >= _FLOAT_MAX
    quota = np.repeat(np.where(exactly, 0, whole), lengths) * even
    units = np.floor(quota).astype(np.int64)
    left = np.where(exactly, 0, whole - np.add.reduceat(units, starts))
    _serve(units, part=quota - units, left=left, group=np.repeat(np.arange(minor.size), lengths))
    for k in np.flatnonzero(exactly):
        rows = slice(int(starts[k]), int(starts[k] + lengths[k]))
        parts = split(amount=Decimal(int(whole[k])), shares=even[rows].tolist(), digits=0)
        units[rows] = [int(each) for each in parts]
    assert np.array_equal(np.add.reduceat(units, starts), whole), "credit must sum to the amount"
    return units * np.repeat(np.where(minor < 0, -1, 1), lengths)


def _serve(units: I64, *, part: F64, left: I64, group: I64) -> None:
    """Give each group's left-over units to its largest parts, in place; only groups with a left-over are sorted.

    Parts sum to the left-over but for float noise far below one, and each is below one: so there are always more
    positive parts than units left, and never a unit too many.
    """
    rows = np.flatnonzero(left[group] > 0)
    if not rows.size:
        return
    rank = _STEPS - (part[rows] * _STEPS).round().astype(np.int64) + (part[rows] == 0)
    order = rows[np.argsort(group[rows] * (2 * _STEPS) + rank, kind="stable")]
    owner = group[order]
    begins = np.flatnonzero(np.concatenate(([True], owner[1:] != owner[:-1])))
    place = np.arange(order.size) - np.repeat(begins, np.diff(np.append(begins, order.size)))
    units[order[place < left[owner]]] += 1


def _checked_totals(*, whole: I64, shares: F64, starts: I64, lengths: I64) -> F64:
    """Return the sum of shares of each group."""
    if np.any(whole >= MINOR_MAX):
        raise AmountTooLarge("An amount is 2^53 minor units or more.", fix="Check the unit of the amounts.")
    if np.any(lengths < 1) or np.any(shares < 0):
        raise InvalidSplit("A group is empty, or a share is negative.", fix="Give at least one share, none below zero.")
    totals = np.add.reduceat(shares, starts)
    if not np.all(np.abs(totals - 1.0) <= _SUM_TOLERANCE):
        raise InvalidSplit("The shares of a group do not sum to one.", fix="Divide each share by their sum.")
    return totals


def _rank(quota: Fraction) -> int:
    """Return how many steps the fractional part has; none at all comes after the smallest."""
    part = quota - int(quota)
    return round(part * _STEPS) if part else -1

"""The Fellegi–Sunter model of likeness: learned by expectation–maximisation over counted patterns of levels.

Fellegi & Sunter, A Theory for Record Linkage (1969): a pair's odds of being one are the odds of any pair, times for
each trait the share of its level among pairs that are one (m) over that among pairs that are not (u). How often each
level is met is counted on random pairs and from how often each value occurs; m, u and the odds of any pair are learned
on the candidates, all other pairs being taken as different. So the odds follow the size of what is compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
Groups: TypeAlias = Sequence[tuple[tuple[int, ...], ...]]
ROUNDS_MAX = 60
UNLIKE_MIN = 0.03
_SETTLED, _FLOOR, _LEAST = 1e-4, 1e-9, 1e-18


class Model(Struct, frozen=True, kw_only=True):
    """What was learned: for each trait m and u by level, and the share of pairs that are one, apart and within.

    `within` is of pairs inside one source, `apart` of all others.
    """

    m: list[list[float]]
    u: list[list[float]]
    apart: float
    within: float

    def weights(self) -> list[Floats]:
        """Return the bits that each level of each trait adds; an absent value adds none."""
        found: list[Floats] = []
        for m, u in zip(self.m, self.u, strict=True):
            bits = np.log2(np.maximum(m, _FLOOR) / np.maximum(u, _FLOOR))
            bits[0] = 0.0
            found.append(bits)
        return found

    def bits(self, levels: Ints, within: Flags) -> Floats:
        """Return the bits that speak for each pattern of levels (a row each), the odds of any pair included."""
        total = np.array([_odds_bits(self.apart), _odds_bits(self.within)])[within.astype(np.int64)]
        for number, weights in enumerate(self.weights()):
            total += weights[levels[:, number]]
        return total


@dataclass(frozen=True)
class Patterns:
    """Counted patterns: `levels` has a row for each and a column for each trait; `within` those of one source."""

    levels: Ints
    counts: Floats
    within: Flags


@dataclass(frozen=True)
class Met:
    """What is known beforehand: shares of levels among all pairs, a first guess of m, and how many pairs there are."""

    shares: list[Floats]
    guess: list[Floats]
    pairs: tuple[float, float]
    groups: Groups


@dataclass(frozen=True)
class _Guess:
    m: list[Floats]
    u: list[Floats]
    share: Floats

    def model(self, groups: Groups) -> Model:
        return Model(
            m=[_within(each, own) for each, own in zip(self.m, groups, strict=True)],
            u=[_within(each, own) for each, own in zip(self.u, groups, strict=True)],
            apart=float(self.share[0]),
            within=float(self.share[1]),
        )


def learn(patterns: Patterns, met: Met) -> Model:
    """Return the model that the patterns of the candidates make likeliest."""
    apart, within = (max(each, 1.0) for each in met.pairs)
    guess = _Guess(met.guess, met.shares, np.array([apart**-0.5, within**-0.75]))
    for _ in range(ROUNDS_MAX):
        following = _better(guess, patterns, met)
        moved = np.abs(np.log((following.share + _LEAST) / (guess.share + _LEAST)))
        guess = following
        if float(moved.max()) < _SETTLED:
            break
    return guess.model(met.groups)


def chance_of(bits: Floats) -> Floats:
    """Return the chance that bits of evidence stand for."""
    return 1 / (1 + np.exp2(-np.clip(bits, -1000, 1000)))


def _better(guess: _Guess, patterns: Patterns, met: Met) -> _Guess:
    """One round of expectation and maximisation."""
    likely = patterns.counts * chance_of(guess.model(met.groups).bits(patterns.levels, patterns.within))
    ones = np.bincount(patterns.within.astype(np.int64), weights=likely, minlength=2)
    share = np.minimum(ones / np.maximum(np.array(met.pairs), 1.0), 0.5)
    m, u = list[Floats](), list[Floats]()
    for number, own in enumerate(met.guess):
        told = np.bincount(patterns.levels[:, number], weights=likely, minlength=len(own)) + own
        told[0] = 0.0
        m.append(told / max(float(told.sum()), _FLOOR))
        # What all pairs show is of those that are one as well; where nearly all is, a part of it stays the least.
        u.append(np.maximum(met.shares[number] - share[0] * m[-1], met.shares[number] * UNLIKE_MIN))
    return replace(guess, m=m, u=u, share=share)


def _odds_bits(share: float) -> float:
    return float(np.log2(max(share, _LEAST) / (1 - min(share, 0.5))))


def _within(shares: Floats, groups: tuple[tuple[int, ...], ...]) -> list[float]:
    """Return shares with those of each group taken within the group."""
    found = shares.copy()
    for group in groups:
        own = list(group)
        found[own] = shares[own] / max(float(shares[own].sum()), _FLOOR)
    return [float(each) for each in found]

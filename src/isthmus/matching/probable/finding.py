"""What a run finds: clusters that may be made without asking, pairs for a person to look at, and why."""

from dataclasses import dataclass

import numpy as np

from isthmus.matching.probable.cluster import Clusters, Edges, shared_chance
from isthmus.matching.probable.comparing import MEMORY_MIB, Comparing, Rows, decoded
from isthmus.matching.probable.model import Flags, Floats, Ints, Model, chance_of, learn
from isthmus.matching.probable.one import Learned, learned
from isthmus.matching.probable.traits import Plan, sentences


@dataclass(frozen=True, kw_only=True)
class Bands:
    """Where the bands lie, as chances.

    Pairs are automatic from the least chance at which `precision` of all automatic ones are expected to be right, but
    never below `automatic`; inside one source never below `within`. Down to `review` a person is asked.
    """

    precision: float = 0.998
    automatic: float = 0.8
    within: float = 0.99
    review: float = 0.3


@dataclass(frozen=True)
class Reason:
    """What one trait says of a pair, and how many bits that adds."""

    trait: str
    says: str
    bits: float


@dataclass(frozen=True)
class Found:
    """The result over rows by position: `firsts` is the first row of each row's cluster.

    `automatic` made the clusters; `review` are pairs across clusters that could be one. `expected` is the precision
    that the model expects of the automatic ones, from the chance `threshold` on.
    """

    firsts: Ints
    automatic: Edges
    automatic_chance: Floats
    review: Edges
    review_chance: Floats
    learned: Learned
    threshold: float
    expected: float

    @property
    def model(self) -> Model:
        """What the pairs were weighed by."""
        return self.learned.model


def find(
    plan: Plan, rows: Rows, *, bands: Bands | None = None, threads: int = 2, memory_mib: int = MEMORY_MIB
) -> Found:
    """Learn from the rows and match them; see `Comparing` for their columns. Nothing leaves the memory."""
    comparing = Comparing(plan, rows, threads=threads, memory_mib=memory_mib)
    try:
        model = learn(comparing.compare(), comparing.met())
        told = learned(comparing, model, rows=rows.num_rows)
        return clustered(comparing.weigh(model), comparing.sources(), told, bands or Bands())
    finally:
        comparing.close()


def clustered(edges: Edges, sources: Ints, told: Learned, bands: Bands) -> Found:
    """Make clusters of likely pairs: first duplicates inside sources, then across them."""
    clusters = Clusters(sources)
    sure = chance_of(edges.bits)
    inside = np.nonzero(edges.within & (sure >= bands.within))[0]
    inside = inside[clusters.join(edges.only(inside), sure[inside], loose=True)]
    chance = shared_chance(edges, firsts=clusters.firsts(), sources=clusters.sources())
    threshold = _threshold(chance[~edges.within], bands)
    across = np.nonzero(~edges.within & (chance >= threshold))[0]
    made = np.concatenate([inside, across[clusters.join(edges.only(across), chance[across])]])
    firsts = clusters.firsts()
    review = np.nonzero((chance >= bands.review) & (firsts[edges.left] != firsts[edges.right]))[0]
    review = review[np.lexsort((edges.right[review], edges.left[review], -chance[review]))]
    return Found(
        firsts=firsts,
        automatic=edges.only(made),
        automatic_chance=chance[made],
        review=edges.only(review),
        review_chance=chance[review],
        learned=told,
        threshold=threshold,
        expected=float(chance[made].mean()) if len(made) else 1.0,
    )


def reasons(plan: Plan, model: Model, code: int) -> list[Reason]:
    """Return what each trait says of a pair with a pattern, the strongest first; absent values say nothing."""
    levels, _ = decoded(plan, np.array([code], dtype=np.int64))
    found: list[Reason] = []
    shown: list[int] = levels[0].tolist()
    for trait, weights, held in zip(plan.traits, model.weights(), shown, strict=True):
        if held:
            said = sentences(trait)
            says = said[held - 1] if held <= len(said) else f"same {trait.name.replace('_', ' ')}"
            found.append(Reason(trait.name, says, round(float(weights[held]), 1)))
    return sorted(found, key=lambda each: -abs(each.bits))


def _threshold(chance: Floats, bands: Bands) -> float:
    """Return the least chance from which on the pairs are right as often as wanted, by their own account."""
    falling = -np.sort(-chance[chance >= bands.automatic])
    if not len(falling):
        return bands.automatic
    enough: Flags = np.cumsum(falling) / np.arange(1, len(falling) + 1) >= bands.precision
    return float(falling[np.nonzero(enough)[0][-1]]) if enough.any() else 1.0

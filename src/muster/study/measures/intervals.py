"""How far a correlation depends on which members happened to be in the pool: a bootstrap over members.

All triples of 15 members are 455 candidates, but not 455 observations: they are made of the same 15 members. To
resample candidates would give intervals that are several times too narrow. So members are drawn with replacement, as
many as there are, and the candidates of a draw are all ensembles of different members among those drawn. A member drawn
twice is in twice as many of them, so that a candidate counts as often as the product of its members' counts; copies of
one candidate tie with each other, and a tie orders nothing.

To restrict the candidates to the members drawn, without counting, would be a draw of about 63 % of the members without
replacement. The mean over members of such a draw varies only by (1 - 0.63) / 0.63 = 0.58 of the variance that it should
have, and draws of fewer members shift the tau of ensembles besides.

On simulated pools (150 of 15 members, triples, a metric of tau 0.7) intervals of level 0.9 held the expected tau in
86 % of cases; in 80 % without counting, and in 25 % with candidates resampled.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3 (percentile intervals); Arcones and
Gine, "On the bootstrap of U and V statistics", Annals of Statistics 1992 (statistics of subsets: resample what the
subsets are made of).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from muster.arrays import NumpyArray
from muster.study.measures.counted_tau import CountedTau

DRAWS = 200
"""Bootstrap draws unless another number is asked for: the ends are steady to about a tenth of the interval's width."""

LEVEL = 0.95
"""Share of the draws that an interval spans."""

LEAST_MEMBERS = 5
"""With fewer members hardly any draw differs from another by more than one member, and an interval would mislead."""


def member_draws(
    rows: Int[NumpyArray, "candidates size"], draws: int, seed: int
) -> Iterator[Int[NumpyArray, " candidates"]]:
    """Draw members, and give the candidates that are made of them.

    Args:
        rows: For each candidate, its members as numbers.
        draws: How many draws.
        seed: The same seed draws the same members for the same candidates, so that metrics can be compared by draw.

    Yields:
        How often each candidate counts.

    Example:
        >>> pairs = np.array([[0, 1], [0, 2], [1, 2]])
        >>> [counts.tolist() for counts in member_draws(pairs, 2, seed=5)]  # of members 0, 0, 1; of 0, 1, 2
        [[2, 0, 0], [1, 1, 1]]
    """
    generator = np.random.default_rng(seed)
    names, places = np.unique(rows, return_inverse=True)
    places = places.reshape(rows.shape)
    for _ in range(draws):
        counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)))
        yield counts[places].prod(axis=1)


def tau_interval(
    rows: Int[NumpyArray, "candidates size"],
    scores: Float[NumpyArray, "probes candidates"],
    results: Float[NumpyArray, " candidates"],
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Interval of the weighted Kendall tau over draws of members.

    Args:
        rows: For each candidate, its members as numbers.
        scores: Finite; the mean tau over several probe seeds is looked at.
        results: Finite.
        draws: Bootstrap draws.
        seed: Of the draws.
        level: Share of the draws between the ends, in 0..1.

    Returns:
        Lower and upper end; NaN with fewer than :data:`LEAST_MEMBERS` members, without draws, or if half of the draws
        order nothing.
    """
    if not draws or len(np.unique(rows)) < LEAST_MEMBERS:
        return float("nan"), float("nan")
    columns = scores[:1] if (scores == scores[:1]).all() else scores  # a static order has but one
    pairs = [CountedTau(column, results) for column in columns]
    taus = np.array([np.mean([pair.tau(counts) for pair in pairs]) for counts in member_draws(rows, draws, seed)])
    if np.isfinite(taus).mean() <= 0.5:
        return float("nan"), float("nan")
    low, high = np.nanquantile(taus, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

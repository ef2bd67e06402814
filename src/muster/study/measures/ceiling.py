"""What a perfect metric would reach: results are noisy, so that even the truth does not order them perfectly.

Two runs of fine-tuning may agree with each other at 0.50 where a metric that knew every candidate's true mean would
agree with one run at 0.69. A metric is to be measured by the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from muster.arrays import NumpyArray
from muster.study.measures.candidates import candidates_of
from muster.study.measures.counted_tau import fast_weighted_kendall
from muster.study.measures.intervals import LEVEL
from muster.study.measures.seed_noise import SeedNoise, seed_noise
from muster.study.measures.strata import LEAST_CANDIDATES, STRATA, strata_of
from muster.study.tables import CELL

SIMULATIONS = 100
"""Simulated runs unless another number is asked for; their mean is steady to a tenth of their range."""


@dataclass(frozen=True)
class Simulated:
    """Weighted Kendall tau over simulated runs: mean and the ends of the middle part."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Ceiling:
    """What the simulation says of candidates.

    Attributes:
        one_seed: Of the metric with the results of one run.
        mean: Of the metric with the mean over as many runs as were measured.
        between_seeds: Of one run with another, to be compared with what was measured.
        reliability: Share of the variance of the measured means that is no noise, 0..1.
    """

    one_seed: Simulated
    mean: Simulated
    between_seeds: Simulated
    reliability: float


def simulate_metric(
    rows: Int[NumpyArray, "candidates size"],
    results: Float[NumpyArray, "candidates seeds"],
    metric_deviation: float = 0.0,
    simulations: int = SIMULATIONS,
    seed: int = 0,
    level: float = LEVEL,
) -> Ceiling:
    """The weighted tau that a metric of known quality would reach with noisy results.

    Args:
        rows: For each candidate, its members as numbers.
        results: Measured results, finite, of at least 2 seeds.
        metric_deviation: Standard deviation of the noise of the metric around the truth, drawn for each candidate by
            itself, in units of the result; 0 is a perfect metric.
        simulations: Runs to simulate.
        seed: Of the simulation.
        level: Share of the runs between the ends of what they gave, in 0..1.

    Returns:
        The simulated correlations; NaN where results vary by no more than noise. On simulated pools whose runs agree to
        0.6 or more (15 members, 32, triples of 15; equal noise, unequal noise, two groups of members) the mean over
        pools was right to 0.04, with a standard error of 0.05 for one pool. It was up to 0.1 too high for 15 members
        most of which are close to the best, and where runs agree to 0.3 or less (standard error 0.15): such pools tell
        little about their ceiling.

    Raises:
        ValueError: If there are fewer than 2 seeds.
    """
    if results.shape[1] < 2:
        raise ValueError(f"Expected results of at least 2 fine-tuning seeds, but got {results.shape[1]}.")
    noise = seed_noise(rows, results, seed)
    generator = np.random.default_rng(seed + 1)
    taus = np.array([_one_run(noise, metric_deviation, generator) for _ in range(simulations)])
    told = [_middle(column, level) for column in taus.T]
    return Ceiling(told[0], told[1], told[2], noise.reliability)


def _one_run(noise: SeedNoise, metric_deviation: float, generator: np.random.Generator) -> tuple[float, float, float]:
    truth = noise.truth
    metric = truth + generator.normal(0, metric_deviation, len(truth)) if metric_deviation else truth
    runs = [truth + noise.draw(generator) for _ in range(noise.seeds)]
    mean: NumpyArray = np.mean(runs, axis=0)
    if noise.reliability == 0:
        return float("nan"), float("nan"), float("nan")
    return (
        fast_weighted_kendall(metric, runs[0]),
        fast_weighted_kendall(metric, mean),
        fast_weighted_kendall(runs[1], runs[0]),
    )


def _middle(values: Float[NumpyArray, " runs"], level: float) -> Simulated:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Simulated(float(values.mean()), float(low), float(high))


COLUMNS = (
    *CELL,
    "size",
    "stratum",
    "value",
    *(name + end for name in ("one_seed", "mean", "between_seeds") for end in ("", "_low", "_high")),
    "measured_between_seeds",
    "reliability",
    "seeds",
    "candidates",
    "members",
)


def ceiling(
    ensembles: pd.DataFrame,
    members: pd.DataFrame | None = None,
    facts: Sequence[str] = STRATA,
    simulations: int = SIMULATIONS,
    seed: int = 0,
    level: float = LEVEL,
) -> pd.DataFrame:
    """The weighted tau that a perfect metric would reach, for each cell with two or more fine-tuning seeds.

    Args:
        ensembles: A study's table. Leave out the members of the large pool first (:func:`without_pool`).
        members: A study's table, for strata.
        facts: Columns of ``members`` by which candidates are parted, as in :func:`muster.study.measures.agreement`.
        simulations: Runs to simulate.
        seed: Of the simulation.
        level: Share of the runs between the ends of what they gave, in 0..1.

    Returns:
        One row for each cell, size and stratum: the attributes of :class:`Ceiling`, and ``measured_between_seeds``, the
        mean weighted tau between pairs of measured runs: where ``between_seeds`` is far from it, do not trust the row.

    Raises:
        ValueError: If the table says two things of one candidate, or ``members`` lacks one.
    """
    rows: list[dict[str, object]] = []
    for candidates in candidates_of(ensembles):
        full = candidates.full_seeds()
        for stratum in strata_of(candidates, members, facts):
            kept = stratum.kept & np.isfinite(candidates.results[:, full]).all(axis=1)
            if full.sum() < 2 or kept.sum() < LEAST_CANDIDATES:
                continue
            names, results = candidates.rows[kept], candidates.results[kept][:, full]
            told = simulate_metric(names, results, 0.0, simulations, seed, level)
            pairs = [fast_weighted_kendall(first, second) for first, second in combinations(results.T, 2)]
            rows.append(
                {
                    **candidates.key,
                    "stratum": stratum.fact,
                    "value": stratum.value,
                    **_columns("one_seed", told.one_seed),
                    **_columns("mean", told.mean),
                    **_columns("between_seeds", told.between_seeds),
                    "measured_between_seeds": float(np.mean(pairs)),
                    "reliability": told.reliability,
                    "seeds": int(full.sum()),
                    "candidates": int(kept.sum()),
                    "members": len(np.unique(names)),
                }
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _columns(name: str, told: Simulated) -> dict[str, float]:
    return {name: told.mean, f"{name}_low": told.low, f"{name}_high": told.high}

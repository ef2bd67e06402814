"""How well scores order results: the three correlations that studies report.

Numbers that differ by no more than 10^-9 of the largest are equal, so that rounding orders nothing.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from muster.arrays import Column, NumpyArray, to_column
from muster.metrics.ties import all_tie, tie_levels


def weighted_kendall(scores: Column, results: Column) -> float:
    """Weighted Kendall tau, in which the best-ranked items count most; the main figure of a study.

    Args:
        scores: What was predicted, one number per candidate, larger is better.
        results: Fine-tuned results, likewise.

    Returns:
        -1..1; NaN where all scores or all results are alike, since then nothing is ordered.

    Raises:
        ValueError: If the two are not lists of one length, at least 2, of finite numbers.

    Source:
        Vigna, "A Weighted Correlation Index for Rankings with Ties", WWW 2015, as in ``scipy.stats.weightedtau``
        with its defaults: additive hyperbolic weights, mean over the rankings by ``scores`` and by ``results``.

    Example:
        >>> round(weighted_kendall([0.1, 0.2, 0.3], [1.0, 3.0, 2.0]), 4)
        0.1818
    """
    pair = _pair(scores, results)
    return float(stats.weightedtau(tie_levels(pair[0]), tie_levels(pair[1])).statistic) if pair else float("nan")


def kendall(scores: Column, results: Column) -> float:
    """Kendall tau-b, which allows for ties.

    Args:
        scores: What was predicted, one number per candidate.
        results: Fine-tuned results, likewise.

    Returns:
        -1..1; NaN where all scores or all results are alike.

    Raises:
        ValueError: If the two are not lists of one length, at least 2, of finite numbers.

    Source:
        Kendall, "The treatment of ties in ranking problems", Biometrika 1945, as in ``scipy.stats.kendalltau``.

    Example:
        >>> round(kendall([0.1, 0.2, 0.3], [1.0, 3.0, 2.0]), 4)  # 2 pairs in order, 1 not
        0.3333
    """
    pair = _pair(scores, results)
    return (
        float(stats.kendalltau(tie_levels(pair[0]), tie_levels(pair[1]), variant="b").statistic)
        if pair
        else float("nan")
    )


def pearson(scores: Column, results: Column) -> float:
    """Pearson's linear correlation.

    Args:
        scores: What was predicted, one number per candidate.
        results: Fine-tuned results, likewise.

    Returns:
        -1..1; NaN where all scores or all results are alike.

    Raises:
        ValueError: If the two are not lists of one length, at least 2, of finite numbers.

    Source:
        ``scipy.stats.pearsonr``.

    Example:
        >>> round(pearson([0.0, 1.0, 2.0], [0.0, 2.0, 1.0]), 4)
        0.5
    """
    pair = _pair(scores, results)
    return float(stats.pearsonr(_in_range(pair[0]), _in_range(pair[1])).statistic) if pair else float("nan")


def _in_range(column: NumpyArray) -> NumpyArray:
    """The column divided by a power of two, so that sums and squares stay within float64."""
    scaled: NumpyArray = np.ldexp(column, -int(np.frexp(np.abs(column).max())[1]))
    return scaled


def _pair(scores: object, results: object) -> tuple[NumpyArray, NumpyArray] | None:
    """Both as float64, checked; ``None`` where one of them is constant, for which no correlation is defined.

    Round-off is no difference, see :mod:`muster.metrics.ties`.
    """
    left, right = to_column("scores", scores), to_column("results", results)
    if len(left) != len(right) or len(left) < 2:
        raise ValueError(
            f"Expected `scores` and `results` of one length, at least 2, but got {len(left)} and {len(right)}."
        )
    return None if all_tie(left) or all_tie(right) else (left, right)

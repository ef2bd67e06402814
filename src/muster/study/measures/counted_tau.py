"""Kendall's tau, weighted and plain, of entries that count several times: fast enough to be asked thousands of times.

A bootstrap over members lets a candidate count several times or not at all. To repeat entries would do, but sorts anew
for every draw; here columns are sorted once, and a draw takes a pass over them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from muster.arrays import NumpyArray
from muster.metrics.ties import tie_levels
from muster.study.measures._tau_kernel import pairs_apart, pairs_in_order, weights_of


class CountedTau:
    """The taus of two columns, for any counts of their entries."""

    def __init__(self, scores: Float[NumpyArray, " entries"], results: Float[NumpyArray, " entries"]) -> None:
        """Sort the columns.

        Args:
            scores: Finite, not empty.
            results: Finite, as many.
        """
        self._levels = (tie_levels(scores), tie_levels(results))
        first, second = self._levels
        # Best first; among equals the better one in the other column, as scipy ranks them.
        self._orders = (np.lexsort((second, first))[::-1].copy(), np.lexsort((first, second))[::-1].copy())

    def tau(self, counts: Int[NumpyArray, " entries"] | None = None) -> float:
        """The weighted correlation.

        Args:
            counts: How often each entry counts, at least 0; by default each once.

        Returns:
            What :func:`muster.metrics.weighted_kendall` gives of the entries, each repeated so often: -1..1, NaN where
            nothing is ordered.

        Source:
            Vigna, "A Weighted Correlation Index for Rankings with Ties", WWW 2015: additive hyperbolic weights, mean
            over the rankings by either column.

        Example:
            >>> pair = CountedTau(np.array([0.1, 0.2, 0.3]), np.array([1.0, 3.0, 2.0]))
            >>> round(pair.tau(), 4), pair.tau(np.array([1, 0, 5]))  # without the second nothing is out of order
            (0.1818, 1.0)
        """
        counts = self._counts(counts)
        return sum(self._tau(counts, weights_of(order, counts)) for order in self._orders) / 2

    def tau_b(self, counts: Int[NumpyArray, " entries"] | None = None) -> float:
        """The correlation in which all pairs count alike.

        Args:
            counts: How often each entry counts, at least 0; by default each once.

        Returns:
            What :func:`muster.metrics.kendall` gives of the entries, each repeated so often.

        Example:
            >>> round(CountedTau(np.array([0.1, 0.2, 0.3]), np.array([1.0, 3.0, 2.0])).tau_b(), 4)
            0.3333
        """
        counts = self._counts(counts)
        return self._tau(counts, counts / 2)  # both halves of a pair make 1

    def _counts(self, counts: NumpyArray | None) -> NumpyArray:
        return np.ones(len(self._levels[0]), dtype=np.int64) if counts is None else counts.astype(np.int64)

    def _tau(self, counts: NumpyArray, weights: NumpyArray) -> float:
        (first, second), (by_first, by_second) = self._levels, self._orders
        apart = pairs_apart(by_first, first, counts, weights) * pairs_apart(by_second, second, counts, weights)
        if apart <= 0:
            return float("nan")
        alike = pairs_in_order(by_first, first, second, counts, weights)
        return float(np.clip(alike / np.sqrt(apart), -1, 1))  # rounding may exceed 1


def fast_weighted_kendall(scores: Float[NumpyArray, " entries"], results: Float[NumpyArray, " entries"]) -> float:
    """:func:`muster.metrics.weighted_kendall` of finite columns, forty times as fast for 5000.

    Args:
        scores: What was predicted.
        results: What was reached.

    Returns:
        -1..1; NaN where all scores or all results are alike.
    """
    return CountedTau(scores, results).tau()

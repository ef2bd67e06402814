"""The weighted tau of counted entries, against the public one of repeated entries."""

from __future__ import annotations

import math

import numpy as np
import pytest

from muster.metrics import kendall, weighted_kendall
from muster.study.measures.counted_tau import CountedTau, fast_weighted_kendall


@pytest.mark.parametrize("entries", [2, 3, 7, 60])
@pytest.mark.parametrize("levels", [2, 1000])
def test_counts_are_repetitions(entries: int, levels: int) -> None:
    generator = np.random.default_rng(entries)
    for _ in range(10):
        scores = generator.integers(0, levels, entries).astype(float)
        results = scores + generator.integers(0, levels, entries)
        counts = generator.integers(0, 4, entries)
        again = np.repeat(np.arange(entries), counts)
        slow = weighted_kendall(scores[again], results[again]) if len(again) > 1 else math.nan
        assert CountedTau(scores, results).tau(counts) == pytest.approx(slow, abs=1e-12, nan_ok=True)
        slow = kendall(scores[again], results[again]) if len(again) > 1 else math.nan
        assert CountedTau(scores, results).tau_b(counts) == pytest.approx(slow, abs=1e-12, nan_ok=True)
        slow = weighted_kendall(scores, results)
        assert fast_weighted_kendall(scores, results) == pytest.approx(slow, abs=1e-12, nan_ok=True)


def test_rounding_orders_nothing() -> None:
    scores, results = np.array([0.3, 0.1 + 0.2, 0.5]), np.array([1.0, 2.0, 3.0])
    assert fast_weighted_kendall(scores, results) == pytest.approx(weighted_kendall(scores, results), abs=1e-12)


def test_what_has_no_order_has_no_tau() -> None:
    pair = CountedTau(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0]))
    assert math.isnan(pair.tau(np.array([3, 1, 0])))
    assert math.isnan(pair.tau(np.array([0, 0, 4])))
    assert math.isnan(pair.tau(np.array([0, 0, 0])))
    assert pair.tau(np.array([2, 0, 1])) == 1

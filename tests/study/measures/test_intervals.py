"""Intervals that resample members."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from muster.metrics import weighted_kendall
from muster.study.measures import member_draws, tau_interval


def test_a_candidate_counts_as_often_as_the_drawn_members_make_it() -> None:
    rows = np.array(list(combinations([2, 4, 5, 9], 2)))
    drawn = np.random.default_rng(7)
    for counts in member_draws(rows, 20, seed=7):
        times = drawn.multinomial(4, [0.25] * 4)
        bag = [name for name, count in zip([2, 4, 5, 9], times, strict=True) for _ in range(count)]
        made = [pair for pair in combinations(bag, 2) if pair[0] != pair[1]]
        assert counts.tolist() == [made.count((first, second)) for first, second in rows.tolist()]


@pytest.mark.parametrize("size", [1, 2])
def test_the_interval_against_repeated_candidates(size: int) -> None:
    generator = np.random.default_rng(size)
    rows = np.array(list(combinations(range(7), size)))
    results = generator.normal(size=len(rows))
    scores = results + generator.normal(size=(2, len(rows)))
    taus = []
    for counts in member_draws(rows, 40, seed=1):
        again = np.repeat(np.arange(len(rows)), counts)
        taus.append(np.mean([weighted_kendall(column[again], results[again]) for column in scores]))
    expected = tuple(np.quantile(taus, [0.1, 0.9]))
    assert tau_interval(rows, scores, results, draws=40, seed=1, level=0.8) == pytest.approx(expected, abs=1e-12)


def test_ensembles_of_few_members_are_not_many_observations() -> None:
    """Candidates drawn as if they were independent would give a third of the width."""
    generator = np.random.default_rng(0)
    quality, told = generator.normal(size=12), generator.normal(size=12)
    rows = np.array(list(combinations(range(12), 3)))
    results, scores = quality[rows].mean(axis=1), (quality + told)[rows].mean(axis=1)
    low, high = tau_interval(rows, scores[None], results, draws=100)
    drawn = [generator.integers(0, len(rows), len(rows)) for _ in range(100)]
    naive = np.quantile([weighted_kendall(scores[again], results[again]) for again in drawn], [0.025, 0.975])
    assert high - low > 3 * (naive[1] - naive[0])


def test_where_there_is_no_interval() -> None:
    rows = np.arange(6)[:, None]
    values = np.arange(6.0)
    assert np.isnan(tau_interval(rows[:4], values[None, :4], values[:4])).all()  # too few members
    assert np.isnan(tau_interval(rows, values[None] * 0, values)).all()  # nothing is ordered
    assert np.isnan(tau_interval(rows, values[None], values, draws=0)).all()
    assert tau_interval(rows, values[None], values) == pytest.approx((1, 1))

"""One tolerance for ties: well defined, and used wherever scores are ordered."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from muster.metrics import depth_correction, kendall, pearson, standardised_sum, weighted_kendall
from muster.metrics.ties import TIE, all_tie, best_first_order, first_best, tie_levels
from muster.scoring import Ranking
from muster.search.result import best_first
from muster.search.size import propose_size

Numbers = np.ndarray[Any, Any]

THIRD = 0.1 + 0.2  # a last bit above 0.3


def slow_levels(values: Numbers) -> list[int]:
    """Groups found one number after the other."""
    tie = TIE * max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    levels: dict[float, int] = {}
    before = None
    for value in sorted(set(values.tolist())):
        level = 0 if before is None else levels[before] + (value - before > tie)
        levels[value], before = level, value
    return [levels[value] for value in values.tolist()]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1.0, -1.0, 1e-200, 1e300])
def test_levels_and_order_agree_with_the_slow_version(seed: int, scale: float) -> None:
    generator = np.random.default_rng(seed)
    values = scale * generator.integers(0, 6, 40) * (1 + 1e-13 * generator.integers(-9, 9, 40))
    levels = tie_levels(values)
    assert levels.tolist() == slow_levels(values)
    assert len(set(levels.tolist())) == len(set(np.rint(values / scale).tolist()))
    order = best_first_order(values).tolist()
    assert order == sorted(range(40), key=lambda place: (-levels[place], place))
    assert first_best(values) == order[0]
    shuffled = generator.permutation(40)
    assert tie_levels(values[shuffled]).tolist() == levels[shuffled].tolist()


def test_a_chain_is_one_group() -> None:
    chain = 1.0 + 0.9 * TIE * np.arange(4)  # the ends are farther apart than the tolerance
    assert tie_levels(chain[[2, 0, 3, 1]]).tolist() == [0, 0, 0, 0]
    assert all_tie(chain[:2])
    assert not all_tie(np.array([1.0, 1.0 + 3 * TIE]))
    assert best_first_order(np.array([-np.inf, 1.0, np.inf, 1.0 + 0.5 * TIE])).tolist() == [2, 1, 3, 0]
    assert tie_levels(np.array([])).tolist() == []


def test_what_cancels_in_a_sum_ties_with_nothing() -> None:
    assert tie_levels(np.array([1e-17, 0.0, -1e-17, 0.5])).tolist() == [0, 0, 0, 1]


def test_correlations_do_not_order_by_rounding() -> None:
    results = [1, 2, 3]
    for correlation in (weighted_kendall, kendall, pearson):
        assert math.isnan(correlation([THIRD, 0.3, 0.3], results))
    assert weighted_kendall([THIRD, 0.3, 0.5], results) == weighted_kendall([0.3, 0.3, 0.5], results)
    assert weighted_kendall([THIRD, 0.3, 0.5], results) == weighted_kendall([0.3, THIRD, 0.5], results)
    assert kendall(results, [0.5, THIRD, 0.3]) == kendall(results, [0.5, 0.3, 0.3])


def test_rankings_do_not_order_by_rounding() -> None:
    members = np.array([[0, 1], [0, 2], [1, 2]])
    ranking = Ranking(members, {"e_leep": np.array([0.3, THIRD, 0.1])})
    assert ranking.order("e_leep").tolist() == [0, 1, 2]
    assert ranking.order("e_leep", ["c", "b", "a"]).tolist() == [1, 0, 2]
    assert [first for first, _ in best_first({(1, 2): THIRD, (0, 2): 0.3, (0, 1): 0.1}, 2)] == [(0, 2), (1, 2)]


def test_sums_and_sizes_do_not_order_by_rounding() -> None:
    assert standardised_sum([0.3, THIRD]).tolist() == [0.0, 0.0]
    assert depth_correction([0.3, THIRD], [10, 20]).tolist() == [0.2, 0.4]
    best = [[0], [0, 1], [0, 1, 2]]
    assert propose_size(best, [0.3, THIRD, 0.3], [1, 1, 1], "soft_iou_eep", least_gain=0.0).size == 1

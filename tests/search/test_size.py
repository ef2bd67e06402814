"""`propose_size` and the budgets."""

from __future__ import annotations

import inspect
import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from muster.errors import ConfigError, SelectionError
from muster.metrics import ENSEMBLE_METRICS, METRICS
from muster.scoring.score import list_candidates
from muster.search.size import (
    LEAST_GAIN,
    comparing_sizes,
    propose_size,
    require_compares_sizes,
    require_within_budget,
    within_budget,
)

NESTED = [list(range(size)) for size in range(1, 6)]
EQUAL = [10.0] * 5


def proposed(scores: list[float], costs: list[float] | None = None, **options: Any) -> Any:
    return propose_size(NESTED[: len(scores)], scores, EQUAL if costs is None else costs, "soft_iou_eep", **options)


def test_table_worked_by_hand() -> None:
    proposal = propose_size([[1], [0, 2], [0, 1, 2]], [0.5, 0.6, 0.61], [10, 20, 30], "iou_eep")
    first, second, third = proposal.rows
    assert (first.size, first.members, first.score, first.cost) == (1, (1,), 0.5, 20)
    assert first.gain is first.relative_gain is first.relative_cost is first.gain_per_cost is None
    assert (second.size, second.members, second.cost) == (2, (0, 2), 40)
    assert (second.gain, second.relative_gain, second.relative_cost) == pytest.approx((0.1, 0.2, 1.0))
    assert second.gain_per_cost == pytest.approx(0.2)
    assert (third.gain, third.relative_gain, third.relative_cost) == pytest.approx((0.01, 0.02, 1.0))
    assert third.gain_per_cost == pytest.approx(0.02)
    assert (proposal.metric, proposal.cost, proposal.least_gain) == ("iou_eep", "parameters", LEAST_GAIN)
    assert propose_size([[1], [0, 2], [0, 1, 2]], [0.5, 0.6, 0.61], [10, 20, 30], "iou_eep", least_gain=0.019).size == 3
    assert propose_size([[1], [0, 2], [0, 1, 2]], [0.5, 0.6, 0.61], [10, 20, 30], "iou_eep", least_gain=0.021).size == 2
    assert proposal.members == proposal.rows[proposal.size - 1].members


@pytest.mark.parametrize(
    ("scores", "least_gain", "size"),
    [
        ([0.5, 0.6, 0.65, 0.655, 0.656], 0.02, 3),  # steps of 20, 10, 1 and 0.2 % of the first
        ([0.5, 0.5, 0.6], 0.02, 3),  # nothing, then 20 %: 10 % each
        ([0.5, 0.49, 0.6, 0.6], 0.02, 3),  # worse, then better
        ([0.5, 0.5, 0.515], 0.02, 1),  # 3 % for two
        ([0.5, 0.505, 0.51, 0.515, 0.52], 0.02, 1),  # 1 % each
        ([0.5, 0.45, 0.4], 0.02, 1),
        ([0.5], 0.02, 1),
        ([0.5, 0.5, 0.5], 0.0, 1),  # the smallest of equals
        ([0.5, 0.5001, 0.5001], 0.0, 2),
        ([0.5, 0.6, 0.7, 0.8, 0.9], 0.02, 5),
        ([0.0, 0.0, 0.001], 0.02, 3),  # anything is infinitely more than nothing
        ([0.0, 0.0], 0.02, 1),
    ],
)
def test_size(scores: list[float], least_gain: float, size: int) -> None:
    assert proposed(scores, least_gain=least_gain).size == size


def test_log_scores_gain_when_they_approach_zero() -> None:
    # 10 % of the first one's loss is taken away, then 1 %.
    proposal = propose_size([[0], [0, 1], [0, 1, 2]], [-1.0, -0.9, -0.89], [1, 1, 1], "e_leep")
    assert proposal.size == 2
    assert [row.relative_gain for row in proposal.rows[1:]] == pytest.approx([0.1, 0.01])
    assert propose_size([[0], [0, 1]], [0.0, -0.1], [1, 1], "e_leep").size == 1  # nothing can be better than certain


def test_costlier_members_must_add_more() -> None:
    scores, pair = [0.5, 0.53], [[0], [0, 1]]  # 6 %
    assert propose_size(pair, scores, [10, 10], "iou_eep").size == 2
    assert propose_size(pair, scores, [10, 29], "iou_eep").size == 2
    assert propose_size(pair, scores, [10, 31], "iou_eep").size == 1
    assert propose_size(pair, scores, [10_000, 29_000], "iou_eep").size == 2  # the unit does not matter


def test_a_better_ensemble_that_costs_less_is_taken() -> None:
    # Two small members replace a large one.
    proposal = propose_size([[0], [1, 2]], [0.5, 0.501], [100, 20, 30], "iou_eep", least_gain=1.0)
    assert proposal.size == 2
    assert proposal.rows[1].relative_cost == pytest.approx(-0.5)
    assert proposal.rows[1].gain_per_cost is None


def test_is_the_size_that_none_other_beats() -> None:
    """The rule as the module states it, by trying every pair of sizes."""
    generator = np.random.default_rng(0)
    for _ in range(200):
        scores = (0.4 + 0.05 * generator.random(5)).tolist()
        costs, least = (1 + generator.random(5)).tolist(), float(generator.random() * 0.05)
        total = np.cumsum(costs)

        def is_worth_more(one: int, other: int, scores=scores, total=total, least=least) -> bool:
            gain = (scores[one] - scores[other]) / abs(scores[0])
            return gain > least * (total[one] - total[other]) / total[0]

        chosen = proposed(scores, costs, least_gain=least).size - 1
        assert not any(is_worth_more(other, chosen) for other in range(5))
        assert all(is_worth_more(chosen, smaller) for smaller in range(chosen))


@pytest.mark.parametrize("metric", ["ms_leep", "base", "leep", "osborn", "soft_iou"])
def test_sums_may_not_compare_sizes(metric: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"'{metric}' is not the same measure .* accuracy_eep or soft_accuracy_eep, or give"
    ):
        propose_size([[0]], [0.5], [1], metric)
    with pytest.raises(ConfigError, match="size: 'auto'"):
        require_compares_sizes(metric)


def test_metrics_that_compare_sizes_do_not_change_when_members_are_repeated() -> None:
    """What decides it: an ensemble of equals is worth what one of them is, whatever their number."""
    generator = np.random.default_rng(0)
    labels, one = generator.integers(0, 4, 50), generator.dirichlet(np.ones(4), 50)
    for metric in ENSEMBLE_METRICS:
        single, three = (METRICS[metric].function([one] * count, labels) for count in (1, 3))
        assert (three == pytest.approx(single, abs=1e-12)) == (metric in comparing_sizes()), metric
    for metric in comparing_sizes():
        require_compares_sizes(metric)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"members": [[0], [1, 1]]}, ValueError, r"`members\[1\]` to hold 2 different members, but got \(1, 1\)"),
        ({"members": [[0], [0, 1, 2]]}, ValueError, r"`members\[1\]` to hold 2 different members"),
        ({"members": [[0], [0, 3]]}, ValueError, r"`members` between 0 and 2, but got 0 to 3"),
        ({"members": [[0], [-1, 0]]}, ValueError, r"`members` between 0 and 2, but got -1 to 0"),
        ({"scores": [0.5]}, ValueError, r"one of `scores` for each of 2 candidates, but got 1"),
        ({"scores": [0.5, math.nan]}, ValueError, r"`scores` to be finite, but `scores\[1\]` is nan"),
        ({"members": [], "scores": []}, ValueError, r"`scores` to be a non-empty list"),
        ({"costs": [1, 0, 1]}, ValueError, r"`costs` to be positive, but `costs\[1\]` is 0"),
        ({"costs": [1, math.inf, 1]}, ValueError, r"`costs` to be finite"),
        ({"least_gain": -0.1}, ConfigError, r"least_gain: expected a finite number of at least 0, but got -0.1"),
        ({"least_gain": math.nan}, ConfigError, r"least_gain: expected a finite number of at least 0, but got nan"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {"members": [[0], [0, 1]], "scores": [0.5, 0.6], "costs": [1, 1, 1], "metric": "iou_eep", **changes}
    with pytest.raises(error, match=message):
        inspect.unwrap(propose_size)(**arguments)


PARAMETERS = [100, 50, 200, 80]
SECONDS = [0.3, 0.8, 0.1, 0.2]
NAMES = ["a", "b", "c", "d"]


@pytest.mark.parametrize("limits", [(None, None), (280, None), (None, 0.95), (280, 0.95), (10, 0.001)])
def test_within_budget_agrees_with_sums_one_by_one(limits: tuple[int | None, float | None]) -> None:
    most, longest = limits
    expected = [
        (most is None or sum(PARAMETERS[i] for i in members) <= most)
        and (longest is None or sum(SECONDS[i] for i in members) <= longest)
        for members in combinations(range(4), 2)
    ]
    found = within_budget(list_candidates(4, 2), PARAMETERS, most, SECONDS, longest)
    assert found.dtype == bool
    assert found.tolist() == expected
    tensors = within_budget(list_candidates(4, 2), torch.tensor(PARAMETERS), most, np.array(SECONDS), longest)
    assert tensors.tolist() == expected


def test_a_budget_may_be_spent_to_the_last() -> None:
    assert within_budget(np.array([[0, 1]]), [1, 2], max_parameters=3).tolist() == [True]


def test_required_budget_passes_what_fits() -> None:
    rows = list_candidates(4, 2)
    found = require_within_budget(rows, NAMES, PARAMETERS, 150)
    assert found.tolist() == within_budget(rows, PARAMETERS, 150).tolist() == [True, False, False, False, True, False]


def test_the_cheapest_is_named_if_nothing_fits() -> None:
    rows = list_candidates(4, 2)
    with pytest.raises(SelectionError) as raised:
        require_within_budget(rows, NAMES, PARAMETERS, 100)
    assert str(raised.value) == (
        "No candidate of 2 members keeps within max_parameters=100. Cheapest: b, d with 130 parameters. "
        "What to do: raise the budget, choose a smaller size, or add smaller members to the pool."
    )
    with pytest.raises(SelectionError) as raised:  # each budget is kept by one, both by none
        require_within_budget(rows, NAMES, PARAMETERS, 200, SECONDS, 0.45)
    assert str(raised.value).startswith(
        "No candidate of 2 members keeps within max_parameters=200 and max_inference_seconds=0.45. Cheapest: "
        "b, d with 130 parameters and 1 seconds an image; c, d with 280 parameters and 0.3 seconds an image. What"
    )
    with pytest.raises(SelectionError, match=r"No candidate of 1 member keeps .* Cheapest: b with 50 parameters\."):
        require_within_budget(list_candidates(4, 1), NAMES, PARAMETERS, 10)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"max_parameters": 0}, ConfigError, r"max_parameters: expected a positive number, but got 0"),
        (
            {"max_inference_seconds": -1.0},
            ConfigError,
            r"max_inference_seconds: expected a positive number, but got -1",
        ),
        ({"max_inference_seconds": math.nan}, ConfigError, r"max_inference_seconds: expected a positive number"),
        ({"seconds": None, "max_inference_seconds": 1.0}, ValueError, r"`seconds` of every member .*, but got None"),
        ({"parameters": [1, 2, 3]}, ValueError, r"`members` between 0 and 2, but got 0 to 3"),
        ({"parameters": [1, 2, 3, 0]}, ValueError, r"`parameters` to be positive, but `parameters\[3\]` is 0"),
        ({"seconds": [1, 2, 3, math.inf]}, ValueError, r"`seconds` to be finite"),
    ],
)
def test_bad_budgets(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {"members": list_candidates(4, 2), "parameters": PARAMETERS, "seconds": SECONDS, **changes}
    with pytest.raises(error, match=message):
        within_budget(**arguments)

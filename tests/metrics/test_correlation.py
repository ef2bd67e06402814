"""The correlations against slow versions written from their definitions."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics import kendall, pearson, weighted_kendall

ALL = [weighted_kendall, kendall, pearson]


def sign(value: float) -> int:
    return (value > 0) - (value < 0)


def slow_tau(scores: list[float], results: list[float], weight: Callable[[int, int], float]) -> float:
    """Weighted sum of agreeing pairs, normalised as tau-b is; `weight` is given two indices."""
    both = first = second = 0.0
    for i in range(len(scores)):
        for j in range(i):
            left, right = sign(scores[i] - scores[j]), sign(results[i] - results[j])
            both += weight(i, j) * left * right
            first += weight(i, j) * left * left
            second += weight(i, j) * right * right
    return both / math.sqrt(first * second)


def slow_weighted_tau(scores: list[float], results: list[float]) -> float:
    """Mean over the two rankings, by (scores, results) and by (results, scores), best first."""
    taus = []
    for keys in (list(zip(scores, results, strict=True)), list(zip(results, scores, strict=True))):
        order = sorted(range(len(keys)), key=keys.__getitem__, reverse=True)
        rank = {item: place for place, item in enumerate(order)}
        taus.append(slow_tau(scores, results, lambda i, j, r=rank: 1 / (1 + r[i]) + 1 / (1 + r[j])))  # type: ignore[misc]
    return sum(taus) / 2


@pytest.fixture(params=[0, 1])
def columns(request: pytest.FixtureRequest) -> tuple[list[float], list[float]]:
    """Related numbers; with seed 1 rounded, so that there are ties."""
    generator = np.random.default_rng(request.param)
    scores = generator.normal(size=30)
    results = scores + generator.normal(size=30)
    return (scores.round().tolist(), results.round().tolist()) if request.param else (scores.tolist(), results.tolist())


def test_weighted_kendall(columns: Any) -> None:
    assert weighted_kendall(*columns) == pytest.approx(slow_weighted_tau(*columns), abs=1e-12)


def test_kendall(columns: Any) -> None:
    assert kendall(*columns) == pytest.approx(slow_tau(columns[0], columns[1], lambda i, j: 1.0), abs=1e-12)


def test_pearson(columns: Any) -> None:
    scores, results = columns
    mean_score, mean_result = sum(scores) / 30, sum(results) / 30
    cross = sum((s - mean_score) * (r - mean_result) for s, r in zip(scores, results, strict=True))
    spread = sum((s - mean_score) ** 2 for s in scores) * sum((r - mean_result) ** 2 for r in results)
    assert pearson(*columns) == pytest.approx(cross / math.sqrt(spread), abs=1e-12)


def test_weighted_kendall_minds_the_top_more_than_the_bottom() -> None:
    results = [5.0, 4.0, 3.0, 2.0, 1.0]
    top_swapped, bottom_swapped = [4.0, 5.0, 3.0, 2.0, 1.0], [5.0, 4.0, 3.0, 1.0, 2.0]
    assert weighted_kendall(top_swapped, results) < weighted_kendall(bottom_swapped, results)
    assert kendall(top_swapped, results) == kendall(bottom_swapped, results)


@pytest.mark.parametrize("correlation", ALL)
def test_bounds_and_kinds(correlation: Callable[..., float], columns: Any) -> None:
    scores = columns[0]
    assert correlation(scores, scores) == pytest.approx(1.0, abs=1e-12)
    assert correlation(scores, [-score for score in scores]) == pytest.approx(-1.0, abs=1e-12)
    arrays = correlation(np.array(columns[0]), torch.tensor(columns[1], dtype=torch.float64))
    assert type(arrays) is float
    assert arrays == correlation(*columns)


@pytest.mark.parametrize("correlation", ALL)
def test_nan_where_nothing_is_ordered(correlation: Callable[..., float]) -> None:
    assert math.isnan(correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]))
    assert math.isnan(correlation([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]))


@pytest.mark.parametrize("correlation", ALL)
@pytest.mark.parametrize(
    ("scores", "results", "message"),
    [
        ([1.0, 2.0], [1.0], r"one length, at least 2, but got 2 and 1"),
        ([1.0], [1.0], r"at least 2"),
        ([1.0, float("nan")], [1.0, 2.0], r"`scores\[1\]` is nan"),
        ([1.0, 2.0], [float("inf"), 2.0], r"`results\[0\]` is inf"),
        ([[1.0, 2.0]], [1.0, 2.0], r"`scores` to be a non-empty list of numbers, but got shape \[1, 2\]"),
    ],
)
def test_errors(correlation: Callable[..., float], scores: Any, results: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(correlation)(scores, results)

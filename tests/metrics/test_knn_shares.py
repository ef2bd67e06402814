"""`knn_shares` against loops, against `knn_accuracy`, and worked by hand."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics import knn_accuracy, knn_shares

Numbers = np.ndarray[Any, Any]


def slow_knn_shares(features: Numbers, shares: Numbers) -> float:
    total = 0.0
    for i in range(len(features)):
        away = [float(((features[i] - other) ** 2).sum()) if j != i else np.inf for j, other in enumerate(features)]
        nearest = [j for j, distance in enumerate(away) if distance == min(away)]
        total += sum(1 - sum(abs(a - b) for a, b in zip(shares[i], shares[j], strict=True)) / 2 for j in nearest) / len(
            nearest
        )
    return total / len(features)


def problem(seed: int, samples: int = 40) -> tuple[Numbers, Numbers]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(samples, 5)), generator.dirichlet(np.full(4, 0.4), samples)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_slow_version(seed: int) -> None:
    features, shares = problem(seed)
    assert knn_shares(features, shares) == pytest.approx(slow_knn_shares(features, shares), rel=1e-12)
    on_torch = knn_shares(torch.from_numpy(features), torch.from_numpy(shares))
    assert on_torch == knn_shares(features, shares)
    whole = np.rint(features)  # many neighbours tie
    assert knn_shares(whole, shares) == pytest.approx(slow_knn_shares(whole, shares), rel=1e-12)


def test_of_one_hot_shares_it_is_the_accuracy() -> None:
    features, _ = problem(4)
    labels = np.arange(40) % 3
    assert knn_shares(features, np.eye(3, dtype=int)[labels]) == pytest.approx(knn_accuracy(features, labels))


def test_worked_by_hand() -> None:
    features, shares = np.array([[0.0], [1.0], [5.0]]), np.array([[0.8, 0.2], [0.4, 0.6], [0.0, 1.0]])
    assert knn_shares(features, shares) == pytest.approx((0.6 + 0.6 + 0.6) / 3)
    assert knn_shares(features * 1e200, shares) == knn_shares(features * 1e-200, shares) == pytest.approx(0.6)


def test_perfect_and_useless_member() -> None:
    generator = np.random.default_rng(0)
    shares = np.repeat(generator.dirichlet(np.full(5, 0.2), 10), 4, axis=0)
    perfect, useless = knn_shares(shares, shares), knn_shares(generator.normal(size=(40, 5)), shares)
    assert useless < perfect == 1.0


def test_seeded_subsample() -> None:
    features, shares = problem(1, 60)
    few = knn_shares(features, shares, max_queries=20)
    assert few == knn_shares(features, shares, max_queries=20, seed=0)
    assert few != knn_shares(features, shares, max_queries=20, seed=1)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (np.array([[0.5, 0.5], [1.0, 0.0]]), "as many rows, but got 3 and 2"),
        (np.array([[0.5, 0.5], [1.0, 0.0], [0.3, 0.3]]), "sum 1 in every row, but row 2 has sum 0.6"),
        (np.array([[0.5, 0.5], [1.5, -0.5], [1.0, 0.0]]), "row 1 has sum 1 and smallest entry -0.5"),
        (np.array([[0.5, 0.5], [np.nan, 0.5], [1.0, 0.0]]), "`annotations` to be finite, but row 1"),
    ],
)
def test_bad_annotations(shares: Numbers, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(knn_shares)(np.zeros((3, 2)), shares)
    with pytest.raises(ValueError, match="`max_queries` to be at least 1"):
        inspect.unwrap(knn_shares)(np.zeros((3, 2)), np.eye(2)[[0, 1, 1]], max_queries=0)

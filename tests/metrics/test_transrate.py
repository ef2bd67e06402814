"""`transrate` against a slow version, and worked by hand."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics.transrate import transrate

Numbers = np.ndarray[Any, Any]


def slow_transrate(features: Numbers, labels: Numbers) -> float:
    """By the eigenvalues of covariances."""
    centered = features.astype(np.float64) - features.astype(np.float64).mean(axis=0)

    def rate(rows: Numbers) -> float:
        eigenvalues = np.linalg.eigvalsh(sum(np.outer(row, row) for row in rows) / len(rows))
        return sum(math.log1p(max(value, 0.0) / 1e-4) for value in eigenvalues) / 2

    return rate(centered) - float(np.mean([rate(centered[labels == label]) for label in set(labels.tolist())]))


def blobs(seed: int, samples: int, dimensions: int) -> tuple[Numbers, Numbers]:
    """Classes 1, 2, 5, 9, one of them with two samples only."""
    generator = np.random.default_rng(seed)
    labels = generator.choice([1, 2, 5], size=samples)
    labels[:2] = 9
    return generator.normal(size=(samples, dimensions)) + generator.normal(size=(10, dimensions))[labels], labels


@pytest.mark.parametrize("shape", [(120, 6), (60, 30), (12, 30), (30, 30), (9000, 3)])
def test_agrees_with_slow_version(shape: tuple[int, int]) -> None:
    features, labels = blobs(sum(shape), *shape)
    expected = slow_transrate(features, labels)
    assert transrate(features, labels) == pytest.approx(expected, rel=1e-9, abs=0)
    assert transrate(torch.from_numpy(features), torch.from_numpy(labels)) == pytest.approx(expected, rel=1e-9, abs=0)
    single = features.astype(np.float32)
    assert transrate(single, labels) == pytest.approx(slow_transrate(single, labels), rel=1e-9, abs=0)


def test_worked_by_hand() -> None:
    # The mean is 0. All: variance 2.5; class 0: 1; class 1: 4, about the mean of all.
    features, labels = np.array([[1.0], [-1.0], [2.0], [-2.0]]), np.array([0, 0, 1, 1])
    expected = math.log(25001) / 2 - (math.log(10001) + math.log(40001)) / 4
    assert transrate(features, labels) == pytest.approx(expected, abs=1e-12)
    # Three samples of class 0 and one of class 1, weighted alike; the mean is 1.
    features, labels = np.array([[0.0], [0.0], [0.0], [4.0]]), np.array([0, 0, 0, 1])
    expected = math.log(30001) / 2 - (math.log(10001) + math.log(90001)) / 4
    assert transrate(features, labels) == pytest.approx(expected, abs=1e-12)


def test_perfect_source_is_above_useless_one() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2, 3], 50)
    noise = generator.normal(size=(200, 5))
    assert transrate(np.tile(noise[:50], (4, 1)), labels) == pytest.approx(0.0, abs=1e-11)  # all classes alike
    useless = transrate(noise, labels)
    perfect = transrate(0.1 * noise + np.eye(4, 5)[labels], labels)
    assert 0.0 < useless < 1.0 < perfect


def test_can_be_negative_for_classes_of_unequal_size() -> None:
    features = np.where(np.arange(2000) % 2 == 0, 1.0, -1.0)[:, None]
    features[:2] *= 10.0  # two samples with a hundred times the variance
    labels = np.array([1] * 2 + [0] * 1998)
    expected = math.log1p(1.099e4) / 2 - (math.log1p(1e4) + math.log1p(1e6)) / 4
    assert transrate(features, labels) == pytest.approx(expected, abs=1e-10)
    assert expected < -1.0


def test_maps_that_change_nothing() -> None:
    features, labels = blobs(3, 80, 6)
    plain = transrate(features, labels)
    order = np.random.default_rng(3).permutation(80)
    assert transrate(features[order], labels[order]) == pytest.approx(plain, rel=1e-12)
    assert transrate(features, (13 * labels + 4) % 101) == pytest.approx(plain, rel=1e-12)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    assert transrate(features @ turn + 3.0, labels) == pytest.approx(plain, rel=1e-11)
    assert transrate(2.0 * features, labels) != pytest.approx(plain, rel=1e-4)


def test_directions_of_very_different_size() -> None:
    # Pairs of opposite rows along each direction, and a class of zeros: the determinants are products.
    scales = np.array([1e4, 30.0, 1.0, 1e-2])
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    rows = np.concatenate([np.diag(scales), -np.diag(scales), np.zeros((8, 4))]) @ turn
    labels = np.array([0] * 8 + [1] * 8)
    expected = sum(math.log1p(2 * s**2 / 16e-4) - math.log1p(2 * s**2 / 8e-4) / 2 for s in scales) / 2
    assert transrate(rows, labels) == pytest.approx(expected, rel=1e-10)


def test_duplicated_columns_are_one_longer_one() -> None:
    features, labels = blobs(5, 40, 3)
    doubled = np.hstack([features, features])
    assert transrate(doubled, labels) == pytest.approx(transrate(math.sqrt(2) * features, labels), rel=1e-11)


def test_edge_cases() -> None:
    constant = np.full((6, 3), 0.1)
    assert transrate(constant, np.array([0, 0, 1, 1, 4, 4])) == 0.0
    features, labels = blobs(7, 20, 3)
    assert transrate(features, np.full(20, 6)) == 0.0  # one class
    assert transrate(np.ones((1, 3)), np.array([0])) == 0.0
    assert transrate(features, np.arange(20)) == pytest.approx(slow_transrate(features, np.arange(20)), rel=1e-9)
    wider = np.hstack([features, np.full((20, 2), 0.7)])
    assert transrate(wider, labels) == pytest.approx(transrate(features, labels), rel=1e-12)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones((0, 2)), np.zeros(0, dtype=int), "at least 1 samples"),
        (np.array([[1.0], [np.inf]]), np.array([0, 1]), "row 1"),
        (np.ones((2, 1)), np.array([0, 255]), "without void"),
        (np.ones((2, 1)), np.array([0, -1]), "between 0"),
        (np.ones((2, 1), dtype=int), np.array([0, 1]), "floating point"),
    ],
)
def test_bad_input(features: Numbers, labels: Numbers, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(transrate)(features, labels)

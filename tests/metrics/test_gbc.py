"""`gbc` against a slow version, and worked by hand."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics.gbc import gbc

Numbers = np.ndarray[Any, Any]


def slow_gbc(features: Numbers, labels: Numbers, covariance: str) -> float:
    """Number by number, over ordered pairs, with the determinants written as such."""
    moments = []
    for label in sorted(set(labels.tolist())):
        rows = [[float(v) for v in row] for row, of_row in zip(features, labels, strict=True) if of_row == label]
        columns = list(zip(*rows, strict=True))
        means = [math.fsum(column) / len(rows) for column in columns]
        spreads = [math.fsum((v - m) ** 2 for v in c) / len(rows) for c, m in zip(columns, means, strict=True)]
        spreads = [max(spread, 1e-4) for spread in spreads]
        if covariance == "spherical":
            spreads = [math.fsum(spreads) / len(spreads)] * len(spreads)
        moments.append((means, spreads))
    total = 0.0
    for a, (means_a, spreads_a) in enumerate(moments):
        for b, (means_b, spreads_b) in enumerate(moments):
            if a != b:
                distance = 0.0
                for ma, mb, va, vb in zip(means_a, means_b, spreads_a, spreads_b, strict=True):
                    distance += (ma - mb) ** 2 / (4 * (va + vb)) - 0.5 * math.log(math.sqrt(va * vb) / ((va + vb) / 2))
                total += math.exp(-distance)
    return -total


def blobs(seed: int, samples: int = 120, dimensions: int = 6, apart: float = 1.0) -> tuple[Numbers, Numbers]:
    """Classes 1, 2, 5, 9 with means and spreads of their own, one of them with two samples only."""
    generator = np.random.default_rng(seed)
    labels = generator.choice([1, 2, 5], size=samples)
    labels[:2] = 9
    means = apart * generator.normal(size=(10, dimensions))
    scales = generator.uniform(0.3, 2.0, size=(10, dimensions))
    return means[labels] + scales[labels] * generator.normal(size=(samples, dimensions)), labels


@pytest.mark.parametrize("covariance", ["diagonal", "spherical"])
@pytest.mark.parametrize("shape", [(120, 6), (1500, 3), (12, 30)])
def test_agrees_with_slow_version(covariance: Any, shape: tuple[int, int]) -> None:
    features, labels = blobs(sum(shape), *shape, apart=0.5)
    expected = slow_gbc(features, labels, covariance)
    assert -12.0 < expected < 0.0
    assert gbc(features, labels, covariance) == pytest.approx(expected, rel=1e-9, abs=0)
    tensors = torch.from_numpy(features), torch.from_numpy(labels)
    assert gbc(*tensors, covariance=covariance) == pytest.approx(expected, rel=1e-9, abs=0)
    single = features.astype(np.float32)
    assert gbc(single, labels, covariance) == pytest.approx(slow_gbc(single, labels, covariance), rel=1e-9, abs=0)


def test_worked_by_hand() -> None:
    # Means (1, 0) and (5, 0), variances (1, 4) and (4, 4): distance 16 / 20 + log(6.25 / 4) / 4, twice.
    features = np.array([[0.0, -2.0], [2.0, 2.0], [3.0, -2.0], [7.0, 2.0]])
    labels = np.array([0, 0, 1, 1])
    diagonal = 16 / 20 + math.log(2.5**2 / 4) / 4
    assert gbc(features, labels) == pytest.approx(-2 * math.exp(-diagonal), abs=1e-14)
    # Spherical: variances 2.5 and 4 in both dimensions, so two logarithms.
    spherical = 16 / (4 * 6.5) + 2 * math.log(3.25**2 / 10) / 4
    assert gbc(features, labels, "spherical") == pytest.approx(-2 * math.exp(-spherical), abs=1e-14)


def test_diagonal_is_the_default() -> None:
    features, labels = blobs(1)
    assert gbc(features, labels) == gbc(features, labels, "diagonal") != gbc(features, labels, "spherical")


def test_perfect_and_useless_source() -> None:
    labels = np.repeat([0, 1, 2], 20)
    same = np.tile(np.random.default_rng(0).normal(size=(20, 4)), (3, 1))
    assert gbc(same, labels) == pytest.approx(-6.0, abs=1e-12)  # every class has the same samples
    perfect = gbc(same + 1000.0 * labels[:, None], labels)
    assert perfect == 0.0
    assert math.copysign(1.0, perfect) == 1.0  # not the minus zero of minus a sum of nothing
    assert -6.0 < gbc(same + labels[:, None], labels) < 0.0


@pytest.mark.parametrize("covariance", ["diagonal", "spherical"])
def test_order_names_and_place_do_not_matter(covariance: Any) -> None:
    features, labels = blobs(2)
    plain = gbc(features, labels, covariance)
    order = np.random.default_rng(3).permutation(len(labels))
    assert gbc(features[order], labels[order], covariance) == pytest.approx(plain, rel=1e-12)
    assert gbc(features, (13 * labels + 4) % 101, covariance) == pytest.approx(plain, rel=1e-12)
    assert gbc(features[:, ::-1], labels, covariance) == pytest.approx(plain, rel=1e-12)
    assert gbc(features + 1e5, labels, covariance) == pytest.approx(plain, rel=1e-8)  # rounded when shifted


def test_maps_that_change_nothing() -> None:
    features, labels = blobs(4)
    features, labels = features[2:], labels[2:]  # a class of two samples may have a variance below the floor
    scaled = features * np.array([0.5, 3.0, 1.0, 20.0, -2.0, 7.0])
    assert gbc(scaled, labels) == pytest.approx(gbc(features, labels), rel=1e-11)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    assert gbc(5.0 * features @ turn, labels, "spherical") == pytest.approx(
        gbc(features, labels, "spherical"), rel=1e-11
    )
    assert gbc(features @ turn, labels) != pytest.approx(gbc(features, labels), rel=1e-3)


def test_duplicated_columns_double_the_distance() -> None:
    features, labels = np.array([[0.0], [2.0], [4.0], [6.0]]), np.array([0, 0, 1, 1])
    assert gbc(np.hstack([features, features]), labels) == pytest.approx(-2 * math.exp(-4), abs=1e-15)


@pytest.mark.parametrize("covariance", ["diagonal", "spherical"])
def test_floor_of_the_variance(covariance: Any) -> None:
    # One sample per class: both variances are 1e-4, the distance is 0.01^2 / (8 * 1e-4) per dimension.
    features = np.array([[0.0, 0.0], [0.01, 0.01]])
    assert gbc(features, np.array([3, 8]), covariance) == pytest.approx(-2 * math.exp(-0.25), abs=1e-14)
    assert gbc(np.full((4, 2), 0.1), np.array([0, 0, 1, 2]), covariance) == -6.0  # constant: classes coincide


def test_floor_is_applied_before_the_mean_over_dimensions() -> None:
    features = np.array([[0.0, 5.0], [2.0, 5.0], [0.0, 5.0], [2.0, 5.0]])
    # Variances 1 and 1e-4, mean 0.50005; the class means coincide, so a shift of one class gives the distance.
    features[2:, 0] += 2.0
    expected = -2 * math.exp(-4 / (8 * 0.50005))
    assert gbc(features, np.array([0, 0, 1, 1]), "spherical") == pytest.approx(expected, abs=1e-15)


def test_one_class() -> None:
    assert gbc(np.ones((3, 2)), np.full(3, 4)) == 0.0
    assert gbc(np.ones((1, 2)), np.array([0])) == 0.0


@pytest.mark.parametrize(
    ("features", "labels", "covariance", "message"),
    [
        (np.ones((0, 2)), np.zeros(0, dtype=int), "diagonal", "at least 1 samples"),
        (np.array([[1.0], [np.nan]]), np.array([0, 1]), "diagonal", "row 1"),
        (np.ones((2, 1)), np.array([0, 255]), "diagonal", "without void"),
        (np.ones((2, 1)), np.array([0, 1, 1]), "diagonal", "shape"),
        (np.ones((2, 1)), np.array([0, 1]), "full", "'diagonal' or 'spherical', but got 'full'"),
    ],
)
def test_bad_input(features: Numbers, labels: Numbers, covariance: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(gbc)(features, labels, covariance)

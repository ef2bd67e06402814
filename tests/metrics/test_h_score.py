"""`h_score` against slow versions, and worked by hand."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics.h_score import h_score

Numbers = np.ndarray[Any, Any]


def class_means(features: Numbers, labels: Numbers) -> Numbers:
    means = {label: features[labels == label].mean(axis=0) for label in set(labels.tolist())}
    return np.stack([means[label] for label in labels.tolist()])


def slow_h_score(features: Numbers, labels: Numbers) -> float:
    """From the definition: two covariances and a pseudo-inverse."""
    features = features.astype(np.float64)
    within_all = np.atleast_2d(np.cov(features, rowvar=False))
    between = np.atleast_2d(np.cov(class_means(features, labels), rowvar=False))
    return float(np.trace(np.linalg.pinv(within_all, rcond=1e-12, hermitian=True) @ between))


def slow_shrinkage(features: Numbers) -> float:
    """Ledoit and Wolf's definition, from one outer product per sample."""
    centered = features.astype(np.float64) - features.astype(np.float64).mean(axis=0)
    samples, dimensions = centered.shape
    covariance = centered.T @ centered / samples
    target = np.trace(covariance) / dimensions * np.eye(dimensions)
    from_target = ((covariance - target) ** 2).sum()
    products = centered[:, :, None] * centered[:, None, :]
    from_truth = ((products - covariance) ** 2).sum() / samples**2
    return float(min(from_target, from_truth) / from_target)


def slow_shrunk_h_score(features: Numbers, labels: Numbers) -> float:
    features = features.astype(np.float64)
    amount, dimensions = slow_shrinkage(features), features.shape[1]
    covariance = np.atleast_2d(np.cov(features, rowvar=False, bias=True))
    shrunk = (1 - amount) * covariance + amount * np.trace(covariance) / dimensions * np.eye(dimensions)
    between = np.atleast_2d(np.cov(class_means(features, labels), rowvar=False))
    return float(np.trace(np.linalg.inv(shrunk) @ ((1 - amount) * between)))


def blobs(seed: int, samples: int, dimensions: int) -> tuple[Numbers, Numbers]:
    """Classes 1, 2, 5, 9, one of them with two samples only; correlated columns."""
    generator = np.random.default_rng(seed)
    labels = generator.choice([1, 2, 5], size=samples)
    labels[:2] = 9
    features = generator.normal(size=(samples, dimensions)) + generator.normal(size=(10, dimensions))[labels]
    return features @ (np.eye(dimensions) + 0.5 * generator.normal(size=(dimensions, dimensions))), labels


@pytest.mark.parametrize("shape", [(120, 6), (60, 30), (9000, 3)])
def test_agrees_with_slow_version(shape: tuple[int, int]) -> None:
    features, labels = blobs(sum(shape), *shape)
    expected = slow_h_score(features, labels)
    assert 0.1 < expected < 2.999
    assert h_score(features, labels) == pytest.approx(expected, rel=1e-9, abs=0)
    assert h_score(torch.from_numpy(features), torch.from_numpy(labels)) == pytest.approx(expected, rel=1e-9, abs=0)
    single = features.astype(np.float32)
    assert h_score(single, labels) == pytest.approx(slow_h_score(single, labels), rel=1e-9, abs=0)


@pytest.mark.parametrize("shape", [(120, 6), (60, 30), (12, 30), (3, 8), (9000, 3)])
def test_shrinkage_agrees_with_slow_version(shape: tuple[int, int]) -> None:
    features, labels = blobs(sum(shape), *shape)
    expected = slow_shrunk_h_score(features, labels)
    assert 1e-5 < slow_shrinkage(features) < 0.999
    assert h_score(features, labels, shrinkage=True) == pytest.approx(expected, rel=1e-9, abs=0)
    single = torch.from_numpy(features.astype(np.float32))
    expected = slow_shrunk_h_score(single.numpy(), labels)
    assert h_score(single, torch.from_numpy(labels), shrinkage=True) == pytest.approx(expected, rel=1e-9, abs=0)


def test_worked_by_hand() -> None:
    # Covariances over 3: [[16, 8], [8, 5]] / 3 in all and [[16, 8], [8, 4]] / 3 between. The inverse of the first is
    # [[5, -8], [-8, 16]] / 16 * 3, and the trace (80 - 64 - 64 + 64) / 16. Entry by entry it would be 8 less.
    features = np.array([[-2.0, -1.5], [-2.0, -0.5], [2.0, 0.5], [2.0, 1.5]])
    assert h_score(features, np.array([0, 0, 1, 1])) == pytest.approx(1.0, abs=1e-13)
    # One dimension, shrinkage 0 (nothing to shrink towards): 1 between over n - 1 = 3 of 4, in all 2 over 4.
    narrow = np.array([[0.0], [1.0], [1.0], [2.0]])
    assert h_score(narrow, np.array([0, 0, 1, 1])) == pytest.approx(0.5, abs=1e-14)
    assert h_score(narrow, np.array([0, 0, 1, 1]), shrinkage=True) == pytest.approx(2 / 3, abs=1e-14)


@pytest.mark.parametrize("shrinkage", [False, True])
def test_perfect_source_is_above_useless_one(shrinkage: bool) -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2, 3], 50)
    noise = generator.normal(size=(200, 5))
    same = h_score(np.tile(noise[:50], (4, 1)), labels, shrinkage)
    useless = h_score(noise, labels, shrinkage)
    good = h_score(0.1 * noise + np.eye(4, 5)[labels], labels, shrinkage)
    perfect = h_score(np.eye(4)[labels], labels, shrinkage)
    assert same == pytest.approx(0.0, abs=1e-20)
    assert same < useless < 0.5 < 2.5 < good < perfect
    if not shrinkage:
        assert perfect == pytest.approx(3.0, abs=1e-12)


@pytest.mark.parametrize("shrinkage", [False, True])
def test_order_names_place_and_rotation_do_not_matter(shrinkage: bool) -> None:
    features, labels = blobs(3, 80, 6)
    plain = h_score(features, labels, shrinkage)
    order = np.random.default_rng(3).permutation(80)
    assert h_score(features[order], labels[order], shrinkage) == pytest.approx(plain, rel=1e-12)
    assert h_score(features, (13 * labels + 4) % 101, shrinkage) == pytest.approx(plain, rel=1e-12)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    assert h_score(-7.0 * features @ turn + 30.0, labels, shrinkage) == pytest.approx(plain, rel=1e-11)


def test_affine_maps_change_nothing_in_the_plain_form() -> None:
    features, labels = blobs(5, 80, 4)
    plain = h_score(features, labels)
    assert h_score(features * np.array([1e-9, 1.0, 1e9, 3.0]), labels) == pytest.approx(plain, rel=1e-11)
    mixed = features @ np.array(
        [[1.0, 1.0, 0.0, 0.0], [0.0, 1e-5, 1.0, 0.0], [0.0, 0.0, 2.0, 0.0], [9.0, 0.0, 0.0, 1.0]]
    )
    assert h_score(mixed, labels) == pytest.approx(plain, rel=1e-9)
    assert h_score(features * np.array([1.0, 2.0, 1.0, 1.0]), labels, shrinkage=True) != pytest.approx(
        h_score(features, labels, shrinkage=True), rel=1e-4
    )


def test_duplicated_and_constant_columns_change_nothing_in_the_plain_form() -> None:
    features, labels = blobs(6, 80, 4)
    plain = h_score(features, labels)
    assert h_score(np.hstack([features, features, -2.0 * features]), labels) == pytest.approx(plain, rel=1e-11)
    assert h_score(np.hstack([features, np.full((80, 1), 0.1)]), labels) == pytest.approx(plain, rel=1e-12)
    for shrinkage in (False, True):
        doubled, expected = np.hstack([features, features]), slow_shrunk_h_score if shrinkage else slow_h_score
        assert h_score(doubled, labels, shrinkage) == pytest.approx(expected(doubled, labels), rel=1e-9)


def test_fewer_samples_than_dimensions() -> None:
    features, labels = blobs(7, 12, 30)
    assert h_score(features, labels) == pytest.approx(len(set(labels.tolist())) - 1, abs=1e-11)
    assert h_score(features, np.arange(12)) == pytest.approx(11.0, abs=1e-11)  # one sample per class


def test_one_sample_per_class() -> None:
    features, _ = blobs(8, 12, 3)
    assert h_score(features, np.arange(12)) == pytest.approx(3.0, abs=1e-12)  # all variance is between
    expected = slow_shrunk_h_score(features, np.arange(12))
    assert h_score(features, np.arange(12), shrinkage=True) == pytest.approx(expected, rel=1e-10)


def test_shrinkage_is_at_most_one() -> None:
    # Nearly the unit matrix already: the estimated distance of the covariance from the truth is larger than from that.
    square = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.01]])
    assert slow_shrinkage(square) == 1.0
    assert h_score(square, np.array([0, 0, 1, 1]), shrinkage=True) == 0.0
    assert h_score(square, np.array([0, 0, 1, 1])) > 0.9


def test_constant_features_and_one_class() -> None:
    features, labels = blobs(9, 12, 3)
    assert h_score(np.full((12, 3), 0.1), labels) == 0.0
    assert h_score(features, np.full(12, 6)) == pytest.approx(0.0, abs=1e-25)
    assert h_score(features, np.full(12, 6), shrinkage=True) == pytest.approx(0.0, abs=1e-25)


@pytest.mark.parametrize("features", [np.full((12, 3), 0.1), np.array([[0.0, 1.0], [2.0, 5.0]])])
def test_shrunk_covariance_without_inverse(features: Numbers) -> None:
    with pytest.raises(ValueError, match="shrunk covariance has an inverse"):
        h_score(features, np.arange(len(features)), shrinkage=True)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones((0, 2)), np.zeros(0, dtype=int), "at least 2 samples"),
        (np.ones((1, 2)), np.zeros(1, dtype=int), "at least 2 samples"),
        (np.array([[1.0], [np.nan]]), np.array([0, 1]), "row 1"),
        (np.ones((2, 1)), np.array([0, 255]), "without void"),
        (np.ones((2, 1)), np.array([0, 1, 1]), "shape"),
    ],
)
def test_bad_input(features: Numbers, labels: Numbers, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(h_score)(features, labels)

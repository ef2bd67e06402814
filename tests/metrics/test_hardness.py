"""Hardness of images and pixels against loops, and worked by hand."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics import hardness as module
from muster.metrics.hardness import mahalanobis_hardness, similarity_hardness

Numbers = np.ndarray[Any, Any]


def slow_cosine(first: Numbers, second: Numbers) -> float:
    lengths = math.sqrt(math.fsum(first**2)) * math.sqrt(math.fsum(second**2))
    return math.fsum(first * second) / lengths if lengths else 0.0


def slow_similarity(source: list[Numbers], target: list[Numbers]) -> list[float]:
    """1 - mean over source images of the mean over stages of cosines: every pair of images by itself."""
    hardness = []
    for j in range(len(target[0])):
        total = 0.0
        for i in range(len(source[0])):
            total += math.fsum(slow_cosine(s[i], t[j]) for s, t in zip(source, target, strict=True)) / len(source)
        hardness.append(1 - total / len(source[0]))
    return hardness


def slow_mahalanobis(features: Numbers, labels: Numbers) -> list[float]:
    """Sample by sample and class by class, with the pseudo-inverse of NumPy."""
    hardness = []
    for row, label in zip(features, labels, strict=True):
        own = features[labels == label].astype(np.float64)
        varying = np.array([len(set(column)) > 1 for column in own.T])
        if not varying.any():
            hardness.append(0.0)
            continue
        dimensions, distinct = varying.sum(), len({tuple(values) for values in own})
        own = own[:, varying]
        mean = own.mean(axis=0)
        spread = sum(np.outer(values - mean, values - mean) for values in own) / len(own)
        amount = max(0.0, 1 - (distinct - 1) / (2 * dimensions))
        spread = (1 - amount) * spread + amount * np.trace(spread) / dimensions * np.eye(dimensions)
        offset = row[varying].astype(np.float64) - mean
        hardness.append(math.sqrt(offset @ np.linalg.pinv(spread, rcond=1e-11, hermitian=True) @ offset))
    return hardness


@pytest.fixture
def stages() -> tuple[list[Numbers], list[Numbers]]:
    """Three stages of widths 3, 5 and 7; 4 source and 6 target images."""
    generator = np.random.default_rng(0)
    source = [generator.normal(size=(4, width)) + 0.5 for width in (3, 5, 7)]
    target = [generator.normal(size=(6, width)) * 10 + 0.5 for width in (3, 5, 7)]
    return source, target


def test_similarity_agrees_with_slow_version(stages: Any) -> None:
    source, target = stages
    np.testing.assert_allclose(similarity_hardness(source, target, skip=0), slow_similarity(source, target), rtol=1e-9)
    without_first = slow_similarity(source[1:], target[1:])
    hardness = similarity_hardness(source, target)
    np.testing.assert_allclose(hardness, without_first, rtol=1e-9)
    means = [(layer / np.linalg.norm(layer, axis=1, keepdims=True)).mean(axis=0) for layer in source]
    np.testing.assert_allclose(similarity_hardness(means, target), without_first, rtol=1e-9)
    single = [torch.from_numpy(layer).float() for layer in target]
    on_torch = similarity_hardness([torch.from_numpy(mean).half() for mean in means], single)
    assert isinstance(on_torch, torch.Tensor)
    assert on_torch.dtype == torch.float64
    np.testing.assert_allclose(on_torch.numpy(), without_first, atol=2e-3)


def test_similarity_by_hand() -> None:
    # Cosines with (1, 0): 1, -1 and 0.6; the second stage says 0 of everything.
    target = [np.array([[5.0, 0.0], [-2.0, 0.0], [0.3, 0.4]]), np.array([[0.0], [0.0], [0.0]])]
    source = [np.array([[7.0, 0.0]]), np.array([[2.0]])]
    np.testing.assert_allclose(similarity_hardness(source[:1], target[:1], skip=0), [0.0, 2.0, 0.4], atol=1e-15)
    np.testing.assert_allclose(similarity_hardness(source, target, skip=0), [0.5, 1.5, 0.7], atol=1e-15)
    assert similarity_hardness(source, target).tolist() == [1.0, 1.0, 1.0]


def test_similarity_looks_at_directions_only(stages: Any) -> None:
    source, target = stages
    plain = similarity_hardness(source, target)
    for scale in (1e-200, 1e200):
        scaled = similarity_hardness([layer * scale for layer in source], [layer * scale for layer in target])
        np.testing.assert_allclose(scaled, plain, rtol=1e-12)
    order = [3, 0, 5, 1, 2, 4]
    np.testing.assert_allclose(
        similarity_hardness(source, [layer[order] for layer in target]), plain[order], rtol=1e-12
    )
    near = similarity_hardness([target[0][:1], target[1][:1], target[2][:1]], target)
    assert near.argmin() == 0
    assert near[0] == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize(
    ("source", "target", "options", "message"),
    [
        ([np.ones((2, 3))], [], {}, "one entry per stage, but got 1 and 0"),
        ([np.ones((2, 3))], [np.ones((2, 3))], {}, "more than `skip` = 1 stages"),
        ([], [], {"skip": 0}, "more than `skip` = 0 stages"),
        ([np.ones((2, 3))], [np.ones((2, 3))], {"skip": -1}, "at least 0 skipped"),
        ([np.ones((2, 3))], [np.ones((2, 4))], {"skip": 0}, r"`source_layers\[0\]` to have 4 dimensions.*got 3"),
        ([np.ones((2, 3))] * 2, [np.ones((2, 3)), np.ones((1, 3))], {"skip": 0}, r"`target_layers\[1\]` has 1"),
        ([np.ones(3)], [np.ones((2, 3))], {"skip": 0}, r"mean of unit embeddings, but its length is 1\.73"),
        ([np.full(3, np.nan)], [np.ones((2, 3))], {"skip": 0}, "mean of unit embeddings, but its length is nan"),
        ([np.ones(3, dtype=int)], [np.ones((2, 3))], {"skip": 0}, r"`source_layers\[0\]` to be floating point"),
        ([np.ones((1, 1, 3))], [np.ones((2, 3))], {"skip": 0}, r"shape \[dimensions\] or \[images, dimensions\]"),
        ([np.zeros(3)], [np.full((2, 3), np.inf)], {"skip": 0}, r"`target_layers\[0\]` to be finite"),
    ],
)
def test_bad_layers(source: Any, target: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(similarity_hardness)(source, target, **options)


def classes(seed: int = 0) -> tuple[Numbers, Numbers]:
    """Five dimensions; classes of 60, 12 (at the edge), 6, 3, 2 and 1 samples; labels are not contiguous."""
    generator = np.random.default_rng(seed)
    labels = np.repeat([3, 0, 9, 4, 20, 7], [60, 12, 6, 3, 2, 1])
    features = generator.normal(size=(84, 5)) @ generator.normal(size=(5, 5)) + labels[:, None]
    order = generator.permutation(84)
    return features[order], labels[order]


def test_mahalanobis_agrees_with_slow_version() -> None:
    features, labels = classes()
    expected = slow_mahalanobis(features, labels)
    hardness = mahalanobis_hardness(features, labels)
    np.testing.assert_allclose(hardness, expected, rtol=1e-9)
    assert hardness.dtype == np.float64
    on_torch = mahalanobis_hardness(torch.from_numpy(features), torch.from_numpy(labels))
    assert isinstance(on_torch, torch.Tensor)
    np.testing.assert_allclose(on_torch.numpy(), expected, rtol=1e-9)
    single = features.astype(np.float32)
    np.testing.assert_allclose(mahalanobis_hardness(single, labels), slow_mahalanobis(single, labels), rtol=1e-9)
    half = torch.from_numpy(features).half()
    np.testing.assert_allclose(
        mahalanobis_hardness(half, labels), slow_mahalanobis(half.float().numpy(), labels), rtol=1e-9
    )


def test_many_samples_give_the_plain_definition() -> None:
    features, labels = classes()
    own = features[labels == 3]
    spread = np.cov(own.T, bias=True)
    offset = own - own.mean(axis=0)
    expected = np.sqrt(np.einsum("nd,de,ne->n", offset, np.linalg.inv(spread), offset))
    hardness = mahalanobis_hardness(features, labels)[labels == 3]
    np.testing.assert_allclose(hardness, expected, rtol=1e-9)
    assert np.mean(hardness**2) == pytest.approx(5, rel=1e-9)  # the rank, as the docstring says


def test_mahalanobis_by_hand() -> None:
    # Variances 2 and 8 around (0, 0), no correlation, and 4 = 2 x 2 distinct samples are one too few: a = 1/4 with
    # m = 5, so variances 2.75 and 7.25.
    features = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 4.0], [0.0, -4.0]])
    hardness = mahalanobis_hardness(features, np.zeros(4, dtype=int))
    np.testing.assert_allclose(hardness, [2 / math.sqrt(2.75)] * 2 + [4 / math.sqrt(7.25)] * 2, rtol=1e-14)
    more = np.vstack([features, [[0.0, 0.0]]])  # enough: variances 1.6 and 6.4
    hardness = mahalanobis_hardness(more, np.zeros(5, dtype=int))
    np.testing.assert_allclose(hardness, [math.sqrt(2.5)] * 4 + [0.0], rtol=1e-14, atol=1e-14)


def test_invariances() -> None:
    features, labels = classes()
    plain = mahalanobis_hardness(features, labels)
    for changed in (features * 1e-20, features * 1e20, features + 1e3, -features):
        np.testing.assert_allclose(mahalanobis_hardness(changed, labels), plain, rtol=1e-8, atol=1e-12)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    np.testing.assert_allclose(mahalanobis_hardness(features @ rotation, labels), plain, rtol=1e-9)
    order = np.random.default_rng(1).permutation(84)
    np.testing.assert_allclose(mahalanobis_hardness(features[order], labels[order]), plain[order], rtol=1e-9)
    np.testing.assert_allclose(mahalanobis_hardness(features, labels * 2 + 1), plain, rtol=1e-12)
    affine = features @ np.random.default_rng(2).normal(size=(5, 5)) * [1e-9, 1.0, 1e9, 3.0, 1e4]
    large = np.isin(labels, [3, 0])
    np.testing.assert_allclose(mahalanobis_hardness(affine, labels)[large], plain[large], rtol=1e-9)
    assert not np.allclose(mahalanobis_hardness(affine, labels)[~large], plain[~large], rtol=1e-3)


def test_far_sample_is_hardest() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(200, 6))
    features[17] += 10.0
    assert mahalanobis_hardness(features, generator.integers(0, 2, 200)).argmax() == 17


def test_constant_and_duplicated_dimensions_change_nothing() -> None:
    features, labels = classes()
    large = np.isin(labels, [3])
    plain = mahalanobis_hardness(features, labels)
    constant = np.hstack([np.full((84, 2), 0.1), features])
    np.testing.assert_allclose(mahalanobis_hardness(constant, labels), plain, rtol=1e-12)
    for dtype in (np.float64, np.float32):
        again = np.hstack([features, features[:, :3], features @ np.ones((5, 1))]).astype(dtype)
        found = mahalanobis_hardness(again, labels)
        np.testing.assert_allclose(found[large], plain[large], rtol=1e-9 if dtype is np.float64 else 1e-4)
    np.testing.assert_allclose(found, slow_mahalanobis(again, labels), rtol=1e-5)
    single = features.astype(np.float32)
    # The sum is rounded to float32, which makes a tiny variance of its own: not one to divide by.
    rounded = np.hstack([single, single.sum(axis=1, keepdims=True)])
    assert np.ptp(rounded.astype(np.float64) @ [1.0, 1.0, 1.0, 1.0, 1.0, -1.0]) > 1e-7
    np.testing.assert_allclose(mahalanobis_hardness(rounded, labels)[large], plain[large], rtol=1e-4)


def test_features_that_do_not_differ() -> None:
    labels = np.array([0, 0, 0, 1, 5])
    assert mahalanobis_hardness(np.full((5, 3), 0.1), labels).tolist() == [0.0] * 5
    features = np.array([[0.1, 0.2]] * 3 + [[1.0, 2.0], [3.0, 4.0]])
    assert mahalanobis_hardness(features, labels).tolist() == [0.0] * 5


def test_repeated_samples_count_once() -> None:
    # Two points, one drawn three times as often as the other: the plain definition would look at how often alone.
    features = np.array([[0.0, -0.0, 0.0, -0.0], [0.0] * 4, [-0.0] * 4, [1.0, 1.0, 0.0, 0.0]])
    labels = np.zeros(4, dtype=int)
    np.testing.assert_allclose(mahalanobis_hardness(features, labels), slow_mahalanobis(features, labels), rtol=1e-12)
    generator = np.random.default_rng(0)
    few = generator.normal(size=(8, 5))
    rows = np.concatenate([np.arange(8), generator.integers(0, 8, 60)])
    labels = np.zeros(68, dtype=int)
    for dtype in (np.float64, np.float32):
        repeated = few[rows].astype(dtype)
        found = mahalanobis_hardness(repeated, labels)
        np.testing.assert_allclose(found, slow_mahalanobis(repeated, labels), rtol=1e-9)
        assert len(set(found.round(9))) == 8


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distinct_rows_are_counted(dtype: torch.dtype) -> None:
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 10).to(dtype)  # differ in nothing but signs
    assert module._count_distinct(signs, torch.arange(1024)) == 1024
    assert module._count_distinct(signs, torch.arange(0, 1024, 3)) == 342
    zeros = torch.tensor([[0.0, 0.0, 0.0], [-0.0, 0.0, 0.0], [-0.0, 0.0, -0.0], [-0.0, -0.0, -0.0]], dtype=dtype)
    assert module._count_distinct(zeros, torch.arange(4)) == 1
    generator = np.random.default_rng(0)
    features = generator.normal(size=(500, 4))[generator.integers(0, 500, 3000)]
    found = module._count_distinct(torch.from_numpy(features).to(dtype), torch.arange(3000))
    assert found == len(np.unique(features, axis=0))


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = classes()
    plain = mahalanobis_hardness(features, labels)
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(mahalanobis_hardness(features, labels), plain, rtol=1e-11)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.zeros((3, 2), dtype=int), np.zeros(3, dtype=int), "`features` to be floating point"),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "at least 1 samples"),
        (np.zeros((3, 2)), np.zeros(2, dtype=int), r"shape \[3\], but got \[2\]"),
        (np.zeros((3, 2)), np.array([0, 1, 255]), "without void"),
        (np.zeros((3, 2)), np.array([0, 1, -1]), "between 0 and 1, but got -1"),
        (np.array([[0.0], [np.inf]]), np.zeros(2, dtype=int), "row 1 holds NaN or infinity"),
    ],
)
def test_bad_features(features: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(mahalanobis_hardness)(features, labels)

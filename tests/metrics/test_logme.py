"""`logme` against a slow version, in more digits where it matters, and worked by hand."""

from __future__ import annotations

import inspect
import math
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

from muster.metrics.logme import logme

Numbers = np.ndarray[Any, Any]


def slow_evidence(features: Numbers, target: Numbers) -> tuple[float, int]:
    """MacKay's iteration with explicit inverses, and how many steps it took.

    By matrices of samples by samples: the target is normal around 0 with covariance (I + ff' beta / alpha) / beta. The
    step's last two lines are the definition; what goes into them is written so that nothing cancels where alpha / beta
    runs off to 0 or infinity.
    """
    samples, kernel = len(features), features @ features.T
    alpha = beta = 1.0
    steps = 0
    for step in range(1, 20_001):
        steps = step
        ratio = alpha / beta
        smoother = np.linalg.inv(np.eye(samples) + kernel / ratio)
        residual = smoother @ target
        weights = features.T @ residual / ratio
        effective, rest = np.trace(kernel @ smoother) / ratio, np.trace(smoother)
        assert effective + rest == pytest.approx(samples)
        if weights @ weights == 0.0:
            alpha = math.inf
        if not 1e-14 < ratio < 1e14 or alpha == math.inf:
            break
        alpha, beta = effective / (weights @ weights), rest / (residual @ residual)
        if abs(math.log(alpha / beta / ratio)) < 1e-12:
            break
    ratio = alpha / beta
    covariance = np.eye(samples) + kernel / ratio
    beta = samples / (target @ np.linalg.solve(covariance, target))
    log_determinant = np.linalg.slogdet(covariance)[1]
    return float((math.log(beta / (2 * math.pi)) - 1 - log_determinant / samples) / 2), steps


def slow_logme(features: Numbers, labels: Numbers) -> float:
    features = features.astype(np.float64)
    targets = [(labels == label).astype(np.float64) for label in sorted(set(labels.tolist()))]
    return float(np.mean([slow_evidence(features, target)[0] for target in targets]))


def precise_evidence(features: Numbers, target: Numbers) -> float:
    """The same with 60 digits, by the samples' covariance I / beta + ff' / alpha, for a handful of samples."""
    with mpmath.workdps(60):
        rows, goal, samples = mpmath.matrix(features.tolist()), mpmath.matrix(target.tolist()), len(features)
        values, vectors = mpmath.eigsy(rows.T * rows)
        along = [(vectors[:, i].T * (rows.T * goal))[0] ** 2 / values[i] for i in range(len(values))]
        total = (goal.T * goal)[0]
        ratio = mpmath.mpf(1)
        for _ in range(5000):
            gamma = sum(value / (value + ratio) for value in values)
            norm = sum(value * a / (value + ratio) ** 2 for value, a in zip(values, along, strict=True))
            explained = sum(
                a * value * (value + 2 * ratio) / (value + ratio) ** 2 for value, a in zip(values, along, strict=True)
            )
            previous, ratio = ratio, gamma / (samples - gamma) * (total - explained) / norm
            if abs(ratio - previous) < mpmath.mpf(10) ** -25 * ratio:
                break
        shared = sum(a * value / (value + ratio) for value, a in zip(values, along, strict=True))
        variance = (total - shared) / samples
        log_determinant = sum(mpmath.log(1 + value / ratio) for value in values)
        return float(-(samples * mpmath.log(2 * mpmath.pi * variance) + samples + log_determinant) / (2 * samples))


def blobs(seed: int, samples: int, dimensions: int, apart: float = 1.0) -> tuple[Numbers, Numbers]:
    """Classes 1, 2, 5, 9, one of them with two samples only; positive features as of a network."""
    generator = np.random.default_rng(seed)
    labels = generator.choice([1, 2, 5], size=samples)
    labels[:2] = 9
    means = apart * generator.normal(size=(10, dimensions))
    return np.maximum(generator.normal(size=(samples, dimensions)) + means[labels], 0.0), labels


@pytest.mark.parametrize("shape", [(120, 6), (60, 30), (31, 30), (30, 30), (12, 30), (300, 4)])
def test_agrees_with_slow_version(shape: tuple[int, int]) -> None:
    features, labels = blobs(sum(shape), *shape)
    expected = slow_logme(features, labels)
    assert logme(features, labels) == pytest.approx(expected, rel=1e-9, abs=0)
    assert logme(torch.from_numpy(features), torch.from_numpy(labels)) == pytest.approx(expected, rel=1e-9, abs=0)
    single = features.astype(np.float32)
    assert logme(single, labels) == pytest.approx(slow_logme(single, labels), rel=1e-9, abs=0)


@pytest.mark.parametrize("shape", [(120, 6), (20, 30)])
def test_regression_agrees_with_slow_version(shape: tuple[int, int]) -> None:
    features, _ = blobs(sum(shape), *shape)
    generator = np.random.default_rng(0)
    targets = features[:, :3] + generator.normal(size=(shape[0], 3)) - 2.0
    expected = [slow_evidence(features, target)[0] for target in targets.T]
    assert logme(features, targets) == pytest.approx(np.mean(expected), rel=1e-9, abs=0)
    assert logme(torch.from_numpy(features), torch.from_numpy(targets)) == pytest.approx(np.mean(expected), rel=1e-9)
    assert logme(features, targets[:, 1]) == pytest.approx(expected[1], rel=1e-9, abs=0)
    labels = generator.integers(0, 3, size=shape[0])
    assert logme(features, labels) == pytest.approx(logme(features, np.eye(3)[labels]), rel=1e-14)


def test_worked_by_hand() -> None:
    # ff' has the one eigenvalue 10, along which the target has 9.5^2 / 10 of its 9.5. With w = t / (10 + t) the
    # evidence is highest where log(0.475 + 9.025 w) - log(w) / 4 is lowest: w = 0.475 / 27.075.
    w = 0.475 / 27.075
    expected = (math.log(4 / (0.475 + 9.025 * w)) - math.log(2 * math.pi) - 1 + math.log(w) / 4) / 2
    features, targets = np.array([[1.0], [2.0], [1.0], [2.0]]), np.array([1.0, 2.0, 1.5, 1.5])
    assert logme(features, targets) == pytest.approx(expected, abs=1e-13)


def test_slow_convergence_is_followed_to_the_end() -> None:
    features, _ = blobs(5, 12, 4, apart=0.0)
    found = [slow_evidence(features, target) for target in np.eye(12)]
    assert max(steps for _, steps in found) > 1000  # alpha / beta creeps towards infinity
    assert logme(features, np.eye(12)) == pytest.approx(np.mean([value for value, _ in found]), rel=1e-9)
    features = np.random.default_rng(23).normal(size=(12, 16))
    target = np.zeros(12)
    target[:4] = 1.0
    value, steps = slow_evidence(features, target)
    assert steps > 300
    assert logme(features, target) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("noise", [1e-3, 1e-6, 1e-9])
def test_nearly_exact_fit(noise: float) -> None:
    # The residual is so small beside the target that differences of squares would leave nothing of it.
    generator = np.random.default_rng(0)
    labels = np.arange(12) % 3
    features = np.eye(3)[labels] + noise * generator.normal(size=(12, 3))
    expected = np.mean([precise_evidence(features, (labels == label).astype(float)) for label in range(3)])
    assert logme(features, labels) == pytest.approx(expected, rel=1e-7 if noise < 1e-8 else 1e-9)


@pytest.mark.parametrize("scale", [1e-3, 1e-7, 1e-11])
def test_small_directions_that_matter(scale: float) -> None:
    # All that is known of the target lies in a direction far smaller than another one.
    generator = np.random.default_rng(1)
    features = generator.normal(size=(12, 3)) * np.array([1.0, 1.0, scale])
    features = features @ np.linalg.qr(generator.normal(size=(3, 3)))[0] if scale > 1e-10 else features
    target = generator.normal(size=12) * 0.01 + features @ np.linalg.pinv(features)[:, 0] * 5.0
    assert logme(features, target) == pytest.approx(precise_evidence(features, target), rel=1e-6)


def test_small_directions_beside_a_huge_one() -> None:
    # A column that is large and nearly constant says little; squares of it leave few digits for the others.
    generator = np.random.default_rng(2)
    features = generator.normal(size=(12, 3))
    target = features[:, 1] + 0.3 * generator.normal(size=12)
    features[:, 0] = 1e7 * (1.0 + 0.1 * features[:, 0])
    features = features @ np.linalg.qr(generator.normal(size=(3, 3)))[0]
    assert logme(features, target) == pytest.approx(precise_evidence(features, target), rel=1e-7)


SMALL = np.array([[0.1, 1.0], [0.3, 2.0], [-0.2, 1.0], [0.7, 2.0], [-0.5, 1.2], [0.4, 2.1]])


def precise_logme(features: Numbers, labels: Numbers) -> float:
    return float(np.mean([precise_evidence(features, (labels == label) * 1.0) for label in np.unique(labels)]))


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(1e7, None), (1e8, -2.118), (3e8, -2.210), (1e9, -2.310), (1e12, None), (1e20, None), (1e60, None)],
)
def test_one_channel_far_larger_than_the_others(factor: float, expected: float | None) -> None:
    features, labels = SMALL * np.array([factor, 1.0]), np.tile([0, 1], 3)
    exact = precise_logme(features, labels)
    assert expected is None or exact == pytest.approx(expected, abs=5e-4)
    assert logme(features, labels) == pytest.approx(exact, rel=1e-9)
    if factor == 3e8:  # float32 holds it
        single = features.astype(np.float32)
        assert logme(single, labels) == pytest.approx(precise_logme(single.astype(float), labels), rel=1e-9)


def test_one_channel_far_larger_of_more_dimensions_than_samples() -> None:
    generator = np.random.default_rng(0)
    features, target = generator.normal(size=(5, 9)), generator.normal(size=5)
    features[:, 2] *= 1e9
    features[:, 5] *= 1e-5
    with mpmath.workdps(60):  # as precise_evidence, by the samples' own matrix
        rows = mpmath.matrix(features.tolist())
        values, vectors = mpmath.eigsy(rows * rows.T)
        along = [(vectors[:, i].T * mpmath.matrix(target.tolist()))[0] ** 2 for i in range(5)]
        ratio = mpmath.mpf(1)
        for _ in range(3000):
            learned = [value / (value + ratio) for value in values]
            residual = sum(a * (1 - p) ** 2 for a, p in zip(along, learned, strict=True))
            norm = sum(a * p * (1 - p) for a, p in zip(along, learned, strict=True)) / ratio
            ratio = sum(learned) / (5 - sum(learned)) * residual / norm
        misfit = sum(a * ratio / (value + ratio) for a, value in zip(along, values, strict=True)) / 5
        volume = sum(mpmath.log(1 + value / ratio) for value in values) / 5
        expected = float((-mpmath.log(2 * mpmath.pi * misfit) - 1 - volume) / 2)
    assert logme(features, target) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("exponent", [-1000, -500, -260, -100, 100, 260, 500, 990])
def test_a_common_scale_leaves_no_trace(exponent: int) -> None:
    labels = np.tile([0, 1], 3)
    assert logme(np.ldexp(SMALL, exponent), labels) == pytest.approx(logme(SMALL, labels), rel=1e-12)
    targets = np.ldexp(SMALL[:, :1] + 0.5, exponent)  # a density in other units
    moved = logme(SMALL, SMALL[:, :1] + 0.5) - exponent * math.log(2)
    assert logme(SMALL, targets) == pytest.approx(moved, rel=1e-12)


def test_perfect_source_is_above_useless_one() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2, 3], 50)
    noise = generator.normal(size=(200, 6))
    useless = logme(noise, labels)
    good = logme(0.1 * noise + np.eye(4, 6)[labels], labels)
    assert useless < 0.0 < good < logme(np.eye(4)[labels], labels) == math.inf


def test_exact_fit() -> None:
    features, _ = blobs(2, 40, 6)
    assert logme(features, features @ np.arange(6.0)) == math.inf
    assert logme(features.astype(np.float32), features.astype(np.float32)[:, :2].astype(float)) == math.inf
    assert logme(np.ones((4, 1)), np.zeros(4, dtype=int)) == math.inf  # one class, and features with a constant
    wide = np.random.default_rng(0).normal(size=(10, 40))
    assert math.isfinite(logme(wide, wide @ np.ones(40)))
    rank_six = np.random.default_rng(0).normal(size=(10, 6)) @ np.random.default_rng(1).normal(size=(6, 40))
    assert logme(rank_six, rank_six @ np.ones(40)) == math.inf


def test_features_that_say_nothing() -> None:
    # Noise around 0 whose variance is the mean square of the target: 1/2 for each class.
    labels = np.array([0, 1, 0, 1])
    expected = -(math.log(2 * math.pi * 0.5) + 1) / 2
    assert logme(np.zeros((4, 3)), labels) == pytest.approx(expected, abs=1e-14)
    orthogonal = np.array([[1.0], [1.0], [-1.0], [-1.0]])
    assert logme(orthogonal, labels) == pytest.approx(expected, abs=1e-14)
    assert logme(np.zeros((2, 3)), np.array([0, 1])) == pytest.approx(expected, abs=1e-14)


def test_constant_features() -> None:
    labels = np.array([0, 1, 1, 3, 3, 3, 3])
    expected = slow_logme(np.full((7, 1), 0.5), labels)
    assert logme(np.full((7, 1), 0.5), labels) == pytest.approx(expected, rel=1e-10)
    assert logme(np.full((7, 4), 0.25), labels) == pytest.approx(expected, rel=1e-10)


def test_maps_that_change_nothing() -> None:
    features, labels = blobs(3, 80, 6)
    plain = logme(features, labels)
    order = np.random.default_rng(3).permutation(80)
    assert logme(features[order], labels[order]) == pytest.approx(plain, rel=1e-12)
    assert logme(features, (13 * labels + 4) % 101) == pytest.approx(plain, rel=1e-12)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    assert logme(features @ turn, labels) == pytest.approx(plain, rel=1e-11)
    for scale in (1e-8, 7.0, 1e8):
        assert logme(scale * features, labels) == pytest.approx(plain, rel=1e-10)
    assert logme(np.hstack([features, np.zeros((80, 3))]), labels) == pytest.approx(plain, rel=1e-12)
    assert logme(features + 1.0, labels) != pytest.approx(plain, rel=1e-3)  # there is no intercept


def test_duplicated_columns_are_one_longer_one() -> None:
    features, labels = blobs(4, 80, 6)
    plain = logme(features, labels)
    assert logme(np.hstack([features, features]), labels) == pytest.approx(plain, rel=1e-10)
    assert logme(np.hstack([features] * 20), labels) == pytest.approx(plain, rel=1e-10)  # now fewer samples


def test_one_sample_per_class() -> None:
    features, _ = blobs(5, 12, 4, apart=0.0)
    assert logme(features, 3 * np.arange(12)) == pytest.approx(slow_logme(features, np.arange(12)), rel=1e-9)
    wide, _ = blobs(5, 4, 12)
    assert math.isfinite(logme(wide, np.arange(4)))


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones((0, 2)), np.zeros(0, dtype=int), "at least 1 samples"),
        (np.array([[1.0], [np.nan]]), np.array([0, 1]), "`features` to be finite, but row 1"),
        (np.ones((2, 1)), np.array([0, 255]), "without void"),
        (np.ones((2, 1)), np.array([0, 1, 1]), r"shape \[2\]"),
        (np.ones((2, 1)), np.ones((3, 1)), r"shape \[2\] or \[2, targets\], but got \[3, 1\]"),
        (np.ones((2, 1)), np.ones((2, 0)), r"\[2, 0\]"),
        (np.ones((2, 1)), np.array([[1.0], [np.inf]]), "`labels` to be finite, but row 1"),
        (np.ones((2, 1)), np.array([[1.0, 0.0], [1.0, 0.0]]), "column 1 is"),
    ],
)
def test_bad_input(features: Numbers, labels: Numbers, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(logme)(features, labels)

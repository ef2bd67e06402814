"""`n_leep` against a mixture fitted by plain loops from the same start, and its pieces."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics._mixture import fit_mixture, k_means, mixture_of_clusters, posteriors
from muster.metrics._pca import principal_components
from muster.metrics.n_leep import n_leep

Numbers = np.ndarray[Any, Any]


def slow_step(points: Numbers, shares: Numbers) -> tuple[Numbers, float]:
    """Parameters from all shares, then from these all shares anew and the mean log-likelihood."""
    samples, dimensions = points.shape
    columns = []
    for share in shares.T:
        mass = math.fsum(share)
        if mass == 0.0:
            columns.append(np.full(samples, -np.inf))
            continue
        mean = share @ points / mass
        deviations = points - mean
        covariance = (share[:, None] * deviations).T @ deviations / mass + 1e-6 * np.eye(dimensions)
        distances = np.einsum("ij,ij->i", deviations @ np.linalg.inv(covariance), deviations)
        log_volume = np.linalg.slogdet(2 * math.pi * covariance)[1]
        columns.append(math.log(mass / samples) - (distances + log_volume) / 2)
    log_densities = np.stack(columns, axis=1)
    totals = np.logaddexp.reduce(log_densities, axis=1)
    return np.exp(log_densities - totals[:, None]), float(totals.mean())


def slow_posteriors(points: Numbers, clusters: Numbers, count: int) -> tuple[Numbers, int]:
    """Shares after convergence, and how often the parameters were estimated."""
    shares = np.eye(count)[clusters]
    previous = -math.inf
    for step in range(1, 102):
        shares, likelihood = slow_step(points, shares)
        if step > 1 and abs(likelihood - previous) < 1e-3:
            break
        previous = likelihood
    # The rule compares likelihoods before estimating once more.
    return slow_step(points, shares)[0], step + 1


def slow_leep(probs: Numbers, labels: Numbers) -> float:
    total = 0.0
    for row, label in zip(probs, labels, strict=True):
        likelihood = sum(
            share * math.fsum(probs[labels == label, z]) / math.fsum(probs[:, z])
            for z, share in enumerate(row)
            if share > 0.0
        )
        total += math.log(likelihood)
    return total / len(labels)


def blobs(seed: int, samples: int, dimensions: int, apart: float = 1.0) -> tuple[Numbers, Numbers]:
    """Classes 1, 2, 5 with curved clouds, so that a mixture has something to do; skewed variances."""
    generator = np.random.default_rng(seed)
    labels = generator.choice([1, 2, 5], size=samples)
    features = generator.normal(size=(samples, dimensions)) + apart * generator.normal(size=(6, dimensions))[labels]
    features[:, 0] += 0.3 * features[:, 1] ** 2
    return features * 0.97 ** np.arange(dimensions), labels


def sorted_points(features: Numbers, labels: Numbers) -> tuple[Numbers, Numbers]:
    points = principal_components(torch.from_numpy(features), variance=0.8).numpy()
    order = np.argsort((points**2).sum(axis=1), kind="stable")
    return points[order], labels[order]


@pytest.mark.parametrize(("shape", "apart"), [((300, 5), 0.4), ((300, 40), 0.3), ((500, 3), 2.0), ((40, 60), 1.0)])
def test_agrees_with_plain_loops(shape: tuple[int, int], apart: float) -> None:
    features, labels = blobs(sum(shape), *shape, apart)
    points, targets = sorted_points(features, labels)
    clusters = k_means(points, 15, np.random.default_rng(7))
    expected, _ = slow_posteriors(points, clusters, 15)
    mixture, guesses = fit_mixture(points, 15, 7)
    np.testing.assert_allclose(posteriors(points, mixture, guesses), expected, rtol=0, atol=1e-9)
    score = slow_leep(expected, targets)
    assert score < -0.01 or apart > 0.9
    assert n_leep(features, labels, seed=7) == pytest.approx(score, rel=1e-9, abs=1e-12)
    tensors = torch.from_numpy(features), torch.from_numpy(labels)
    assert n_leep(*tensors, seed=7) == pytest.approx(score, rel=1e-9, abs=1e-12)


def test_takes_more_than_one_stage_and_step() -> None:
    # Guards the test above: it must reach dimensions beyond the first stage, and more than a few steps.
    features, labels = blobs(340, 300, 40, 0.3)
    points, _ = sorted_points(features, labels)
    assert points.shape[1] > 16
    features, labels = blobs(305, 300, 5, 0.4)
    points, _ = sorted_points(features, labels)
    assert slow_posteriors(points, k_means(points, 15, np.random.default_rng(7)), 15)[1] > 10


def test_single_precision() -> None:
    features, labels = blobs(1, 300, 5)
    single = features.astype(np.float32)
    assert n_leep(single, labels) == pytest.approx(n_leep(single.astype(np.float64), labels), rel=1e-9)


def test_samples_in_several_blocks() -> None:
    features, labels = blobs(2, 9000, 2, 0.5)
    points, _ = sorted_points(features, labels)
    expected, steps = slow_posteriors(points, k_means(points, 6, np.random.default_rng(0)), 6)
    mixture, guesses = fit_mixture(points, 6, 0)
    assert steps > 3
    np.testing.assert_allclose(posteriors(points, mixture, guesses), expected, rtol=0, atol=1e-9)
    useless_guesses = np.zeros(9000, dtype=np.int64)
    np.testing.assert_allclose(posteriors(points, mixture, useless_guesses), expected, rtol=0, atol=1e-9)


def test_perfect_and_useless_source() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 100)
    noise = generator.normal(size=(300, 4))
    shares = -math.log(3)
    useless = n_leep(noise, labels)
    good = n_leep(noise + 2.0 * np.eye(3, 4)[labels], labels)
    perfect = n_leep(noise + 50.0 * np.eye(3, 4)[labels], labels)
    assert shares < useless < good < perfect == pytest.approx(0.0, abs=1e-12)
    assert n_leep(np.full((300, 2), 0.1), labels) == pytest.approx(shares, abs=1e-12)


def test_same_seed_same_score() -> None:
    features, labels = blobs(3, 300, 5, 0.4)
    assert n_leep(features, labels) == n_leep(features, labels, seed=0)
    assert len({n_leep(features, labels, seed=seed) for seed in range(4)}) > 1


def test_maps_that_change_nothing() -> None:
    features, labels = blobs(4, 300, 5, 0.4)
    plain = n_leep(features, labels)
    order = np.random.default_rng(3).permutation(300)
    assert n_leep(features[order], labels[order]) == pytest.approx(plain, rel=1e-9)
    assert n_leep(features, (13 * labels + 4) % 101) == pytest.approx(plain, rel=1e-12)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    assert n_leep(-features @ turn + 10.0, labels) == pytest.approx(plain, rel=1e-8)
    assert n_leep(np.hstack([features, np.full((300, 1), 0.1)]), labels) == pytest.approx(plain, rel=1e-9)


def test_fewer_samples_than_dimensions() -> None:
    features, labels = blobs(5, 30, 80)
    assert -math.log(3) <= n_leep(features, labels) <= 0.0


def test_duplicated_columns_and_exact_ties() -> None:
    features, labels = blobs(6, 300, 4, 0.4)
    doubled = np.hstack([features, features]) / math.sqrt(2)
    assert n_leep(doubled, labels) == pytest.approx(n_leep(features, labels), rel=1e-8)
    # Three distinct points for ten components; what a point tells is the share of the classes there.
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])[np.repeat([0, 1, 2], 20)]
    labels = np.repeat([0, 0, 1, 1, 0, 1], 10)
    expected = 40 / 60 * 0.0 + 20 / 60 * math.log(0.5)
    assert n_leep(corners, labels) == pytest.approx(expected, abs=1e-9)


def test_one_class() -> None:
    features, _ = blobs(7, 20, 3)
    assert n_leep(features, np.full(20, 6)) == pytest.approx(0.0, abs=1e-14)
    assert n_leep(features[:5], np.full(5, 6)) == pytest.approx(0.0, abs=1e-14)


def test_too_few_samples() -> None:
    features, labels = blobs(8, 14, 3)
    assert len(set(labels.tolist())) == 3
    with pytest.raises(ValueError, match=r"at least 5 samples per class on average.* got 14 of 3 classes"):
        n_leep(features, labels)
    with pytest.raises(ValueError, match="got 6 of 6 classes"):
        n_leep(features[:6], np.arange(6))


def test_huge_scale() -> None:
    features, labels = blobs(9, 30, 20)
    with pytest.raises(ValueError, match="Divide the features by a constant"):
        n_leep(1e9 * features, labels)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones((0, 2)), np.zeros(0, dtype=int), "at least 1 samples"),
        (np.array([[1.0], [np.nan]]), np.array([0, 1]), "row 1"),
        (np.ones((2, 1)), np.array([0, 255]), "without void"),
        (np.ones((2, 1)), np.array([0, 1, 1]), "shape"),
    ],
)
def test_bad_input(features: Numbers, labels: Numbers, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(n_leep)(features, labels)


def test_k_means_reaches_a_fixed_point() -> None:
    features, _ = blobs(10, 500, 3, 2.0)
    labels = k_means(features, 8, np.random.default_rng(1))
    np.testing.assert_array_equal(labels, k_means(features, 8, np.random.default_rng(1)))
    means = np.stack([features[labels == cluster].mean(axis=0) for cluster in range(8)])
    distances = ((features[:, None] - means) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) != labels).mean() < 0.03  # it may stop a little before
    spread = ((features - features.mean(axis=0)) ** 2).sum()
    assert distances.min(axis=1).sum() < 0.35 * spread


def test_k_means_finds_well_separated_clusters() -> None:
    truth = np.arange(200) % 10
    features = 100.0 * np.eye(10)[truth] + np.random.default_rng(0).normal(size=(200, 10))
    labels = k_means(features, 10, np.random.default_rng(0))
    assert len({(a, b) for a, b in zip(truth.tolist(), labels.tolist(), strict=True)}) == 10


def test_mixture_of_clusters() -> None:
    points = np.array([[0.0, 0.0], [2.0, 0.0], [10.0, 1.0]])
    mixture = mixture_of_clusters(points, np.array([0, 0, 2]), 3)
    np.testing.assert_allclose(mixture.means, [[1.0, 0.0], [0.0, 0.0], [10.0, 1.0]])
    np.testing.assert_allclose(mixture.whitening[0], np.diag([1 / math.sqrt(1 + 1e-6), 1e3]), rtol=1e-12)
    volumes = math.log(2 / 3) - math.log(2 * math.pi) - math.log(1 + 1e-6) / 2 + math.log(1e3)
    assert mixture.log_scales[0] == pytest.approx(volumes, rel=1e-12)
    assert mixture.log_scales[1] == -math.inf

"""N-LEEP written plainly: every Gaussian's density at every sample in every step, by matrix products in NumPy.

It starts from the clusters that ours starts from (same rule, same draws), so that values can be compared. That aside it
has the steps of published code: all principal components by a full singular value decomposition, k-means, expectation
and maximisation with full covariances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

Numbers = np.ndarray[Any, Any]


def plain_n_leep(features: Numbers, labels: Numbers, seed: int = 0) -> float:
    """N-LEEP.

    Args:
        features: ``[samples, dimensions]``.
        labels: ``[samples]``.
        seed: The seed of the first clusters.

    Returns:
        As :func:`muster.metrics.n_leep`.
    """
    points = _principal_components(features.astype(np.float64), 0.8)
    order = np.argsort((points**2).sum(axis=1), kind="stable")  # as ours, so that a draw means the same sample
    points, labels = points[order], labels[order]
    count = 5 * len(np.unique(labels))
    clusters = _k_means(points, count, np.random.default_rng(seed))
    mixture = _Mixture.of_shares(points, np.eye(count)[clusters])
    previous = -math.inf
    for _ in range(100):
        shares, likelihood = mixture.expect(points)
        mixture = _Mixture.of_shares(points, shares)
        if abs(likelihood - previous) < 1e-3:
            break
        previous = likelihood
    return _leep(mixture.expect(points)[0], labels)


def _principal_components(features: Numbers, variance: float) -> Numbers:
    left, singular, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    reached = (singular**2).cumsum() / (singular**2).sum()
    keep = int(np.argmax(reached >= variance)) + 1
    return np.asarray(left[:, :keep] * singular[:keep])


def _k_means(points: Numbers, count: int, generator: np.random.Generator) -> Numbers:
    """k-means++ with one draw per centre, then Lloyd's steps."""
    centers = points[[int(generator.integers(len(points)))]]
    distances = np.full(len(points), np.inf)
    while len(centers) < count:
        distances = np.minimum(distances, ((points - centers[-1]) ** 2).sum(axis=1))
        reached = distances.cumsum()
        drawn = int(np.searchsorted(reached, generator.random() * reached[-1], side="right"))
        centers = np.concatenate([centers, points[[drawn]]])
    enough = 1e-4 * points.var(axis=0).mean()
    labels = _nearest(points, centers)
    for _ in range(300):
        chosen = np.eye(count)[labels]
        mass = chosen.sum(axis=0)[:, None]
        moved = np.where(mass > 0, chosen.T @ points / np.maximum(mass, 1), centers)
        move, centers = ((moved - centers) ** 2).sum(), moved
        previous, labels = labels, _nearest(points, centers)
        if move <= enough or (labels == previous).all():
            break
    return labels


def _nearest(points: Numbers, centers: Numbers) -> Numbers:
    return np.asarray(((centers**2).sum(axis=1) - 2.0 * points @ centers.T).argmin(axis=1))


@dataclass(frozen=True, eq=False)
class _Mixture:
    """Gaussians with full covariances.

    Attributes:
        log_weights: ``[components]``.
        means: ``[components, dimensions]``.
        whitening: ``[components, dimensions, dimensions]``, inverses of the covariances' Cholesky factors.
    """

    log_weights: Numbers
    means: Numbers
    whitening: Numbers

    @classmethod
    def of_shares(cls, points: Numbers, shares: Numbers) -> _Mixture:
        """What is most likely if each component has these shares of the samples, ``[samples, components]``."""
        mass = shares.sum(axis=0) + 10 * np.finfo(np.float64).eps
        means = shares.T @ points / mass[:, None]
        unit = np.eye(points.shape[1])
        whitening = np.empty((len(mass), *unit.shape))
        for component, mean in enumerate(means):
            deviations = points - mean
            covariance = (shares[:, component] * deviations.T) @ deviations / mass[component] + 1e-6 * unit
            whitening[component] = solve_triangular(np.linalg.cholesky(covariance), unit, lower=True)
        return cls(np.log(mass / len(points)), means, whitening)

    def expect(self, points: Numbers) -> tuple[Numbers, float]:
        """Shares of the components in each sample, and the mean log-likelihood."""
        log_densities = np.empty((len(points), len(self.means)))
        for component, (mean, whitening) in enumerate(zip(self.means, self.whitening, strict=True)):
            squares = ((points @ whitening.T - mean @ whitening.T) ** 2).sum(axis=1)
            log_volume = np.log(np.diagonal(whitening)).sum() - 0.5 * len(mean) * math.log(2.0 * math.pi)
            log_densities[:, component] = log_volume - 0.5 * squares
        log_densities += self.log_weights
        totals = np.logaddexp.reduce(log_densities, axis=1)
        return np.exp(log_densities - totals[:, None]), float(totals.mean())


def _leep(shares: Numbers, labels: Numbers) -> float:
    classes, targets = np.unique(labels, return_inverse=True)
    joint = np.eye(len(classes))[targets].T @ shares
    given = joint / np.maximum(shares.sum(axis=0), np.finfo(np.float64).tiny)
    return float(np.log((shares @ given.T)[np.arange(len(targets)), targets]).mean())

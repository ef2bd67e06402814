"""Plain ways to compute some of the metrics, in the form in which they are usually written: to time ours against.

NumPy and SciPy on float64, whole matrices, one loop over classes where there is one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats
from scipy.spatial import distance

Numbers = np.ndarray[Any, Any]


def plain_gbc(features: Numbers, labels: Numbers, covariance: str = "diagonal") -> float:
    """GBC by two loops over classes.

    Args:
        features: ``[samples, dimensions]``.
        labels: ``[samples]``.
        covariance: ``diagonal`` or ``spherical``.

    Returns:
        As :func:`muster.metrics.gbc`.
    """
    features = features.astype(np.float64)
    classes = np.unique(labels)
    means = {label: features[labels == label].mean(axis=0) for label in classes}
    variances = {label: np.maximum(features[labels == label].var(axis=0), 1e-4) for label in classes}
    if covariance == "spherical":
        variances = {label: np.full_like(variance, variance.mean()) for label, variance in variances.items()}
    total = 0.0
    for one in classes:
        for other in classes:
            if one == other:
                continue
            middle = (variances[one] + variances[other]) / 2
            apart = ((means[one] - means[other]) ** 2 / middle).sum() / 8
            unlike = (np.log(middle) - np.log(variances[one]) / 2 - np.log(variances[other]) / 2).sum() / 2
            total += math.exp(-apart - unlike)
    return -total


def plain_logme(features: Numbers, labels: Numbers, steps: int = 11, tolerance: float = 1e-3) -> float:
    """LogME by one singular value decomposition and a loop over classes that stops early.

    Args:
        features: ``[samples, dimensions]``.
        labels: ``[samples]``.
        steps: Most fixed-point steps per class.
        tolerance: Relative change of alpha / beta at which to stop.

    Returns:
        Near :func:`muster.metrics.logme`, which goes on until nothing changes any more.
    """
    features = features.astype(np.float64)
    samples, dimensions = features.shape
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    squares = singular**2
    evidences = []
    for label in np.unique(labels):
        target = (labels == label).astype(np.float64)
        along = (left.T @ target) ** 2
        outside = target @ target - along.sum()
        alpha = beta = 1.0
        for _ in range(steps):
            ratio = alpha / beta
            gamma = (squares / (squares + ratio)).sum()
            weights = (squares * along / (squares + ratio) ** 2).sum()
            residual = outside + (along * ratio**2 / (squares + ratio) ** 2).sum()
            alpha, beta = gamma / weights, (samples - gamma) / residual
            if abs(alpha / beta - ratio) <= tolerance * ratio:
                break
        evidence = samples * math.log(beta / (2 * math.pi)) - beta * residual - alpha * weights
        evidence += dimensions * math.log(alpha) - np.log(alpha + beta * squares).sum()
        evidences.append((evidence - (dimensions - len(squares)) * math.log(alpha)) / (2 * samples))
    return float(np.mean(evidences))


def plain_parc(features: Numbers, annotations: Numbers) -> float:
    """PARC by whole correlation matrices and SciPy's ranks."""
    return _spearman(np.corrcoef(_standardised(features)), np.corrcoef(annotations))


def plain_rsa(features: Numbers, reference: Numbers) -> float:
    """The same with a second model's features."""
    return _spearman(np.corrcoef(_standardised(features)), np.corrcoef(_standardised(reference)))


def plain_dds(features: Numbers, reference: Numbers) -> float:
    """DDS by whole matrices of cosine dissimilarities, centred like the U-statistic."""
    first, second = (_centred(_cosine_dissimilarities(_standardised(side))) for side in (features, reference))
    return float(first.ravel() @ second.ravel() / (np.linalg.norm(first) * np.linalg.norm(second)))


def plain_nearest_neighbour(features: Numbers, labels: Numbers) -> float:
    """1-NN by all squared distances at once; of neighbours equally near, the first."""
    features = features.astype(np.float64)
    distances = distance.cdist(features, features, "sqeuclidean")
    np.fill_diagonal(distances, np.inf)
    return float((labels[distances.argmin(axis=1)] == labels).mean())


def _standardised(features: Numbers) -> Numbers:
    """Mean 0 and variance 1 in each column; a constant column becomes 0."""
    features = features.astype(np.float64)
    deviation = features.std(axis=0)
    return np.asarray((features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0))


def _spearman(first: Numbers, second: Numbers) -> float:
    pairs = np.triu_indices(len(first), k=1)
    return float(stats.spearmanr(1.0 - first[pairs], 1.0 - second[pairs]).statistic)


def _cosine_dissimilarities(rows: Numbers) -> Numbers:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(1.0 - unit @ unit.T)


def _centred(matrix: Numbers) -> Numbers:
    count = len(matrix)
    np.fill_diagonal(matrix, 0.0)
    means = matrix.sum(axis=0) / (count - 2)
    means -= means.sum() / (2 * (count - 1))
    matrix = matrix - means[:, None] - means[None, :]
    np.fill_diagonal(matrix, 0.0)
    return matrix

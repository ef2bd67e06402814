"""PARC, RSA, DDS and 1-NN written plainly, as published implementations do it: to compare speed, and rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats
from scipy.spatial import distance

Numbers = np.ndarray[Any, Any]


def standardised(features: Numbers) -> Numbers:
    """Mean 0 and variance 1 in each column; a constant column becomes 0."""
    deviation = features.std(axis=0)
    return np.asarray((features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0))


def parc(features: Numbers, annotations: Numbers) -> float:
    """Whole correlation matrices, and SciPy's ranks."""
    return _spearman(np.corrcoef(standardised(features)), np.corrcoef(annotations))


def rsa(features: Numbers, reference: Numbers) -> float:
    """The same with a second model's features."""
    return _spearman(np.corrcoef(standardised(features)), np.corrcoef(standardised(reference)))


def _spearman(first: Numbers, second: Numbers) -> float:
    pairs = np.triu_indices(len(first), k=1)
    return float(stats.spearmanr(1.0 - first[pairs], 1.0 - second[pairs]).statistic)


def dds(features: Numbers, reference: Numbers) -> float:
    """Whole matrices of cosine dissimilarities, centred like the U-statistic."""
    first, second = (_centred(_cosine_dissimilarities(standardised(side))) for side in (features, reference))
    return float(first.ravel() @ second.ravel() / (np.linalg.norm(first) * np.linalg.norm(second)))


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


def nearest_neighbour_accuracy(features: Numbers, labels: Numbers) -> float:
    """All squared distances at once; of neighbours equally near, the first."""
    distances = distance.cdist(features, features, "sqeuclidean")
    np.fill_diagonal(distances, np.inf)
    return float((labels[distances.argmin(axis=1)] == labels).mean())

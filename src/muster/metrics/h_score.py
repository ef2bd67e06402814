"""H-score: how much of the (whitened) features' variance lies between the target's classes."""

# scikit-learn's Ledoit-Wolf shrinkage takes 9 to 11 times as long: here the covariance's eigenvalues are known.

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.metrics._features import Features, SampleLabels, as_features, as_present_classes
from muster.metrics._linear_algebra import (
    EPSILON,
    ROWS_TO_FACTOR,
    column_means,
    divided,
    row_blocks,
    scale_exponent,
    triangular_factor,
)


def h_score(features: Features, labels: SampleLabels, shrinkage: bool = False) -> float:
    """H-score: trace(pinv(cov f) cov g), g the mean feature of a sample's class.

    Plain: both covariances over n - 1, a true matrix product. With shrinkage: trace(inv(cov_a f) (1 - a) cov g), where
    cov_a f = (1 - a) cov f + a (trace(cov f) / d) I with cov f over n, and the a of Ledoit and Wolf; cov g over n - 1.

    Args:
        features: ``[samples, dimensions]``, floating point, at least 2 samples.
        labels: Target classes, ``[samples]``, integers from 0; need not be contiguous.
        shrinkage: Which of the two.

    Returns:
        0 to the smaller of (classes that occur) - 1 and the features' rank (plain), or somewhat above that (shrinkage,
        by at most n / (n - 1)); larger is better. 0 if only one class occurs. Plain: 0 for constant features; the sum
        of the squared canonical correlations of features and classes, so unchanged by any invertible affine map,
        duplicated columns included, and K - 1 (of K classes) whenever the features tell the classes apart linearly
        without error, as with one sample per class or generally n <= dimensions. Directions count towards the rank
        when their singular value, of columns scaled to equal variance, is above max(n, d) times 2^-52 of the largest.
        Shrinkage: unchanged by shifts, rotations and one common scale; 0 where a is 1 (all directions nearly alike).

    Raises:
        ValueError: If ``features`` is not a floating-point array with two axes, has fewer than 2 samples or no column,
            or holds a number that is not finite.
        ValueError: If ``labels`` are not integers, not one per sample, negative, or void (255) is among them.
        ValueError: With shrinkage, if the shrunk covariance has no inverse: constant features, or exactly 2 samples of
            more than one dimension (a is then 0).

    Source:
        Bao et al., "An Information-Theoretic Approach to Transferability in Task Transfer Learning", ICIP 2019;
        Ibrahim, Ponomareva, Mazumder, "Newer is not always better", ECML PKDD 2022 (shrinkage); Ledoit, Wolf, "A
        well-conditioned estimator for large-dimensional covariance matrices", J. Multivariate Analysis 2004.

    Note:
        O(samples x (dimensions + classes)^2 + dimensions^3).

    Example:
        >>> import numpy as np
        >>> features = np.array([[0.0], [1.0], [1.0], [2.0]])
        >>> round(h_score(features, np.array([0, 0, 1, 1])), 6)  # variances: 1/3 between, 2/3 in all
        0.5
    """
    values = as_features("features", features, least_samples=2)
    classes, counts = as_present_classes(labels, len(values), values.device)
    return _shrunk(values, classes, counts) if shrinkage else _plain(values, classes, counts)


@dataclass(frozen=True, eq=False)
class _Rotated:
    """Centred features and unit vectors of the classes in a basis that the features' columns span.

    Attributes:
        features: Upper triangular (or trapezoid) ``[rank, dimensions]``.
        classes: ``[rank, classes]``.
    """

    features: Tensor
    classes: Tensor


def _rotated(features: Tensor, classes: Int[Tensor, " samples"], counts: Int[Tensor, " classes"]) -> _Rotated:
    center = column_means(features)
    units = torch.diag(counts.double().rsqrt())  # row c: what a sample of class c has in each class's unit vector
    blocks = (
        torch.cat([rows, units[of_row]], dim=1)
        for rows, of_row in zip(
            row_blocks(features, center, ROWS_TO_FACTOR), torch.split(classes, ROWS_TO_FACTOR), strict=True
        )
    )
    dimensions = features.shape[1]
    factor = triangular_factor(blocks)[:dimensions]
    return _Rotated(factor[:, :dimensions], factor[:, dimensions:])


def _plain(features: Tensor, classes: Int[Tensor, " samples"], counts: Int[Tensor, " classes"]) -> float:
    rotated = _rotated(features, classes, counts)
    largest = rotated.features.abs().amax(dim=0)
    columns = rotated.features / largest.where(largest > 0, 1.0)  # whatever their scales, squares stay in range
    norms = torch.linalg.vector_norm(columns, dim=0)
    left, singular, _ = torch.linalg.svd(columns / norms.where(norms > 0, 1.0), full_matrices=False)
    in_span = singular > max(features.shape) * EPSILON * singular[0]
    return float((left[:, in_span].T @ rotated.classes).square().sum())


def _shrunk(features: Tensor, classes: Int[Tensor, " samples"], counts: Int[Tensor, " classes"]) -> float:
    samples, dimensions = features.shape
    rotated = _rotated(features, classes, counts)
    exponent = scale_exponent(rotated.features)
    left, singular, _ = torch.linalg.svd(divided(rotated.features, exponent), full_matrices=False)
    variances = torch.zeros(dimensions, dtype=torch.float64, device=features.device)
    variances[: len(singular)] = singular.square() / samples
    amount = _ledoit_wolf(features, variances, exponent)
    shrunk = (1.0 - amount) * variances + amount * variances.mean()
    if not bool(shrunk.min() > dimensions * EPSILON * shrunk.max()):
        raise ValueError(
            "Expected `features` to vary so that their shrunk covariance has an inverse, "
            f"but got {samples} samples with shrinkage {amount:g} and variances from {variances.min():g} "
            f"to {variances.max():g}."
        )
    between = (singular[:, None] * (left.T @ rotated.classes)).square().sum(dim=1) / (samples - 1)
    return float((1.0 - amount) * (between / shrunk[: len(between)]).sum())


def _ledoit_wolf(
    features: Float[Tensor, "samples dimensions"], variances: Float[Tensor, " dimensions"], exponent: int
) -> float:
    """Shrinkage of Ledoit and Wolf, 0..1, from the eigenvalues of the covariance over n, both in one scale.

    Both distances are from the covariance: of the multiple of the unit matrix, and (estimated) of the truth.
    """
    center = column_means(features)
    blocks = (divided(rows, exponent) for rows in row_blocks(features, center))
    fourth = sum(float(rows.square().sum(dim=1).square().sum()) for rows in blocks)
    samples = len(features)
    from_target = float((variances - variances.mean()).square().sum())
    from_truth = max(0.0, fourth / samples - float(variances.square().sum())) / samples
    return min(1.0, from_truth / from_target) if from_target > 0.0 else 0.0

"""TransRate: how much shorter a code of the features gets once the class is known."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from muster.metrics._features import Features, SampleLabels, as_features, as_present_classes
from muster.metrics._linear_algebra import ROWS_TO_FACTOR, column_means, row_blocks, triangular_factor

_DISTORTION = 1e-4
"""The epsilon of the coding rate."""


def transrate(features: Features, labels: SampleLabels) -> float:
    """TransRate: coding rate of all features minus the plain mean over classes of the coding rate of each class.

    The coding rate of n rows f is R(f) = 1/2 log det(I + f'f / (n eps)), eps = 1e-4; all rows are centred by the mean
    of all features, not of their class.

    Args:
        features: ``[samples, dimensions]``, floating point.
        labels: Target classes, ``[samples]``, integers from 0; need not be contiguous.

    Returns:
        Larger is better. At least 0 for classes of equal size (R is concave in the covariance), and 0 when each of them
        has the covariance of the whole, about the common mean; a small class that has a larger variance than the whole
        can make it negative. No upper bound, since it grows with the features' scale. 0 for constant features and where
        only one class occurs; a class with one sample has the rate of that one row. Unchanged by shifts and rotations
        of the features.

    Raises:
        ValueError: If ``features`` is not a floating-point array with two axes, is empty, or holds a number that is not
            finite.
        ValueError: If ``labels`` are not integers, not one per sample, negative, or void (255) is among them.

    Source:
        Huang et al., "Frustratingly Easy Transferability Estimation", ICML 2022, and the listing there, which takes the
        plain mean over classes; its formula weights them by their share of the samples, the same for equal sizes.

    Note:
        O(samples x dimensions^2 + classes x dimensions^3); a class of fewer samples than dimensions costs
        O(dimensions x its samples^2).

    Example:
        >>> import numpy as np
        >>> features = np.array([[-1.0], [-1.0], [1.0], [1.0]])
        >>> transrate(
        ...     features, np.array([0, 0, 1, 1])
        ... )  # the class means differ, but about 0 each varies like the whole
        0.0
        >>> round(transrate(np.array([[-2.0], [2.0], [0.0], [0.0]]), np.array([0, 0, 1, 1])), 4)
        2.3026
    """
    values = as_features("features", features)
    classes, counts = as_present_classes(labels, len(values), values.device)
    center = column_means(values)
    of_classes = sum(_coding_rate(values[classes == label], center) for label in range(len(counts)))
    return _coding_rate(values, center) - of_classes / len(counts)


def _coding_rate(rows: Float[Tensor, "samples dimensions"], center: Float[Tensor, " dimensions"]) -> float:
    """Half the log determinant, from the triangular factor of the rows on top of a multiple of the unit matrix.

    The Gram matrix of that stack is n eps (I + f'f / (n eps)). A Cholesky factor of it would be the same, but would
    lose the directions in which the features hardly vary, once their variance is some 10^12 eps in others.
    """
    samples, dimensions = rows.shape
    size = min(samples, dimensions)  # f'f and ff' have the same determinant here; take the smaller
    unit = (samples * _DISTORTION) ** 0.5 * torch.eye(size, dtype=torch.float64, device=rows.device)
    factor = triangular_factor(_stack(unit, rows, center))
    return float((factor.diagonal().abs() / unit.diagonal()).log().sum())


def _stack(unit: Tensor, rows: Tensor, center: Tensor) -> Iterator[Tensor]:
    if len(rows) < rows.shape[1]:
        yield torch.cat([unit, (rows - center).T])
        return
    blocks = row_blocks(rows, center, ROWS_TO_FACTOR)
    yield torch.cat([unit, next(blocks)])
    yield from blocks

"""GBC: how much the target's classes overlap in feature space, each taken as a Gaussian."""

from __future__ import annotations

import math
import sys
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.metrics._features import Features, SampleLabels, as_features, as_present_classes
from muster.metrics._linear_algebra import ROWS_AT_ONCE, class_sums, divided, row_blocks, scale_exponent

Covariance: TypeAlias = Literal["diagonal", "spherical"]

_FLOOR = 1e-4
"""Smallest variance of a dimension."""


def gbc(features: Features, labels: SampleLabels, covariance: Covariance = "diagonal") -> float:
    """Gaussian Bhattacharyya coefficient: minus the sum over ordered pairs of classes of exp(-distance).

    Each class is a Gaussian with its samples' mean m and variances v (over n_c, not n_c - 1). With w = (v_1 + v_2) / 2,
    the Bhattacharyya distance of two of them is the sum over dimensions of (m_1 - m_2)^2 / (8 w) + log(w^2 / (v_1 v_2))
    / 4.

    Args:
        features: ``[samples, dimensions]``, floating point. No reduction of dimensions is done here; the paper keeps 64
            principal components.
        labels: Target classes, ``[samples]``, integers from 0; need not be contiguous.
        covariance: ``diagonal``: a variance for each dimension. ``spherical``: their mean for all of them, so the
            distance still has one logarithm per dimension.

    Returns:
        -K (K - 1) for K classes that all coincide up to 0 for classes far apart; larger is better. 0 if only one class
        occurs. Variances, also those of a class with one sample or of constant features, are at least 1e-4 (before the
        mean over dimensions), so the value is always finite; because of that floor it depends on the features' scale.
        Unchanged by any shift of the features, and, as long as the floor does not act, by rescaling single columns
        (diagonal) or by a rotation (spherical).

    Raises:
        ValueError: If ``features`` is not a floating-point array with two axes, is empty, or holds a number that is not
            finite.
        ValueError: If ``labels`` are not integers, not one per sample, negative, or void (255) is among them.
        ValueError: If ``covariance`` is none of the two.

    Source:
        Pandy et al., "Transferability Estimation using Bhattacharyya Class Separability", CVPR 2022, eq. 2 to 4.
        Published code gives a spherical distance one logarithm instead of one per dimension.

    Note:
        O(samples x dimensions + classes^2 x dimensions).

    Example:
        >>> import numpy as np
        >>> features = np.array([[0.0], [2.0], [4.0], [6.0]])
        >>> gbc(features, np.array([0, 0, 1, 1]))  # means 1 and 5, variances 1: minus twice exp(-16 / 8)
        -0.2706705664732254
    """
    if covariance not in ("diagonal", "spherical"):
        raise ValueError(f"Expected `covariance` to be 'diagonal' or 'spherical', but got {covariance!r}.")
    values = as_features("features", features)
    classes, counts = as_present_classes(labels, len(values), values.device)
    exponent = max(scale_exponent(values), 0)  # what is far too small has the floor for its variance anyway
    means, variances = _class_moments(divided(values, exponent), classes, counts)
    variances = variances.clamp(min=max(math.ldexp(_FLOOR, -2 * exponent), sys.float_info.min))
    if covariance == "spherical":
        variances = variances.mean(dim=1, keepdim=True).expand_as(variances)
    overlap = 0.0
    for first in range(len(counts) - 1):
        overlap += float(torch.exp(-_distances(means, variances, first)).sum())
    return 0.0 - 2.0 * overlap


def _class_moments(
    features: Float[Tensor, "samples dimensions"], classes: Int[Tensor, " samples"], counts: Int[Tensor, " classes"]
) -> tuple[Float[Tensor, "classes dimensions"], Float[Tensor, "classes dimensions"]]:
    """Mean and variance of each class, float64; the variance from deviations, so a large mean costs no digits."""
    size = counts[:, None].double()
    offset = features[0].double()
    means = class_sums(row_blocks(features, offset), classes, len(counts)) / size
    blocks = zip(row_blocks(features, offset), torch.split(classes, ROWS_AT_ONCE), strict=True)
    squares = class_sums(((rows - means[of_row]).square_() for rows, of_row in blocks), classes, len(counts))
    return means, squares / size


def _distances(
    means: Float[Tensor, "classes dimensions"], variances: Float[Tensor, "classes dimensions"], first: int
) -> Float[Tensor, " others"]:
    """Bhattacharyya distances of one class from those after it."""
    others = slice(first + 1, None)
    mean_variance = (variances[first] + variances[others]) / 2.0
    apart = (means[first] - means[others]).square() / mean_variance
    unlike = torch.log((mean_variance / variances[first]) * (mean_variance / variances[others]))
    return apart.sum(dim=1) / 8.0 + unlike.sum(dim=1) / 4.0

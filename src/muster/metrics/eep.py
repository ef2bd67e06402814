"""EEP, the expected empirical predictor: a source model as a classifier of the target's classes."""

from __future__ import annotations

from typing import overload

import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.arrays import (
    Labels,
    NumpyArray,
    Predictions,
    SourceProbabilities,
    as_labels,
    as_probabilities,
)

_PIXELS_AT_ONCE = 16_384
"""Pixels whose float64 copy is in memory at a time."""


@overload
def eep(
    probs: Float[Tensor, "pixels source_classes"], labels: Labels, num_classes: int | None = None
) -> Float[Tensor, "pixels classes"]: ...
@overload
def eep(
    probs: Float[NumpyArray, "pixels source_classes"], labels: Labels, num_classes: int | None = None
) -> Float[NumpyArray, "pixels classes"]: ...
def eep(probs: SourceProbabilities, labels: Labels, num_classes: int | None = None) -> Predictions:
    """Expected empirical predictor of one source model on the probe pixels.

    With the joint P(y, z) = 1/n sum over pixels i labelled y of p(z | x_i), the result is
    eep(y | x_i) = sum_z P(y | z) p(z | x_i). A source class without any mass on the probe pixels contributes 0.

    Args:
        probs: Source probabilities p(z | x_i), ``[pixels, source_classes]``, between 0 and 1; half precision is
            promoted to float32.
        labels: Target classes, ``[pixels]``, integers in 0..num_classes-1; void must have been left out.
        num_classes: Number of target classes; by default one more than the largest label. A class that no pixel has
            gets 0 everywhere.

    Returns:
        ``[pixels, classes]``, float32 or float64, of the kind that ``probs`` is (tensor on the same device, or NumPy
        array). Rows sum to 1 if those of ``probs`` do. The arithmetic is in float64 throughout.

    Raises:
        ValueError: If ``probs`` is not a floating-point array with two non-empty axes, or holds NaN or values that are
            no probabilities.
        ValueError: If ``labels`` are not integers, not one per pixel, or outside 0..num_classes-1 (void included).

    Source:
        Agostinelli et al., "Transferability Metrics for Selecting Source Model Ensembles", CVPR 2022, eq. 1, after
        Nguyen et al., "LEEP", ICML 2020. Published code gives NaN for a source class without mass; here it contributes
        0.

    Example:
        >>> import numpy as np
        >>> probs = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
        >>> eep(probs, np.array([0, 0, 1])).round(4).tolist()
        [[1.0, 0.0], [0.6667, 0.3333], [0.3333, 0.6667]]
    """
    source = as_probabilities("probs", probs)
    target, count = as_labels(labels, len(source), num_classes, source.device)
    given_source = class_given_source(source, target, count)
    result = torch.empty(len(source), count, dtype=source.dtype, device=source.device)
    for block, into in zip(torch.split(source, _PIXELS_AT_ONCE), torch.split(result, _PIXELS_AT_ONCE), strict=True):
        into.copy_(block.double() @ given_source.T)
    return result if isinstance(probs, Tensor) else result.numpy()


def class_given_source(
    source: Float[Tensor, "pixels source_classes"], labels: Int[Tensor, " pixels"], num_classes: int
) -> Float[Tensor, "classes source_classes"]:
    """Conditional probability of a target class given a source class, by counting.

    Args:
        source: Probabilities of the source classes, checked.
        labels: Target classes, checked.
        num_classes: Number of target classes.

    Returns:
        P(y | z) in float64, 0 for a source class without mass. (The factor 1/n of joint and marginal cancels.)
    """
    joint = torch.zeros(num_classes, source.shape[1], dtype=torch.float64, device=source.device)
    for rows, classes in zip(torch.split(source, _PIXELS_AT_ONCE), torch.split(labels, _PIXELS_AT_ONCE), strict=True):
        joint += torch.nn.functional.one_hot(classes, num_classes).double().T @ rows.double()
    mass = joint.sum(dim=0)
    return torch.where(mass > 0, joint / mass, 0.0)

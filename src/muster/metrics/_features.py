"""Checks at the door of the metrics that look at features.

Axis names: ``samples`` are probe pixels or images, ``dimensions`` the entries of a feature vector, ``classes`` the
classes that occur among the labels.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from muster.arrays import _HALVES, NumpyArray, as_class_numbers, to_floating

Features: TypeAlias = Float[Tensor, "samples dimensions"] | Float[NumpyArray, "samples dimensions"]
SampleLabels: TypeAlias = Integer[Tensor, "samples"] | Integer[NumpyArray, "samples"]


_LARGEST = 1e301
"""Beyond, differences and sums of a few million samples leave the range of float64."""


def as_features(name: str, values: object, least_samples: int = 1) -> Float[Tensor, "samples dimensions"]:
    """Check an array of feature vectors; half precision is promoted to float32.

    Args:
        name: The argument's name, for messages.
        values: Floating point, two axes, finite.
        least_samples: Fewest rows that the metric makes sense for.

    Returns:
        float32 or float64 tensor of the same shape, on the device of ``values``.

    Raises:
        ValueError: If ``values`` is not a floating-point array, has not two axes, has too few rows or no column, or
            holds a number that is not finite or beyond 1e301.
    """
    tensor = to_floating(name, values)
    if tensor.ndim != 2:
        raise ValueError(f"Expected `{name}` to have 2 axes (samples, dimensions), but got shape {list(tensor.shape)}.")
    if len(tensor) < least_samples or tensor.shape[1] == 0:
        raise ValueError(
            f"Expected `{name}` to hold at least {least_samples} samples of at least one dimension, "
            f"but got shape {list(tensor.shape)}."
        )
    if tensor.dtype in _HALVES:
        tensor = tensor.float()
    extremes = torch.stack(tensor.aminmax())  # NaN anywhere makes both NaN, and no array of the features' size is made
    if not bool(torch.isfinite(extremes).all()):
        row = int((~torch.isfinite(tensor)).any(dim=1).nonzero()[0, 0])
        raise ValueError(f"Expected `{name}` to be finite, but row {row} holds NaN or infinity.")
    largest = float(extremes.abs().max())
    if largest > _LARGEST:
        raise ValueError(
            f"Expected `{name}` between -1e301 and 1e301, so that float64 can hold sums and differences, but got "
            f"{largest:g}. Divide them by a constant."
        )
    return tensor


def as_present_classes(
    labels: object, num_samples: int, device: torch.device
) -> tuple[Int[Tensor, " samples"], Int[Tensor, " classes"]]:
    """Check labels, and number the classes that occur from 0 on.

    Args:
        labels: Integers from 0, one per sample; need not be contiguous.
        num_samples: How many there must be.
        device: Where the features are.

    Returns:
        int64 labels in 0..classes-1, and how many samples each of these classes has, at least 1 each.

    Raises:
        ValueError: If ``labels`` are not integers, not one per sample, negative, or void (255) is among them.
    """
    checked = as_class_numbers(labels, num_samples, device)
    _, contiguous, counts = torch.unique(checked, return_inverse=True, return_counts=True)
    return contiguous, counts

"""A model's prediction of an image, everywhere in muster: softmax at its own resolution, then interpolation.

Axis names: ``b`` images, ``z`` classes, ``h`` and ``w`` the model's own resolution, ``height`` and ``width`` the
wanted one.
"""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float, Float32
from torch import SymInt, Tensor
from torch.nn import functional


def probabilities_of(scores: Float[Tensor, "b z h w"]) -> Float32[Tensor, "b z h w"]:
    """Softmax over the classes.

    Args:
        scores: In any precision.

    Returns:
        float32, laid out in memory as the scores are.
    """
    values = scores.float()
    if not values.is_contiguous() and values.is_contiguous(memory_format=torch.channels_last):
        # Over neighbours in memory it takes a third of the time.
        return values.permute(0, 2, 3, 1).softmax(dim=-1).permute(0, 3, 1, 2)
    return values.softmax(dim=1)


def upsample_probabilities(
    probabilities: Float[Tensor, "b z h w"], size: tuple[int | SymInt, int | SymInt]
) -> Float[Tensor, "b z height width"]:
    """Bilinear interpolation to the size of a mask, pixel centres aligned.

    Args:
        probabilities: At the model's own resolution.
        size: Wanted rows and columns; symbols while a network is exported.

    Returns:
        Probabilities of that size; they still sum to 1 over the classes.
    """
    sides = cast("tuple[int, int]", size)  # torch takes symbols wherever it takes numbers
    return functional.interpolate(probabilities, size=sides, mode="bilinear", align_corners=False)

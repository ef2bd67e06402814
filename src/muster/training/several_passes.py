"""Several passes over one image, mirrored and at other scales, whose predictions are averaged.

Axis names: ``b`` images, ``c`` classes, ``h`` and ``w`` rows and columns of what the model is shown.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from muster.data import SIDE_MULTIPLE
from muster.models import SourceModel, upsample_probabilities
from muster.training.results import SpentOn


def pass_sizes(option: SpentOn, shape: tuple[int, int], least: int) -> list[tuple[int, int]]:
    """Rows and columns of each pass.

    Args:
        option: How often a model looks at an image, and at which scales.
        shape: Rows and columns of the image as it is prepared.
        least: The smallest side that the model can take.

    Returns:
        One size for each pass, those over mirrored images included.
    """
    sizes = [_scaled(shape, scale, least) for scale in option.scales]
    return [size for size in sizes for _ in range(1 + option.flip)]


def _scaled(shape: tuple[int, int], scale: float, least: int) -> tuple[int, int]:
    if scale == 1.0:
        return shape
    rows, columns = (max(least, SIDE_MULTIPLE, round(side * scale / SIDE_MULTIPLE) * SIDE_MULTIPLE) for side in shape)
    return rows, columns


@torch.no_grad()
def averaged_probabilities(
    model: SourceModel, images: Float[Tensor, "b 3 h w"], option: SpentOn, size: tuple[int, int]
) -> Float[Tensor, "b c height width"]:
    """Class probabilities over all passes.

    Args:
        model: The model.
        images: Prepared for it.
        option: How often it looks at them, and at which scales.
        size: Wanted rows and columns.

    Returns:
        Their mean over the passes.
    """
    total = torch.zeros(())
    shape = images.shape[-2], images.shape[-1]
    for scale in option.scales:
        seen = _scaled(shape, scale, model.minimum_side)
        scaled = images if seen == shape else _resized(images, seen)
        total = total + upsample_probabilities(model.predict(scaled), size)
        if option.flip:
            total = total + upsample_probabilities(model.predict(scaled.flip(-1)).flip(-1), size)
    return total / (len(option.scales) * (1 + option.flip))


def _resized(images: Tensor, shape: tuple[int, int]) -> Tensor:
    return interpolate(images, size=shape, mode="bilinear", align_corners=False, antialias=True)

"""Several views of one image, mirrored and at other scales, whose predictions are averaged (test-time augmentation).

Axis names: ``b`` images, ``c`` classes, ``h`` and ``w`` rows and columns of what the model is shown.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from muster.data import SIDE_MULTIPLE, fit_size
from muster.models import SourceModel, upsample_probabilities
from muster.training.results import SpentOn


def view_sizes(option: SpentOn, height: int, width: int, least: int) -> list[tuple[int, int]]:
    """Rows and columns of each forward pass.

    Args:
        option: What the model looks at.
        height: Rows of the stored image.
        width: Its columns.
        least: The smallest side that the model can take.

    Returns:
        One size for each view, mirrored ones included.
    """
    rows, columns = fit_size(height, width, option.image_size)
    sizes = [(_scaled(rows, scale, least), _scaled(columns, scale, least)) for scale in option.scales]
    return [size for size in sizes for _ in range(1 + option.flip)]


def _scaled(side: int, scale: float, least: int) -> int:
    return max(least, round(side * scale / SIDE_MULTIPLE) * SIDE_MULTIPLE)


@torch.no_grad()
def seen_probabilities(
    model: SourceModel, images: Float[Tensor, "b 3 h w"], option: SpentOn, size: tuple[int, int]
) -> Float[Tensor, "b c height width"]:
    """Class probabilities over all views.

    Args:
        model: The model.
        images: Prepared at the option's image size.
        option: What the model looks at.
        size: Wanted rows and columns.

    Returns:
        Their mean over the views.
    """
    total = torch.zeros(())
    for scale in option.scales:
        shape = tuple(_scaled(side, scale, model.minimum_side) for side in images.shape[-2:])
        scaled = images if shape == images.shape[-2:] else _resized(images, shape)
        total = total + upsample_probabilities(model.predict(scaled), size)
        if option.flip:
            total = total + upsample_probabilities(model.predict(scaled.flip(-1)).flip(-1), size)
    return total / (len(option.scales) * (1 + option.flip))


def _resized(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    return interpolate(images, size=shape, mode="bilinear", align_corners=False, antialias=True)

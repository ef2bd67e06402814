"""A model's prediction of an image, everywhere in muster: softmax at its own resolution, then interpolation.

Axis names: ``b`` images, ``z`` classes, ``h`` and ``w`` the model's own resolution, ``height`` and ``width`` the
wanted one.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32
from torch import SymInt, Tensor

from muster.models.padding import ImageMap, Part, upsample


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
    probabilities: Float[Tensor, "b z h w"], size: tuple[int | SymInt, int | SymInt], part: Part | None = None
) -> Float[Tensor, "b z height width"]:
    """Bilinear interpolation to the size of a mask, pixel centres aligned.

    Args:
        probabilities: At the model's own resolution.
        size: Wanted rows and columns; symbols while a network is exported.
        part: Where the images lie in what the model saw, as :meth:`muster.models.SourceModel.part_of` says; ``None`` if
            they were not padded.

    Returns:
        Probabilities of that size; they still sum to 1 over the classes.
    """
    return upsample(probabilities, size, part)


def interpolated_rows(image_map: ImageMap, rows: range, height: int, width: int) -> Tensor:
    """Some rows of a map interpolated to ``height`` x ``width``, without making the other rows.

    Args:
        image_map: Probabilities ``[1, c, h, w]`` at a model's own resolution.
        rows: Which rows of the result are wanted.
        height: Rows of the whole result.
        width: Its columns.

    Returns:
        ``[c, rows, width]``.
    """
    maps, part = image_map
    scale = maps.shape[2] / height
    if part is not None:
        scale *= part.height / part.padded_height
        part = part._replace(height=part.padded_height)  # the rows are chosen here
    places = ((torch.arange(rows.start, rows.stop, device=maps.device) + 0.5) * scale - 0.5).clamp(min=0)
    above = places.long().clamp(max=maps.shape[2] - 1)
    below = (above + 1).clamp(max=maps.shape[2] - 1)
    down = (places - above)[:, None]
    between = maps[:, :, above] * (1 - down) + maps[:, :, below] * down
    return upsample_probabilities(between, (len(rows), width), part)[0]

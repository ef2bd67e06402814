"""Images of any number of channels, made visible.

Axis names: ``channels`` of the image, ``h`` and ``w`` its rows and columns.
"""

from __future__ import annotations

import torch
from jaxtyping import Num, UInt8
from torch import Tensor

from muster.data.spec import RGB

_TAILS = (0.02, 0.98)
_SAMPLED = 100_000  # pixels of which quantiles are taken: torch has a limit, and more change nothing that one sees


def as_rgb(image: Num[Tensor, "channels h w"]) -> UInt8[Tensor, "3 h w"]:
    """Something to look at: RGB as it is; otherwise the first three channels, or the first one as grey.

    Args:
        image: uint8, or float32 in 0..1.

    Returns:
        uint8. What is not RGB of 8 bits is stretched so that all but the darkest and brightest 2 % of each channel
        fill the range.
    """
    if image.dtype == torch.uint8 and image.shape[0] == RGB:
        return image
    shown = (image[:RGB] if image.shape[0] >= RGB else image[:1].expand(RGB, -1, -1)).float()
    values = shown.flatten(1)
    sampled = values[:, :: max(1, values.shape[1] // _SAMPLED)]
    low, high = torch.quantile(sampled, torch.tensor(_TAILS, device=image.device), dim=1)[:, :, None, None]
    stretched: Tensor = ((shown - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    return (stretched * 255).round().to(torch.uint8)

"""Pictures of depth maps: near is bright, far is dark, grey where nothing is known.

Axis names: ``h`` and ``w`` rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

_UNKNOWN = (150, 150, 150)
_WORST = math.log(1.25) * 2
"""Logarithm of the ratio that is shown as the largest error."""


def depth_pictures(
    image: UInt8[Tensor, "3 h w"], truth: Float[Tensor, "h w"] | None, predictions: Mapping[str, Float[Tensor, "h w"]]
) -> dict[str, UInt8[Tensor, "3 h w"]]:
    """The image, its true depths, and predicted ones in the colours of the truth.

    Args:
        image: Of the size of the depths.
        truth: In metres, NaN where it is not known; ``None`` if it is not known at all.
        predictions: By name, in metres.

    Returns:
        Pictures by what to call them; with a truth the last shows the error of the last prediction: white where it is
        right, dark red from a ratio of 1.56 on.
    """
    low, high = _range_of(
        truth if truth is not None and not truth.isnan().all() else torch.stack([*predictions.values()])
    )
    shown = {"image": image}
    if truth is not None:
        shown["ground truth"] = in_colours(truth, low, high)
    for name, depths in predictions.items():
        shown[name] = in_colours(depths, low, high)
    if truth is not None and predictions:
        name, depths = list(predictions.items())[-1]
        shown[f"error of {name}"] = _error(depths, truth)
    return shown


def _range_of(depths: Tensor) -> tuple[float, float]:
    """Logarithms between which the colours go."""
    known = depths[~depths.isnan()].clamp(min=1e-3).log().numpy()
    low, high = (float(np.quantile(known, share)) for share in (0.01, 0.99))
    return low, max(high, low + 1e-3)


def in_colours(depths: Float[Tensor, "h w"], low: float, high: float) -> UInt8[Tensor, "3 h w"]:
    """A depth map as a picture.

    Args:
        depths: In metres, NaN where it is not known.
        low: Logarithm of the depth that is shown brightest.
        high: Logarithm of the one that is shown darkest.
    """
    return _coloured((high - depths.clamp(min=1e-3).log()) / (high - low), "magma", depths.isnan())


def _error(depths: Tensor, truth: Tensor) -> UInt8[Tensor, "3 h w"]:
    ratio = (depths.clamp(min=1e-3).log() - truth.clamp(min=1e-3).log()).abs()
    return _coloured(ratio / _WORST, "Reds", truth.isnan())


def _coloured(shares: Tensor, name: str, unknown: Tensor) -> UInt8[Tensor, "3 h w"]:
    from matplotlib import colormaps  # here, as most who know tasks draw nothing

    colours = colormaps[name](shares.nan_to_num().clamp(0, 1).numpy(), bytes=True)[..., :3]
    picture = torch.from_numpy(np.array(colours)).movedim(-1, 0)
    return picture.where(~unknown, torch.tensor(_UNKNOWN, dtype=torch.uint8)[:, None, None]).contiguous()

"""What the image processors of Hugging Face transformers do to an image, in our words."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muster.data import ChannelStatistics, ImageSize, Preprocessing
from muster.data.preprocessing import Interpolation
from muster.errors import ConfigError
from muster.extras import needs_extra

FILE = "preprocessor_config.json"

_RESAMPLING: dict[int, Interpolation] = {0: "nearest", 2: "bilinear", 3: "bicubic"}
_CROPS_BELOW = 384
"""ConvNeXt's processor crops smaller images, and squeezes others."""


def image_processing(folder: Path, is_whole: bool) -> Preprocessing | None:
    """What the image processor beside a model does to an image.

    Args:
        folder: Where the model lies.
        is_whole: Whether the model classifies whole images, so that a part in the middle may be cut out. Where places
            are scored all of them are wanted, and crops are left out.

    Returns:
        ``None`` if there is no processor.

    Raises:
        ConfigError: If it cannot be read.

    Warns:
        UserWarning: If it does what is done otherwise here.
    """
    if not (folder / FILE).is_file():
        return None
    transformers = needs_extra("transformers", "huggingface")
    try:
        does = transformers.AutoImageProcessor.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise ConfigError(f"model: the image processor in {folder} cannot be read: {error}") from error
    size = _size_of(does, is_whole) if getattr(does, "do_resize", True) else None
    if size is None and is_whole and getattr(does, "do_center_crop", False):
        warnings.warn(
            f"{folder / FILE} cuts out the middle of images without resizing; here it is left out.", stacklevel=2
        )
    order = "bgr" if getattr(does, "do_flip_channel_order", False) else "rgb"
    return Preprocessing(_statistics(does), size, order, _interpolation(does, folder))  # type: ignore[arg-type]


def _statistics(does: Any) -> ChannelStatistics:
    """For pixels scaled to 0..1, whatever scale the model sees."""
    scale = (does.rescale_factor if getattr(does, "do_rescale", True) else 1.0) * 255
    normalises = getattr(does, "do_normalize", False)
    mean = _three(does.image_mean if normalises else 0.0)
    std = _three(does.image_std if normalises else 1.0)
    if normalises and getattr(does, "include_top", False):
        std = [value * value for value in std]  # EfficientNet's processor divides by it twice
    shift = 1.0 if getattr(does, "rescale_offset", False) else 0.0  # it sees -1..1 where others see 0..1
    means, stds = ((value + shift) / scale for value in mean), (value / scale for value in std)
    return ChannelStatistics(tuple(means), tuple(stds))


def _three(values: Any) -> list[float]:
    return [float(value) for value in ((values,) * 3 if isinstance(values, int | float) else values)]


def _interpolation(does: Any, folder: Path) -> Interpolation:
    said = getattr(does, "resample", None)
    code = 2 if said is None else int(said)
    if code not in _RESAMPLING:
        warnings.warn(f"{folder / FILE} resizes images by the filter {said}; here it is done by bicubic.", stacklevel=3)
    return _RESAMPLING.get(code, "bicubic")


def _size_of(does: Any, is_whole: bool) -> ImageSize | None:
    size, kind = _numbers(does.size), type(does).__name__
    share = float(getattr(does, "crop_pct", None) or 1.0) if is_whole else 1.0
    crops = is_whole and getattr(does, "do_center_crop", False)
    crop = _pair(_numbers(does.crop_size)) if crops and getattr(does, "crop_size", None) is not None else None
    if "height" in size:
        rows, columns = size["height"], size["width"]
        return ImageSize(exact=(int(rows / share), int(columns / share)), crop=crop)
    if "shortest_edge" not in size:
        return ImageSize(longer=size["longest_edge"]) if "longest_edge" in size else None
    side = size["shortest_edge"]
    if kind.startswith("ConvNext") and is_whole:
        squeezed = side >= _CROPS_BELOW
        return ImageSize(exact=(side, side)) if squeezed else ImageSize(shorter=int(side / share), crop=(side, side))
    if kind.startswith("Levit") and is_whole:
        side = int(256 / 224 * side)
    return ImageSize(shorter=int(side / share), crop=crop)


def _numbers(said: Any) -> dict[str, int]:
    found = said if isinstance(said, Mapping) else vars(said)
    return {key: int(value) for key, value in found.items() if value is not None}


def _pair(size: Mapping[str, int]) -> tuple[int, int]:
    side = size.get("shortest_edge", 0)
    return size.get("height", side), size.get("width", side)

"""What a single model can spend an ensemble's time for an image on, as measured here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from muster.data import SIDE_MULTIPLE, ImageSize, Preprocessing
from muster.errors import MusterError
from muster.models import SourceModel, TTASettings
from muster.probe.timing import inference_seconds
from muster.ranks import from_rank_zero
from muster.training.costs import seconds_together
from muster.training.finetuned_ensemble import Ensemble
from muster.training.hardware import Hardware
from muster.training.passes import SeveralPasses
from muster.training.results import SpentOn
from muster.training.target_data import TargetData

SCALES: tuple[tuple[float, ...], ...] = ((1.0,), (1.0, 1.25), (0.75, 1.0, 1.25), (0.75, 1.0, 1.25, 1.5))
"""Scales at which an image can be seen; each set with and without its mirror images."""

TOLERANCE = 1.05
"""Times up to this ratio count as equal: they are not measured more closely."""

_SIZES_AROUND = 2
"""Larger inputs are measured at so many multiples of 32 pixels below and above the size expected to fit: a network pads
what lies between them, so that it takes as long."""


def affordable(
    model: SourceModel, ensemble: Ensemble, target: TargetData, hardware: Hardware
) -> tuple[float, list[SpentOn]]:
    """Measure what a single model can spend the ensemble's time for an image on.

    Args:
        model: The single model.
        ensemble: The ensemble.
        target: The images.
        hardware: Where to measure.

    Returns:
        The ensemble's time in seconds, and the options that take no longer, the usual single pass first.
    """
    device, stored = hardware.resolved_device(), target.test_shape
    usual = target.preprocessing.seen_by(model.preprocessing).known_size
    once = usual.fit(*stored)
    views = [(scales, flip) for scales in SCALES for flip in (False, True)]
    if usual.characters is not None:  # of a text there is one view
        views = views[:1]
    options = [SpentOn(usual.setting, *view, 0.0) for view in views]
    sizes = {str(place): _sizes(option, once) for place, option in enumerate(options)}
    with hardware.autocast():
        together = {
            f"member {name}": SeveralPasses.of(member, target.preprocessing, ensemble.tta.variants, stored)
            for name, member in ensemble.models.items()
        }
        own = {key: SeveralPasses(model, each) for key, each in sizes.items() if _takes(model, each, device)}
        seconds = _of_rank_zero(seconds_together({**together, **own}, device), device)
        budget = sum(seconds[name] for name in together)
        larger = _larger_sizes(usual, math.sqrt(budget / seconds["0"]), stored)
        enlarged = {str(size): SeveralPasses(model, [shape]) for size, shape in larger.items()}
        enlarged = {key: each for key, each in enlarged.items() if _takes(model, each.sizes, device)}
        seconds |= _of_rank_zero(seconds_together(enlarged, device), device)
    timed = [replace(options[int(key)], seconds_per_image=seconds[key]) for key in own]
    alone, *more = timed
    affordable = [alone, *(option for option in more if option.seconds_per_image <= TOLERANCE * budget)]
    fitting = [size for size in larger if seconds.get(str(size), math.inf) <= TOLERANCE * budget]
    affordable += [SpentOn(size.setting, (1.0,), False, seconds[str(size)]) for size in fitting[-1:]]
    return budget, affordable


def _sizes(option: SpentOn, shape: tuple[int, int]) -> list[tuple[int, int]]:
    return [variant.shape_of(*shape) for variant in tta_of(option).variants]


def tta_of(option: SpentOn) -> TTASettings:
    """Scales and mirroring as an ensemble takes them."""
    return TTASettings(option.flip, option.scales)


def _takes(model: SourceModel, sizes: Sequence[tuple[int, int]], device: str) -> bool:
    """Whether a model can look at images of these sizes; some transformers take only one."""
    try:
        for size in set(sizes):
            inference_seconds(model, size, device, repetitions=1)
    except (ValueError, RuntimeError, MusterError):
        return False
    return True


def _larger_sizes(usual: ImageSize, factor: float, stored: tuple[int, int]) -> dict[ImageSize, tuple[int, int]]:
    """Sizes around ``factor`` times the usual one that show more than that, ascending; and what the model sees then."""
    shown = usual.fit(*stored)
    side = max(shown)
    nearest = round(side * factor / SIDE_MULTIPLE)
    sizes: dict[ImageSize, tuple[int, int]] = {}
    for steps in range(nearest - _SIZES_AROUND, nearest + _SIZES_AROUND + 1):
        size = _times(usual, steps * SIDE_MULTIPLE / side)
        shape = size.fit(*stored)
        if math.prod(shape) > math.prod(shown) and shape not in sizes.values():
            sizes[size] = shape
    return sizes


def _times(size: ImageSize, factor: float) -> ImageSize:
    """A size times a factor, in multiples of 32 pixels."""

    def enlarged(side: int) -> int:
        return max(1, round(side * factor / SIDE_MULTIPLE)) * SIDE_MULTIPLE

    if size.characters is not None:
        return ImageSize(characters=enlarged(size.characters))
    # A crop is enlarged likewise, and what is rounded up must not be more than there is.
    crop = None if size.crop is None else (enlarged(size.crop[0]), enlarged(size.crop[1]))
    if size.exact is not None:
        exact = (enlarged(size.exact[0]), enlarged(size.exact[1]))
        return ImageSize(exact=exact, crop=None if crop is None else (min(crop[0], exact[0]), min(crop[1], exact[1])))
    if size.longer is not None:
        return ImageSize(longer=enlarged(size.longer))
    shorter = enlarged(size.shorter or 1)
    return ImageSize(shorter=shorter, crop=None if crop is None else (min(crop[0], shorter), min(crop[1], shorter)))


def shown_at(model: SourceModel, target: TargetData, option: SpentOn) -> Preprocessing:
    """How images are shown for an option.

    Args:
        model: If its own preprocessing has a size, that is changed.
        target: Says how they are shown otherwise.
        option: Says at which size.
    """
    size = ImageSize.of(option.image_size)
    if model.preprocessing is not None and model.preprocessing.size is not None:
        model.preprocessing = replace(model.preprocessing, size=size)
    return replace(target.preprocessing, size=size)


def _of_rank_zero(seconds: Mapping[str, float], device: str) -> dict[str, float]:
    """As the first process measured them, for all to choose alike."""
    values = from_rank_zero(torch.tensor(list(seconds.values()), dtype=torch.float64), torch.device(device))
    return dict(zip(seconds, values.tolist(), strict=True))

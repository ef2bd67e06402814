"""How long a member takes to predict. Measured only when a budget or a proposal of size asks for it."""

from __future__ import annotations

import statistics
import time

import torch

from muster.errors import ConfigError
from muster.models import SourceModel

_WARM_UP = 2
"""Passes before the clock starts: the first allocate memory, and choose and load kernels."""


def inference_seconds(
    model: SourceModel,
    image_size: int | tuple[int, int],
    device: torch.device | str | None = None,
    repetitions: int = 10,
) -> float:
    """Median time of one forward pass over one image, softmax at the model's own resolution included.

    One image at a time, because that is how a user of the ensemble waits; reading the image and bringing the prediction
    to its size cost the same whatever the model. Time depends on the machine and on what else it does: compare only
    what was measured on one machine in one go. The model's mode is restored.

    Args:
        model: The network; only the shape of its input matters, the image is blank.
        image_size: Side of a square image in pixels, or rows and columns, as prepared; the model pads it as it does for
            prediction.
        device: Where to measure; the model is moved there. By default where it is.
        repetitions: Passes that are timed, at least 1.

    Returns:
        Seconds, positive.

    Raises:
        ValueError: If ``repetitions`` is not positive.
        ConfigError: If ``image_size`` is not positive.

    Example:
        >>> from muster.models import build_model
        >>> 0 < inference_seconds(build_model("small_fpn", 3), 64, repetitions=1) < 60
        True
    """
    if repetitions < 1:
        raise ValueError(f"Expected `repetitions` to be at least 1, but got {repetitions}.")
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width) < 1:
        raise ConfigError(f"Expected positive sizes, but got height {height}, width {width}.")
    if device is not None:
        model.to(device)
    image = model.blank_images(1, height, width)
    training = model.training
    model.eval()
    try:
        times = [_timed(model, image) for _ in range(_WARM_UP + repetitions)]
    finally:
        model.train(training)
    return statistics.median(times[_WARM_UP:])


def _timed(model: SourceModel, image: torch.Tensor) -> float:
    """Seconds of one pass, the device having nothing else to do before and after."""
    _wait_for(image.device)
    start = time.perf_counter()
    model.predict(image)
    _wait_for(image.device)
    return time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)

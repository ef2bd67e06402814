"""Single steps of a user's work: images drawn, probe pixels read, members trained."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.timing import usual_cost
from muster.data import Split, open_dataset
from muster.data.worlds import WORLD_NAMES
from muster.models import build_model
from muster.probe import read_pixels
from muster.tasks.segmentation import SEGMENTATION


def worlds(images: int = 10, repetitions: int = 5) -> dict[str, dict[str, float]]:
    """Drawing one image of each built-in world.

    Args:
        images: Images drawn at a time.
        repetitions: How often.

    Returns:
        Milliseconds an image, for each world.
    """

    def draw(split: Split) -> None:
        for index in range(images):
            split[index]

    times = {name: usual_cost(partial(draw, open_dataset(f"worlds/{name}").train), repetitions) for name in WORLD_NAMES}
    return {name: {"milliseconds": round(1000 * time.seconds / images, 2)} for name, time in times.items()}


def reading_probe_pixels(
    classes: int = 134, map_side: int = 128, side: int = 1024, pixels: int = 1000, repetitions: int = 5
) -> dict[str, Any]:
    """Probabilities of an image at its probe pixels, beside upsampling the whole map.

    Args:
        classes: Of the member.
        map_side: Of what the network puts out.
        side: Of the image.
        pixels: Probe pixels of the image.
        repetitions: How often.

    Returns:
        Milliseconds of both, their ratio, and the memory of what is made.
    """
    maps = torch.rand(classes, map_side, map_side, generator=torch.Generator().manual_seed(0)).softmax(dim=0)
    generator = torch.Generator().manual_seed(1)
    rows, columns = (torch.randint(side, (pixels,), generator=generator) for _ in range(2))

    def whole() -> Tensor:
        large = functional.interpolate(maps[None], size=(side, side), mode="bilinear", align_corners=False)[0]
        return large[:, rows, columns].T

    ours = usual_cost(lambda: read_pixels(maps, rows, columns, (side, side)), repetitions).seconds
    plain = usual_cost(whole, min(repetitions, 3)).seconds
    return {
        "milliseconds": round(1000 * ours, 3),
        "plain_milliseconds": round(1000 * plain, 1),
        "times_faster": round(plain / ours, 1),
        "megabytes_of_result": round(pixels * classes * 4 / 1e6, 1),
        "megabytes_of_whole_map": round(classes * side * side * 4 / 1e6),
    }


def training_step(batch: int = 16, side: int = 64, repetitions: int = 10) -> dict[str, dict[str, float]]:
    """One step of training, for each small network.

    Args:
        batch: Images.
        side: Of each of them.
        repetitions: How often.

    Returns:
        Milliseconds a step, for each network.
    """
    images = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))
    masks = torch.randint(0, 11, (batch, side, side), generator=torch.Generator().manual_seed(1))

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        SEGMENTATION.loss(model(images), masks).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    result = {}
    for name in ("small_fpn", "small_unet", "small_dilated"):
        model = build_model(name, 11)
        optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9)
        time = usual_cost(partial(step, model, optimizer), repetitions)
        result[name] = {"milliseconds": round(1000 * time.seconds, 1)}
    return result

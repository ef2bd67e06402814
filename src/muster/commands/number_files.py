"""The files of a prediction that is a number for each pixel, such as its depth: a map of 16 bits, and a picture of it.

Axis names: ``h`` and ``w`` rows and columns of the image.
"""

from __future__ import annotations

from pathlib import Path
from warnings import warn

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image
from torch import Tensor

from muster.arrays import NumpyArray
from muster.commands.prediction_files import PredictionSettings
from muster.data import read_image
from muster.files import write_bytes, write_text
from muster.image_files import encoded
from muster.training.finetuned_ensemble import Ensemble
from muster.training.tiles import WholeImage, predict_strips, tile_size

PICTURES = "pictures"

SCALE = 256
"""Stored units of a metre, as in KITTI: 16 bits reach 256 m in steps of 4 mm. A dataset.yaml says it as ``scale``."""

_MOST = 65535


def parts_of(ensemble: Ensemble, settings: PredictionSettings) -> tuple[str, ...]:
    """Folders that are written.

    Args:
        ensemble: Its task names the first.
        settings: What is asked for.

    Raises:
        ConfigError: If what is asked for are maps of probabilities.
    """
    settings.require_unused(
        ("probabilities", "confidence", "uncertainty"),
        f"the ensemble predicts {ensemble.task.answer_names[0]}, a number for each pixel, and no probabilities.",
    )
    return (ensemble.task.answer_names[0], *((PICTURES,) if settings.overlays else ()))


def write_numbers(ensemble: Ensemble, path: Path, stem: str, output: Path, settings: PredictionSettings) -> bool:
    """Predict one image and write the map, and a picture of it beside the image unless that is not wanted.

    Args:
        ensemble: In evaluation mode.
        path: The image.
        stem: What to call the files.
        output: Where folders of files are.
        settings: What is asked for.

    Returns:
        Whether it was predicted in tiles.

    Raises:
        DatasetError: If the image cannot be read.
        OutputError: If a file cannot be written.

    Warns:
        UserWarning: If a number is too large for the file; the largest that it can hold stands there.
    """
    image, what = read_image(path), ensemble.task.answer_names[0]
    source = WholeImage(image)
    tile = tile_size(ensemble, source.height, source.width, settings.tile_side)
    numbers = torch.cat([strip.probabilities for strip in predict_strips(ensemble, source, tile)], dim=1)
    stored = as_stored(numbers[0])
    if int((stored == _MOST).sum()):
        warn(f"{path}: some of its {what} is {_MOST / SCALE:.0f} m or more, which the file cannot tell.", stacklevel=2)
    write_bytes(output / what / f"{stem}.png", encoded(Image.fromarray(stored), "PNG"))
    if settings.overlays:
        pictures = ensemble.task.pictures(image, None, {what: numbers})
        side_by_side = torch.cat(list(pictures.values()), dim=-1).movedim(0, -1).numpy()
        write_bytes(output / PICTURES / f"{stem}.jpg", encoded(Image.fromarray(side_by_side), "JPEG", quality=92))
    return tile != (source.height, source.width)


def as_stored(numbers: Float32[Tensor, "h w"]) -> NumpyArray:
    """Numbers in units of the file, uint16 ``[h, w]``: at least 1, since 0 stands for what is not known."""
    stored: NumpyArray = (numbers * SCALE).round().clamp(1, _MOST).numpy().astype(np.uint16)
    return stored


def explain(ensemble: Ensemble, output: Path) -> None:
    """Say beside the maps what their values mean."""
    what = ensemble.task.answer_names[0]
    write_text(output / f"{what}.txt", f"{what}/NAME.png: 16 bits, {SCALE} for one metre (scale: {SCALE})\n")

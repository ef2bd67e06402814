"""A number for each pixel, such as its depth: a map of 16 bits, and a picture of it.

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
from muster.commands.predictions.of_images import OfImages
from muster.commands.predictions.writer import WRITERS
from muster.data import read_image
from muster.files import write_bytes, write_text
from muster.image_files import encoded
from muster.tasks.task import Task
from muster.training.tiles import WholeImage, predict_strips, tile_size

PICTURES = "pictures"

SCALE = 256
"""Stored units of a metre, as in KITTI: 16 bits reach 256 m in steps of 4 mm. A dataset.yaml says it as ``scale``."""

_MOST = 65535


class Numbers(OfImages):
    """Writes a map of numbers of each image, and unless that is not wanted a picture of it beside the image."""

    @staticmethod
    def takes(task: Task) -> bool:
        """See :meth:`PredictionWriter.takes`."""
        return not (task.is_pooled or task.has_classes or task.finds_objects)

    @property
    def what(self) -> str:
        """What the numbers are, such as depth."""
        return self.ensemble.task.answer_names[0]

    @property
    def parts(self) -> tuple[str, ...]:
        """See :meth:`PredictionWriter.parts`."""
        return (self.what, *((PICTURES,) if self.settings.overlays else ()))

    def require_used(self) -> None:
        """See :meth:`PredictionWriter.require_used`: maps of probabilities."""
        super().require_used()
        self.settings.require_unused(
            ("probabilities", "confidence", "uncertainty"),
            f"the ensemble predicts {self.what}, a number for each pixel, and no probabilities.",
        )

    def add(self, name: str, sample: Path) -> bool:
        """See :meth:`PredictionWriter.add`.

        Warns:
            UserWarning: If a number is too large for the file; the largest that it can hold stands there.
        """
        image, what = read_image(sample), self.what
        source = WholeImage(image)
        tile = tile_size(self.ensemble, source.height, source.width, self.settings.tile_side)
        numbers = torch.cat([strip.probabilities for strip in predict_strips(self.ensemble, source, tile)], dim=1)
        stored = as_stored(numbers[0])
        if int((stored == _MOST).sum()):
            most = f"{_MOST / SCALE:.0f} m"
            warn(f"{sample}: some of its {what} is {most} or more, which the file cannot tell.", stacklevel=2)
        write_bytes(self.output / what / f"{name}.png", encoded(Image.fromarray(stored), "PNG"))
        if self.settings.overlays:
            pictures = self.ensemble.task.pictures(image, None, {what: numbers})
            side_by_side = torch.cat(list(pictures.values()), dim=-1).movedim(0, -1).numpy()
            shown = encoded(Image.fromarray(side_by_side), "JPEG", quality=92)
            write_bytes(self.output / PICTURES / f"{name}.jpg", shown)
        return tile != (source.height, source.width)

    def finish(self) -> None:
        """Say beside the maps what their values mean."""
        what = self.what
        write_text(self.output / f"{what}.txt", f"{what}/NAME.png: 16 bits, {SCALE} for one metre (scale: {SCALE})\n")


def as_stored(numbers: Float32[Tensor, "h w"]) -> NumpyArray:
    """Numbers in units of the file, uint16 ``[h, w]``: at least 1, since 0 stands for what is not known."""
    stored: NumpyArray = (numbers * SCALE).round().clamp(1, _MOST).numpy().astype(np.uint16)
    return stored


WRITERS.add("numbers", Numbers)

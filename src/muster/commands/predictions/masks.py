"""A mask of each image, an overlay, and on request probabilities, confidence and uncertainty.

Axis names: ``c`` classes, ``h`` and ``w`` rows and columns of the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from warnings import warn

import numpy as np
import torch
from torch import Tensor

from muster.arrays import NumpyArray
from muster.commands.predictions.of_images import OfImages
from muster.commands.predictions.settings import PredictionSettings
from muster.commands.predictions.writer import WRITERS
from muster.data import read_image
from muster.data.rasters import GEOREFERENCED, Georeference, Raster, open_raster, tiff_kind, write_raster
from muster.data.spec import VOID
from muster.files import atomic_write, write_bytes
from muster.image_files import encoded
from muster.report import class_colours, mask_image
from muster.report.palette import VOID_COLOUR
from muster.report.prediction_images import labelled_overlay, value_colours, value_image
from muster.tasks.task import Task
from muster.training.finetuned_ensemble import Ensemble
from muster.training.tiles import Rows, WholeImage, predict_strips, tile_size

MASKS, OVERLAYS, PROBABILITIES = "masks", "overlays", "probabilities"
CONFIDENCE, UNCERTAINTY = "confidence", "uncertainty"

LONGEST_OVERLAY, REDUCED_OVERLAY = 4096, 2048
"""Overlays of larger images show every so many-th pixel, so that the longer side has at most the second number."""


class Masks(OfImages):
    """Writes a mask of each image, and what else is asked for.

    Masks are 8-bit palette PNGs whose values are class indices; ``classes.txt`` names them. Maps of a georeferenced
    TIFF are GeoTIFFs.
    """

    @staticmethod
    def takes(task: Task) -> bool:
        """See :meth:`PredictionWriter.takes`."""
        return task.has_class_maps

    @property
    def parts(self) -> tuple[str, ...]:
        """See :meth:`PredictionWriter.parts`."""
        wanted = {
            OVERLAYS: self.settings.overlays,
            PROBABILITIES: self.settings.probabilities,
            CONFIDENCE: self.settings.confidence,
            UNCERTAINTY: self.settings.uncertainty,
        }
        return (MASKS, *(part for part, is_wanted in wanted.items() if is_wanted))

    def add(self, name: str, sample: Path) -> bool:
        """See :meth:`PredictionWriter.add`."""
        ensemble, output, settings = self.ensemble, self.output, self.settings
        with _opened(sample) as source:
            place = source.georeference if isinstance(source, Raster) else None
            tile = tile_size(ensemble, source.height, source.width, settings.tile_side)
            maps = _Maps(source, settings)
            with _probabilities(output, name, ensemble, source, settings) as probabilities:
                for strip in predict_strips(ensemble, source, tile):
                    maps.add(strip.start, strip.image, strip.probabilities)
                    if probabilities is not None:
                        stop = strip.start + strip.image.shape[1]
                        probabilities[:, strip.start : stop] = strip.probabilities.half().numpy()
        colours = np.concatenate([class_colours(), np.array([VOID_COLOUR], dtype=np.uint8)])
        _write_map(output / MASKS, name, maps.mask, place, colours)
        for part, values in ((CONFIDENCE, maps.confidence), (UNCERTAINTY, maps.uncertainty)):
            if values is not None:
                _write_map(output / part, name, values, place)
        if settings.overlays:
            mask = torch.from_numpy(maps.mask[:: maps.step, :: maps.step])
            shown = labelled_overlay(maps.shown(), mask, ensemble.classes)
            write_bytes(output / OVERLAYS / f"{name}.jpg", encoded(shown, "JPEG", quality=92))
        return tile != (source.height, source.width)


@contextmanager
def _opened(path: Path) -> Iterator[Rows]:
    kind = tiff_kind(path)
    if kind is not None and find_spec("rasterio") is not None:
        with open_raster(path) as raster:
            yield raster
        return
    if kind == GEOREFERENCED:
        warn(
            f'{path} is georeferenced, and what is written is not. For GeoTIFFs: pip install "muster[geo]"',
            stacklevel=2,
        )
    yield WholeImage(read_image(path))


@dataclass
class _Maps:
    """One byte a pixel of each map that is wanted, and of the image what an overlay shows."""

    source: Rows
    settings: PredictionSettings
    mask: NumpyArray = field(init=False)
    confidence: NumpyArray | None = field(init=False, default=None)
    uncertainty: NumpyArray | None = field(init=False, default=None)
    seen: list[Tensor] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        shape = self.source.height, self.source.width
        self.step = 1 if max(shape) <= LONGEST_OVERLAY else -(-max(shape) // REDUCED_OVERLAY)
        self.mask = np.empty(shape, dtype=np.uint8)
        if self.settings.confidence:
            self.confidence = np.empty(shape, dtype=np.uint8)
        if self.settings.uncertainty:
            self.uncertainty = np.empty(shape, dtype=np.uint8)

    def add(self, start: int, image: Tensor, probabilities: Tensor) -> None:
        """Take over some rows."""
        rows = slice(start, start + image.shape[1])
        highest, labels = probabilities.max(dim=0)
        self.mask[rows] = labels.to(torch.uint8).numpy()
        if self.confidence is not None:
            self.confidence[rows] = _as_bytes(highest)
        if self.uncertainty is not None:
            entropy = torch.special.entr(probabilities).sum(dim=0) / math.log(max(2, len(probabilities)))
            self.uncertainty[rows] = _as_bytes(entropy)
        if self.settings.overlays:
            self.seen.append(image[:, -start % self.step :: self.step, :: self.step].clone())

    def shown(self) -> Tensor:
        """The image as an overlay shows it."""
        return torch.cat(self.seen, dim=1)


def _as_bytes(values: Tensor) -> NumpyArray:
    rounded: NumpyArray = (values * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return rounded


@contextmanager
def _probabilities(
    output: Path, stem: str, ensemble: Ensemble, source: Rows, settings: PredictionSettings
) -> Iterator[NumpyArray | None]:
    """The array to fill with probabilities, in a file that appears when it is full; ``None`` if it is not wanted."""
    if not settings.probabilities:
        yield None
        return
    shape = (len(ensemble.classes), source.height, source.width)
    with atomic_write(output / PROBABILITIES / f"{stem}.npy") as partial:
        array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
        yield array
        array.flush()


def _write_map(
    folder: Path, stem: str, values: NumpyArray, place: Georeference | None, colours: NumpyArray | None = None
) -> None:
    """A PNG, or a GeoTIFF where the image has a place on the earth; class indices if there are colours for them."""
    if place is not None:
        with atomic_write(folder / f"{stem}.tif") as partial:
            write_raster(partial, values, place, value_colours() if colours is None else colours[: VOID + 1])
        return
    shown = value_image(values) if colours is None else mask_image(torch.from_numpy(values))
    write_bytes(folder / f"{stem}.png", encoded(shown, "PNG"))


WRITERS.add("masks", Masks)

"""The files of one prediction: mask, overlay, and on request probabilities, confidence and uncertainty.

Axis names: ``c`` classes, ``h`` and ``w`` rows and columns of the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from warnings import warn

import numpy as np
import torch
from torch import Tensor

from muster.arrays import NumpyArray
from muster.data import read_image
from muster.data.rasters import GEOREFERENCED, Georeference, Raster, open_raster, tiff_kind, write_raster
from muster.data.spec import VOID
from muster.errors import ConfigError
from muster.files import atomic_write, write_bytes
from muster.image_files import encoded
from muster.limits import MOST_PIXELS, require_real, require_whole
from muster.report import class_colours, mask_image
from muster.report.palette import VOID_COLOUR
from muster.report.prediction_images import labelled_overlay, value_colours, value_image
from muster.training.finetuned_ensemble import Ensemble
from muster.training.tiles import Rows, WholeImage, predict_strips, tile_size

MASKS, OVERLAYS, PROBABILITIES = "masks", "overlays", "probabilities"
CONFIDENCE, UNCERTAINTY = "confidence", "uncertainty"

LONGEST_OVERLAY, REDUCED_OVERLAY = 4096, 2048
"""Overlays of larger images show every so many-th pixel, so that the longer side has at most the second number."""


@dataclass(frozen=True)
class PredictionSettings:
    """What is written of each image, and how large images are predicted.

    Attributes:
        tile: Longer side, in pixels of the stored image, of the tiles in which an image is predicted, overlapping and
            blended; 0 for every image as a whole. auto takes the size of the training images for images of more than
            twice their longer side, so that things are seen at the scale at which they were learned.
        overlays: Whether to write the image tinted with its mask, with a legend.
        probabilities: Whether to write the probability of every class: float16 [classes, height, width], NumPy's npy.
        confidence: Whether to write the probability of the predicted class, as a PNG of the values 0 to 255.
        uncertainty: Whether to write the entropy of the probabilities over that of a guess, likewise: 0 is sure.
        nms: Of objects, the largest overlap (IoU) that two boxes of a class may have; the less sure one is left out.
            null leaves all.
        least_score: Of objects, the smallest score that is drawn.
    """

    tile: int | Literal["auto"] = "auto"
    overlays: bool = True
    probabilities: bool = False
    confidence: bool = False
    uncertainty: bool = False
    nms: float | None = None
    least_score: float = 0.3

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If the tile is no number of pixels.
        """
        if self.tile not in ("auto", 0):
            require_whole("tile", self.tile, 32, MOST_PIXELS)
        if self.nms is not None:
            require_real("nms", self.nms, 0.0, 1.0)
        require_real("least_score", self.least_score, 0.0, 1.0)

    def require_unused(self, names: Iterable[str], why: str) -> None:
        """Refuse options without an effect.

        Args:
            names: Of attributes.
            why: They have none, in a sentence.

        Raises:
            ConfigError: If one of them is not as it is by itself.
        """
        usual = PredictionSettings()
        if idle := [name for name in names if getattr(self, name) != getattr(usual, name)]:
            raise ConfigError(f"{', '.join(f'--{name}' for name in idle)}: {why} Leave it out.")

    @staticmethod
    def all_but(*used: str) -> list[str]:
        """The names of all other attributes."""
        return [each.name for each in fields(PredictionSettings) if each.name not in used]

    @property
    def tile_side(self) -> int | None:
        """The longer side of tiles, if it was given."""
        return self.tile if isinstance(self.tile, int) else None

    @property
    def parts(self) -> tuple[str, ...]:
        """Folders that are written."""
        wanted = {
            OVERLAYS: self.overlays,
            PROBABILITIES: self.probabilities,
            CONFIDENCE: self.confidence,
            UNCERTAINTY: self.uncertainty,
        }
        return (MASKS, *(part for part, is_wanted in wanted.items() if is_wanted))


def write_prediction(ensemble: Ensemble, path: Path, stem: str, output: Path, settings: PredictionSettings) -> bool:
    """Predict one image and write what is asked for.

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
    """
    with _opened(path) as source:
        place = source.georeference if isinstance(source, Raster) else None
        tile = tile_size(ensemble, source.height, source.width, settings.tile_side)
        maps = _Maps(source, settings)
        with _probabilities(output, stem, ensemble, source, settings) as probabilities:
            for strip in predict_strips(ensemble, source, tile):
                maps.add(strip.start, strip.image, strip.probabilities)
                if probabilities is not None:
                    stop = strip.start + strip.image.shape[1]
                    probabilities[:, strip.start : stop] = strip.probabilities.half().numpy()
    colours = np.concatenate([class_colours(), np.array([VOID_COLOUR], dtype=np.uint8)])
    _write_map(output / MASKS, stem, maps.mask, place, colours)
    for part, values in ((CONFIDENCE, maps.confidence), (UNCERTAINTY, maps.uncertainty)):
        if values is not None:
            _write_map(output / part, stem, values, place)
    if settings.overlays:
        shown = labelled_overlay(
            maps.shown(), torch.from_numpy(maps.mask[:: maps.step, :: maps.step]), ensemble.classes
        )
        write_bytes(output / OVERLAYS / f"{stem}.jpg", encoded(shown, "JPEG", quality=92))
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


def require_no_links(output: Path, settings: PredictionSettings) -> None:
    """Check that no folder that is written to is a link.

    Raises:
        ConfigError: If one is.
    """
    for part in settings.parts:
        if (output / part).is_symlink():
            raise ConfigError(f"{output / part} is a link: what it leads to is not replaced. Give another --output.")

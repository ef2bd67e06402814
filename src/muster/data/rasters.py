"""TIFF images of many bands, large and georeferenced ones: opened, read in parts and written by rasterio.

Axis names: ``n`` rows that are read, ``h`` and ``w`` rows and columns of the image.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from muster.arrays import NumpyArray
from muster.data.images import TIFF_SUFFIXES
from muster.data.large_images import open_without_limit
from muster.data.orientation import Pixels
from muster.data.windows import Window
from muster.errors import DatasetError
from muster.extras import needs_extra
from muster.user_files import open_regular

READ_IN_PARTS_ABOVE = 50_000_000
"""Pixels of a TIFF beyond which it is read in parts."""

_LOSSLESS = {"none", "lzw", "deflate", "packbits", "zstd", "lzma"}
"""Names that rasterio has for compressions that keep every value."""

_GEOKEYS = 34735
"""TIFF tag with the coordinate system, GeoTIFF 1.1 (OGC 19-008), section 7.1.1."""


@dataclass(frozen=True)
class Georeference:
    """Where on the earth an image lies.

    Attributes:
        crs: Coordinate system, as rasterio has it.
        transform: From columns and rows to coordinates, likewise.
    """

    crs: Any
    transform: Any


@dataclass(frozen=True)
class Raster:
    """An open TIFF image; :class:`muster.training.tiles.Rows`.

    Attributes:
        dataset: What rasterio opened.
        georeference: Where it lies; ``None`` if it does not say.
    """

    dataset: Any
    georeference: Georeference | None

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.dataset.height)

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.dataset.width)

    def rows(self, start: int, stop: int) -> UInt8[Tensor, "3 n w"]:
        """Some rows, in RGB; grey is repeated, and an alpha band left out."""
        bands = [1, 1, 1] if self.dataset.count < 3 else [1, 2, 3]
        window = ((start, stop), (0, self.width))
        return torch.from_numpy(self.dataset.read(bands, window=window))


def rasterio_of(what: str) -> Any:
    """The library that reads TIFF files of any number of bands.

    Raises:
        DatasetError: If it is not installed.
    """
    return needs_extra("rasterio", "geo", f"{what}: TIFF files of many bands are read by rasterio", DatasetError)


@contextmanager
def open_tiff(path: Path, what: str) -> Iterator[Any]:
    """Open a TIFF file of any number of bands.

    Args:
        path: The file.
        what: What to call it in messages.

    Yields:
        rasterio's reader.

    Raises:
        DatasetError: If it is missing, no TIFF, or damaged where it is read.
    """
    rasterio = rasterio_of(what)
    try:
        open_regular(path).close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            source = rasterio.open(path, driver="GTiff")
    except FileNotFoundError as error:
        raise DatasetError(f"{what} is missing.") from error
    except (OSError, rasterio.errors.RasterioError) as error:
        raise DatasetError(f"{what} cannot be read as a TIFF: {error}.") from error
    with source:
        try:
            yield source
        except rasterio.errors.RasterioError as error:
            raise DatasetError(f"{what} cannot be read: {error}. Replace or remove it.") from error


def read_tiff_part(path: Path, window: Window, exactly: bool = False) -> tuple[Pixels, tuple[int, int]] | None:
    """A part of a TIFF of 8-bit RGB, without the rest of it.

    Args:
        path: Any file.
        window: Which part.
        exactly: Whether values must be as they were saved, so that a lossy compression will not do.

    Returns:
        uint8 ``[h, w, 3]``, and rows and columns of the whole; ``None`` if it is no such TIFF, or rasterio is not
        installed: then the whole has to be read, by Pillow, which also says what is wrong with it.

    Raises:
        DatasetError: If it is damaged where it is read.
    """
    if path.suffix.lower() not in TIFF_SUFFIXES or find_spec("rasterio") is None:
        return None
    from rasterio.enums import ColorInterp, PhotometricInterp

    with open_tiff(path, f"Image {path}") as source:
        colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        is_plain = source.colorinterp == colours and set(source.dtypes) == {"uint8"} and not source.subdatasets
        packed = source.compression.name if source.compression else "none"
        known = source.photometric in {None, PhotometricInterp.rgb}
        if not is_plain or not known or (exactly and packed not in _LOSSLESS):
            return None
        place = ((window.top, window.top + window.height), (window.left, window.left + window.width))
        pixels = np.ascontiguousarray(source.read(window=place).transpose(1, 2, 0))
        return pixels, (int(source.height), int(source.width))


GEOREFERENCED, LARGE = "georeferenced", "large"


def tiff_kind(path: Path) -> str | None:
    """Why an image should be read by :func:`open_raster`; known without rasterio.

    Args:
        path: An image of any kind.

    Returns:
        :data:`GEOREFERENCED` or :data:`LARGE` for such a TIFF; ``None`` for all others.
    """
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return None
    try:
        with open_regular(path) as file, open_without_limit(file) as image:
            if image.format != "TIFF":
                return None
            if _GEOKEYS in getattr(image, "tag_v2", {}):
                return GEOREFERENCED
            return LARGE if image.width * image.height > READ_IN_PARTS_ABOVE else None
    except (OSError, SyntaxError, ValueError):
        return None  # whoever reads it says what is wrong


@contextmanager
def open_raster(path: Path) -> Iterator[Raster]:
    """Open a TIFF to be read in parts.

    Args:
        path: 8-bit samples: grey or RGB, with or without alpha.

    Yields:
        The image.

    Raises:
        DatasetError: If it cannot be read, or has other bands.
    """
    with open_tiff(path, f"Image {path}") as dataset:
        from rasterio.enums import ColorInterp

        bands, kinds = dataset.count, set(dataset.dtypes)
        extra = bands in (2, 4) and dataset.colorinterp[-1] != ColorInterp.alpha
        if kinds != {"uint8"} or bands > 4 or extra or dataset.colorinterp[0] == ColorInterp.palette:
            raise DatasetError(
                f"Image {path} has {bands} band(s) of {', '.join(sorted(kinds))}, but 8-bit grey or RGB is expected, "
                "with or without a band that is marked as alpha. Write the bands that are meant as such an image."
            )
        place = Georeference(dataset.crs, dataset.transform) if dataset.crs is not None else None
        yield Raster(dataset, place)


def write_raster(
    path: Path, values: UInt8[NumpyArray, "h w"], georeference: Georeference, colours: UInt8[NumpyArray, "n 3"]
) -> None:
    """Write a map of one band as a GeoTIFF.

    Args:
        path: The file.
        values: For each pixel.
        georeference: Where it lies.
        colours: How each value is shown, from 0 on.
    """
    import rasterio

    height, width = values.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "uint8"}
    place = {"crs": georeference.crs, "transform": georeference.transform}
    with rasterio.open(path, "w", **profile, **place, compress="deflate", tiled=height >= 256 <= width) as file:
        file.write(values, 1)
        file.write_colormap(1, {index: (*colour, 255) for index, colour in enumerate(colours.tolist())})

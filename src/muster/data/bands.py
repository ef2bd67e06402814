"""Images of any number of channels, and of 16 bits or floating point: what ``channels`` in ``dataset.yaml`` asks for.

Axis names: ``channels`` of the image, ``h`` and ``w`` its rows and columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Num
from torch import Tensor

from muster.data.decoding import png_bits
from muster.data.images import TIFF_SUFFIXES, Header
from muster.data.large_images import OpenFile, open_of_any_size, require_memory
from muster.data.orientation import Pixels
from muster.data.rasters import open_tiff
from muster.data.spec import DatasetSpec
from muster.data.yaml_checks import is_whole, wrong
from muster.errors import DatasetError
from muster.user_files import open_regular

MOST_CHANNELS = 1024
_RAW = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_UNSIGNED = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
_BYTES_A_VALUE = 10


@dataclass(frozen=True)
class Bands:
    """Which numbers of an image file are read.

    Attributes:
        channels: How many channels an image has.
        chosen: Numbers of the bands that are its channels, from 1 on; empty for all.
        value_range: The stored values that mean 0 and 1; ``None`` for the range of their type.
    """

    channels: int
    chosen: tuple[int, ...] = ()
    value_range: tuple[float, float] | None = None


def parse_bands(path: Path, values: Mapping[str, Any]) -> Bands | None:
    """Read the keys ``channels``, ``bands`` and ``value_range`` of a ``dataset.yaml``.

    Args:
        path: The file, for messages.
        values: Its content.

    Returns:
        What they ask for; ``None`` if none of them is there, and images are RGB of 8 bits.

    Raises:
        DatasetError: If a value makes no sense.
    """
    channels, chosen, given = (values.get(key) for key in ("channels", "bands", "value_range"))
    if channels is None and chosen is None and given is None:
        return None
    if chosen is not None and (
        not isinstance(chosen, list) or not chosen or not all(is_whole(n) and n > 0 for n in chosen)
    ):
        raise wrong(path, "bands", "a list of numbers of bands, counted from 1", chosen)
    count = (3 if chosen is None else len(chosen)) if channels is None else channels
    if not is_whole(count) or not 1 <= count <= MOST_CHANNELS:
        raise wrong(path, "channels", f"a number of channels from 1 to {MOST_CHANNELS}", channels)
    if chosen is not None and len(chosen) != count:
        raise wrong(path, "bands", f"as many bands as there are channels ({count})", chosen)
    return Bands(count, tuple(chosen or ()), None if given is None else _range(path, given))


def _range(path: Path, value: object) -> tuple[float, float]:
    numbers = value if isinstance(value, list) else []
    if len(numbers) != 2 or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise wrong(path, "value_range", "the stored values that mean 0 and 1, e.g. [0, 4095]", value)
    low, high = map(float, numbers)
    if not -np.inf < low < high < np.inf:
        raise wrong(path, "value_range", "a smaller and a larger number", value)
    return low, high


def read_bands(path: Path, bands: Bands, spec: DatasetSpec) -> Num[Tensor, "channels h w"]:
    """Read an image with all its channels.

    Args:
        path: The file: TIFF files are read by rasterio, others by Pillow (or torchvision, for PNG files of 16 bits in
            colours).
        bands: What is asked for.
        spec: Its dataset, for messages.

    Returns:
        uint8 for images of 8 bits without a range; otherwise float32, scaled to 0..1 by the stated range (and clipped
        to it) or by that of the type. What is no number is 0.

    Raises:
        DatasetError: If it cannot be read, has another number of bands, or numbers whose range has to be stated.
    """
    what = f"Image {path} of dataset {spec.name!r}"
    pixels = _of_tiff(path, bands, what) if _is_tiff(path) else _chosen(_of_other(path, what), bands, what)
    _require_bands(len(pixels), bands.channels, what)
    if bands.value_range is None and pixels.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(pixels))
    return torch.from_numpy(_scaled(pixels, bands, what))


def read_band_header(path: Path, spec: DatasetSpec) -> Header:
    """Size of an image with any number of channels; such images have no orientation.

    Args:
        path: The file.
        spec: Its dataset, for messages.

    Returns:
        Its rows and columns.

    Raises:
        DatasetError: If it cannot be read.
    """
    what = f"Image {path} of dataset {spec.name!r}"
    if _is_tiff(path):
        with open_tiff(path, what) as source:
            return Header(None, (source.height, source.width))
    try:
        with open_regular(path) as file, open_of_any_size(file, what) as image:
            return Header(None, (image.height, image.width))
    except OSError as error:
        raise DatasetError(f"{what} cannot be read: {error.strerror or error}.") from error


def _is_tiff(path: Path) -> bool:
    return path.suffix.lower() in TIFF_SUFFIXES


def _of_tiff(path: Path, bands: Bands, what: str) -> Pixels:
    with open_tiff(path, what) as source:
        if bands.chosen:
            _require_bands(source.count, max(bands.chosen), what, at_least=True)
        require_memory(source.width, source.height, what, _BYTES_A_VALUE * bands.channels)
        pixels: Pixels = source.read(list(bands.chosen) or None)
    return pixels


def _chosen(pixels: Pixels, bands: Bands, what: str) -> Pixels:
    if not bands.chosen:
        return pixels
    _require_bands(len(pixels), max(bands.chosen), what, at_least=True)
    return pixels[[number - 1 for number in bands.chosen]]


def _of_other(path: Path, what: str) -> Pixels:
    try:
        with open_regular(path) as file, open_of_any_size(file, what) as image:
            if image.format == "PNG" and png_bits(file) == 16 and not image.mode.startswith("I"):
                return _of_deep_png(file)
            if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
                return np.array(image).astype(np.uint16)[None]
            if image.mode not in _RAW:
                raise DatasetError(
                    f"{what} has the mode {image.mode}, in which channels are not plain. Save it as grey, RGB or TIFF."
                )
            pixels: Pixels = np.array(image).reshape(image.height, image.width, _RAW[image.mode])
            return pixels.transpose(2, 0, 1)
    except FileNotFoundError as error:
        raise DatasetError(f"{what} is missing.") from error
    except (OSError, SyntaxError, ValueError, RuntimeError) as error:
        raise DatasetError(f"{what} cannot be read: {error}. Replace or remove it.") from error


def _of_deep_png(file: OpenFile) -> Pixels:
    """Pillow would cut its 16 bits to 8 without a word."""
    from torchvision.io import ImageReadMode, decode_image

    file.seek(0)
    content = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)
    pixels: Pixels = decode_image(content, ImageReadMode.UNCHANGED).numpy()
    return pixels


def _require_bands(found: int, wanted: int, what: str, at_least: bool = False) -> None:
    if found != wanted and not (at_least and found > wanted):
        raise DatasetError(
            f"{what} has {found} band(s), but {'at least ' if at_least else ''}{wanted} are expected. Mend "
            "'channels' or 'bands' in dataset.yaml, or the image."
        )


def _scaled(pixels: Pixels, bands: Bands, what: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    if bands.value_range is None and pixels.dtype not in _UNSIGNED:
        raise DatasetError(
            f"{what} holds numbers of type {pixels.dtype}, whose range says nothing. Say in dataset.yaml which of them "
            "mean 0 and 1: 'value_range: [LOW, HIGH]'."
        )
    low, high = bands.value_range or (0.0, _UNSIGNED[pixels.dtype])
    scaled = (pixels.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    clipped: np.ndarray[Any, np.dtype[np.float32]] = np.nan_to_num(scaled, copy=False).clip(0, 1)
    return np.ascontiguousarray(clipped)

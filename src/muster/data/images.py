"""Decode one image or one mask file, or say what is wrong with it.

Axis names: ``h`` and ``w`` are the rows and columns of the image: of images after any rotation that their EXIF tag
asks for, of masks as stored.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8, UInt16
from PIL import Image
from torch import Tensor

from muster.data.decoding import Opened, decode
from muster.data.orientation import UPRIGHT, Pixels, lay_back, turn_upright
from muster.errors import DatasetError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
"""File name endings of images, in lower case; any case is accepted."""

TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
"""Those of TIFF files, which may hold more than three bands."""

MASK_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff"})
"""File name endings of masks: a class index must come back as it was stored."""

_ALPHA_BANDS = {"LA", "La", "PA", "RGBA", "RGBa"}
_OPAQUE = 255
_LOSSY = "That format changes values: export the masks again as PNG, since a converted copy keeps the wrong ones."
_ADVICE = {"JPEG": _LOSSY, "MPO": _LOSSY, "WEBP": _LOSSY}
_MASK_KINDS = {"PNG", "BMP", "TIFF"}
_LOSSY_TIFF = {"jpeg", "tiff_jpeg", "webp"}
_WHITE_IS_ZERO, _PHOTOMETRIC = 0, 262  # TIFF 6.0: Pillow turns such values round


class Header(NamedTuple):
    """What is known of an image without decoding it.

    Attributes:
        tag: EXIF orientation; ``None`` if there is none.
        size: Rows and columns as stored.
    """

    tag: int | None
    size: tuple[int, int]


class StoredMask(NamedTuple):
    """A mask as its file holds it.

    Attributes:
        values: ``[h, w]`` indices, uint8 or uint16, or depths, float32; or ``[h, w, 3]`` colours.
        tag: EXIF orientation; ``None`` if there is none.
    """

    values: Pixels
    tag: int | None


def read_image(
    place: Path | bytes, dataset: str = "", as_stored: bool = False, what: str | None = None
) -> UInt8[Tensor, "3 h w"]:
    """Read an image as RGB.

    Grey, palette and CMYK images are converted, an alpha channel is left out (not blended in), and the rotation that an
    EXIF tag asks for is applied.

    Args:
        place: The file, or its content.
        dataset: Name of its dataset, for the message of an error.
        as_stored: Leave the image as it lies, whatever its EXIF tag asks for.
        what: What to call it in messages; a file goes by its name.

    Returns:
        uint8, RGB.

    Raises:
        DatasetError: If the file is missing, damaged, no regular file, or has more than 8 bits per band, bands that are
            neither colours nor alpha, or several frames.
    """
    called = what or _describe("Image", place, dataset)
    return as_tensor(decode(place, called, lambda opened: _image_pixels(opened, as_stored)))


def read_stored_pixels(path: Path, dataset: str = "") -> Pixels:
    """:func:`read_image` of an image as it lies, without the last step: to take parts of it.

    Args:
        path: The file.
        dataset: Name of its dataset, for the message of an error.

    Returns:
        uint8 ``[h, w, 3]``, RGB.

    Raises:
        DatasetError: As :func:`read_image`.
    """
    return decode(path, _describe("Image", path, dataset), lambda opened: _image_pixels(opened, as_stored=True))


def as_tensor(pixels: Pixels) -> UInt8[Tensor, "3 h w"]:
    """RGB ``[h, w, 3]`` as a tensor of its own."""
    # Channel by channel: half the time of a transposed copy of the whole.
    return torch.from_numpy(np.stack([pixels[..., channel] for channel in range(pixels.shape[-1])]))


def read_header(place: Path | bytes, dataset: str = "", what: str | None = None) -> Header:
    """Look at an image without decoding its pixels.

    Args:
        place: The file, or its content.
        dataset: Name of its dataset, for the message of an error.
        what: What to call it in messages; a file goes by its name.

    Returns:
        Its size and orientation.

    Raises:
        DatasetError: As :func:`read_image`, but for damaged pixels.
    """
    called = what or _describe("Image", place, dataset)
    return decode(place, called, lambda opened: Header(opened.tag, opened.size))


def read_mask(path: Path, dataset: str = "") -> UInt8[Tensor, "h w"] | UInt16[Tensor, "h w"]:
    """Read a mask of class indices, as stored.

    Grey masks hold the index as grey value, palette masks as palette index (their colours are for the eye only); masks
    of 1, 2 or 4 bits hold small indices, those of 16 bits large ones.

    Args:
        path: The file.
        dataset: Name of its dataset, for the message of an error.

    Returns:
        uint8 or uint16, whatever indices the file holds: the caller knows which of them are classes.

    Raises:
        DatasetError: If the file is missing, damaged, no regular file, no PNG, BMP or TIFF, in colours, or has more
            than 16 bits per pixel.
    """
    return torch.from_numpy(read_stored_mask(path, dataset).values)


def read_stored_mask(
    place: Path | bytes, dataset: str = "", colours: bool = False, what: str | None = None
) -> StoredMask:
    """Read a mask and its EXIF orientation, without turning it.

    Args:
        place: The file, or its content.
        dataset: Name of its dataset, for the message of an error.
        colours: Read the colours that one sees instead of indices.
        what: What to call it in messages; a file goes by its name.

    Returns:
        The mask.

    Raises:
        DatasetError: As :func:`read_mask`; or, with colours, if some of its pixels are transparent.
    """
    called = what or _describe("Mask", place, dataset)
    return decode(place, called, lambda opened: _mask_pixels(opened, called, colours), deep=not colours)


def _describe(kind: str, place: Path | bytes, dataset: str) -> str:
    name = f"{kind} {place}" if isinstance(place, Path) else kind
    return name + (f" of dataset {dataset!r}" if dataset else "")


def _image_pixels(opened: Opened, as_stored: bool) -> Pixels:
    image, tag = opened.image, opened.tag or UPRIGHT
    image.load()
    # Straight to RGB warns about a palette with transparency; premultiplied alpha cannot be left out.
    through = {"P": "RGBA", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}.get(image.mode)
    shown = image.convert(through) if through else image
    pixels = np.array(shown if shown.mode == "RGB" else shown.convert("RGB"))
    if image.format == "TIFF":  # is upright already
        return np.ascontiguousarray(lay_back(pixels, tag)) if as_stored else pixels
    return pixels if as_stored or tag == UPRIGHT else np.ascontiguousarray(turn_upright(pixels, tag))


def _mask_pixels(opened: Opened, what: str, colours: bool) -> StoredMask:
    image = opened.image
    if image.format not in _MASK_KINDS:
        raise DatasetError(
            f"{what} is a {image.format} file inside, whatever its name, but masks must be PNG, BMP or TIFF files, so "
            f"that every value comes back as it was stored. {_ADVICE.get(str(image.format), 'Convert it to PNG.')}"
        )
    if image.format == "TIFF":
        _refuse_changed_values(image, what)
    values = _colours(opened, what) if colours else _indices(opened, what)
    if image.format == "TIFF":  # is upright already
        values = np.ascontiguousarray(lay_back(values, opened.tag or UPRIGHT))
    return StoredMask(values, opened.tag)


def _refuse_changed_values(image: Image.Image, what: str) -> None:
    compression = image.info.get("compression")
    if compression in _LOSSY_TIFF:
        raise DatasetError(f"{what} is a TIFF with {compression} inside, so its values were changed. {_LOSSY}")
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO and image.mode != "1":
        raise DatasetError(
            f"{what} is a TIFF in which white is 0, so it is not clear which values are meant. Save it as PNG."
        )


def _indices(opened: Opened, what: str) -> Pixels:
    image = opened.image
    if image.mode.startswith("I;16"):
        return np.array(image).astype(np.uint16)
    if image.mode not in {"1", "L", "P"}:
        raise DatasetError(
            f"{what} is in colours (mode {image.mode}), but a mask of class indices is expected: one channel "
            "(grey or palette) that holds the index of the class of each pixel. Convert the colours to indices, or say "
            "in dataset.yaml what they mean: mask_values: {'#000000': CLASS, '#ff0000': CLASS} (or colour_map: FILE)"
        )
    pixels: Pixels = np.array(image).astype(np.uint8)
    if image.mode == "L" and image.format == "PNG" and opened.bits in {2, 4}:
        pixels //= 255 // (2**opened.bits - 1)  # the decoder stretches few-bit grey to 0..255; the index is meant
    return pixels


def _colours(opened: Opened, what: str) -> Pixels:
    image = opened.image
    if image.mode in _ALPHA_BANDS or "transparency" in image.info:
        pixels: Pixels = np.array(image.convert("RGBA"))
        transparent = int((pixels[..., 3] != _OPAQUE).sum())
        if transparent:
            raise DatasetError(
                f"{what}: {transparent} pixels are transparent, so their colour is not clear. Save it without an alpha "
                "channel, in the colours that mask_values in dataset.yaml names."
            )
        return np.ascontiguousarray(pixels[..., :3])
    return np.array(image.convert("RGB"))

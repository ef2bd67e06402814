"""Decode one image or one mask file, or say what is wrong with it.

Axis names: ``h`` and ``w`` are the rows and columns of the picture, after any rotation that its EXIF tag asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from muster.errors import DatasetError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
"""File name endings of images, in lower case; any case is accepted."""

MASK_SUFFIXES = frozenset({".png"})
"""File name endings of masks: lossless ones, because a class index must come back as it was stored."""

_BITS_PER_SAMPLE = 258
"""The TIFF tag of that name."""


def read_image(path: Path, dataset: str = "") -> UInt8[Tensor, "3 h w"]:
    """Read an image as RGB.

    Grey, palette and CMYK images are converted, an alpha channel is dropped, the rotation that an EXIF tag asks for is
    applied, and of several frames the first is read.

    Args:
        path: The file.
        dataset: Name of its dataset, for the message of an error.

    Returns:
        uint8, RGB.

    Raises:
        DatasetError: If the file is missing, damaged, or has more than 8 bits per channel.
    """
    what = _describe("Image", path, dataset)
    pixels = _decode(path, what, lambda file: _image_pixels(file, what))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def read_mask(path: Path, dataset: str = "") -> UInt8[Tensor, "h w"]:
    """Read a mask of class indices, as stored.

    Grey masks hold the index as grey value, palette masks as palette index (their colours are for the eye only); masks
    of 1, 2 or 4 bits hold small indices.

    Args:
        path: The file.
        dataset: Name of its dataset, for the message of an error.

    Returns:
        uint8, whatever indices the file holds: the caller knows which of them are classes.

    Raises:
        DatasetError: If the file is missing, damaged, in colours, or has more than 8 bits per pixel.
    """
    what = _describe("Mask", path, dataset)
    return torch.from_numpy(_decode(path, what, lambda file: _mask_pixels(file, what)))


def _describe(kind: str, path: Path, dataset: str) -> str:
    return f"{kind} {path}" + (f" of dataset {dataset!r}" if dataset else "")


def _decode(
    path: Path, what: str, pixels: Callable[[BinaryIO], np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    try:
        with path.open("rb") as file:
            return pixels(file)
    except DatasetError:
        raise
    except FileNotFoundError as error:
        raise DatasetError(f"{what} is missing.") from error
    except MemoryError:
        raise
    except Exception as error:  # a decoder meets damaged bytes with anything from OSError to struct.error or IndexError
        raise DatasetError(f"{what} cannot be read: {error or type(error).__name__}. Replace or remove it.") from error


def _image_pixels(file: BinaryIO, what: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    bits = _png_bits(file)
    with Image.open(file) as image:
        _refuse_deep(image, bits, what)
        upright = ImageOps.exif_transpose(image)
        if upright.mode in {"P", "PA"}:
            upright = upright.convert("RGBA")  # straight to RGB warns about a palette with transparency
        return np.array(upright.convert("RGB"))


def _mask_pixels(file: BinaryIO, what: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    bits = _png_bits(file)
    with Image.open(file) as image:
        _refuse_deep(image, bits, what)
        if image.mode not in {"1", "L", "P"}:
            raise DatasetError(
                f"{what} is in colours (mode {image.mode}), but a mask of class indices is expected: one 8-bit channel "
                f"(grey or palette) that holds the index of the class of each pixel. Convert the colours to indices."
            )
        pixels = np.array(image).astype(np.uint8)
        if image.mode == "L" and bits in {2, 4}:
            pixels //= 255 // (2**bits - 1)  # the decoder stretches few-bit grey to 0..255; the stored index is meant
        return pixels


def _png_bits(file: BinaryIO) -> int:
    """Bits per sample if it is a PNG, otherwise 0; a PNG of 16 bits in colours is otherwise cut to 8 without a word."""
    header = file.read(25)
    file.seek(0)
    return header[24] if len(header) == 25 and header[1:4] == b"PNG" else 0


def _refuse_deep(image: Image.Image, png_bits: int, what: str) -> None:
    tags = getattr(image, "tag_v2", {})
    bits = max(png_bits, *np.atleast_1d(tags.get(_BITS_PER_SAMPLE, 0)).tolist())
    if bits > 8 or image.mode.startswith(("I", "F")):
        depth = f"{bits}-bit" if bits > 8 else f"not 8-bit (mode {image.mode})"
        raise DatasetError(f"{what} is {depth}, but 8 bits per channel are expected. Convert it to 8 bits.")

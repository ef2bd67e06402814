"""Images of any size that fits into memory: Pillow alone would refuse those above 179 megapixels."""

from __future__ import annotations

from io import BufferedReader, BytesIO
from pathlib import Path
from threading import Lock
from typing import TypeAlias

from PIL import Image

from muster.errors import DatasetError

READABLE = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
"""Kinds of content that are read, in Pillow's words; JPEG includes MPO, which has further views for other devices."""

OpenFile: TypeAlias = BufferedReader | BytesIO
"""A file, or its content in memory."""

BYTES_A_PIXEL = 14
"""What a pixel takes at most while it is read: Pillow's four bytes, and three copies of three. (Measured: 12.7 bytes a
pixel for a grey PNG of 182 megapixels.)"""

ALWAYS_FINE = 1 << 24
"""Pixels up to which nobody asks how much memory is free."""

_MEMORY = Path("/proc/meminfo")
_pillow_limit = Lock()


def open_of_any_size(file: OpenFile, what: str) -> Image.Image:
    """Open an image of any size, unless its pixels would not fit into the memory that is free.

    Pillow's own limit is there against small files that unpack to gigabytes. What counts is the memory of the machine:
    that is asked for instead.

    Args:
        file: At its beginning.
        what: What to call it in messages.

    Returns:
        The image, not yet decoded.

    Raises:
        DatasetError: If it would not fit.
    """
    image = open_without_limit(file)
    require_memory(image.width, image.height, what)
    return image


def open_without_limit(file: OpenFile) -> Image.Image:
    """Open an image whatever its size, for its header alone.

    Args:
        file: At its beginning.

    Returns:
        The image, not yet decoded.
    """
    with _pillow_limit:  # a setting of the whole process, which is put back when the header has been read
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=READABLE)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def require_memory(width: int, height: int, what: str, bytes_a_pixel: int = BYTES_A_PIXEL) -> None:
    """Refuse an image that could not be held in the memory that is free.

    Args:
        width: Its columns.
        height: Its rows.
        what: What to call it in messages.
        bytes_a_pixel: What reading takes.

    Raises:
        DatasetError: If it would not fit.
    """
    if width * height <= ALWAYS_FINE:
        return
    needed, free = width * height * bytes_a_pixel, free_memory()
    if free is not None and needed > free:
        raise DatasetError(
            f"{what} has {width} x {height} pixels: to read it takes about {needed / 1e9:.1f} GB, but "
            f"{free / 1e9:.1f} GB of memory are free. Cut it into tiles, or read fewer images at a time."
        )


def free_memory() -> int | None:
    """Bytes of memory that programs can still have; ``None`` where the system does not tell."""
    try:
        lines = _MEMORY.read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(found[0][1]) * 1024 if found else None

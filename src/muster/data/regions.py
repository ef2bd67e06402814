"""The connected regions of each class in a mask, and the part of the image around each.

Axis names: ``h`` and ``w`` are the rows and columns of one image.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage
from torch import Tensor

from muster.arrays import NumpyArray

_TOUCHING = np.ones((3, 3), dtype=bool)
"""Pixels are connected that touch at a side or a corner."""


class Box(NamedTuple):
    """Part of an image: rows ``top`` to ``bottom`` and columns ``left`` to ``right``, the last of each not included."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left


class Region(NamedTuple):
    """Connected pixels of one class.

    Attributes:
        label: Index of the class.
        box: The smallest that holds them.
        pixels: How many they are.
    """

    label: int
    box: Box
    pixels: int


def regions_of(mask: UInt8[Tensor, "h w"], labels: Collection[int], min_pixels: int = 1) -> Iterator[Region]:
    """Find the connected regions of some classes.

    Args:
        mask: Class indices; void, :data:`muster.data.VOID`, is no class.
        labels: The classes.
        min_pixels: Regions of fewer pixels are passed over.

    Yields:
        The regions: class by class, from the top.
    """
    beyond: UInt8[NumpyArray, "h w"] = mask.numpy() + np.uint8(1)  # 255 becomes 0, which stands for nothing
    for label, place in enumerate(ndimage.find_objects(beyond)):
        if place is None or label not in labels:
            continue
        numbers, _ = ndimage.label(beyond[place] == label + 1, structure=_TOUCHING)
        pixels = np.bincount(numbers.ravel())
        rows, columns = (each.start for each in place)
        for number, (down, across) in enumerate(ndimage.find_objects(numbers), start=1):
            if pixels[number] >= min_pixels:
                box = Box(rows + down.start, columns + across.start, rows + down.stop, columns + across.stop)
                yield Region(label, box, int(pixels[number]))


def crop_around(box: Box, size: tuple[int, int], margin: float) -> Box:
    """The part of an image that shows a region.

    Args:
        box: What holds the region.
        size: Rows and columns of the image.
        margin: What is added at each side, as a share of the longer side of ``box``.

    Returns:
        A square around the box, moved and made smaller as far as the image asks for it. A box that is longer than the
        image's shorter side gets its margin alone: a square would show more of what lies beside a road than of it.
    """
    rows, columns = box.size
    added = 2 * round(margin * max(rows, columns))
    side = min(max(rows, columns) + added, *size)
    wanted = (side, side) if side >= max(rows, columns) else (min(rows + added, size[0]), min(columns + added, size[1]))
    top = _start(box.top, box.bottom, wanted[0], size[0])
    left = _start(box.left, box.right, wanted[1], size[1])
    return Box(top, left, top + wanted[0], left + wanted[1])


def _start(begin: int, end: int, wanted: int, available: int) -> int:
    """Where so many pixels begin that lie around others and within the image."""
    return min(max((begin + end - wanted) // 2, 0), available - wanted)

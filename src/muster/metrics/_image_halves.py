"""Pixels split in two by image, so that no pixel is read by what was fitted on its own image.

Axis names as in :mod:`muster.arrays`; ``images`` are the different values of ``groups``.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Int, Integer
from torch import Tensor

from muster.arrays import NumpyArray, as_integers

Groups: TypeAlias = Integer[Tensor, "pixels"] | Integer[NumpyArray, "pixels"]


def as_groups(groups: object, num_pixels: int) -> Int[NumpyArray, " pixels"]:
    """Check which image each pixel is from, and number the images from 0 on.

    Args:
        groups: Integers, one per pixel; any values.
        num_pixels: How many there must be.

    Returns:
        int64 in 0..images-1, in the order of the values given.

    Raises:
        ValueError: If ``groups`` are not integers, not one per pixel, or all alike.
    """
    tensor = as_integers("groups", groups)
    if tensor.shape != (num_pixels,):
        raise ValueError(f"Expected `groups` to have shape [{num_pixels}], but got {list(tensor.shape)}.")
    values, contiguous = _numbered(tensor.cpu().numpy())
    if len(values) < 2:
        raise ValueError(
            f"Expected `groups` to name at least 2 images (fitted on one half, read on the other), "
            f"but all pixels are of image {values[0]}."
        )
    return contiguous


def _numbered(values: Int[NumpyArray, " entries"]) -> tuple[Int[NumpyArray, " distinct"], Int[NumpyArray, " entries"]]:
    """The different values, ascending, and the place of each entry's among them.

    Counting takes a tenth of the time of sorting, where the range of the values is not too large.
    """
    low, high = int(values.min()), int(values.max())
    if high - low > 4 * len(values):
        distinct, places = np.unique(values, return_inverse=True)
        return distinct, places.astype(np.int64)
    shifted = values.astype(np.int64) - low
    occurs = np.bincount(shifted) > 0
    return np.flatnonzero(occurs) + low, (np.cumsum(occurs) - 1)[shifted]


def split_in_halves(
    groups: Int[NumpyArray, " pixels"], labels: Int[NumpyArray, " pixels"], generator: np.random.Generator
) -> Bool[NumpyArray, " pixels"]:
    """Split the images in two halves at random, rare classes into both.

    Images are lined up by the rarest class that they show, at random among equals, and go left and right in turn. So
    two images whose rarest class is the same one never leave a half without it, and the halves differ by one image at
    most. The order of the pixels does not matter.

    Args:
        groups: Image of each pixel, any integers.
        labels: Class of each pixel, from 0.
        generator: Source of chance.

    Returns:
        Which pixels are in the right half. If there is one image only, the left half is empty or the right one is.
    """
    images, of_pixel = _numbered(groups)
    classes = int(labels.max()) + 1
    shown, _ = _numbered(of_pixel * classes + labels)  # each pair of image and class once
    image, shown_class = np.divmod(shown, classes)
    images_with = np.bincount(shown_class, minlength=classes)
    rarity = np.argsort(np.argsort(images_with, kind="stable"), kind="stable")
    rarest = np.full(len(images), classes)
    np.minimum.at(rarest, image, rarity[shown_class])
    line = np.lexsort((generator.random(len(images)), rarest))
    right = np.empty(len(images), dtype=bool)
    right[line] = (np.arange(len(images)) + generator.integers(2)) % 2 == 0
    halves: NumpyArray = right[of_pixel]
    return halves

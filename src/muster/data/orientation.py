"""Images that a camera stored lying or mirrored, and whether their masks lie with them.

An EXIF tag says how an image has to be turned to be upright. Masks rarely have one: whether they were drawn on the
upright image or on the stored one shows in their size, or the user has to tell.

Axis names: ``h`` and ``w`` are the rows and columns of one image.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np

Orientation: TypeAlias = Literal["apply", "ignore"]
"""Key ``orientation`` of dataset.yaml: masks were drawn upright (``apply``), or on pixels as stored (``ignore``)."""

ORIENTATIONS: tuple[str, ...] = get_args(Orientation)

UPRIGHT = 1
"""The tag's value for an image that is stored as it is to be seen."""

TAG = 0x0112
"""Number of the tag, in EXIF and in TIFF."""

_INVERSE = {6: 8, 8: 6}

Pixels: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""``[h, w]`` or ``[h, w, channels]``; uint8 unless it is said otherwise."""


def turn_upright(pixels: Pixels, tag: int) -> Pixels:
    """Turn stored pixels as their tag asks for.

    Args:
        pixels: ``[h, w]`` or ``[h, w, channels]``.
        tag: 1 to 8; anything else asks for nothing.

    Returns:
        The pixels as they are to be seen; maybe a view.

    Source:
        Exif 2.32 (JEITA CP-3451E), tag 274, Orientation.
    """
    if tag in {2, 3, 4}:
        rows = slice(None, None, -1 if tag in {3, 4} else 1)
        columns = slice(None, None, -1 if tag in {2, 3} else 1)
        return pixels[rows, columns]
    if tag in {5, 6, 7, 8}:
        turned = pixels.swapaxes(0, 1)
        rows = slice(None, None, -1 if tag in {7, 8} else 1)
        columns = slice(None, None, -1 if tag in {6, 7} else 1)
        return turned[rows, columns]
    return pixels


def lay_back(pixels: Pixels, tag: int) -> Pixels:
    """The inverse of :func:`turn_upright`: from upright pixels to those stored."""
    return turn_upright(pixels, _INVERSE.get(tag, tag))


def masks_lie_as_stored(
    image_tag: int | None,
    mask_tag: int | None,
    stored_size: tuple[int, int],
    mask_size: tuple[int, int],
    orientation: Orientation | None,
) -> bool | None:
    """Whether a mask goes with the image as stored, not with the upright one.

    Args:
        image_tag: The tag of the image, if it has one.
        mask_tag: The tag of the mask, if it has one.
        stored_size: Rows and columns of the image as stored.
        mask_size: Rows and columns of the mask as stored.
        orientation: What dataset.yaml says, if anything.

    Returns:
        Yes: neither tag is followed. No: each is turned upright by its own tag. ``None``: it cannot be told.
    """
    if orientation is not None:
        return orientation == "ignore"
    turned = (image_tag or UPRIGHT) != UPRIGHT
    mask_turned = (mask_tag or UPRIGHT) != UPRIGHT
    # Both have a tag, or none needs turning: each file says for itself how it is meant.
    if (turned and mask_tag is not None) or not (turned or mask_turned):
        return False
    upright_image = stored_size[::-1] if (image_tag or UPRIGHT) > 4 else stored_size
    upright_mask = mask_size[::-1] if (mask_tag or UPRIGHT) > 4 else mask_size
    fits_stored, fits_upright = stored_size == mask_size, upright_image == upright_mask
    if fits_stored and fits_upright:
        return None
    return fits_stored

"""Bilinear interpolation at some pixels only, equal to upsampling whole maps.

Axis names: ``pixels`` the wanted places (of one image, or of a batch), ``channels`` of the maps, ``b`` images of a
batch, ``h`` and ``w`` the rows and columns of a map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

_BLOCK_PIXELS = 1024
"""Pixels mixed in one go on a CPU: four cells of each stay in its cache, which takes half the time."""


@dataclass(frozen=True, eq=False)
class PixelPlaces:
    """Where pixels of a batch of images lie; all tensors on the device of the maps.

    Attributes:
        images: Place of each pixel's image in the batch.
        rows: In coordinates of the image's mask as stored.
        columns: Likewise.
        heights: Rows that the mask of each pixel's image has.
        widths: Its columns.
        into: Place of each pixel among all probe pixels.
    """

    images: Int64[Tensor, " pixels"]
    rows: Int64[Tensor, " pixels"]
    columns: Int64[Tensor, " pixels"]
    heights: Int64[Tensor, " pixels"]
    widths: Int64[Tensor, " pixels"]
    into: Int64[Tensor, " pixels"]


def read_batch(maps: Float[Tensor, "b channels h w"], places: PixelPlaces) -> Float[Tensor, "pixels channels"]:
    """Interpolate the maps of a batch at some pixels of its images.

    Args:
        maps: Maps of any size. Those in torch's channels-last format are read as they lie, others are copied.
        places: Which pixels.

    Returns:
        float32 (float64 for such maps): for each pixel what :func:`read_pixels` reads from the map of its image.
    """
    height, width = maps.shape[2:]
    dtype = torch.promote_types(maps.dtype, torch.float32)
    top, bottom, down = _neighbours(places.rows, height, places.heights, dtype)
    left, right, across = _neighbours(places.columns, width, places.widths, dtype)
    cells = maps.permute(0, 2, 3, 1).reshape(len(maps) * height * width, maps.shape[1])
    upper, lower = ((places.images * height + row) * width for row in (top, bottom))
    corners = (upper + left, upper + right, lower + left, lower + right)
    block = _BLOCK_PIXELS if maps.device.type == "cpu" else max(len(places.into), 1)
    result = torch.empty(len(places.into), maps.shape[1], dtype=dtype, device=maps.device)
    for start in range(0, len(result), block):
        part = slice(start, start + block)
        four = [cells.index_select(0, corner[part]).to(dtype) for corner in corners]
        result[part] = _mixed(four, across[part, None], down[part, None])
    return result


def read_pixels(
    probabilities: Float[Tensor, "source_classes h w"],
    rows: Int64[Tensor, " pixels"],
    columns: Int64[Tensor, " pixels"],
    size: tuple[int, int],
) -> Float[Tensor, "pixels source_classes"]:
    """Interpolate a map bilinearly at some pixels only.

    Args:
        probabilities: A map of any size.
        rows: In coordinates of ``size``, on the map's device.
        columns: Likewise.
        size: Rows and columns that the map would be brought to.

    Returns:
        What ``torch.nn.functional.interpolate(..., size, mode="bilinear", align_corners=False)`` has at these pixels,
        with exact coordinates: within 1e-6 of the map's range of what it gives for a map in double precision.
    """
    four, across, down = read_corners(probabilities, rows, columns, size)
    return _mixed(list(four), across, down).T.contiguous()


def read_corners(
    maps: Float[Tensor, "source_classes h w"],
    rows: Int64[Tensor, " pixels"],
    columns: Int64[Tensor, " pixels"],
    size: tuple[int, int],
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor, Tensor]:
    """The four cells of a map that bilinear interpolation would mix at each pixel, not yet mixed.

    Args:
        maps: A map of any size.
        rows: In coordinates of ``size``, on the map's device.
        columns: Likewise.
        size: Rows and columns that the map would be brought to.

    Returns:
        The cells above left, above right, below left and below right, each ``[source_classes, pixels]``; then how far
        each pixel is from left to right and from top to bottom, ``[pixels]`` in 0..1.
    """
    height, width = maps.shape[1:]
    dtype = torch.promote_types(maps.dtype, torch.float32)
    top, bottom, down = _neighbours(rows, height, size[0], dtype)
    left, right, across = _neighbours(columns, width, size[1], dtype)
    flat = maps.flatten(1)
    # Indexing with brackets gives the same ten times slower.
    corners = tuple(flat.index_select(1, row * width + column) for row in (top, bottom) for column in (left, right))
    return (corners[0], corners[1], corners[2], corners[3]), across, down


def _mixed(four: list[Tensor], across: Tensor, down: Tensor) -> Tensor:
    """Mix the cells above left, above right, below left and below right; the tensors are used up."""
    upper_left, upper_right, lower_left, lower_right = four
    # From differences, so that a map without any is read as it is.
    upper = upper_right.sub_(upper_left).mul_(across).add_(upper_left)
    lower = lower_right.sub_(lower_left).mul_(across).add_(lower_left)
    return lower.sub_(upper).mul_(down).add_(upper)


def _neighbours(places: Tensor, length: int, wanted: int | Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells of one axis next to each place, and how far it is from the first to the second.

    The coordinate (place + 1/2) length / wanted - 1/2 is a fraction of whole numbers, so nothing is rounded before the
    last division. torch's own kernels round on the way, each release and processor in its own manner.
    """
    whole = 2 * wanted
    numerator = ((2 * places + 1) * length - wanted).clamp(min=0)
    first = numerator.div(whole, rounding_mode="floor")
    share = (numerator - first * whole).to(dtype) / whole
    return first, (first + 1).clamp(max=length - 1), share

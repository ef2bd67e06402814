"""Images that are padded to what a network needs, and the part of its maps that shows the image.

Axis names: ``b`` images, ``c`` channels or classes, ``h`` and ``w`` rows and columns of a map.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import SymInt, Tensor
from torch.nn import functional

Side: TypeAlias = int | SymInt
"""Pixels; a symbol while a network is exported."""


class Part(NamedTuple):
    """Where an image lies in the padded image, and so in every map of it, of whatever size: in a corner.

    Attributes:
        height: Rows of the image.
        width: Its columns.
        padded_height: Rows of the padded image; the padding is below.
        padded_width: Its columns; the padding is on the right, or on the left of a map that was mirrored.
        is_mirrored: Whether the map was mirrored.
    """

    height: int
    width: int
    padded_height: int
    padded_width: int
    is_mirrored: bool = False

    def mirrored(self) -> Part:
        """The part of a map after left and right were exchanged."""
        return self._replace(is_mirrored=not self.is_mirrored)


class ImageMap(NamedTuple):
    """A map of images that may have been padded.

    Attributes:
        values: At the model's own resolution.
        part: Which part of it shows the images; ``None`` for all of it.
    """

    values: Float[Tensor, "b c h w"]
    part: Part | None = None

    def mirrored(self) -> ImageMap:
        """Left and right exchanged."""
        return ImageMap(self.values.flip(-1), None if self.part is None else self.part.mirrored())


def padded_size(height: Side, width: Side, multiple: int, least: int) -> tuple[Side, Side]:
    """Rows and columns that an image is padded to.

    Args:
        height: Its rows.
        width: Its columns.
        multiple: What the sides of a padded image are multiples of.
        least: The smallest side that the network takes.

    Returns:
        The smallest multiples that hold the image and are not below ``least``.
    """
    rows, columns = (_padded_side(side, multiple, least) for side in (height, width))
    return rows, columns


def _padded_side(side: Side, multiple: int, least: int) -> Side:
    if side % multiple == 0 and side >= least:
        return side  # torch knows of a symbol that it is a multiple, but not that rounding it up changes nothing
    padded: Side = -(-max(side, least) // multiple) * multiple
    return padded


def pad_to(images: Float[Tensor, "b c _ _"], size: tuple[Side, Side]) -> Float[Tensor, "b c _ _"]:
    """Pad normalised images with 0, below and on the right.

    Args:
        images: Not larger than ``size``.
        size: Rows and columns.

    Returns:
        The images; the same tensor if they have the size.
    """
    down, across = size[0] - images.shape[-2], size[1] - images.shape[-1]
    around = cast("list[int]", [0, across, 0, down])  # torch takes symbols wherever it takes numbers
    return functional.pad(images, around) if down or across else images


def spatial_mean(maps: Float[Tensor, "b c h w"], part: Part | None = None) -> Float[Tensor, "b c"]:
    """Mean of a map over the image.

    Args:
        maps: Of padded images.
        part: Where the images lie in them; ``None`` if they were not padded.

    Returns:
        float32: of cells that the image covers in part, that part counts.
    """
    if part is None:
        return maps.mean(dim=(2, 3), dtype=torch.float32)
    down = _covered(maps.shape[2], part.height, part.padded_height, maps.device)
    across = _covered(maps.shape[3], part.width, part.padded_width, maps.device)
    across = across.flip(0) if part.is_mirrored else across
    return torch.einsum("bchw,h,w->bc", maps.float(), down / down.sum(), across / across.sum())


def upsample(
    maps: Float[Tensor, "b c h w"], size: tuple[Side, Side], part: Part | None = None
) -> Float[Tensor, "b c _ _"]:
    """Bring the part of maps that shows the image to a size: bilinear interpolation, pixel centres aligned.

    Args:
        maps: Of padded images.
        size: Wanted rows and columns; symbols while a network is exported.
        part: Where the images lie in them; ``None`` if they were not padded.

    Returns:
        With the size of the padded image and the padding cut off afterwards it would be the same.
    """
    if part is None:
        sides = cast("tuple[int, int]", size)  # torch takes symbols wherever it takes numbers
        return functional.interpolate(maps, size=sides, mode="bilinear", align_corners=False)
    if part.is_mirrored:
        return upsample(maps.flip(-1), size, part.mirrored()).flip(-1)
    down = size[0] * part.padded_height / (maps.shape[2] * part.height)
    across = size[1] * part.padded_width / (maps.shape[3] * part.width)
    # What functional.interpolate calls; it takes either a size or scales, and this needs both.
    result: Tensor = torch.ops.aten.upsample_bilinear2d(maps, list(size), False, down, across)
    return result


def without_padding(maps: Float[Tensor, "b c h w"], part: Part | None = None) -> Float[Tensor, "b c _ _"]:
    """Maps of the images alone, to be kept or joined with others: interpolated where padding ends within a cell.

    Args:
        maps: Of padded images.
        part: Where the images lie in them; ``None`` if they were not padded.

    Returns:
        With as many cells as images of this size have, rounded up.
    """
    if part is None:
        return maps
    rows = -(-maps.shape[2] * part.height // part.padded_height)
    columns = -(-maps.shape[3] * part.width // part.padded_width)
    return upsample(maps, (rows, columns), part)


def _covered(cells: int, shown: int, padded: int, device: torch.device) -> Float[Tensor, " cells"]:
    """Which share of each cell along one side lies in the image."""
    return (cells * shown / padded - torch.arange(cells, device=device)).clamp(0, 1)

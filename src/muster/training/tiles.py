"""Prediction of images of any size in bounded memory: in tiles at the scale of the training images, strip by strip.

A tile is shown to the members as a training image is. What they make of it is kept at their own resolution, which is
little, and only a few rows at a time are enlarged and blended with those of the tiles beside, above and below.

Axis names: ``b`` tiles, ``c`` classes, ``h`` and ``w`` rows and columns of the image, ``y`` and ``x`` those of a map.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from muster.models import ImageMap, Part
from muster.models.prediction import interpolated_rows
from muster.training.finetuned_ensemble import Ensemble

NUMBERS_AT_ONCE = 1 << 24
"""Probabilities of a strip that are made at a time: 64 MB."""

TILES_AT_ONCE = 4
"""Tiles that members see together."""

OVERLAP = 0.25
"""Share of a tile's side that it has in common with the next: there one fades into the other."""

LARGER_THAN_TRAINED = 2.0
"""An image whose longer side is beyond so many times that of a usual training image is predicted in tiles."""


@runtime_checkable
class Rows(Protocol):
    """An image that can be read in parts.

    Attributes:
        height: Rows.
        width: Columns.
    """

    @property
    def height(self) -> int:
        """Rows."""

    @property
    def width(self) -> int:
        """Columns."""

    def rows(self, start: int, stop: int) -> UInt8[Tensor, "3 n w"]:
        """Some rows.

        Args:
            start: The first.
            stop: The one after the last.

        Returns:
            uint8, RGB.
        """


@dataclass(frozen=True)
class WholeImage:
    """An image in memory, in parts.

    Attributes:
        image: uint8, RGB.
    """

    image: UInt8[Tensor, "3 h w"]

    @property
    def height(self) -> int:
        """Rows."""
        return self.image.shape[1]

    @property
    def width(self) -> int:
        """Columns."""
        return self.image.shape[2]

    def rows(self, start: int, stop: int) -> UInt8[Tensor, "3 n w"]:
        """See :meth:`Rows.rows`."""
        return self.image[:, start:stop]


@dataclass(frozen=True)
class Strip:
    """Some rows of a prediction.

    Attributes:
        start: The first row.
        image: The same rows of the image.
        probabilities: Of the classes; they sum to 1.
    """

    start: int
    image: UInt8[Tensor, "3 n w"]
    probabilities: Float32[Tensor, "c n w"]


def starts_of_tiles(length: int, tile: int, overlap: float = OVERLAP) -> list[int]:
    """Where tiles begin along one side of an image.

    Args:
        length: The side, in pixels.
        tile: Side of a tile, at most ``length``.
        overlap: Least share of a tile that it has in common with the next.

    Returns:
        Evenly spread; the first is 0, and the last tile ends with the image.
    """
    if tile >= length:
        return [0]
    step = max(1, int(tile * (1 - overlap)))
    count = -(-(length - tile) // step)
    return [index * (length - tile) // count for index in range(count + 1)]


def blending_weights(length: int, tile: int, starts: list[int], overlap: float = OVERLAP) -> list[Tensor]:
    """How much each tile counts at each of its pixels along one side.

    Args:
        length: The side of the image.
        tile: Side of a tile.
        starts: See :func:`starts_of_tiles`.
        overlap: Share of a tile over which it fades at both ends.

    Returns:
        For each tile ``tile`` numbers; those of all tiles sum to 1 at every pixel of the side.
    """
    places = torch.arange(tile) + 0.5
    fading = torch.minimum(places, tile - places).clamp(max=max(1.0, tile * overlap))
    total = torch.zeros(length)
    for start in starts:
        total[start : start + tile] += fading
    return [fading / total[start : start + tile] for start in starts]


def tile_size(ensemble: Ensemble, height: int, width: int, tile: int | None = None) -> tuple[int, int]:
    """Rows and columns of the tiles in which an image is predicted.

    Args:
        ensemble: It may know the size of its training images.
        height: Rows of the image.
        width: Its columns.
        tile: Longer side of a tile if it is given; 0 for the whole image at once.

    Returns:
        Those of the image if it is predicted as a whole.
    """
    usual = ensemble.stored_size
    if tile == 0 or (tile is None and usual is None):
        return height, width
    shape = usual or (1, 1)
    if tile is None:
        if max(height, width) <= LARGER_THAN_TRAINED * max(shape):
            return height, width
        return min(height, shape[0]), min(width, shape[1])
    rows, columns = (max(1, round(side * tile / max(shape))) for side in shape)
    return min(height, rows), min(width, columns)


def predict_strips(ensemble: Ensemble, source: Rows, tile: tuple[int, int]) -> Iterator[Strip]:
    """Predict an image from top to bottom.

    Args:
        ensemble: In evaluation mode, on any device.
        source: The image.
        tile: Rows and columns of a tile; those of the image to predict it as a whole.

    Yields:
        Strips that follow one another and cover the image; on the CPU.
    """
    rows, columns = tile
    tops, lefts = starts_of_tiles(source.height, rows), starts_of_tiles(source.width, columns)
    down, across = blending_weights(source.height, rows, tops), blending_weights(source.width, columns, lefts)
    grid = _Grid(tile, tops, lefts, down, across)
    above: dict[int, list[list[ImageMap]]] = {}
    done = 0
    for index, top in enumerate(tops):
        band = source.rows(top, top + rows)
        above[index] = _maps_of_row(ensemble, band, lefts, columns)
        end = tops[index + 1] if index + 1 < len(tops) else source.height
        for start, stop in _strips(done, end, source.width * len(ensemble.classes)):
            yield Strip(start, band[:, start - top : stop - top], grid.blended(above, range(start, stop), source.width))
        done = end
        above = {each: maps for each, maps in above.items() if tops[each] + rows > end}


def _strips(start: int, stop: int, numbers: int) -> Iterator[tuple[int, int]]:
    """Rows ``start`` to ``stop`` in parts; a row takes so many numbers."""
    step = max(1, NUMBERS_AT_ONCE // numbers)
    for first in range(start, stop, step):
        yield first, min(first + step, stop)


@torch.no_grad()
def _maps_of_row(ensemble: Ensemble, band: Tensor, lefts: list[int], columns: int) -> list[list[ImageMap]]:
    """For each tile of one row of tiles, probabilities at the members' own resolutions that sum to those of all."""
    found: list[list[ImageMap]] = []
    for first in range(0, len(lefts), TILES_AT_ONCE):
        tiles = torch.stack([band[:, :, left : left + columns] for left in lefts[first : first + TILES_AT_ONCE]])
        maps = _maps_of(ensemble, tiles)
        found += [
            [ImageMap(each.values[place : place + 1].clone(), each.part) for each in maps]
            for place in range(len(tiles))
        ]
    return found


def _maps_of(ensemble: Ensemble, tiles: UInt8[Tensor, "b 3 h w"]) -> list[ImageMap]:
    """Interpolation is linear: maps of one resolution are added before it."""
    count = len(ensemble.tta.variants) * len(ensemble.names)
    sums: dict[tuple[torch.Size, Part | None], Tensor] = {}
    for probabilities, part in ensemble.probability_maps(ensemble.prepare(tiles)):
        maps = probabilities.cpu() / count
        kind = (maps.shape[2:], part)
        sums[kind] = sums[kind] + maps if kind in sums else maps
    return [ImageMap(maps, part) for (_, part), maps in sums.items()]


@dataclass(frozen=True)
class _Grid:
    """Where tiles lie and how much each counts."""

    tile: tuple[int, int]
    tops: list[int]
    lefts: list[int]
    down: list[Tensor]
    across: list[Tensor]

    def blended(self, maps: dict[int, list[list[ImageMap]]], rows: range, width: int) -> Tensor:
        """Probabilities ``[c, rows, width]`` from the tiles that lie there."""
        height, columns = self.tile
        total: Tensor | None = None
        for index, row_of_tiles in maps.items():
            top = self.tops[index]
            inside = range(max(rows.start, top), min(rows.stop, top + height))
            if not inside:
                continue
            within = range(inside.start - top, inside.stop - top)
            for place, parts in enumerate(row_of_tiles):
                summed = torch.stack([interpolated_rows(each, within, height, columns) for each in parts]).sum(dim=0)
                weight = self.down[index][within.start : within.stop, None] * self.across[place]
                if total is None:
                    total = torch.zeros(len(summed), len(rows), width)
                there = (slice(None), slice(inside.start - rows.start, inside.stop - rows.start))
                left = self.lefts[place]
                total[(*there, slice(left, left + columns))] += summed * weight
        assert total is not None  # every row lies in a tile
        return total

"""Objects as centres on a map: what a network is to say at each place, and what objects its maps say there are.

A place of the map is a cell, and lengths are measured in cells here. Axis names: ``b`` images, ``c`` classes, ``h`` and
``w`` the cells of the map, ``rows`` and ``columns`` those of a truth (:mod:`muster.data.boxes`), ``n`` objects, ``t``
objects that are found.

Source: Zhou, Wang, Kraehenbuehl, "Objects as Points", 2019 ("CenterNet"), sections 3 and 4; Law and Deng, "CornerNet",
2018, section 3.2, for the radius.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from muster.data.boxes import CLASS, IGNORED, of_known_objects
from muster.models.padding import Part

LEAST_OVERLAP = 0.7
"""Places around a centre are near it as far as a box that is moved so far has this IoU with the true one."""

PEAKS = 100
"""Objects that are found in an image at most (M21 A.3)."""


class CentreTargets(NamedTuple):
    """What a network is to say of some images.

    Attributes:
        heat: 1 at the cell of each centre, falling off around it.
        asked: Where heat is learned: not within objects that are ignored.
        places: The cell of each object's centre, row after row.
        has: Which of these are objects to learn.
        offsets: From the cell to the centre, across and down.
        sizes: Width and height of each box.
    """

    heat: Float[Tensor, "b c h w"]
    asked: Bool[Tensor, "b c h w"]
    places: Int64[Tensor, "b n"]
    has: Bool[Tensor, "b n"]
    offsets: Float[Tensor, "b n 2"]
    sizes: Float[Tensor, "b n 2"]


def cells_of_pixels(
    truth: Float[Tensor, "b rows columns"], shape: tuple[int, int], part: Part | None
) -> Float[Tensor, "b 1 2"]:
    """Cells for a pixel of each truth, across and down.

    Args:
        truth: Its first row says how many pixels there are.
        shape: Rows and columns of the map.
        part: Which part of the map shows the image, if it was padded.
    """
    height, width = shown_cells(shape, part)
    return torch.tensor([width, height], device=truth.device) / truth[:, :1, 2:4]


def shown_cells(shape: tuple[int, int], part: Part | None) -> tuple[float, float]:
    """Rows and columns of a map that show the image; the last ones may do so in part."""
    if part is None:
        return float(shape[0]), float(shape[1])
    return shape[0] * part.height / part.padded_height, shape[1] * part.width / part.padded_width


def radius_of(sizes: Float[Tensor, "*any 2"], overlap: float = LEAST_OVERLAP) -> Float[Tensor, "*any"]:
    """How far both corners of a box can be moved, each along both axes, before its IoU falls below a bound.

    Args:
        sizes: Width and height.
        overlap: The bound.

    Returns:
        The smallest of three cases: both corners inwards, both outwards, and both in one direction.
    """
    total, product = sizes.sum(dim=-1), sizes.prod(dim=-1)
    aside = (total - (total.square() - 4 * product * (1 - overlap) / (1 + overlap)).clamp(min=0).sqrt()) / 2
    inwards = (total - (total.square() - 4 * product * (1 - overlap)).clamp(min=0).sqrt()) / 4
    outwards = ((total.square() + 4 * product * (1 - overlap) / overlap).sqrt() - total) / 4
    return torch.minimum(torch.minimum(aside, inwards), outwards)


def put_heat(
    heat: Float[Tensor, "b c h w"],
    classes: Int64[Tensor, "b n"],
    cells: Int64[Tensor, "b n 2"],
    radii: Float[Tensor, "b n"],
    has: Bool[Tensor, "b n"],
) -> None:
    """Add the heat of some objects: the largest of all Gaussians counts, cut off at the radius.

    M21 A.3 calls it the sum of them, which could be more than 1; CenterNet takes the largest.

    Args:
        heat: Changed.
        classes: Of each.
        cells: Of each centre, across and down.
        radii: In whole cells; the deviation is a sixth of the diameter.
        has: Which of these there are.
    """
    down, across = (torch.arange(side, device=heat.device) for side in heat.shape[-2:])
    images = torch.arange(len(heat), device=heat.device)
    for place in has.any(dim=0).nonzero()[:, 0].tolist():
        column, row = cells[:, place].unbind(dim=1)
        away_down, away_across = down - row[:, None], across - column[:, None]
        radius = radii[:, place, None]
        deviation = (2 * radius + 1) / 6
        parts = [
            torch.exp(-away.square() / (2 * deviation.square())) * (away.abs() <= radius)
            for away in (away_down, away_across)
        ]
        bump = parts[0][:, :, None] * parts[1][:, None] * has[:, place, None, None]
        index = images, classes[:, place].clamp(min=0)
        heat[index] = torch.maximum(heat[index], bump)


def centre_targets(
    truth: Float[Tensor, "b rows columns"], classes: int, shape: tuple[int, int], part: Part | None = None
) -> CentreTargets:
    """What a network is to say of the objects of some images.

    Args:
        truth: Of these images.
        classes: How many there are.
        shape: Rows and columns of the map.
        part: Which part of it shows the images, if they were padded.
    """
    scale = cells_of_pixels(truth, shape, part)
    objects = truth[:, 1:]
    has = of_known_objects(objects)
    corners = objects[..., :2] * scale, objects[..., 2:4] * scale
    centres, sizes = (corners[0] + corners[1]) / 2, corners[1] - corners[0]
    cells, inside = whole_cells(centres, shape)
    has = has & inside
    labels = objects[..., CLASS].long()
    heat = torch.zeros(len(truth), classes, *shape, device=truth.device)
    put_heat(heat, labels, cells, radius_of(sizes).floor(), has)
    asked = _outside_ignored(objects, corners, labels, heat)
    return CentreTargets(heat, asked, cells[..., 1] * shape[1] + cells[..., 0], has, centres - cells, sizes)


def whole_cells(
    places: Float[Tensor, "*any 2"], shape: tuple[int, int]
) -> tuple[Int64[Tensor, "*any 2"], Bool[Tensor, "*any"]]:
    """The cell that each place lies in, across and down, and whether it is one of the map; then it is its nearest."""
    last = torch.tensor([shape[1] - 1, shape[0] - 1], device=places.device)
    found = places.floor().long()
    cells = torch.minimum(found.clamp(min=0), last)
    return cells, (found == cells).all(dim=-1)


def _outside_ignored(
    objects: Tensor, corners: tuple[Tensor, Tensor], labels: Tensor, heat: Tensor
) -> Bool[Tensor, "b c h w"]:
    asked = torch.ones_like(heat, dtype=torch.bool)
    ignored = (objects[..., CLASS] >= 0) & (objects[..., IGNORED] > 0)
    for image, place in ignored.nonzero().tolist():
        left, top = corners[0][image, place].floor().long().clamp(min=0).tolist()
        right, bottom = corners[1][image, place].ceil().long().clamp(min=0).tolist()
        asked[image, labels[image, place], top:bottom, left:right] = False
    return asked


def take(maps: Float[Tensor, "b k h w"], places: Int64[Tensor, "b n"]) -> Float[Tensor, "b n k"]:
    """What maps say at some cells."""
    flat = maps.flatten(2)
    return flat.gather(2, places[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2)


class Peaks(NamedTuple):
    """The hottest places of some images, the hottest first.

    Attributes:
        scores: Their heat, 0 for what is no peak.
        classes: Of each.
        places: Its cell, row after row.
        cells: Across and down.
    """

    scores: Float[Tensor, "b t"]
    classes: Int64[Tensor, "b t"]
    places: Int64[Tensor, "b t"]
    cells: Float[Tensor, "b t 2"]


def find_peaks(heat: Float[Tensor, "b c h w"], part: Part | None = None, count: int = PEAKS) -> Peaks:
    """The places that are hotter than their eight neighbours, within each class.

    Args:
        heat: In 0..1.
        part: Which part of it shows the images, if they were padded: there are none elsewhere.
        count: How many at most.
    """
    shape = heat.shape[-2], heat.shape[-1]
    rows, columns = (-int(-side // 1) for side in shown_cells(shape, part))
    kept = heat * (functional.max_pool2d(heat, 3, stride=1, padding=1) == heat)
    kept = functional.pad(kept[..., :rows, :columns], (0, shape[1] - columns, 0, shape[0] - rows))
    scores, found = kept.flatten(1).topk(min(count, kept[0].numel()))
    places = found % (shape[0] * shape[1])
    cells = torch.stack([places % shape[1], places // shape[1]], dim=-1).float()
    return Peaks(scores, found // (shape[0] * shape[1]), places, cells)


def boxes_at(
    peaks: Peaks, offsets: Float[Tensor, "b 2 h w"], sizes: Float[Tensor, "b 2 h w"]
) -> Float[Tensor, "b t 4"]:
    """The boxes at some peaks: left, top, right, bottom, in cells."""
    centres = peaks.cells + take(offsets, peaks.places)
    halves = take(sizes, peaks.places).clamp(min=0) / 2
    return torch.cat([centres - halves, centres + halves], dim=-1)


def in_pixels(
    places: Float[Tensor, "b t k"], shape: tuple[int, int], size: tuple[int, int], part: Part | None
) -> Float[Tensor, "b t k"]:
    """Places on a map, across and down in turn, as places of an image; those beyond its edges are at them.

    Args:
        places: In cells.
        shape: Rows and columns of the map.
        size: Rows and columns of the image.
        part: Which part of the map shows it, if it was padded.
    """
    rows, columns = shown_cells(shape, part)
    scale = torch.tensor([size[1] / columns, size[0] / rows], device=places.device)
    last = torch.tensor([size[1], size[0]], dtype=places.dtype, device=places.device)
    moved = places.reshape(*places.shape[:-1], -1, 2) * scale
    return torch.minimum(moved.clamp(min=0), last).flatten(-2)

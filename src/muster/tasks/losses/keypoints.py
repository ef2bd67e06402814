"""The losses of objects with points: those of boxes for one class, and heat, offset and place of each point.

Axis names: ``b`` images, ``h`` and ``w`` cells of the map, ``n`` objects, ``k`` points.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from muster.data.boxes import POINTS
from muster.models.padding import Part
from muster.tasks.centres import CentreTargets, cells_of_pixels, centre_targets, put_heat, radius_of, take, whole_cells
from muster.tasks.keypoints import PointMaps
from muster.tasks.loss import LOSSES, LossOptions
from muster.tasks.losses.centres import box_losses, distance, focal, over_ranks


class PointTargets(NamedTuple):
    """What a network is to say of the points of some images; of all objects one after the other.

    Attributes:
        boxes: What it is to say of the boxes around them.
        heat: 1 at the cell of each point, falling off around it as around centres.
        places: The cell of each point, row after row.
        has: Which of these are known, of an object that is learned.
        offsets: From the cell to the point.
        away: To the point from the cell of its object's centre.
    """

    boxes: CentreTargets
    heat: Float[Tensor, "b k h w"]
    places: Int64[Tensor, "b nk"]
    has: Bool[Tensor, "b nk"]
    offsets: Float[Tensor, "b nk 2"]
    away: Float[Tensor, "b n k 2"]


def point_targets(
    truth: Float[Tensor, "b rows columns"], shape: tuple[int, int], part: Part | None = None
) -> PointTargets:
    """What a network is to say of the points of some images.

    Args:
        truth: Of these images.
        shape: Rows and columns of the map.
        part: Which part of it shows the images, if they were padded.
    """
    scale, objects = cells_of_pixels(truth, shape, part), truth[:, 1:]
    boxes = centre_targets(truth, 1, shape, part)
    points = objects[..., POINTS:].reshape(*objects.shape[:2], (objects.shape[2] - POINTS) // 3, 3)
    places = points[..., :2] * scale[:, :, None]
    cells, inside = whole_cells(places, shape)
    has = (points[..., 2] > 0) & inside & boxes.has[..., None]
    count = points.shape[2]
    kinds = torch.arange(count, device=truth.device).expand(has.shape)
    sizes = (objects[..., 2:4] - objects[..., :2]) * scale
    radii = radius_of(sizes).floor()[..., None].expand(has.shape)
    heat = torch.zeros(len(truth), count, *shape, device=truth.device)
    put_heat(heat, kinds.flatten(1), cells.flatten(1, 2), radii.flatten(1), has.flatten(1))
    centres = torch.stack([boxes.places % shape[1], boxes.places // shape[1]], dim=-1)
    flat = (cells[..., 1] * shape[1] + cells[..., 0]).flatten(1)
    offsets = (places - cells).flatten(1, 2)
    return PointTargets(boxes, heat, flat, has.flatten(1), offsets, places - centres[:, :, None])


class KeypointLosses:
    """L1 to L6 of M21 A.4, each kind divided by the number of what it is of.

    L1, L2 and L4, L5 count once and L3 0.1, as for boxes; L6, from centre to point, counts once (as in CenterNet's
    code; the paper gives no weights).
    """

    takes_options = False

    def __call__(
        self, scores: Float[Tensor, "b outputs h w"], masks: Float[Tensor, "b rows columns"], options: LossOptions
    ) -> Float[Tensor, ""]:
        """See :class:`muster.tasks.loss.Loss`; truths are those of :mod:`muster.data.boxes`."""
        maps, shape = PointMaps.of(scores.float()), (scores.shape[2], scores.shape[3])
        points = point_targets(masks, shape, options.part)
        total = box_losses(maps.heat, maps.offset, maps.size, points.boxes)
        asked = points.boxes.asked.expand_as(points.heat)
        said = take(maps.away, points.boxes.places).reshape(points.away.shape)
        of_points = focal(maps.point_heat, points.heat, asked)
        of_points = of_points + distance(take(maps.point_offset, points.places), points.offsets, points.has)
        of_points = of_points + distance(said.flatten(1, 2), points.away.flatten(1, 2), points.has)
        return total + of_points / over_ranks(points.has.sum())


LOSSES.add("keypoints", KeypointLosses())

"""Keypoints: objects of one class, each with a box and named points.

A label space has the names of the points. Axis names: as in :mod:`muster.tasks.found_objects`; ``k`` points.

Source: Mensink et al., Factors of Influence, 2021, appendix A.4; Zhou, Wang, Kraehenbuehl, "Objects as Points", 2019,
section 4.3, for how points are read off the maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from muster.arrays import NumpyArray
from muster.data import VOID, DatasetSpec, Split
from muster.data.boxes import AREA, CLASS, FOUND_POINTS, POINTS, ObjectCut, mirrored_points, of_known_objects
from muster.data.truth_cuts import TruthCut
from muster.models.centre_net import HEADS, with_heads
from muster.models.padding import Part
from muster.models.source_model import SourceModel
from muster.tasks.centres import Peaks, boxes_at, find_peaks, in_pixels, take
from muster.tasks.found_objects import FindsObjects
from muster.tasks.task import TASKS

LEAST_HEAT = 0.1
"""A point goes to a place of its own heat map only if it is at least so hot there (Zhou et al., 2019, section 4.3)."""

CANDIDATES = 20
"""Hottest places of each point that are looked at; COCO scores at most so many persons an image."""

OBJECT = "object"
"""What the one class of objects is called where its dataset does not say it."""


class Keypoints(FindsObjects):
    """The task: average precision at an object keypoint similarity (OKS) of 0.5, as M21 reports it."""

    name, result, key, class_result = "keypoints", "AP50", "ap50", "AP50"
    losses = ("keypoints",)
    built_in_recipe = "keypoints.yaml"
    hub_tags = ("keypoint-detection",)
    thresholds = (0.5,)
    has_points = True

    def fitted(self, model: SourceModel, seed: int = 0) -> SourceModel:
        """See :meth:`Task.fitted`: with heads for points."""
        return with_heads(model, "points", seed)

    def truth_cut(self, spec: DatasetSpec) -> TruthCut:
        """See :meth:`Task.truth_cut`: a crop is around an object."""
        return ObjectCut(mirrored_points(spec.classes))

    def object_classes(self, classes: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 (those of points)
        """See :meth:`Task.object_classes`: the one class of objects."""
        return (OBJECT,)

    def scored_classes(self, outputs: int) -> int:  # noqa: ARG002
        """One: that of objects."""
        return 1

    def in_classes(self, split: Split) -> Split:
        """The pixel at each known point, whose class is the point's name; every other pixel is void.

        So a selection asks whether features tell the points apart at their places. (M21 does not select.)
        """
        return split.with_truths(replace(split.spec, task=self.selected_as), _pixels_of)

    def predictions(
        self, scores: Float[Tensor, "b outputs h w"], size: tuple[int, int], part: Part | None = None
    ) -> Float[Tensor, "b columns t 1"]:
        """The objects at the hottest places, each with its points, in pixels of an image of this size."""
        maps = PointMaps.of(scores.float())
        shape = scores.shape[2], scores.shape[3]
        peaks = find_peaks(maps.heat.sigmoid(), part)
        boxes = boxes_at(peaks, maps.offset, maps.size)
        points = points_of(peaks, boxes, maps, part)
        places = in_pixels(torch.cat([boxes, points.flatten(2)], dim=-1), shape, size, part)
        more = [peaks.scores[..., None], peaks.classes[..., None].float()]
        found = torch.cat([places[..., :4], *more, places[..., 4:]], dim=-1)
        return found.transpose(1, 2)[..., None]

    def similarities(
        self, found: Float64[NumpyArray, "t columns"], truth: Float64[NumpyArray, "n columns_of_truth"],
        image: Float64[NumpyArray, " columns_of_truth"],
    ) -> Float64[NumpyArray, "t n"]:  # fmt: skip
        """OKS: the mean over an object's known points of how near each is, by its tolerance and the object's area."""
        count = (len(image) - POINTS) // 3
        places = found[:, None, FOUND_POINTS:].reshape(len(found), 1, count, 2)
        points = truth[:, POINTS:].reshape(len(truth), count, 3)
        spread = (2 * image[POINTS::3]) ** 2
        known: NumpyArray = np.asarray(points[..., 2] > 0)
        away = places - points[None, :, :, :2]
        # Of an object without known points, how far points lie outside of a box of three times its size (COCO).
        none, sides = np.asarray(~known.any(axis=-1)), truth[:, 2:4] - truth[:, :2]
        low, high = (truth[:, :2] - sides)[None, :, None], (truth[:, 2:4] + sides)[None, :, None]
        outside = np.maximum(low - places, 0) + np.maximum(places - high, 0)
        squared = (np.where(none[None, :, None, None], outside, away) ** 2).sum(axis=-1)
        near = np.exp(-squared / (2 * spread * (truth[:, AREA, None] + np.spacing(1))[None]))
        counts = known | none[:, None]
        mean: NumpyArray = (near * counts).sum(axis=-1) / counts.sum(axis=-1)
        return mean

    def _points_of(self, known: Tensor) -> Tensor:
        points = known[:, POINTS:].reshape(len(known), (known.shape[1] - POINTS) // 3, 3)
        return torch.where(points[..., 2:] > 0, points[..., :2], torch.nan).flatten(1)


@dataclass(frozen=True)
class PointMaps:
    """The maps of the six heads.

    Attributes:
        heat: ``[b, 1, h, w]``, of centres, before the sigmoid.
        offset: ``[b, 2, h, w]``, from cell to centre.
        size: ``[b, 2, h, w]``, of the box.
        point_heat: ``[b, k, h, w]``, of each point, before the sigmoid.
        point_offset: ``[b, 2, h, w]``, from cell to point.
        away: ``[b, 2k, h, w]``, from the centre's cell to each point, across and down in turn.
    """

    heat: Tensor
    offset: Tensor
    size: Tensor
    point_heat: Tensor
    point_offset: Tensor
    away: Tensor

    @classmethod
    def of(cls, scores: Float[Tensor, "b outputs h w"]) -> PointMaps:
        """Take the maps of all heads apart."""
        points = (scores.shape[1] - 7) // 3
        parts, start = [], 0
        for outputs in HEADS["points"].outputs(points):
            parts.append(scores[:, start : start + outputs])
            start += outputs
        return cls(*parts)


def points_of(
    peaks: Peaks, boxes: Float[Tensor, "b t 4"], maps: PointMaps, part: Part | None
) -> Float[Tensor, "b t k 2"]:
    """The points of each object, in cells: where the object says, or the nearest place of the point's own heat map.

    Args:
        peaks: The objects.
        boxes: Theirs: a place counts only within the box.
        maps: What the network says.
        part: Which part of the maps shows the images, if they were padded.
    """
    said = peaks.cells[:, :, None] + take(maps.away, peaks.places).reshape(*peaks.scores.shape, -1, 2)
    heat = maps.point_heat.sigmoid()
    chosen = []
    for point in range(heat.shape[1]):
        hot = find_peaks(heat[:, point : point + 1], part, CANDIDATES)
        places = hot.cells + take(maps.point_offset, hot.places)
        distances = (said[:, :, point, None] - places[:, None]).square().sum(dim=-1)
        inside = (places[:, None] >= boxes[:, :, None, :2]) & (places[:, None] <= boxes[:, :, None, 2:])
        usable = inside.all(dim=-1) & (hot.scores >= LEAST_HEAT)[:, None]
        nearest = distances.masked_fill(~usable, torch.inf).min(dim=-1)
        found = places.gather(1, nearest.indices[..., None].expand(-1, -1, 2))
        chosen.append(torch.where(nearest.values.isfinite()[..., None], found, said[:, :, point]))
    return torch.stack(chosen, dim=2)


def _pixels_of(truth: Float[Tensor, "rows columns"]) -> UInt8[Tensor, "h w"]:
    """The class of each pixel at a known point; all others are void."""
    width, height = (int(side) for side in truth[0, 2:4].tolist())
    mask = torch.full((height, width), VOID, dtype=torch.uint8)
    known = truth[of_known_objects(truth) & (truth[:, CLASS] >= 0), POINTS:]
    for points in known.reshape(len(known), known.shape[1] // 3, 3):
        for place, (x, y, seen) in enumerate(points.tolist()):
            if seen > 0 and 0 <= x < width and 0 <= y < height:
                mask[int(y), int(x)] = place
    return mask


KEYPOINTS = TASKS.add("keypoints", Keypoints())

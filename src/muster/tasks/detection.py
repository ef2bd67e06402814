"""Object detection: boxes with classes, found by their centres.

Axis names: as in :mod:`muster.tasks.found_objects`.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torchvision.ops import batched_nms

from muster.arrays import NumpyArray
from muster.data.boxes import IGNORED, ObjectCut
from muster.data.spec import DatasetSpec
from muster.data.truth_cuts import TruthCut
from muster.models.centre_net import with_heads
from muster.models.padding import Part
from muster.models.source_model import SourceModel
from muster.tasks.centres import boxes_at, find_peaks, shown_cells
from muster.tasks.found_objects import LABEL, SCORE, FindsObjects
from muster.tasks.precision_recall import box_overlaps
from muster.tasks.task import TASKS


class Detection(FindsObjects):
    """The task: COCO's mean average precision over IoUs of 0.5, 0.55, ..., 0.95.

    Source:
        Mensink et al., Factors of Influence, 2021, appendix A.3: CenterNet's heads, the 100 hottest places, no
        non-maximum suppression (:func:`suppress` does that on request).
    """

    name, result, key, class_result = "detection", "mAP", "map", "AP"
    losses = ("centres",)
    hub_tags = ("object-detection",)
    thresholds = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))

    def fitted(self, model: SourceModel, seed: int = 0) -> SourceModel:
        """See :meth:`Task.fitted`: with heads for boxes."""
        return with_heads(model, "boxes", seed)

    def truth_cut(self, spec: DatasetSpec) -> TruthCut:  # noqa: ARG002
        """See :meth:`Task.truth_cut`."""
        return ObjectCut()

    def predictions(
        self, scores: Float[Tensor, "b outputs h w"], size: tuple[int, int], part: Part | None = None
    ) -> Float[Tensor, "b 6 t 1"]:
        """The boxes at the hottest places, in pixels of an image of this size, cut off at its edges."""
        values = scores.float()
        heat, offsets, sizes = values[:, :-4], values[:, -4:-2], values[:, -2:]
        peaks = find_peaks(heat.sigmoid(), part)
        boxes = in_pixels(boxes_at(peaks, offsets, sizes), (heat.shape[2], heat.shape[3]), size, part)
        found = torch.cat([boxes, peaks.scores[..., None], peaks.classes[..., None].float()], dim=-1)
        return found.transpose(1, 2)[..., None]

    def similarities(
        self, found: Float64[NumpyArray, "t columns"], truth: Float64[NumpyArray, "n columns_of_truth"],
        image: Float64[NumpyArray, " columns_of_truth"],  # noqa: ARG002
    ) -> Float64[NumpyArray, "t n"]:  # fmt: skip
        """IoU."""
        return box_overlaps(found[:, :4], truth[:, :4], truth[:, IGNORED].astype(np.int64))


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


def suppress(found: Float[Tensor, "columns t"], overlap: float) -> Float[Tensor, "columns kept"]:
    """Leave out boxes that a hotter one of their class covers.

    Args:
        found: In one image.
        overlap: The largest IoU that two boxes of a class may have (M21, appendix C, takes 0.3 on some datasets).

    Returns:
        Those that stay, the hottest first.
    """
    found = found[:, found[SCORE] > 0]
    kept = batched_nms(found[:4].T, found[SCORE], found[LABEL].long(), overlap)
    return found[:, kept]


DETECTION = TASKS.add("detection", Detection())

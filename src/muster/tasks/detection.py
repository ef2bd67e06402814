"""Object detection: boxes with classes, found by their centres.

Axis names: as in :mod:`muster.tasks.found_objects`.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from muster.arrays import NumpyArray
from muster.data.boxes import IGNORED, ObjectCut
from muster.data.spec import DatasetSpec
from muster.data.truth_cuts import TruthCut
from muster.models.centre_net import with_heads
from muster.models.padding import Part
from muster.models.source_model import SourceModel
from muster.tasks.centres import boxes_at, find_peaks, in_pixels
from muster.tasks.found_objects import FindsObjects
from muster.tasks.precision_recall import box_overlaps
from muster.tasks.task import TASKS


class Detection(FindsObjects):
    """The task: COCO's mean average precision over IoUs of 0.5, 0.55, ..., 0.95.

    Source:
        Mensink et al., Factors of Influence, 2021, appendix A.3: CenterNet's heads, the 100 hottest places, no
        non-maximum suppression (:func:`muster.tasks.found_objects.suppress`
        does that on request).
    """

    name, result, key, class_result = "detection", "mAP", "map", "AP"
    losses = ("centres",)
    built_in_recipe = "boxes.yaml"
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


DETECTION = TASKS.add("detection", Detection())

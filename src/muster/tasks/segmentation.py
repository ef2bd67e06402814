"""Semantic segmentation: a class for every pixel.

Axis names: in a confusion matrix the first ``c`` (classes) is the truth and the second the prediction.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64, Int64, Real
from torch import Tensor

from muster.data import VOID
from muster.tasks.class_counts import ClassCounts
from muster.tasks.task import TASKS


def class_ious(confusion: Int64[Tensor, "c c"]) -> tuple[float | None, ...]:
    """Intersection over union of each class.

    Args:
        confusion: Counts of pixels, truth by prediction.

    Returns:
        Per class a value in 0..1, larger is better; ``None`` for a class that does not occur in the ground truth.
    """
    hits = confusion.diagonal().double()
    union = confusion.sum(dim=0) + confusion.sum(dim=1) - confusion.diagonal()
    occurs = confusion.sum(dim=1) > 0
    return tuple(float(h / u) if o else None for h, u, o in zip(hits, union, occurs, strict=True))


def mean_iou(confusion: Int64[Tensor, "c c"]) -> float:
    """Mean of :func:`class_ious` over the classes that occur in the ground truth.

    Raises:
        ValueError: If no pixel was counted.
    """
    values = [value for value in class_ious(confusion) if value is not None]
    if not values:
        raise ValueError("mIoU of a split without a labelled pixel is not defined: every pixel is void.")
    return sum(values) / len(values)


class Segmentation(ClassCounts):
    """The task: mean IoU of one confusion matrix over a whole split."""

    name, unit, result, key, class_result = "segmentation", "pixel", "mIoU", "miou", "IoU"
    losses = ("dice", "focal", "probabilities", "scores")
    ensemble_metrics = ("ms_leep", "e_leep", "iou_eep", "soft_iou_eep")
    default_metric = "soft_iou_eep"
    hub_tags, hub_metric = ("image-segmentation", "semantic-segmentation"), "mean_iou"
    void = VOID

    def results(self, digests: Real[Tensor, "... 3 c"]) -> Float64[Tensor, ...]:
        """The mean IoU over the classes that occur in the ground truth."""
        hits, truth, predicted = digests.double().unbind(dim=-2)
        ious = (hits / (truth + predicted - hits)).masked_fill(truth == 0, torch.nan)
        mean: Tensor = ious.nanmean(dim=-1)
        return mean

    def result_of(self, tally: Int64[Tensor, "c c"]) -> float:
        """:func:`mean_iou`."""
        return mean_iou(tally)

    def class_results_of(self, tally: Int64[Tensor, "c c"]) -> tuple[float | None, ...]:
        """:func:`class_ious`."""
        return class_ious(tally)


SEGMENTATION = TASKS.add("segmentation", Segmentation())

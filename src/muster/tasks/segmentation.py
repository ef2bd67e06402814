"""Semantic segmentation: everything that another task type would do otherwise.

=================  =======================================================================================
sample             :class:`Sample`: an image, and a mask with a class for every pixel
training example   :class:`TrainingTransform`: a random crop of both
head               :meth:`muster.models.SourceModel.replace_head`: a linear classifier of every place
loss               :func:`segmentation_loss`: any of :data:`LOSSES`
result             :func:`mean_iou` of one confusion matrix over a whole split, counted by :func:`confusion_of`
probe units        :func:`draw_probe_set`: pixels of training images
source sample      :func:`sample_source`: what a member keeps of its own training images
=================  =======================================================================================

Axis names: ``b`` images, ``c`` classes, ``h`` and ``w`` rows and columns of a crop; in a confusion matrix the first
``c`` is the truth and the second the prediction.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from muster.data import VOID, Sample, TrainingTransform
from muster.probe import draw_probe_set
from muster.tasks.loss import LOSSES, ClassWeighting, LossOptions, class_weights_of
from muster.tasks.source_sample import draw_labelled_pixels, sample_source

__all__ = [
    "LOSSES",
    "ClassWeighting",
    "LossOptions",
    "Sample",
    "TrainingTransform",
    "class_ious",
    "class_weights_of",
    "confusion_of",
    "draw_labelled_pixels",
    "draw_probe_set",
    "majority_miou",
    "mean_iou",
    "sample_source",
    "segmentation_loss",
]


def segmentation_loss(
    scores: Float[Tensor, "b c h0 w0"],
    masks: Int64[Tensor, "b h w"],
    loss: str = "scores",
    options: LossOptions = LossOptions(),  # noqa: B008 (frozen)
    added: str = "none",
    added_weight: float = 1.0,
) -> Float[Tensor, ""]:
    """The training loss of a batch: one of :data:`muster.tasks.loss.LOSSES`, and another added to it on request.

    Args:
        scores: At the model's own resolution, before softmax.
        masks: Class indices, :data:`muster.data.VOID` where nothing is to be learned.
        loss: Name of the loss.
        options: Class weights and label smoothing, for a cross-entropy.
        added: Name of the loss that is added; ``none`` for none.
        added_weight: What that is multiplied by.

    Returns:
        The mean over the pixels that are not void; 0 if every pixel is void, where the plain mean would be NaN. In a
        distributed fit the mean of it over the processes is the loss of all of them together.
    """
    total = LOSSES[loss](scores, masks, options)
    return total if added == "none" else total + added_weight * LOSSES[added](scores, masks, options)


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


def majority_miou(train_counts: Int64[Tensor, " c"], confusion: Int64[Tensor, "c c"]) -> float:
    """MIoU of always answering the most frequent class of the training images.

    Args:
        train_counts: Training pixels of each class.
        confusion: Any confusion matrix over the test split; only its ground truth is read.

    Returns:
        In 0..1.
    """
    truth = confusion.sum(dim=1)
    constant = torch.zeros_like(confusion)
    constant[:, int(train_counts.argmax())] = truth
    return mean_iou(constant)


def confusion_of(
    labels: Int64[Tensor, "height width"], mask: UInt8[Tensor, "height width"], num_classes: int
) -> Int64[Tensor, "c c"]:
    """Count one image.

    Args:
        labels: What was predicted.
        mask: Ground truth; void is not counted.
        num_classes: Size of the label space.

    Returns:
        Pixels, truth by prediction.
    """
    # torchmetrics drops the dimensions of a single class.
    counts = multiclass_confusion_matrix(labels, mask.long(), num_classes, ignore_index=VOID, validate_args=False)
    return counts.view(num_classes, num_classes)

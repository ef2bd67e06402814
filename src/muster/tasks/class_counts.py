"""What tasks have in common whose truth is a class: a confusion matrix is all that their results need.

Axis names: ``b`` images, ``c`` classes, ``h`` and ``w`` places of the truth; in a confusion matrix the first ``c`` is
the truth and the second the prediction.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from muster.tasks.loss import LossOptions
from muster.tasks.task import Task


class ClassCounts(Task):
    """A task whose tally is a confusion matrix.

    Attributes:
        void: The value of a truth that is not known.
    """

    void: int

    def loss(
        self,
        scores: Float[Tensor, "b c h0 w0"],
        truth: Integer[Tensor, "b h w"],
        loss: str = "scores",
        options: LossOptions = LossOptions(),  # noqa: B008 (frozen)
        added: str = "none",
        added_weight: float = 1.0,
    ) -> Float[Tensor, ""]:
        """See :meth:`Task.loss`."""
        return super().loss(scores, truth, loss, replace(options, void=self.void), added, added_weight)

    def without_truth(self, truth: Tensor) -> Tensor:
        """See :meth:`Task.without_truth`."""
        return torch.full_like(truth, self.void)

    def is_known(self, truth: Tensor) -> Tensor:
        """See :meth:`Task.is_known`."""
        return truth != self.void

    def no_tally(self, outputs: int) -> Int64[Tensor, "c c"]:
        """See :meth:`Task.no_tally`."""
        return torch.zeros(outputs, outputs, dtype=torch.int64)

    def tally(
        self, decided: Int64[Tensor, "b h w"], truth: Integer[Tensor, "b h w"], outputs: int
    ) -> Int64[Tensor, "b c c"]:
        """See :meth:`Task.tally`: a confusion matrix for each image."""
        return torch.stack([confusion_matrix(*pair, outputs, self.void) for pair in zip(decided, truth, strict=True)])

    def digest(self, tally: Int64[Tensor, "b c c"]) -> Int64[Tensor, "b 3 c"]:
        """Hits, units of the truth and units of the prediction, of each image and class."""
        parts = tally.diagonal(dim1=-2, dim2=-1), tally.sum(dim=-1), tally.sum(dim=-2)
        return torch.stack(parts, dim=-2)

    def guess(self, train_counts: Int64[Tensor, " c"], tally: Int64[Tensor, "c c"]) -> float:
        """The result of always answering the most frequent class of the training images."""
        constant = torch.zeros_like(tally)
        constant[:, int(train_counts.argmax())] = tally.sum(dim=1)
        return self.result_of(constant)


def confusion_matrix(
    labels: Int64[Tensor, "h w"], truth: Integer[Tensor, "h w"], num_classes: int, void: int
) -> Int64[Tensor, "c c"]:
    """Count one image.

    Args:
        labels: What was predicted.
        truth: What is so; void is not counted.
        num_classes: Size of the label space.
        void: Its value.

    Returns:
        Units, truth by prediction.
    """
    # torchmetrics drops the dimensions of a single class.
    counts = multiclass_confusion_matrix(labels, truth.long(), num_classes, ignore_index=void, validate_args=False)
    return counts.view(num_classes, num_classes)

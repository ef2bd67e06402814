"""What tasks have in common whose truth is a class: a confusion matrix is all that their results need.

Axis names: ``b`` images, ``c`` classes, ``h`` and ``w`` places of the truth; in a confusion matrix the first ``c`` is
the truth and the second the prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor
from torch.nn import functional

from muster.data import VOID, DatasetSpec, Split, class_pixel_counts, labelled
from muster.tasks.loss import LossOptions
from muster.tasks.task import Task


class ClassCounts(Task):
    """A task whose tally is a confusion matrix.

    Attributes:
        void: The value of a truth that is not known.
    """

    has_classes = True
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

    def some_classes(self, spec: DatasetSpec, places: Sequence[int | None]) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """See :meth:`Task.some_classes`: those that are left out are void."""
        table = torch.full((max(len(places), VOID) + 1,), self.void)  # all that 8 bits hold, and one more than classes
        for old, new in enumerate(places):
            table[old] = self.void if new is None else new
        return partial(_looked_up, table)

    def soft_loss(self, scores: Float[Tensor, "b c h w"], wanted: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
        """See :meth:`Task.soft_loss`: the cross-entropy between the teacher's probabilities and the network's."""
        return -(wanted.detach() * functional.log_softmax(scores.float(), dim=1)).sum(dim=1).mean()

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

    def answers(self, predictions: Float[Tensor, "b c ..."]) -> Integer[Tensor, "b ..."]:
        """See :meth:`Task.answers`: uint8 at places, int64 of whole images, which may have more classes."""
        classes = predictions.argmax(dim=1)
        return classes if self.is_pooled else classes.to(torch.uint8)

    def in_words(self, predictions: Sequence[float], names: Sequence[str]) -> dict[str, str | float]:
        """The most probable class, its probability, and those of all."""
        best = max(range(len(names)), key=lambda index: predictions[index])
        shares = {f"p({name})": round(value, 6) for name, value in zip(names, predictions, strict=True)}
        return {"class": names[best], "probability": round(predictions[best], 6), **shares}

    def about_truth(
        self, predictions: Float[Tensor, "*any outputs units"], truth: Int64[Tensor, " units"]
    ) -> Float[Tensor, "*any 1 units"]:
        """The probability of the true class."""
        return predictions.gather(-2, truth.expand(*predictions.shape[:-2], 1, -1))

    def unit_losses(
        self,
        about_truth: Float[Tensor, "1 units"],
        truth: Int64[Tensor, " units"],  # noqa: ARG002 (its probability says it)
    ) -> Float[Tensor, " units"]:
        """Minus the logarithm of the probability of the true class."""
        return -about_truth[0].clamp(min=torch.finfo(torch.float32).tiny).log()

    def known_units(self, truth: Integer[Tensor, "h w"]) -> tuple[Int64[Tensor, " units"], Int64[Tensor, " units"]]:
        """See :meth:`Task.known_units`: those that are not void."""
        classes = truth.flatten()
        places = labelled(classes).nonzero()[:, 0]
        return places, classes[places].long()

    def guess(self, train: Split, tally: Int64[Tensor, "c c"]) -> float:
        """The result of always answering the most frequent class of the training images."""
        return self.constant_guess(class_pixel_counts(train, len(tally)), tally)

    def constant_guess(self, train_counts: Int64[Tensor, " c"], tally: Int64[Tensor, "c c"]) -> float:
        """:meth:`guess`, where the training units of each class are known."""
        constant = torch.zeros_like(tally)
        constant[:, int(train_counts.argmax())] = tally.sum(dim=1)
        return self.result_of(constant)

    def units_of_outputs(self, tally: Int64[Tensor, "c c"]) -> tuple[int, ...]:
        """Those of each true class."""
        return tuple(tally.sum(dim=1).tolist())


def _looked_up(table: Int64[Tensor, " values"], truth: Integer[Tensor, "h w"]) -> Integer[Tensor, "h w"]:
    """Every class as the table has it, in the type of the truth."""
    return table[truth.long()].to(truth.dtype)


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
    known = truth != void
    places = truth[known].long() * num_classes + labels[known]
    return torch.bincount(places, minlength=num_classes**2).view(num_classes, num_classes)

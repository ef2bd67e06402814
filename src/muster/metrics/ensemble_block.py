"""The members' predictions on the probe pixels, and one block of pixels of some candidates among them.

Axis names as in :mod:`muster.arrays`; ``candidates`` are sets of members, ``size`` the members of one candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from muster.arrays import Array, as_labels, as_members


@dataclass(frozen=True, eq=False)
class Members:
    """Checked predictions of all members.

    Attributes:
        predictions: Per member ``[pixels, classes]``, float32 or float64, all alike.
        labels: int64 ``[pixels]``.
        num_classes: Number of target classes.
    """

    predictions: list[Tensor]
    labels: Tensor
    num_classes: int

    @cached_property
    def label_counts(self) -> Float[Tensor, " classes"]:
        """Pixels of each class, float64."""
        return torch.bincount(self.labels, minlength=self.num_classes).double()

    def block(self, candidates: Int[Tensor, "candidates size"], pixels: slice) -> EnsembleBlock:
        """Some pixels of some candidates.

        Args:
            candidates: Indices of their members, ascending in a row.
            pixels: Which.

        Returns:
            The block; nothing is copied yet.
        """
        return EnsembleBlock([rows[pixels] for rows in self.predictions], self.labels[pixels], candidates)


@dataclass(frozen=True, eq=False)
class EnsembleBlock:
    """Some pixels of some candidates of one size: what an accumulator is given.

    Whatever is derived from the predictions is worked out once, when first asked for.

    Attributes:
        predictions: The predictions of each member float32 or float64 ``[pixels, classes]``; a list or one tensor.
        labels: int64 ``[pixels]``, true classes.
        candidates: int64 ``[candidates, size]``, indices into ``predictions``, ascending in a row.
    """

    predictions: Sequence[Tensor] | Tensor
    labels: Tensor
    candidates: Tensor

    @property
    def size(self) -> int:
        """Members of a candidate."""
        return self.candidates.shape[1]

    @property
    def num_classes(self) -> int:
        """Target classes."""
        return self.predictions[0].shape[1]

    @property
    def smallest(self) -> float:
        """Least argument of a log: the smallest normal number of the predictions' type."""
        return torch.finfo(self.predictions[0].dtype).smallest_normal

    @cached_property
    def total(self) -> Float[Tensor, "candidates pixels classes"]:
        """Sum of the members' predictions, in their type and in ascending order.

        Addition rounds, so another order, or a division, could turn a tie of two classes into a difference.
        """
        first, *others = self.candidates.T.tolist()
        total = torch.stack([self.predictions[member] for member in first])
        for members in others:
            total += self._predictions_of(members)
        return total

    @cached_property
    def probabilities(self) -> Float[Tensor, "candidates pixels classes"]:
        """What each candidate predicts: the mean over its members, in the predictions' type."""
        return self.total / self.size

    @cached_property
    def true_class(self) -> Float[Tensor, "candidates pixels"]:
        """What each candidate (mean over its members) gives to the true class of each pixel, float64."""
        used, local = torch.unique(self.candidates, return_inverse=True)
        column = self.labels[:, None]
        of_member = torch.stack([self.predictions[i].gather(1, column)[:, 0].double() for i in used.tolist()])
        return of_member[local].mean(dim=1)

    @cached_property
    def predicted(self) -> Int[Tensor, "candidates pixels"]:
        """Each candidate's class of each pixel: arg max of the sum, the lowest index on a tie."""
        return first_argmax(self.total)

    @cached_property
    def is_correct(self) -> Bool[Tensor, "candidates pixels"]:
        """Whether the predicted class is the true one."""
        return self.predicted == self.labels

    def _predictions_of(self, members: Sequence[int]) -> Tensor:
        if len(members) == 1:
            return self.predictions[members[0]][None]  # no copy
        return torch.stack([self.predictions[member] for member in members])


def members_of(eeps: Array | Sequence[Array], labels: object) -> Members:
    """Check predictions and labels together.

    Args:
        eeps: ``[members, pixels, classes]``, or a sequence of ``[pixels, classes]``.
        labels: ``[pixels]``, 0..classes-1.

    Returns:
        The members.

    Raises:
        ValueError: If ``eeps`` is not a non-empty array of probabilities with three axes, its members differ in shape,
            or ``labels`` does not go with it.
    """
    predictions = as_members(eeps)
    num_pixels, num_classes = predictions[0].shape
    checked, _ = as_labels(labels, num_pixels, num_classes, predictions[0].device)
    return Members(predictions, checked, num_classes)


def first_argmax(values: Float[Tensor, "... classes"]) -> Int[Tensor, "..."]:  # noqa: UP037 (older jaxtyping)
    """Arg max over classes, the lowest index on a tie, on every device."""
    if values.device.type == "cpu":
        return torch.from_numpy(values.numpy().argmax(axis=-1))  # NumPy promises the first one, torch may pick any
    return first_largest(values)


def first_largest(values: Float[Tensor, "... classes"]) -> Int[Tensor, "..."]:  # noqa: UP037 (older jaxtyping)
    """The same in operations that every device has, none of which has a choice."""
    num_classes = values.shape[-1]
    index = torch.arange(num_classes, dtype=torch.int32, device=values.device)
    is_largest = values == values.amax(dim=-1, keepdim=True)
    return torch.where(is_largest, index, num_classes).amin(dim=-1).long()

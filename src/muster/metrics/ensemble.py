"""What the ensemble metrics look at: the members' predictions on the probe pixels, and one candidate among them.

Every ensemble metric is a function of one :class:`Candidate`. Scoring one ensemble and scoring all candidates of a pool
therefore run the same arithmetic. Axis names as in :mod:`muster.arrays`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.arrays import Array, NumpyArray, as_labels, as_members

PIXELS_AT_ONCE = 65_536
"""Pixels summed in one go, which bounds the memory that a candidate takes."""


@dataclass(frozen=True, eq=False)
class Members:
    """Checked predictions of all members, with what every candidate reuses.

    Attributes:
        predictions: Per member ``[pixels, classes]``, float32 or float64, all alike.
        labels: int64 ``[pixels]``.
        num_classes: Number of target classes.
    """

    predictions: list[Tensor]
    labels: Tensor
    num_classes: int

    @cached_property
    def truths(self) -> Float[Tensor, "members pixels"]:
        """What each member gives to the true class of each pixel, float64."""
        column = self.labels[:, None]
        return torch.stack([prediction.gather(1, column)[:, 0].double() for prediction in self.predictions])

    @cached_property
    def leeps(self) -> list[float]:
        """LEEP of each member."""
        return [mean_log(truth, self.predictions[0].dtype) for truth in self.truths]

    @cached_property
    def label_counts(self) -> Int[Tensor, " classes"]:
        """Pixels of each class."""
        return torch.bincount(self.labels, minlength=self.num_classes)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A choice of members; what several metrics need is worked out once, when first asked for.

    Attributes:
        members: All members.
        indices: Which of them, ascending.
    """

    members: Members
    indices: tuple[int, ...]

    @cached_property
    def truth(self) -> Float[Tensor, " pixels"]:
        """What the ensemble (mean over its members) gives to the true class of each pixel, float64."""
        return self.members.truths[list(self.indices)].mean(dim=0)

    @cached_property
    def predicted(self) -> Int[Tensor, " pixels"]:
        """The ensemble's class of each pixel: arg max of the sum, not divided, lowest index on a tie."""
        blocks = zip(*(torch.split(self.members.predictions[i], PIXELS_AT_ONCE) for i in self.indices), strict=True)
        return torch.cat([first_argmax(_ascending_sum(block)) for block in blocks])

    @cached_property
    def correct(self) -> Tensor:
        """Bool ``[pixels]``: where the predicted class is the true one."""
        return self.predicted == self.members.labels

    def count(self, classes: Int[Tensor, " pixels"], weights: Float[Tensor, " pixels"]) -> Float[Tensor, " classes"]:
        """Add up weights per class, float64."""
        total = torch.zeros(self.members.num_classes, dtype=torch.float64, device=weights.device)
        return total.index_add_(0, classes, weights)


def candidate_of(eeps: Array | Sequence[Array], labels: object) -> Candidate:
    """Check the arguments of an ensemble metric; the candidate is all members.

    Args:
        eeps: ``[members, pixels, classes]``, or a sequence of ``[pixels, classes]``.
        labels: ``[pixels]``, 0..classes-1.

    Returns:
        The candidate.

    Raises:
        ValueError: See :func:`members_of`.
    """
    members = members_of(eeps, labels)
    return Candidate(members, tuple(range(len(members.predictions))))


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


def mean_log(probabilities: Float[Tensor, " pixels"], dtype: torch.dtype) -> float:
    """Mean natural log, each argument clamped below at the smallest normal number of ``dtype``: always finite."""
    return float(probabilities.clamp(min=torch.finfo(dtype).smallest_normal).log().mean())


def first_argmax(values: Float[Tensor, "pixels classes"]) -> Int[Tensor, " pixels"]:
    """Arg max over classes, the lowest index on a tie, on every device."""
    if values.device.type == "cpu":
        return torch.from_numpy(values.numpy().argmax(axis=1))  # NumPy promises the first one, torch may pick any
    return first_largest(values)


def first_largest(values: Float[Tensor, "pixels classes"]) -> Int[Tensor, " pixels"]:
    """The same in operations that every device has, none of which has a choice."""
    num_classes = values.shape[1]
    index = torch.arange(num_classes, dtype=torch.int32, device=values.device)
    is_largest = values == values.amax(dim=1, keepdim=True)
    return torch.where(is_largest, index, num_classes).amin(dim=1).long()


def mean_over_present(class_scores: Float[NumpyArray, " classes"]) -> float:
    """Mean over the classes that occur, i.e. are not NaN."""
    return float(np.nanmean(class_scores))


def ratios(part: Tensor, whole: Tensor, present: Tensor) -> Float[NumpyArray, " classes"]:
    """``part / whole`` per class: 0 where the whole is 0, NaN where the class is absent."""
    share = torch.where(whole > 0, part / whole, 0.0)
    return share.masked_fill(~present, torch.nan).cpu().numpy()


def _ascending_sum(block: tuple[Tensor, ...]) -> Tensor:
    """Sum in the order given: addition rounds, so another order could turn a tie into a difference."""
    total = block[0].clone()
    for values in block[1:]:
        total += values
    return total

"""The one definition of an ensemble metric: what it adds up over pixels (init, update), and its score (finalise).

Whatever scores ensembles rests on these definitions: a metric's own function here, and in :mod:`muster.scoring`
exhaustive search, candidate subsets, extension, racing, streaming and the bootstrap. A metric that adds up what
:class:`HitsAndMisses` or :class:`LogLikelihood` do runs in compiled loops; any other in torch, on any device.

A new metric is one file::

    class SquaredErrors(Accumulator):
        def init(self, candidates, num_classes, device):
            return torch.zeros(candidates, dtype=torch.float64, device=device)

        def update(self, state, block):
            one_hot = torch.nn.functional.one_hot(block.labels, block.num_classes)
            state += (block.probabilities - one_hot).double().square().sum(dim=(1, 2))


    brier = Definition(SquaredErrors(), lambda state, label_counts: state / label_counts.sum(dim=-1))
    register(Metric.of_ensembles("brier", "Brier score", brier, larger_is_better=False))

Axis names as in :mod:`muster.metrics.ensemble_block`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.arrays import Array
from muster.metrics.ensemble_block import EnsembleBlock, Members, members_of

_NUMBERS_AT_ONCE = 1 << 21
"""Predictions of candidates that are summed in one go, which bounds the memory that they take."""

State: TypeAlias = Float[Tensor, "..."]
"""float64 ``[candidates, ...]``."""


class Accumulator(ABC):
    """What an ensemble metric adds up over pixels.

    A state must be a *sum over pixels*, because it is cut into chunks, images and candidates, and resampled: twice the
    state of an image is the state of that image taken twice.
    """

    @abstractmethod
    def init(self, candidates: int, num_classes: int, device: torch.device) -> State:
        """The state of no pixel: zeros.

        Args:
            candidates: How many.
            num_classes: Target classes.
            device: Where to have it.

        Returns:
            float64 ``[candidates, ...]``, of any further axes.
        """

    @abstractmethod
    def update(self, state: State, block: EnsembleBlock) -> None:
        """Add some pixels to the state, in place.

        Args:
            state: Of the block's candidates.
            block: What they predict there.
        """


@dataclass(frozen=True)
class HitsAndMisses(Accumulator):
    """Per class, pixels predicted right and wrong: state ``[candidates, 2, classes]``, hits then misses.

    With p the candidate's probability of a pixel's true class: a pixel that is predicted right adds a hit to its class.
    One that is predicted wrong adds a miss to its class and a miss to the predicted class. So hits are true positives,
    and misses are false negatives plus false positives.

    Attributes:
        soft: Whether a hit counts p and a miss 1 - p; otherwise both count 1.
    """

    soft: bool

    def init(self, candidates: int, num_classes: int, device: torch.device) -> State:
        """See :meth:`Accumulator.init`."""
        return torch.zeros(candidates, 2, num_classes, dtype=torch.float64, device=device)

    def update(self, state: State, block: EnsembleBlock) -> None:
        """See :meth:`Accumulator.update`."""
        is_correct, classes = block.is_correct, block.num_classes
        hit = block.true_class if self.soft else torch.ones((), dtype=torch.float64, device=state.device)
        miss = 1.0 - hit if self.soft else hit
        outcome = torch.where(is_correct, block.labels, block.labels + classes)
        flat = state.view(len(state), 2 * classes)
        flat.scatter_add_(1, outcome, torch.where(is_correct, hit, miss))
        flat.scatter_add_(1, block.predicted + classes, torch.where(is_correct, 0.0, miss))


@dataclass(frozen=True)
class LogLikelihood(Accumulator):
    """Natural log of the probability of the true class: state ``[candidates]``.

    The log's argument is clamped below at the smallest normal number of the predictions' type, so it is finite.
    """

    def init(self, candidates: int, num_classes: int, device: torch.device) -> State:  # noqa: ARG002 (one per candidate)
        """See :meth:`Accumulator.init`."""
        return torch.zeros(candidates, dtype=torch.float64, device=device)

    def update(self, state: State, block: EnsembleBlock) -> None:
        """See :meth:`Accumulator.update`."""
        state += block.true_class.clamp(min=block.smallest).log().sum(dim=1)


@dataclass(frozen=True)
class Definition:
    """An ensemble metric.

    Attributes:
        accumulator: What is added up over pixels.
        finalise: Turns a state ``[..., *entries]`` and the pixels of each class, float64 ``[..., classes]``, into
            scores ``[...]``. The leading axes broadcast: they are candidates, resamples, or none. A class without a
            pixel must not count.
        sums_members: Whether a candidate's score is the sum of its members' scores, each scored as a candidate of one.
    """

    accumulator: Accumulator
    finalise: Callable[[Tensor, Tensor], Tensor]
    sums_members: bool = False


def score_of(definition: Definition, eeps: Array | Sequence[Array], labels: object) -> float:
    """A metric of one ensemble, whose members are all that are given.

    Args:
        definition: The metric.
        eeps: ``[members, pixels, classes]``, or a sequence of ``[pixels, classes]``.
        labels: ``[pixels]``, 0..classes-1.

    Returns:
        The score.

    Raises:
        ValueError: See :func:`muster.metrics.ensemble_block.members_of`.
    """
    members = members_of(eeps, labels)
    return float(scores_of(definition, members, torch.arange(len(members.predictions))[None])[0])


def scores_of(
    definition: Definition, members: Members, candidates: Int[Tensor, "candidates size"]
) -> Float[Tensor, " candidates"]:
    """A metric of several candidates.

    Args:
        definition: The metric.
        members: All members.
        candidates: Indices of each one's members, ascending in a row.

    Returns:
        float64.
    """
    if definition.sums_members:
        used, local = torch.unique(candidates, return_inverse=True)
        return sum_members(
            definition.finalise(state_of(definition, members, used[:, None]), members.label_counts), local
        )
    return definition.finalise(state_of(definition, members, candidates), members.label_counts)


def state_of(definition: Definition, members: Members, candidates: Int[Tensor, "candidates size"]) -> State:
    """What a metric adds up over all pixels of several candidates.

    Args:
        definition: The metric.
        members: All members.
        candidates: Indices of each one's members, ascending in a row.

    Returns:
        The state.
    """
    accumulator = definition.accumulator
    state = accumulator.init(len(candidates), members.num_classes, members.labels.device)
    for rows, pixels in pieces(len(candidates), len(members.labels), members.num_classes, _NUMBERS_AT_ONCE):
        accumulator.update(state[rows], members.block(candidates[rows], pixels))
    return state


def sum_members(
    scores: Float[Tensor, "members ..."], candidates: Int[Tensor, "candidates size"]
) -> Float[Tensor, "candidates ..."]:
    """Sum of the members' scores, in ascending order of the members: addition rounds."""
    first, *others = candidates.T
    total = scores[first]
    for column in others:
        total = total + scores[column]
    return total


def pieces(candidates: int, pixels: int, num_classes: int, numbers_at_once: int) -> Iterator[tuple[slice, slice]]:
    """Cut candidates times pixels into blocks of at most so many predictions.

    Args:
        candidates: How many.
        pixels: How many.
        num_classes: Target classes.
        numbers_at_once: Most predictions of candidates in a block, which has at least one pixel of one candidate.

    Yields:
        Candidates and pixels of each block.

    Example:
        >>> [(c.start, c.stop, p.start, p.stop) for c, p in pieces(3, 2, 5, 20)]
        [(0, 2, 0, 2), (2, 3, 0, 2)]
    """
    pixels_at_once = max(1, min(pixels, numbers_at_once // num_classes))
    at_once = max(1, numbers_at_once // (num_classes * pixels_at_once))
    for low in range(0, pixels, pixels_at_once):
        for first in range(0, candidates, at_once):
            yield (
                slice(first, min(first + at_once, candidates)),
                slice(low, min(low + pixels_at_once, pixels)),
            )

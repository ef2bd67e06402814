"""SoftAccuracy-EEP: accuracy-EEP that counts confidences instead of samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from muster.arrays import EnsemblePredictions, Labels
from muster.metrics.accumulators import Accumulator, Definition, State, score_of
from muster.metrics.ensemble_block import EnsembleBlock


def soft_accuracy_eep(eeps: EnsemblePredictions, labels: Labels) -> float:
    """Mean over samples (images, or pixels) of p_ens(y_i | x_i), p_ens being the mean over members.

    That is how often a class drawn from the ensemble's probabilities is the true one. Every sample counts alike, see
    :func:`muster.metrics.accuracy_eep`.

    Both means can be taken in any order, so an ensemble's score is **the mean of its members' own scores**. The best
    ensemble of a size holds the best single members, whatever they have in common, and no ensemble is better than the
    best member: ``--size auto`` proposes one member. Whether members complete each other, accuracy-EEP and E-LEEP see.

    Args:
        eeps: The members' target predictions, ``[members, samples, classes]`` or a sequence of ``[samples, classes]``,
            between 0 and 1.
        labels: Target classes, ``[samples]``, integers in 0..classes-1.

    Returns:
        0..1; larger is better.

    Raises:
        ValueError: If ``eeps`` is empty, no array of probabilities, or its members differ in shape.
        ValueError: If ``labels`` are not integers, not one per sample, or outside 0..classes-1 (void included).

    Source:
        Ours: a relaxation of accuracy as SoftIoU-EEP is one of IoU (Agostinelli et al., "Transferability Metrics for
        Selecting Source Model Ensembles", CVPR 2022, section 3.4: confidences of the true class instead of counts).

    Example:
        >>> import numpy as np
        >>> eeps = np.array([[[0.75, 0.25], [0.5, 0.5]], [[0.25, 0.75], [1.0, 0.0]]])
        >>> soft_accuracy_eep(eeps, np.array([0, 1]))  # (0.5 + 0.25) / 2, the members' own being 0.625 and 0.125
        0.375
    """
    return score_of(SOFT_ACCURACY_EEP, eeps, labels)


@dataclass(frozen=True)
class TrueClassProbability(Accumulator):
    """Probability of the true class: state ``[candidates]``."""

    def init(self, candidates: int, num_classes: int, device: torch.device) -> State:  # noqa: ARG002 (one per candidate)
        """See :meth:`Accumulator.init`."""
        return torch.zeros(candidates, dtype=torch.float64, device=device)

    def update(self, state: State, block: EnsembleBlock) -> None:
        """See :meth:`Accumulator.update`."""
        state += block.true_class.sum(dim=1)


def mean_over_samples(state: Float[Tensor, "..."], label_counts: Float[Tensor, "... classes"]) -> Float[Tensor, "..."]:  # noqa: UP037
    """Mean over samples, from a sum over them and the samples of each class."""
    return state / label_counts.sum(dim=-1)


SOFT_ACCURACY_EEP = Definition(TrueClassProbability(), mean_over_samples)
"""What is added up, and what is made of it."""

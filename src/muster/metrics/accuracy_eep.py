"""Accuracy-EEP: accuracy of the ensemble's predictions on the probe set."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from muster.arrays import EnsemblePredictions, Labels
from muster.metrics.accumulators import Definition, HitsAndMisses, score_of


def accuracy_eep(eeps: EnsemblePredictions, labels: Labels) -> float:
    """Share of the samples (images, or pixels) whose true class is the arg max of the ensemble.

    Every sample counts alike, as in the top-1 accuracy of a test split. So classes weigh as much as they have samples:
    where a probe set draws rare classes more often (as that of segmentation does), they weigh more than in the data.
    A sample's prediction is the arg max of the members' predictions as in :func:`muster.metrics.iou_eep`: the lowest
    class on a tie.

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
        Ours: IoU-EEP (Agostinelli et al., "Transferability Metrics for Selecting Source Model Ensembles", CVPR 2022,
        eq. 7) with the result metric of classification in place of mean IoU, as Bolya et al., "Scalable Diverse Model
        Selection for Accessible Transfer Learning", NeurIPS 2021, compare scores with plain test accuracy.

    Example:
        >>> import numpy as np
        >>> eeps = np.array([[[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]]])
        >>> accuracy_eep(eeps, np.array([0, 1, 1, 0]))  # the second is wrong; the tie goes to class 0
        0.75
    """
    return score_of(ACCURACY_EEP, eeps, labels)


def share_of_hits(
    state: Float[Tensor, "... 2 classes"],
    label_counts: Float[Tensor, "... classes"],
) -> Float[Tensor, "..."]:  # noqa: UP037 (older jaxtyping)
    """Hits of all classes over all samples."""
    return state[..., 0, :].sum(dim=-1) / label_counts.sum(dim=-1)


ACCURACY_EEP = Definition(HitsAndMisses(soft=False), share_of_hits)
"""What is added up, and what is made of it."""

"""IoU-EEP: mean IoU of the ensemble's predictions on the probe pixels."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from muster.arrays import EnsemblePredictions, Labels, NumpyArray
from muster.metrics.accumulators import Definition, HitsAndMisses, score_of, state_of
from muster.metrics.ensemble_block import members_of


def iou_eep(eeps: EnsemblePredictions, labels: Labels) -> float:
    """Mean IoU of the ensemble's arg max, over the classes that occur among the labels.

    A pixel's prediction is the arg max of the members' predictions summed in the order given, not divided, the lowest
    class on a tie; so every implementation rounds alike.

    Args:
        eeps: The members' target predictions, ``[members, pixels, classes]`` or a sequence of ``[pixels, classes]``,
            between 0 and 1.
        labels: Target classes, ``[pixels]``, integers in 0..classes-1.

    Returns:
        0..1; larger is better.

    Raises:
        ValueError: If ``eeps`` is empty, no array of probabilities, or its members differ in shape.
        ValueError: If ``labels`` are not integers, not one per pixel, or outside 0..classes-1 (void included).

    Source:
        Agostinelli et al., "Transferability Metrics for Selecting Source Model Ensembles", CVPR 2022, eq. 7.

    Example:
        >>> import numpy as np
        >>> eeps = np.array([[[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]])
        >>> iou_eep(eeps, np.array([0, 1, 1]))  # both classes: one hit, one miss
        0.5
    """
    return score_of(IOU_EEP, eeps, labels)


def class_ious(eeps: EnsemblePredictions, labels: Labels) -> Float[NumpyArray, " classes"]:
    """IoU of each class, as :func:`iou_eep` averages them.

    Args:
        eeps: As for :func:`iou_eep`.
        labels: As for :func:`iou_eep`.

    Returns:
        float64 ``[classes]``, 0..1; NaN for a class that no label has.

    Raises:
        ValueError: As :func:`iou_eep`.

    Example:
        >>> import numpy as np
        >>> class_ious(np.array([[[0.9, 0.1, 0.0], [0.6, 0.4, 0.0]]]), np.array([0, 1])).tolist()
        [0.5, 0.0, nan]
    """
    return class_scores(IOU_EEP, eeps, labels)


def class_scores(definition: Definition, eeps: EnsemblePredictions, labels: Labels) -> Float[NumpyArray, " classes"]:
    """What the mean over classes is taken of, by :class:`~muster.metrics.accumulators.HitsAndMisses` of either kind.

    Args:
        definition: IoU-EEP or SoftIoU-EEP.
        eeps: As for :func:`iou_eep`.
        labels: Likewise.

    Returns:
        float64 ``[classes]``; NaN for a class that no label has.
    """
    members = members_of(eeps, labels)
    state = state_of(definition, members, torch.arange(len(members.predictions))[None])[0]
    scores: NumpyArray = ious(state).masked_fill(members.label_counts == 0, torch.nan).cpu().numpy()
    return scores


def ious(state: Float[Tensor, "... 2 classes"]) -> Float[Tensor, "... classes"]:
    """Hits over hits and misses of each class; 0 where there is neither."""
    hits, misses = state.unbind(dim=-2)
    whole = hits + misses
    return torch.where(whole > 0, hits / whole, 0.0)


def mean_iou(state: Float[Tensor, "... 2 classes"], label_counts: Float[Tensor, "... classes"]) -> Float[Tensor, "..."]:  # noqa: UP037
    """Mean of :func:`ious` over the classes that have a pixel."""
    is_present = label_counts > 0
    return torch.where(is_present, ious(state), 0.0).sum(dim=-1) / is_present.sum(dim=-1)


IOU_EEP = Definition(HitsAndMisses(soft=False), mean_iou)
"""What is added up, and what is made of it."""

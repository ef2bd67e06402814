"""IoU-EEP: mean IoU of the ensemble's predictions on the probe pixels."""

from __future__ import annotations

import torch
from jaxtyping import Float

from muster.arrays import EnsemblePredictions, Labels, NumpyArray
from muster.metrics.ensemble import Candidate, candidate_of, mean_over_present, ratios


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
    return iou_eep_of(candidate_of(eeps, labels))


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
    return _class_ious(candidate_of(eeps, labels))


def iou_eep_of(candidate: Candidate) -> float:
    """IoU-EEP of a checked candidate."""
    return mean_over_present(_class_ious(candidate))


def _class_ious(candidate: Candidate) -> Float[NumpyArray, " classes"]:
    members = candidate.members
    true_positives = torch.bincount(members.labels[candidate.correct], minlength=members.num_classes)
    predicted_counts = torch.bincount(candidate.predicted, minlength=members.num_classes)
    union = members.label_counts + predicted_counts - true_positives
    return ratios(true_positives.double(), union.double(), members.label_counts > 0)

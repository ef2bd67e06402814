"""SoftIoU-EEP: IoU-EEP that counts confidences instead of pixels. The default metric."""

from __future__ import annotations

from jaxtyping import Float

from muster.arrays import EnsemblePredictions, Labels, NumpyArray
from muster.metrics.accumulators import Definition, HitsAndMisses, score_of
from muster.metrics.iou_eep import class_scores, mean_iou


def soft_iou_eep(eeps: EnsemblePredictions, labels: Labels) -> float:
    """Mean soft IoU of the ensemble, over the classes that occur among the labels.

    With p the ensemble's (mean) probability of a pixel's true class: a pixel that is predicted right adds p to the true
    positives of its class; one that is predicted wrong adds 1 - p to the false negatives of its class and to the false
    positives of the predicted one. Predictions as in :func:`muster.metrics.iou_eep`.

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
        Agostinelli et al., "Transferability Metrics for Selecting Source Model Ensembles", CVPR 2022, section 3.4. The
        paper does not say which pixels add confidence to what; the rule above is our reading.

    Example:
        >>> import numpy as np
        >>> eeps = np.array([[[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]])
        >>> round(soft_iou_eep(eeps, np.array([0, 1, 1])), 4)  # (0.9 / (0.9 + 0.6) + 0.8 / (0.8 + 0.6)) / 2
        0.5857
    """
    return score_of(SOFT_IOU_EEP, eeps, labels)


def soft_class_ious(eeps: EnsemblePredictions, labels: Labels) -> Float[NumpyArray, " classes"]:
    """Soft IoU of each class, as :func:`soft_iou_eep` averages them.

    Args:
        eeps: As for :func:`soft_iou_eep`.
        labels: As for :func:`soft_iou_eep`.

    Returns:
        float64 ``[classes]``, 0..1; NaN for a class that no label has; 0 for one to whose pixels nothing was added,
        neither hits nor misses (every prediction 0).

    Raises:
        ValueError: As :func:`soft_iou_eep`.

    Example:
        >>> import numpy as np
        >>> eeps = np.array([[[0.75, 0.25, 0.0], [0.5, 0.25, 0.0]]])
        >>> soft_class_ious(eeps, np.array([0, 1])).tolist()  # class 0: 0.75 / (0.75 + 0.75)
        [0.5, 0.0, nan]
    """
    return class_scores(SOFT_IOU_EEP, eeps, labels)


SOFT_IOU_EEP = Definition(HitsAndMisses(soft=True), mean_iou)
"""What is added up, and what is made of it."""

"""LEEP: how well the EEP of one source model predicts the target's labels."""

from __future__ import annotations

from muster.arrays import Labels, SourceProbabilities, as_probabilities
from muster.metrics._features import as_present_classes
from muster.metrics.e_leep import e_leep
from muster.metrics.eep import eep


def leep(probs: SourceProbabilities, labels: Labels) -> float:
    """Log expected empirical prediction: mean over pixels of log eep(y_i | x_i).

    Args:
        probs: Source probabilities, ``[pixels, source_classes]``, between 0 and 1; half precision becomes float32.
        labels: Target classes, ``[pixels]``, integers from 0; need not be contiguous; void must have been left out.

    Returns:
        At most 0; larger is better. Natural log, its argument clamped below at the smallest normal number of the
        type of ``probs`` (float32 for half precision), so always finite.

    Raises:
        ValueError: If ``probs`` is not a floating-point array with two non-empty axes, or holds NaN or values that are
            no probabilities.
        ValueError: If ``labels`` are not integers, not one per pixel, negative, or void (255) is among them.

    Source:
        Nguyen et al., "LEEP: A New Measure to Evaluate Transferability of Learned Representations", ICML 2020;
        Agostinelli et al., CVPR 2022, eq. 2.

    Example:
        >>> import numpy as np
        >>> probs = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
        >>> round(leep(probs, np.array([0, 0, 1])), 4)  # (log 1 + log 2/3 + log 2/3) / 3
        -0.2703
    """
    source = as_probabilities("probs", probs)
    classes, _ = as_present_classes(labels, len(source), source.device)  # columns of other classes would be 0
    return e_leep([eep(source, classes)], classes)

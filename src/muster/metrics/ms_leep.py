"""MS-LEEP: sum of the members' LEEPs."""

from __future__ import annotations

from muster.arrays import EnsemblePredictions, Labels
from muster.metrics.accumulators import Definition, LogLikelihood, score_of
from muster.metrics.e_leep import mean_log


def ms_leep(eeps: EnsemblePredictions, labels: Labels) -> float:
    """Multi-source LEEP: sum over members of the mean over pixels of log eep_s(y_i | x_i).

    Args:
        eeps: The members' target predictions, ``[members, pixels, classes]`` or a sequence of ``[pixels, classes]``,
            between 0 and 1.
        labels: Target classes, ``[pixels]``, integers in 0..classes-1.

    Returns:
        At most 0 up to rounding; larger is better. Each log's argument is clamped below at the smallest normal number
        of the type of ``eeps``, so always finite.

    Raises:
        ValueError: If ``eeps`` is empty, no array of probabilities, or its members differ in shape.
        ValueError: If ``labels`` are not integers, not one per pixel, or outside 0..classes-1 (void included).

    Source:
        Agostinelli et al., "Transferability Metrics for Selecting Source Model Ensembles", CVPR 2022, eq. 4.

    Example:
        >>> import numpy as np
        >>> eeps = np.array([[[0.5, 0.5]], [[0.25, 0.75]]])
        >>> round(ms_leep(eeps, np.array([0])), 4)  # log 1/2 + log 1/4
        -2.0794
    """
    return score_of(MS_LEEP, eeps, labels)


MS_LEEP = Definition(LogLikelihood(), mean_log, sums_members=True)
"""What is added up, and what is made of it."""

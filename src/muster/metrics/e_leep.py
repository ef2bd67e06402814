"""E-LEEP: LEEP of the ensemble's mean prediction."""

from __future__ import annotations

from muster.arrays import EnsemblePredictions, Labels
from muster.metrics.ensemble import Candidate, candidate_of, mean_log


def e_leep(eeps: EnsemblePredictions, labels: Labels) -> float:
    """Ensemble LEEP: mean over pixels of log p_ens(y_i | x_i), p_ens being the mean over members.

    Args:
        eeps: The members' target predictions, ``[members, pixels, classes]`` or a sequence of ``[pixels, classes]``,
            between 0 and 1.
        labels: Target classes, ``[pixels]``, integers in 0..classes-1.

    Returns:
        At most 0 up to rounding; larger is better. The log's argument is clamped below at the smallest normal number of
        the type of ``eeps``, so always finite.

    Raises:
        ValueError: If ``eeps`` is empty, no array of probabilities, or its members differ in shape.
        ValueError: If ``labels`` are not integers, not one per pixel, or outside 0..classes-1 (void included).

    Source:
        Agostinelli et al., "Transferability Metrics for Selecting Source Model Ensembles", CVPR 2022, eq. 5 and 6.

    Example:
        >>> import numpy as np
        >>> eeps = np.array([[[0.5, 0.5]], [[0.25, 0.75]]])
        >>> round(e_leep(eeps, np.array([0])), 4)  # log 3/8
        -0.9808
    """
    return e_leep_of(candidate_of(eeps, labels))


def e_leep_of(candidate: Candidate) -> float:
    """E-LEEP of a checked candidate."""
    return mean_log(candidate.truth, candidate.members.predictions[0].dtype)

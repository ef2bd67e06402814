"""E-LEEP: LEEP of the ensemble's mean prediction."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from muster.arrays import EnsemblePredictions, Labels
from muster.metrics.accumulators import Definition, LogLikelihood, score_of


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
    return score_of(E_LEEP, eeps, labels)


def mean_log(state: Float[Tensor, "..."], label_counts: Float[Tensor, "... classes"]) -> Float[Tensor, "..."]:  # noqa: UP037
    """Mean log over pixels, from sums of logs and the pixels of each class."""
    return state / label_counts.sum(dim=-1)


E_LEEP = Definition(LogLikelihood(), mean_log)
"""What is added up, and what is made of it."""

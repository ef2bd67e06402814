"""Candidates that tie: between equals a metric chooses nothing.

Axis names: ``candidates`` are sets of members, ``members`` pool models.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Bool, Float

from muster.arrays import NumpyArray
from muster.errors import SelectionError
from muster.metrics import parse_metric
from muster.metrics.ties import all_tie, tie_levels
from muster.scoring.ranking import Ranking


def tied_with_best(scores: Float[NumpyArray, " candidates"]) -> Bool[NumpyArray, " candidates"]:
    """Which scores are as large as the largest, up to the one tolerance of :mod:`muster.metrics.ties`.

    Example:
        >>> import numpy as np
        >>> tied_with_best(np.array([0.1 + 0.2, 0.3, 0.2])).tolist()
        [True, True, False]
    """
    levels = tie_levels(scores)
    tied: NumpyArray = levels == levels.max()
    return tied


def require_choice(
    ranking: Ranking, metric: str, columns: Mapping[str, Float[NumpyArray, " members"]], *, lists_all: bool
) -> None:
    """Refuse to choose if all candidates tie.

    Args:
        ranking: The candidates.
        metric: The metric to choose by.
        columns: For each metric of single members, one score a member: if these tie, so do all sums over them.
        lists_all: Whether these are all candidates; of the leading ones alone nothing can be said about the others.

    Raises:
        SelectionError: If all candidates tie.
    """
    scores = ranking.scores[metric]
    alike = (lists_all and all_tie(scores)) or (metric in columns and all_tie(columns[metric]))
    if len(scores) < 2 or not alike:
        return
    raise SelectionError(
        f"Nothing can be chosen: all {f'{len(scores):,} ' if lists_all else ''}candidates have the same score by "
        f"{parse_metric(metric).title}, {scores[0]:.6g}, and the first by name would be no choice. Choose by another "
        "metric (--metric), or look at why the members are alike: copies of one model, or a target of which none of "
        "them knows more than how frequent its classes are."
    )

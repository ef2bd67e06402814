"""The candidates of a selection by their members' names: those that lead, their scores, another one as the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from muster.errors import SelectionError
from muster.metrics.ties import first_best
from muster.selection.record import Selection, SelectionRecord

Candidate: TypeAlias = tuple[str, ...]
"""The names of its members, in ascending order."""


def leading_candidates(selection: Selection, count: int) -> list[Candidate]:
    """The candidates that a selection ranks first.

    Args:
        selection: With the ranking of all candidates.
        count: How many; fewer if there are no more.

    Returns:
        The best first.
    """
    return [selection.names_of(int(row)) for row in selection.ranking.order(selection.metric)[:count]]


def members_of(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """The members of all candidates, each once, in ascending order of names."""
    return tuple(sorted({name for candidate in candidates for name in candidate}))


def best_alone(selection: SelectionRecord) -> tuple[str, str]:
    """The best member as an ensemble of one.

    Args:
        selection: Any.

    Returns:
        Its name, and the metric by which it is the best: the selection's, or ``leep`` if that is not known of single
        members. Of equals the first in the order of the pool.
    """
    scores = selection.scores_alone
    if not scores:
        return selection.single_best, "leep"
    return list(scores)[first_best(np.array(list(scores.values())))], selection.metric


def scores_of(selection: Selection, members: Candidate) -> dict[str, float]:
    """The scores of one candidate by every metric.

    Args:
        selection: With the ranking of all candidates.
        members: The candidate.

    Returns:
        By metric.

    Raises:
        SelectionError: If it is not in the ranking.
    """
    row = _row_of(selection, members)
    return {metric: float(values[row]) for metric, values in selection.ranking.scores.items()}


def choosing(selection: Selection, members: Candidate) -> Selection:
    """The same selection with another candidate of its ranking as the choice.

    Args:
        selection: With the ranking of all candidates.
        members: The candidate.

    Returns:
        The selection. What is known of the best candidate alone (IoUs of classes, margin, bootstrap confidence) is left
        out if the choice is another.

    Raises:
        SelectionError: If the candidate is not in the ranking.
    """
    score = scores_of(selection, members)[selection.metric]
    if members == selection.members:
        return selection
    unknown: tuple[float | None, ...] = (None,) * len(selection.classes)
    return replace(
        selection,
        members=members,
        score=score,
        margin=None,
        class_ious=unknown,
        bootstrap_confidence=None,
        on_images={},
    )


def _row_of(selection: Selection, members: Candidate) -> int:
    places = {name: place for place, name in enumerate(selection.member_names)}
    wanted = [places.get(name, -1) for name in members]
    listed = selection.ranking.members
    rows = np.flatnonzero((listed == wanted).all(axis=1)).tolist() if len(wanted) == listed.shape[1] else []
    if not rows:
        raise SelectionError(f"{', '.join(members)}: no candidate of the ranking has these members.")
    return int(rows[0])

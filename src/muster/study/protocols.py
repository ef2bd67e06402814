"""Which ensembles a study looks at, and which of them metrics choose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from muster.scoring.score import list_candidates
from muster.study.tables import joined_names

MOST_FREQUENT = 5
"""Members of A22's choice that are the most frequent among the best candidates (A22 section 4)."""

AT_RANDOM = 10
"""Further members of it, drawn at random."""

TOP = 10
"""Candidates that count as the best by one metric; A22 does not say how many."""


def ensemble_scores(scores: pd.DataFrame, size: int) -> pd.DataFrame:
    """The scores of all ensembles of one size by one metric; an additive one has rows of single members only.

    Args:
        scores: Rows of one cell, probe seed, predictor and metric.
        size: Members of the ensembles.

    Returns:
        The columns ``members`` and ``score``, in the order of the names; of an additive metric the sums of the
        members' scores. Without rows if there are too few members.
    """
    listed = scores[scores["size"] == size]
    if size == 1 or len(listed) or set(scores["size"]) != {1}:
        return listed[["members", "score"]].sort_values("members", kind="stable", ignore_index=True)
    singles = scores.sort_values("members", kind="stable")
    if len(singles) < size:
        return singles.iloc[:0][["members", "score"]]
    rows = list_candidates(len(singles), size)
    sums = singles["score"].to_numpy()[rows].sum(axis=1)
    return pd.DataFrame({"members": joined_names(singles["members"].tolist(), rows), "score": sums})


def best_ensemble(scores: pd.DataFrame, predictor: str, metric: str, size: int) -> tuple[str, ...]:
    """The ensemble that a metric chooses.

    Args:
        scores: Rows of one cell and one probe seed.
        predictor: With which predictor; rows of metrics that use none count for all.
        metric: The metric.
        size: Members of the ensemble.

    Returns:
        Their names; of equal ones the first in the order of names. Empty if the metric has no scores.
    """
    rows = scores[(scores["metric"] == metric) & scores["predictor"].isin([predictor, ""])]
    ranked = ensemble_scores(rows, size)
    return tuple(str(ranked["members"].iloc[int(ranked["score"].argmax())]).split()) if len(ranked) else ()


def chosen_members(scores: pd.DataFrame, choosers: Sequence[tuple[str, str]], size: int) -> tuple[str, ...]:
    """The members that a user would fine-tune who believes in some metrics, and the single best by LEEP (B1).

    Args:
        scores: Rows of one cell and one probe seed.
        choosers: Predictors and metrics.
        size: Members of the ensembles.

    Returns:
        Their names, in order.
    """
    chosen = [best_ensemble(scores, predictor, metric, size) for predictor, metric in choosers]
    chosen += [best_ensemble(scores, predictor, "leep", 1) for predictor, _ in choosers]
    return tuple(sorted({name for members in chosen for name in members}))


def a22_members(scores: pd.DataFrame, size: int, seed: int) -> tuple[str, ...]:
    """The members that A22 section 4 fine-tunes for a target, so that all their ensembles can be compared.

    Args:
        scores: Rows of one cell and one probe seed.
        size: Members of the ensembles.
        seed: Of the random members.

    Returns:
        15 names, or all if there are no more, in their order: the 5 that are the most frequent among the 10 best
        candidates by each metric and predictor, and 10 others at random.
    """
    names = sorted(scores.loc[scores["size"] == 1, "members"].unique())
    counted = Counter[str]()
    for _, rows in scores.groupby(["predictor", "metric"], sort=True):
        best = ensemble_scores(rows, size).nlargest(TOP, "score")["members"]
        counted.update(name for members in best for name in str(members).split())
    frequent = sorted(counted, key=lambda name: (-counted[name], name))[:MOST_FREQUENT]
    others = [name for name in names if name not in frequent]
    drawn = np.random.default_rng(seed).permutation(len(others))[:AT_RANDOM]
    return tuple(sorted([*frequent, *(others[place] for place in drawn)]))

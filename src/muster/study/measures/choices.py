"""What each metric would have chosen, and how far that is from the best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from muster.errors import some_names, unknown_name
from muster.metrics.ties import first_best
from muster.selection.track_record import margin_of
from muster.study.measures.candidates import Candidates, ScoreColumn, Scores, candidates_of, require_once
from muster.study.tables import RESULT

CHOOSER = ("predictor", "metric", "size")
"""The columns that name what chooses."""

COLUMNS = (
    *RESULT,
    "probe_seed",
    *CHOOSER,
    "members",
    "result",
    "learned_head",
    "best_result",
    "regret",
    "relative_regret",
    "rank",
    "candidates",
    "margin",
)


@dataclass(frozen=True)
class StudiedChoice:
    """Which of a study's choices something is told of.

    Attributes:
        metric: By which the ensemble is chosen.
        predictor: Of the metric; empty for none.
        size: Of the ensemble.
        regime: How much of each target is used.
    """

    metric: str
    predictor: str
    size: int
    regime: str

    def rows_of(self, gains: pd.DataFrame) -> pd.DataFrame:
        """Its rows.

        Args:
            gains: Of :func:`muster.study.measures.gains`.

        Raises:
            ValueError: If the study has no such choice.
        """
        named = gains.loc[gains["metric"] == self.metric]
        if named.empty:
            raise ValueError(unknown_name("metric", self.metric, map(str, gains["metric"].unique())))
        rows = named[(named["predictor"] == self.predictor) & (named["size"] == self.size)]
        rows = rows[rows["regime"] == self.regime]
        if rows.empty:
            known = named[["predictor", "size", "regime"]].drop_duplicates().astype(str).agg(" ".join, axis=1)
            raise ValueError(
                f"Expected a choice by {self.metric} with predictor {self.predictor!r}, size {self.size} and regime "
                f"{self.regime!r}, but there are only {some_names(sorted(known))}."
            )
        return rows


def choices(scores: pd.DataFrame, ensembles: pd.DataFrame, heads: pd.DataFrame | None = None) -> pd.DataFrame:
    """The candidate with the best score, for each run of fine-tuning, probe seed, predictor, metric and ensemble size.

    Args:
        scores: A study's table, with those of :func:`muster.study.measures.static_orders` if these are to choose too.
        ensembles: A study's table. Leave out the members of the large pool first (:func:`without_pool`).
        heads: A study's table of ensembles with a learned head.

    Returns:
        One row a choice. ``members``: the candidate; equal scores go to the first in the order of members. ``result``:
        what its plain mean reached, in 0..1; ``learned_head``: with a learned head, NaN where it was not learned.
        ``best_result``: the best candidate of that size in that run, ``regret`` how much better it is (top-1 regret),
        and ``relative_regret`` as a part of the best. ``rank``: 1 for the best candidate, 1 more for each that is
        better. ``candidates``: how many had both a score and a result; a choice is among those. ``margin``: how far its
        score is ahead of theirs, see :func:`muster.selection.track_record.margin_of`; NaN where they are too few.

    Raises:
        ValueError: If a table says two things of one candidate.
    """
    read, learned = Scores(scores), _heads(heads)
    rows = [
        row
        for candidates in candidates_of(ensembles)
        for column in read.columns(candidates)
        for row in _chosen(candidates, column, learned)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _chosen(
    candidates: Candidates, column: ScoreColumn, learned: dict[tuple[object, ...], float]
) -> Iterator[dict[str, object]]:
    """The choice by one column of scores, for each fine-tuning seed."""
    for seed, results in zip(candidates.seeds, candidates.results.T, strict=True):
        known = np.flatnonzero(np.isfinite(column.values) & np.isfinite(results))
        if not len(known):
            continue
        chosen = int(known[first_best(column.values[known])])
        members, margin = candidates.text(chosen), margin_of(column.values[known])
        reached, best = float(results[chosen]), float(results[known].max())
        yield {
            **candidates.key,
            "finetuning_seed": seed,
            "probe_seed": column.probe_seed,
            "predictor": column.predictor,
            "metric": column.metric,
            "members": members,
            "result": reached,
            "learned_head": learned.get((*candidates.cell, seed, members), np.nan),
            "best_result": best,
            "regret": best - reached,
            "relative_regret": (best - reached) / best if best else np.nan,
            "rank": 1 + int((results[known] > reached).sum()),
            "candidates": len(known),
            "margin": np.nan if margin is None else margin,
        }


def _heads(heads: pd.DataFrame | None) -> dict[tuple[object, ...], float]:
    if heads is None or heads.empty:
        return {}
    key = [*RESULT, "members"]
    require_once(heads, key, "the table of heads")
    return dict(zip(heads[key].itertuples(index=False, name=None), heads["learned_head"].astype(float), strict=True))

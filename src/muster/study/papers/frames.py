"""What the papers' tables share: checks of a study's frames, means over seeds, and correlations within groups.

Frames are those of a study's ``tables`` folder, see :mod:`muster.study.tables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from muster.errors import unknown_name
from muster.metrics import kendall, pearson
from muster.study.measures.candidates import Candidates, Scores, candidates_of
from muster.study.measures.counted_tau import fast_weighted_kendall
from muster.study.tables import CELL

_CORRELATIONS = {"weighted_kendall": fast_weighted_kendall, "kendall": kendall, "pearson": pearson}

FEWEST = 3
"""Fewer entries than this have no correlation worth the name: two of them always give 1 or -1."""


def require_columns(name: str, frame: pd.DataFrame, columns: Iterable[str]) -> None:
    """Refuse a frame that lacks a column.

    Args:
        name: Of the argument, for the message.
        frame: What was given.
        columns: What is needed.

    Raises:
        ValueError: If a column is missing; names it and those that are there.
    """
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        there = ", ".join(map(str, frame.columns)) or "none"
        raise ValueError(f"Expected `{name}` to have the columns {', '.join(missing)}, but it has {there}.")


def require_values(name: str, frame: pd.DataFrame, column: str, wanted: Sequence[str]) -> None:
    """Refuse a value that a column does not hold, and suggest the nearest one that it does.

    Args:
        name: Of the argument that asks for the values, for the message.
        frame: Where they should be.
        column: In which column.
        wanted: The values.

    Raises:
        ValueError: If one is not there.
    """
    known = [str(value) for value in frame[column].unique()]
    for value in wanted:
        if value not in known:
            raise ValueError(f"`{name}`: {unknown_name(column, value, known)}")


def mean_over_finetuning_seeds(results: pd.DataFrame, who: str) -> pd.DataFrame:
    """The mean result of each fine-tuned member or ensemble over the seeds of fine-tuning.

    Args:
        results: ``finetuned`` or ``ensembles`` of a study.
        who: ``"member"`` or ``"members"``: whose result a row is.

    Returns:
        One row per cell and ``who``, with ``result``.
    """
    require_columns("results", results, [*CELL, who, "result"])
    return results.groupby([*CELL, who], sort=True)["result"].mean().reset_index()


def scores_beside_results(
    scores: pd.DataFrame, ensembles: pd.DataFrame, sizes: Sequence[int] | None = None, by: Sequence[str] = ()
) -> pd.DataFrame:
    """What each metric says of each candidate, beside what it reached: the mean over the seeds of fine-tuning.

    Args:
        scores: Of a study. A metric of single members gives an ensemble the sum of its members' scores.
        ensembles: Of a study, single members as ensembles of one.
        sizes: Of the candidates; all by default.
        by: Further columns of ``scores`` that tell series apart, such as ``pixels`` of a sweep over probe sets.

    Returns:
        One row per cell, probe seed, predictor, metric, ``by`` and candidate that has both: ``size``, ``members``,
        ``score`` and ``result``.
    """
    require_columns("scores", scores, [*CELL, "probe_seed", "predictor", "metric", "members", "score", *by])
    chosen = ensembles if sizes is None else ensembles[ensembles["size"].isin(sizes)]
    candidates = candidates_of(chosen)
    parts = []
    for key, part in scores.groupby(list(by), sort=False) if by else [((), scores)]:
        of_series: dict[str, Any] = dict(zip(by, key, strict=True))
        read = Scores(part)
        parts += [table.assign(**of_series) for each in candidates for table in _beside(read, each)]
    columns = [*by, *CELL, "probe_seed", "predictor", "metric", "size", "members", "score", "result"]
    whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    return whole.dropna(subset=["score", "result"]).reset_index(drop=True)[columns]


def _beside(scores: Scores, candidates: Candidates) -> Iterator[pd.DataFrame]:
    """Each metric with each probe seed, of the candidates of one cell and size."""
    about = {**candidates.key, "members": candidates.texts(), "result": candidates.mean_results()}
    for column in scores.columns(candidates):
        named = {"probe_seed": column.probe_seed, "predictor": column.predictor, "metric": column.metric}
        yield pd.DataFrame({**about, **named, "score": column.values})


def correlations_within(
    pairs: pd.DataFrame, by: Sequence[str], fewest: int = FEWEST, values: Sequence[str] = tuple(_CORRELATIONS)
) -> pd.DataFrame:
    """How well scores order results, within each group.

    Args:
        pairs: With ``score`` and ``result``, see :func:`scores_beside_results`.
        by: Columns that name a group.
        fewest: Groups of fewer rows are left out.
        values: Which correlations.

    Returns:
        One row a group: the columns of ``by``, those of ``values``, and ``entries``, the number of rows of the group.
        NaN where all scores or all results of the group are alike.

    Raises:
        ValueError: If there is no such correlation, or a column is missing.
    """
    require_columns("pairs", pairs, [*by, "score", "result"])
    for value in values:
        if value not in _CORRELATIONS:
            raise ValueError(unknown_name("correlation", value, _CORRELATIONS))
    rows = []
    for group, part in pairs.groupby(list(by), sort=False, dropna=False):
        if len(part) >= fewest:
            scores, results = part["score"].to_numpy(float), part["result"].to_numpy(float)
            found = {name: _CORRELATIONS[name](scores, results) for name in values}
            rows.append({**dict(zip(by, group, strict=True)), **found, "entries": len(part)})
    return pd.DataFrame(rows, columns=[*by, *values, "entries"])

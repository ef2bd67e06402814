"""How well metrics order the candidates of a cell: the main table of a study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import pandas as pd
from jaxtyping import Float

from muster.arrays import NumpyArray
from muster.metrics import pearson
from muster.study.measures.candidates import MEAN, Candidates, ScoreColumn, Scores, candidates_of
from muster.study.measures.counted_tau import CountedTau
from muster.study.measures.intervals import LEVEL, tau_interval
from muster.study.measures.strata import LEAST_CANDIDATES, STRATA, Stratum, strata_of
from muster.study.tables import CELL

CORRELATIONS = ("weighted_kendall", "kendall", "pearson")
"""The three correlations of :mod:`muster.metrics`, by the names of their columns."""

COLUMNS = (
    *CELL,
    "predictor",
    "metric",
    "size",
    "stratum",
    "value",
    "result",
    *(name + ending for name in CORRELATIONS for ending in ("", "_deviation")),
    "low",
    "high",
    "probe_seeds",
    "candidates",
    "members",
)


def agreement(
    scores: pd.DataFrame,
    ensembles: pd.DataFrame,
    members: pd.DataFrame | None = None,
    facts: Sequence[str] = STRATA,
    draws: int = 0,
    seed: int = 0,
    level: float = LEVEL,
) -> pd.DataFrame:
    """Correlations of scores with fine-tuned results, for each cell, predictor, metric and ensemble size.

    A metric of single members has only rows of size 1; an ensemble's score is then the sum of its members' scores. A
    candidate without a score (a card does not say what the metric needs) is left out of that metric's correlation, and
    ``candidates`` tells how many there were.

    Args:
        scores: A study's table, with those of :func:`muster.study.measures.static_orders` if they are to be told too.
        ensembles: A study's table. Leave out the members of the large pool first (:func:`without_pool`).
        members: A study's table, for strata.
        facts: Columns of ``members``: correlations among the candidates whose members all have the same value, too.
        draws: Bootstrap draws over members for the interval of the weighted tau with the mean over seeds; 0 for none.
        seed: Of the draws.
        level: Of the interval, in 0..1.

    Returns:
        One row for each cell, predictor, metric, size, stratum (``all``, or a fact with its ``value``) and ``result``
        (``mean`` over fine-tuning seeds, or one seed). ``weighted_kendall``, ``kendall`` and ``pearson`` are means over
        the probe seeds, with their standard deviations (NaN of one probe seed). They are NaN where all scores are alike
        for one of them. ``low`` and ``high`` are of the weighted tau. Fewer than 5 candidates make no row.

    Raises:
        ValueError: If a table says two things of one candidate, or lacks a member.

    Source:
        Agostinelli et al., "Transferability Metrics for Selecting Source Model Ensembles", CVPR 2022, section 4.
    """
    read = Scores(scores)
    rows: list[dict[str, object]] = []
    for candidates in candidates_of(ensembles):
        strata = list(strata_of(candidates, members, facts))
        for (predictor, metric), columns in groupby(
            read.columns(candidates), lambda each: (each.predictor, each.metric)
        ):
            named = {**candidates.key, "predictor": predictor, "metric": metric}
            told = _of_metric(candidates, list(columns), strata, draws, seed, level)
            rows.extend({**named, **row} for row in told)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _of_metric(
    candidates: Candidates,
    columns: Sequence[ScoreColumn],
    strata: Sequence[Stratum],
    draws: int,
    seed: int,
    level: float,
) -> Iterator[dict[str, object]]:
    """Rows of one metric: each stratum with each result."""
    scores = np.stack([column.values for column in columns])
    for stratum in strata:
        for name, results in candidates.named_results().items():
            kept = stratum.kept & np.isfinite(results) & np.isfinite(scores).all(axis=0)
            if kept.sum() < LEAST_CANDIDATES:
                continue
            rows, of_probes = candidates.rows[kept], scores[:, kept]
            wanted = draws if name == MEAN else 0
            low, high = tau_interval(rows, of_probes, results[kept], wanted, seed, level)
            yield {
                "stratum": stratum.fact,
                "value": stratum.value,
                "result": name,
                **correlations(of_probes, results[kept]),
                "low": low,
                "high": high,
                "probe_seeds": len(columns),
                "candidates": int(kept.sum()),
                "members": len(np.unique(rows)),
            }


def correlations(
    columns: Float[NumpyArray, "probes candidates"], results: Float[NumpyArray, " candidates"]
) -> dict[str, float]:
    """Mean and standard deviation of each correlation over several columns of scores.

    Args:
        columns: At least one; finite.
        results: Finite.

    Returns:
        By the names of :data:`CORRELATIONS`, with ``_deviation`` for the deviations (over n - 1; NaN of one column).
    """
    if (columns == columns[:1]).all():  # of a static order, which is the same for every probe seed
        once = _all_of(columns[0], results)
        taken = {name: np.full(len(columns), value) for name, value in once.items()}
    else:
        each = [_all_of(column, results) for column in columns]
        taken = {name: np.array([told[name] for told in each]) for name in CORRELATIONS}
    means = {name: float(values.mean()) for name, values in taken.items()}
    deviations = {f"{name}_deviation": _deviation(values) for name, values in taken.items()}
    return {**means, **deviations}


def _all_of(scores: Float[NumpyArray, " candidates"], results: Float[NumpyArray, " candidates"]) -> dict[str, float]:
    pair = CountedTau(scores, results)
    return dict(zip(CORRELATIONS, (pair.tau(), pair.tau_b(), pearson(scores, results)), strict=True))


def _deviation(values: NumpyArray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")

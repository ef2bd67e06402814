"""A score that several metrics make together, with weights that were learned on the other targets of a study.

Axis names: ``candidates`` of one cell and size, ``columns`` the scores and card facts that are combined.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from muster.arrays import NumpyArray
from muster.metrics import weighted_kendall
from muster.study.measures.candidates import Candidates, ScoreColumn, Scores, candidates_of

COMBINATION = "combination"
"""What stands in the column ``metric`` of its scores."""

SHRINKAGES = (math.inf, 10.0, 1.0, 0.1)
"""How strongly weights are held to those of one metric alone; the first is that metric alone."""

FEWEST_TARGETS = 3
"""One that is scored, and two of which each is left out in turn to choose the shrinkage."""


@dataclass(frozen=True, eq=False)
class _Known:
    """One target, subset and probe seed: what metrics say of the candidates, and what these reached."""

    candidates: Candidates
    probe_seed: int
    columns: dict[tuple[str, str], Float[NumpyArray, " candidates"]]
    results: Float[NumpyArray, " candidates"]

    @property
    def target(self) -> str:
        return self.candidates.cell[0]


def learned_combination(
    scores: pd.DataFrame,
    ensembles: pd.DataFrame,
    size: int,
    base: tuple[str, str],
    regime: str = "few",
    shrinkages: Sequence[float] = SHRINKAGES,
) -> pd.DataFrame:
    """Score the candidates of each target by what the results on all other targets say of the metrics.

    Scores and results are standardised within a target. The combination is the base and a linear correction of it: a
    ridge regression, to which each of the other targets counts alike, of what the base leaves of their results. How
    strongly the correction is held to zero is chosen among the other targets, each of which is left out in turn: the
    shrinkage with the largest mean weighted tau, the stronger one of equals.

    Args:
        scores: A study's table, with those of :func:`muster.study.measures.static_orders` if these are to have a part.
        ensembles: A study's table. Leave out the members of the large pool first (:func:`without_pool`).
        size: Members of a candidate.
        base: Predictor and metric that the weights are shrunk to.
        regime: Which one.
        shrinkages: What is tried, in this order; infinity is the base alone.

    Returns:
        Rows for a table of scores, of the metric :data:`COMBINATION` without a predictor, larger being better. A metric
        that lacks a candidate of a target has no part in any weights; candidates whose result is not known have no row.

    Raises:
        ValueError: If fewer than three targets have candidates of that size with scores by the base.
    """
    known = [each for each in _known(scores, ensembles, size, regime) if base in each.columns]
    targets = sorted({each.target for each in known})
    if len(targets) < FEWEST_TARGETS:
        raise ValueError(
            f"Expected at least {FEWEST_TARGETS} targets with candidates of size {size} in regime {regime!r} and "
            f"scores by {'/'.join(base)}, but got {len(targets)}."
        )
    shared = set.intersection(*(set(each.columns) for each in known))
    order = [base, *sorted(shared - {base})]  # the base comes first
    parts = [scores.head(0)]
    for target in targets:
        others = [each for each in known if each.target != target]
        weights = _weights(others, order, _best_shrinkage(others, order, shrinkages))
        parts += [_rows(each, _matrix(each, order) @ weights) for each in known if each.target == target]
    return pd.concat(parts[1:], ignore_index=True).reindex(columns=scores.columns)


def _known(scores: pd.DataFrame, ensembles: pd.DataFrame, size: int, regime: str) -> list[_Known]:
    read, found = Scores(scores), list[_Known]()
    wanted = ensembles[(ensembles["size"] == size) & (ensembles["regime"] == regime)]
    for candidates in candidates_of(wanted):
        results = candidates.mean_results()
        with_result = np.isfinite(results)
        columns = list(read.columns(candidates))
        for probe_seed in sorted({column.probe_seed for column in columns}):
            complete = {
                (column.predictor, column.metric): column.values[with_result]
                for column in columns
                if column.probe_seed == probe_seed and _tells(column, with_result)
            }
            found.append(_Known(candidates.only(with_result), probe_seed, complete, results[with_result]))
    return found


def _tells(column: ScoreColumn, with_result: NumpyArray) -> bool:
    """Whether all candidates have a score."""
    return bool(np.isfinite(column.values[with_result]).all())


def _standardised(values: Float[NumpyArray, " candidates"]) -> Float[NumpyArray, " candidates"]:
    deviation = float(values.std())
    return (values - values.mean()) / deviation if deviation > 0 else np.zeros_like(values)


def _matrix(known: _Known, order: Sequence[tuple[str, str]]) -> Float[NumpyArray, "candidates columns"]:
    return np.stack([_standardised(known.columns[name]) for name in order], axis=1)


def _weights(
    known: Sequence[_Known], order: Sequence[tuple[str, str]], shrinkage: float
) -> Float[NumpyArray, " columns"]:
    """The base, and what corrects it."""
    alone = np.zeros(len(order))
    alone[0] = 1.0
    if math.isinf(shrinkage):
        return alone
    gram, left = shrinkage * np.eye(len(order)), np.zeros(len(order))
    counts = {target: sum(each.target == target for each in known) for target in {each.target for each in known}}
    for each in known:
        matrix = _matrix(each, order)
        share = 1 / (len(counts) * counts[each.target] * len(matrix))
        gram += share * matrix.T @ matrix
        left += share * matrix.T @ (_standardised(each.results) - matrix @ alone)
    weights: NumpyArray = alone + np.linalg.solve(gram, left)
    return weights


def _best_shrinkage(known: Sequence[_Known], order: Sequence[tuple[str, str]], shrinkages: Sequence[float]) -> float:
    targets = sorted({each.target for each in known})
    found = list[float]()
    for shrinkage in shrinkages:
        taus = list[float]()
        for target in targets:
            weights = _weights([each for each in known if each.target != target], order, shrinkage)
            taus += [
                weighted_kendall(_matrix(each, order) @ weights, each.results)
                for each in known
                if each.target == target
            ]
        found.append(float(np.mean(taus)))
    return shrinkages[int(np.argmax(found))]


def _rows(known: _Known, values: Float[NumpyArray, " candidates"]) -> pd.DataFrame:
    about = {**known.candidates.key, "probe_seed": known.probe_seed, "predictor": "", "metric": COMBINATION}
    columns = {name: [value] * len(values) for name, value in about.items()}
    return pd.DataFrame({**columns, "members": known.candidates.texts(), "score": values})

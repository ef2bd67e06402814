"""The whole page of a study: what predicts, what one should do, and the papers' tables and figures."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from jaxtyping import Float

from muster.arrays import NumpyArray
from muster.metrics import DEFAULT_METRIC
from muster.report.choice_parts import what_predicts, what_to_do
from muster.report.papers import paper_parts
from muster.report.study_page import PagePart
from muster.study import measures
from muster.study.papers.a22 import ENSEMBLE_SIZE
from muster.study.tables import StudyTables


def study_parts(
    tables: StudyTables,
    features: Mapping[str, Float[NumpyArray, "_ _"]] | None = None,
    large_pool: str | None = None,
    capped_pool: str | None = None,
    metric: str = DEFAULT_METRIC,
    size: int = ENSEMBLE_SIZE,
    draws: int = 0,
) -> list[PagePart]:
    """Every section that a study's tables allow.

    Args:
        tables: Of a study.
        features: See :func:`muster.report.papers.paper_parts`.
        large_pool: Likewise.
        capped_pool: Likewise.
        metric: By which ensembles are chosen.
        size: Of the ensembles.
        draws: Bootstrap draws over members for intervals of correlations; 0 for none.

    Returns:
        Sections for :func:`muster.report.study_page.write_study_page`.
    """
    gains = None
    parts = list[PagePart]()
    if len(tables.scores) and len(tables.ensembles):
        orders = measures.static_orders(tables.members, tables.finetuned, tables.scores)
        scores = pd.concat([tables.scores, orders], ignore_index=True)
        candidates = measures.without_pool(tables.ensembles, tables.members, large_pool)
        agreement = measures.agreement(scores, candidates, tables.members, draws=draws)
        two_runs = measures.seed_agreement(candidates)
        parts.append(what_predicts(agreement, two_runs, measures.ceiling(candidates), size))
        chosen_from = measures.StudyTables(
            scores, tables.ensembles, tables.members, tables.heads, tables.equal_cost, large_pool
        )
        gains = measures.gains(chosen_from)
        parts += _choices(gains, tables, metric, size)
    return [*parts, *paper_parts(tables, gains, features, large_pool, capped_pool)]


def _choices(gains: pd.DataFrame, tables: StudyTables, metric: str, size: int) -> list[PagePart]:
    """What one should do, for each regime and predictor of the metric."""
    own = gains[(gains["metric"] == metric) & (gains["size"] == size)]
    series = own[["regime", "predictor"]].drop_duplicates().itertuples(index=False, name=None)
    return [what_to_do(gains, tables, metric, predictor, size, regime) for regime, predictor in series]

"""B21's tables of a study as a section of a page."""

from __future__ import annotations

import pandas as pd

from muster.report.study_page import PagePart
from muster.report.study_style import StudyFigure
from muster.report.study_tables import frame_table
from muster.report.tables import Table, metric_label
from muster.report.transfer_figures import amount_matrix_figure
from muster.study.papers import (
    depth_table,
    evaluation_modes,
    mean_pearson,
    method_table,
    reduction_table,
    scores_beside_results,
    single_model_pairs,
    with_depth,
)
from muster.study.tables import ONE_METRIC, StudyTables

_TITLE = "Single models (B21)"
_TEXT = (
    "Pearson correlation of scores with fine-tuned results: its mean over targets, and mean and standard deviation "
    "of that over seeds of the probe."
)


def b21_part(tables: StudyTables) -> PagePart:
    """How well scores of single members agree with results (B21, tables 1 to 4).

    Args:
        tables: Of a study.

    Returns:
        A section; empty but for a sentence if no group of members is large enough for a correlation.
    """
    if tables.scores.empty or tables.ensembles.empty:
        return PagePart(_TITLE, "No member was scored and fine-tuned.")
    pairs = single_model_pairs(scores_beside_results(tables.scores, tables.ensembles, sizes=[1]), tables.members)
    if mean_pearson(pairs).empty:
        return PagePart(_TITLE, "No target has three members that were scored and fine-tuned.")
    deep = with_depth(pairs) if pairs["depth"].gt(0).all() else pairs
    figures, shown = list[StudyFigure](), dict[str, Table]()
    for (regime, predictor), part in deep.groupby(["regime", "predictor"], sort=False):
        named = f"{regime}, {str(predictor).replace('_', ' ') or 'without a predictor'}"
        means = mean_pearson(part)
        plain = part[part["metric"].isin(set(pairs["metric"]))]
        seconds = tables.costs[(tables.costs["step"] == ONE_METRIC) & (tables.costs["size"] == 1)]
        of_series = (seconds["regime"] == regime) & (seconds["predictor"] == predictor)
        methods = method_table(mean_pearson(plain), seconds[of_series] if of_series.any() else None)
        shown[f"Methods (table 1): {named}"] = _table(methods)
        modes = evaluation_modes(plain)
        if modes["mode"].nunique() > 1:
            matrix = modes.pivot_table(index="metric", columns="mode", values="mean", sort=False)
            key = f"b21_modes_{regime}_{predictor or 'none'}"
            title = f"What varies (table 2): {named}"
            figures.append(amount_matrix_figure(matrix, "mean Pearson correlation", 2, None, key, title))
        for caption, table in (("With the depth added (table 3)", depth_table(means)),
                               ("With fewer dimensions (figure 2b)", reduction_table(means))):  # fmt: skip
            if len(table):
                shown[f"{caption}: {named}"] = _table(table)
        if means["metric"].str.contains("pca").any():
            shown[f"Everything around each metric (table 4): {named}"] = _table(means)
    return PagePart(_TITLE, _TEXT, figures, shown)


def _table(table: pd.DataFrame) -> Table:
    kept = table.drop(columns=[column for column in ("regime", "predictor") if column in table])
    named = kept.assign(metric=[metric_label(str(metric)) for metric in kept["metric"]])
    return frame_table(named, {"seconds": 3, "seconds_deviation": 3})

"""H22's tables of a study as a section of a page."""

from __future__ import annotations

import pandas as pd

from muster.report.hard_figures import HARD_FOR_IN_WORDS, cost_figure
from muster.report.papers.hard_samples import hard_sample_figures, shown_targets
from muster.report.probe_parts import members_of
from muster.report.study_page import PagePart
from muster.report.study_style import StudyFigure
from muster.report.study_tables import frame_table
from muster.report.sweep_figures import hard_subsets_figure, sweep_figure
from muster.report.tables import Table, metric_label
from muster.study.papers import (
    bucket_sweep,
    correlations_within,
    hard_subset_gain,
    hard_subset_seconds,
    hard_subset_table,
    scores_beside_results,
    target_selection_table,
)
from muster.study.tables import StudyTables

_TITLE = "Hard subsets (H22)"
_TEXT = "Pearson correlation with results on all samples, and on hard subsets alone."


def h22_part(tables: StudyTables) -> PagePart:
    """What hard subsets change (H22, tables 1, 3 and 4, figure 4), and what is hard (figures 1 to 3 and 5 to 9).

    Args:
        tables: Of a study that computed metrics with and without ``+haste_ca`` or ``+haste_cs``.

    Returns:
        A section; empty but for a sentence if there are no such metrics.
    """
    hard = tables.scores["metric"].astype(str).str.contains("haste") if len(tables.scores) else None
    if hard is None or not hard.any() or tables.ensembles.empty:
        return PagePart(_TITLE, "No metric was computed on hard subsets; add for example leep+haste_cs to the metrics.")
    pairs = scores_beside_results(tables.scores, tables.ensembles)
    figures, shown = list[StudyFigure](), dict[str, Table]()
    for (regime, predictor, size), part in pairs.groupby(["regime", "predictor", "size"], sort=False):
        named = f"{regime}, {predictor or 'no predictor'}, {members_of(int(str(size)))}".replace("_", " ")
        keys = ["target", "metric", "subset_seed", "probe_seed"]
        table = hard_subset_table(correlations_within(part, keys, values=["pearson"]))
        if table.empty:
            continue
        key = f"{regime}_{predictor or 'none'}_{size}"
        shown[f"What hard subsets change on average, per cent: {named}"] = frame_table(
            hard_subset_gain(table).assign(metric=lambda rows: [metric_label(str(name)) for name in rows["metric"]]), 1
        )
        figures.append(hard_subsets_figure(table, name=f"h22_subsets_{key}", of=named))
        buckets = bucket_sweep(part)
        if len(buckets):
            figures.append(sweep_figure(buckets, "bucket", name=f"h22_buckets_{key}", logarithmic=False,
                                        column_label="bucket, from hard to easy"))  # fmt: skip
        if size == 1 and len(over_targets := target_selection_table(part)):
            shown[f"Which target suits a source, correlation over targets: {named}"] = _labelled(over_targets)
    if len(costs := hard_subset_seconds(tables.costs)) and costs["hard"].any():
        figures.append(_cost_figure(costs))
    figures += hard_sample_figures(tables)
    return PagePart(_TITLE, f"{_TEXT}{_left_out(tables)}", figures, shown)


def _left_out(tables: StudyTables) -> str:
    count, there = len(shown_targets(tables)), tables.hard_bins["target"].nunique()
    if count == there:
        return ""
    return f" Hard samples are shown of the first {count} of {there} targets; the tables hard_* have those of all."


def _labelled(table: pd.DataFrame) -> Table:
    return frame_table(table.assign(metric=[metric_label(str(name)) for name in table["metric"]]), 3)


def _cost_figure(costs: pd.DataFrame) -> StudyFigure:
    told = {HARD_FOR_IN_WORDS.get(str(what)) or metric_label(str(what)): seconds
            for what, seconds in costs[["what", "seconds"]].itertuples(index=False, name=None)}  # fmt: skip
    return cost_figure(told, list(HARD_FOR_IN_WORDS.values()), "h22_cost", "What hard subsets cost")

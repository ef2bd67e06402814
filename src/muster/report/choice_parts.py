"""Two sections of a study's page: what predicts, and what one should do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from muster.report.choice_figures import choices_figure, cost_figure, intervals_figure
from muster.report.study_figures import agreement_figure
from muster.report.study_page import PagePart
from muster.report.study_style import StudyFigure
from muster.report.study_tables import frame_table
from muster.report.tables import Table, metric_label
from muster.report.transfer_figures import amount_matrix_figure
from muster.study.approach_costs import approach_costs
from muster.study.findings import of_all
from muster.study.measures import ALL, MEAN, STATIC_ORDERS, StudiedChoice, paired_test, standings
from muster.study.measures.headline import CHOICE, LEARNED_HEAD
from muster.study.tables import StudyTables

APPROACHES = {
    CHOICE: "the choice",
    LEARNED_HEAD: "the choice, learned head",
    "equal_cost": "single of equal cost",
    "b1": "B1",
    "b1_head": "B1, learned head",
    "b1_large": "B1L",
    "pre_training": "pre-training, chosen",
    "pre_training_best": "pre-training, best",
    "other_targets": "order by other targets",
    "parameters": "order by parameters",
    "base": "BASE",
    "random": "random",
    "greedy": "greedy, all fine-tuned",
    "oracle": "oracle",
}
"""What figures of choices show, and what they call it; other names are in :data:`muster.study.measures.BASELINES`."""

TWO_RUNS, PERFECT = "two runs of fine-tuning", "a perfect metric (simulated)"
_SHOWN_METRICS = 12
_WHAT_PREDICTS = (
    "Weighted Kendall tau between scores and fine-tuned results, means over seeds. A metric that does not beat the "
    "lists that never look at the target is worth nothing."
)


def what_predicts(
    agreement: pd.DataFrame,
    seed_agreement: pd.DataFrame | None = None,
    ceiling: pd.DataFrame | None = None,
    size: int = 3,
    metrics: Sequence[str] = (),
) -> PagePart:
    """How well metrics order candidates, beside two runs of fine-tuning, a perfect metric and static orders.

    Args:
        agreement: Of :func:`muster.study.measures.agreement`.
        seed_agreement: Of :func:`muster.study.measures.seed_agreement`.
        ceiling: Of :func:`muster.study.measures.ceiling`.
        size: Of the candidates.
        metrics: Which the figures with intervals show, at most 12 are readable; by default those with the best mean.

    Returns:
        A section: a matrix of all metrics and targets for each regime and predictor, a figure with intervals, and what
        remains among candidates of one pre-training or architecture.
    """
    whole = of_all(agreement, size)
    references = _references(seed_agreement, ceiling, size)
    figures, shown = list[StudyFigure](), dict[str, Table]()
    for regime in dict.fromkeys(whole["regime"]):
        part = whole[whole["regime"] == regime]
        for predictor in [name for name in dict.fromkeys(part["predictor"]) if name] or [""]:
            with_it = part[part["predictor"].isin([predictor, ""])]
            key = f"{regime}_{predictor or 'none'}_of_{size}"
            named = f"{regime}, {str(predictor).replace('_', ' ')}"
            order = _best_metrics(with_it)
            if not order:  # all results are alike, or there are too few
                continue
            matrix = with_it.pivot_table(index="metric", columns="target", values="weighted_kendall").loc[order]
            matrix.insert(matrix.shape[1], "mean", matrix.mean(axis=1))
            title = f"Weighted Kendall tau of every metric: {named}"
            figures.append(amount_matrix_figure(_titled(matrix), "weighted Kendall tau", 2, None, f"tau_{key}", title))
            chosen = [metric for metric in (metrics or order) if metric in order][:_SHOWN_METRICS]
            rows = pd.concat([with_it[with_it["metric"] == metric] for metric in chosen])
            rows = rows.assign(metric=[order_label(metric) for metric in rows["metric"]])
            beside = None if references is None else references[references["regime"] == regime]
            figures.append(agreement_figure(rows, references=beside, name=f"tau_intervals_{key}"))
    strata = agreement[(agreement["size"] == size) & (agreement["result"] == MEAN) & (agreement["stratum"] != ALL)]
    for regime in dict.fromkeys(map(str, strata["regime"])):
        shown[f"Among candidates whose members are alike, labels: {regime}"] = _alike(
            strata[strata["regime"] == regime]
        )
    return PagePart("What predicts", _WHAT_PREDICTS, figures, shown)


def _alike(strata: pd.DataFrame) -> Table:
    """Mean over targets of each metric's tau, a column for each pre-training and architecture that members share."""
    by = [f" ({name.replace('_', ' ')})" if name else "" for name in strata["predictor"]]
    named = strata.assign(
        metric=[order_label(metric) + text for metric, text in zip(strata["metric"], by, strict=True)]
    )
    named = named.assign(part=named["stratum"] + " " + named["value"])
    wide = named.pivot_table(index="metric", columns="part", values="weighted_kendall", sort=False)
    return frame_table(wide.sort_values(wide.columns[0], ascending=False), index=True)


def order_label(metric: object) -> str:
    """A metric or a static order for people."""
    return STATIC_ORDERS.get(str(metric)) or metric_label(str(metric))


def _best_metrics(agreement: pd.DataFrame) -> list[str]:
    means = agreement.groupby("metric", sort=False)["weighted_kendall"].mean().dropna()
    return [str(metric) for metric in means.sort_values(ascending=False, kind="stable").index]


def _titled(matrix: pd.DataFrame) -> pd.DataFrame:
    return matrix.set_axis(pd.Index([order_label(name) for name in matrix.index], name="metric"), axis=0)


def _references(seed_agreement: pd.DataFrame | None, ceiling: pd.DataFrame | None, size: int) -> pd.DataFrame | None:
    """What a metric's tau can be compared with, on each target."""
    found = []
    for frame, column, name in ((seed_agreement, "weighted_kendall", TWO_RUNS), (ceiling, "mean", PERFECT)):
        if frame is not None and len(frame):
            rows = frame[(frame["size"] == size) & (frame["stratum"] == ALL)]
            means = rows.groupby(["regime", "target"], sort=False)[column].mean().rename("value").reset_index()
            found.append(means.assign(reference=name))
    return pd.concat(found, ignore_index=True) if found else None


def what_to_do(gains: pd.DataFrame, tables: StudyTables, choice: StudiedChoice) -> PagePart:
    """What one choice reached and cost, beside everything that one could have done instead.

    Args:
        gains: Of :func:`muster.study.measures.gains`.
        tables: Of the study.
        choice: Which one.

    Returns:
        A section: results on each target relative to B1, the mean difference from the choice with its interval over
        targets, and quality against cost.

    Raises:
        ValueError: If the study has no such choice.
    """
    told = standings(gains, choice)
    there = [name for name in APPROACHES if name in set(told["approach"])]
    told = told[told["approach"].isin(there)]
    choices = told.assign(choice=told["approach"].map(APPROACHES))
    order = [APPROACHES[name] for name in there]
    key = f"{choice.regime}_{choice.predictor or 'none'}_{choice.metric}"
    baseline = APPROACHES["b1"] if "b1" in there else None
    result = tables.result
    figures = [choices_figure(choices, order, baseline, f"choices_{key}", APPROACHES[CHOICE], result)]
    differences = _differences(told, there)
    finite = differences[np.isfinite(differences["low"]) & np.isfinite(differences["high"])]
    if len(finite):
        label = f"{result} minus that of the choice"
        figures.append(intervals_figure(finite, label, f"differences_{key}", "Beside the choice, over targets"))
    costs = approach_costs(gains, tables, choice)
    figures += _cost_figures(told, costs, key, result)
    table = differences.drop(columns="approach").rename(columns={"label": "approach", "value": "minus the choice"})
    seconds = costs.groupby("approach")["seconds"].mean()
    table.insert(1, "seconds", [float(seconds.get(name, np.nan)) for name in differences["approach"]])
    digits = {"seconds": 0, "minus the choice": 4, "low": 4, "high": 4, "p value": 3}
    shown = {
        "Means over targets, 95 % intervals of the exact paired test (6 targets or more have one)": frame_table(
            table, digits
        )
    }
    by = metric_label(choice.metric)
    by += f" ({choice.predictor.replace('_', ' ')})" if choice.predictor else ""
    what = "single model" if choice.size == 1 else f"ensemble of {choice.size}"
    text = f"The {what} that {by} chooses; labels: {choice.regime}."
    return PagePart("What one should do", text, figures, shown)


def _differences(told: pd.DataFrame, there: Sequence[str]) -> pd.DataFrame:
    """Each approach against the choice, over targets."""
    rows = []
    for name in there:
        if name != CHOICE:
            test = paired_test(told.loc[told["approach"] == name, "over_choice"].tolist())
            rows.append({"approach": name, "label": APPROACHES[name], "value": test.mean, "low": test.low,
                         "high": test.high, "p value": test.p_value, "targets": test.targets})  # fmt: skip
    columns = ["approach", "label", "value", "low", "high", "p value", "targets"]
    return pd.DataFrame(rows, columns=columns).sort_values("value", ascending=False, ignore_index=True)


def _cost_figures(told: pd.DataFrame, costs: pd.DataFrame, key: str, result: str) -> list[StudyFigure]:
    """Quality against cost, over the targets that all approaches have."""
    both = told.merge(costs, on=["approach", "target"])
    counts = both.groupby("approach")["target"].nunique()
    kept = both[both["approach"].isin(counts[counts == counts.max()].index)] if len(both) else both
    means = kept.groupby("approach")[["result", "seconds"]].mean().reset_index()
    means = means[means["seconds"] > 0]
    if len(means) < 2:
        return []
    named = means.assign(choice=means["approach"].map(APPROACHES)).rename(columns={"result": "quality"})
    return [cost_figure(named[["choice", "seconds", "quality"]], f"mean {result} over targets", f"cost_{key}",
                        "time of choosing and fine-tuning, on one device")]  # fmt: skip

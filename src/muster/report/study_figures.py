"""Figures of how well metrics choose: A22's figures 2 to 7, choices beside baselines, quality against cost.

Each takes frames of :mod:`muster.study.measures` and :mod:`muster.study.papers` and gives a
:class:`~muster.report.study_style.StudyFigure`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from muster.metrics import weighted_kendall
from muster.report.figures import BLUE, INK, MUTED, ORANGE
from muster.report.study_style import (
    GREY,
    PALE,
    WIDTH,
    Drawing,
    StudyFigure,
    empty,
    ensemble_text,
    legend_above,
    note,
    only_grid,
    series_colours,
    series_markers,
    short,
    start,
    styled,
)
from muster.report.tables import metric_label, number

MOST_DOTS = 240
"""Candidates that one panel shows: nobody tells more apart, and a page must stay small. Correlations are of all."""

PANEL_COLUMNS = 5
_ROW = 0.26  # inches of a row of dots


@styled
def scores_figure(pairs: pd.DataFrame, name: str = "scores", result: str = "mIoU") -> StudyFigure:
    """Score against fine-tuned result of every candidate, a panel for each target and metric (A22, figure 2).

    Args:
        pairs: ``target``, ``metric``, ``members``, ``score``, ``result``; several rows of a candidate (seeds) are
            averaged. The order of metrics and targets is kept.
        name: Of the files.
        result: What a result is called.

    Returns:
        The figure; the candidate with the best score is a triangle. Panels of one target are set in rows of
        :data:`PANEL_COLUMNS`; of several targets, each has a row.
    """
    keys = ["target", "metric", "members"]
    means = pairs.groupby(keys, sort=False)[["score", "result"]].mean().dropna().reset_index()
    targets, metrics = list(dict.fromkeys(means["target"])), list(dict.fromkeys(means["metric"]))
    wrapped = len(targets) == 1
    columns = min(PANEL_COLUMNS, len(metrics)) if wrapped else len(metrics)
    rows = -(-len(metrics) // columns) if wrapped else len(targets)
    drawing = start(0.35 + 1.45 * rows)
    grid = drawing.figure.subplots(rows, columns, squeeze=False)
    panels = [(target, metric) for target in targets for metric in metrics]
    for axes in grid.flat[len(panels) :]:
        empty(axes)
    for axes, (target, metric) in zip(grid.flat, panels, strict=False):
        part = means[(means["target"] == target) & (means["metric"] == metric)]
        _scatter_scores(drawing, axes, part, result)
        axes.set_title(metric_label(metric) if wrapped or target == targets[0] else "", fontsize=8.0)
    for row, target in zip(grid, targets, strict=False):
        row[0].set_ylabel(f"{short(target)}\nscore" if not wrapped else "score")
    drawing.figure.supxlabel(f"{result} after fine-tuning", fontsize=8.0, color=MUTED)
    title = f"Scores against results on {targets[0]}" if wrapped else "Scores against results"
    return drawing.finished(
        name,
        title,
        "Each dot is a candidate: what a metric says of it before fine-tuning, and what it reached. The triangle has "
        "the best score. In the corner: weighted Kendall tau over all candidates.",
    )


def _scatter_scores(drawing: Drawing, axes: Axes, part: pd.DataFrame, result: str) -> None:
    if len(part) > 1:
        tau = weighted_kendall(part["score"].to_numpy(float), part["result"].to_numpy(float))
        note(axes, f"τ {number(tau, 2)}")
    shown = _thinned(part)
    first = part.loc[[part["score"].idxmax()]] if len(part) else part
    styles: list[tuple[pd.DataFrame, dict[str, Any]]] = [
        (shown, {"s": 7, "color": BLUE, "alpha": 0.45, "linewidth": 0, "zorder": 2}),
        (first, {"s": 42, "color": ORANGE, "marker": "^", "edgecolor": "white", "linewidth": 0.8, "zorder": 4}),
    ]
    for rows, style in styles:
        dots = axes.scatter(rows["result"], rows["score"], **style)
        drawing.says(dots, [_candidate_text(result, *row) for row in rows[["members", "result", "score"]].to_numpy()])
    axes.margins(y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_locator(MaxNLocator(3))


def _candidate_text(result: str, members: str, reached: float, score: float) -> str:
    return f"{ensemble_text(members)}\n{result} {number(reached)}, score {number(score)}"


def _thinned(part: pd.DataFrame) -> pd.DataFrame:
    """At most :data:`MOST_DOTS` candidates: the best quarter of them by result, the others drawn evenly."""
    if len(part) <= MOST_DOTS:
        return part
    ordered = part.sort_values("result", ascending=False, kind="stable")
    best = MOST_DOTS // 4
    rest = np.linspace(best, len(ordered) - 1, MOST_DOTS - best).round().astype(np.int64)
    return ordered.iloc[[*range(best), *rest]]


@styled
def agreement_figure(
    correlations: pd.DataFrame,
    value: str = "weighted_kendall",
    references: pd.DataFrame | None = None,
    name: str = "agreement",
    label: str = "weighted Kendall tau",
) -> StudyFigure:
    """How well each metric orders the candidates of each target (A22, figure 3).

    Args:
        correlations: ``target``, ``metric`` and the column ``value``; ``low`` and ``high`` (an interval) where known.
            Several rows of a target and metric are averaged.
        value: Which correlation.
        references: ``target``, ``reference`` (such as ``two runs of fine-tuning``) and ``value``: drawn as lines across
            each target's row. Optional.
        name: Of the files.
        label: What the correlation is called.

    Returns:
        The figure: one block a target, one row a metric in it.
    """
    columns = [value, *(column for column in ("low", "high") if column in correlations)]
    means = correlations.groupby(["target", "metric"], sort=False)[columns].mean().reset_index()
    metrics, targets = list(dict.fromkeys(means["metric"])), list(dict.fromkeys(means["target"]))
    drawing = start(0.75 + len(targets) * (0.12 + 0.14 * len(metrics)), WIDTH)
    axes = drawing.figure.subplots()
    colours, markers = series_colours(metrics), series_markers(metrics)
    step, gap = 1.0, 1.2
    places: dict[str, float] = {}
    for block, target in enumerate(targets):
        top = block * (step * len(metrics) + gap)
        part = means[means["target"] == target].set_index("metric")
        places[target] = top + step * (len(metrics) - 1) / 2
        if block % 2:
            axes.axhspan(top - 0.5 - gap / 2, top + step * len(metrics) - 0.5 + gap / 2, color="#f5f7f9", zorder=0)
        for place, metric in enumerate(metric for metric in metrics if metric in part.index):
            row, height = part.loc[metric], top + step * place
            if "low" in row and "high" in row:
                axes.plot([row["low"], row["high"]], [height, height], color=colours[metric], linewidth=1.2, zorder=2)
            dot = axes.scatter([row[value]], [height], s=30, color=colours[metric], marker=markers[metric], zorder=3,
                               label=metric_label(metric) if block == 0 else None)  # fmt: skip
            if np.isfinite(row[value]):
                drawing.says(dot, [f"{metric_label(metric)} on {target}\n{label} {number(row[value], 2)}{_ends(row)}"])
        _reference_lines(drawing, axes, references, target, (top - 0.5, top + step * len(metrics) - 0.5))
    axes.set_yticks(list(places.values()), [short(target) for target in places])
    axes.set_ylim(len(targets) * (step * len(metrics) + gap) - gap / 2 - 0.5, -0.5 - gap / 2)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_xlabel(label)
    only_grid(axes, "x")
    legend_above(drawing)
    return drawing.finished(
        name,
        "How well metrics order the candidates",
        f"{label[:1].upper()}{label[1:]} between scores and fine-tuned results over all candidates of a target; lines "
        "are intervals where they were computed.",
    )


def _ends(row: pd.Series[float]) -> str:
    if "low" not in row or not np.isfinite(row["low"]):
        return ""
    return f" ({number(row['low'], 2)} to {number(row['high'], 2)})"


def _reference_lines(
    drawing: Drawing, axes: Axes, references: pd.DataFrame | None, target: str, span: tuple[float, float]
) -> None:
    if references is None:
        return
    names = list(dict.fromkeys(references["reference"]))
    for row in references[references["target"] == target].to_dict("records"):
        name, value = str(row["reference"]), float(row["value"])
        is_new = name not in axes.get_legend_handles_labels()[1]
        line = axes.plot([value, value], span, color=INK, linewidth=1.1, label=name if is_new else None, zorder=1,
                         linestyle=("--", ":", "-.")[names.index(name) % 3])[0]  # fmt: skip
        drawing.says(line, [f"{name} on {target}\n{number(value, 2)}"])


@styled
def gain_bars_figure(table: pd.DataFrame, column: str, name: str = "gains", result: str = "mIoU") -> StudyFigure:
    """The relative gain of the chosen ensemble over a baseline on each target (A22, figure 4).

    Args:
        table: See :func:`muster.study.papers.gains_over`.
        column: Which gain, e.g. ``gain over B1L``.
        name: Of the files.
        result: What a result is called.

    Returns:
        The figure: the largest gain on top, the average last.
    """
    values = table[column].dropna()
    average = [row for row in values.index if row == "Average"]
    ordered = [*values.drop(average).sort_values(ascending=False).index, *average]
    drawing = start(0.6 + 0.24 * len(ordered), 5.0)
    axes = drawing.figure.subplots()
    for place, target in enumerate(ordered):
        gain, last = float(values[target]), target in average
        colour = INK if last else (BLUE if gain >= 0 else ORANGE)
        bar = axes.barh(place, gain, height=0.66, color=colour)
        drawing.says(bar.patches[0], [f"{target}\n{number(gain, 1)} %"])
        axes.annotate(number(gain, 1), (gain, place), (4 if gain >= 0 else -4, 0), textcoords="offset points",
                      ha="left" if gain >= 0 else "right", va="center", fontsize=7.5)  # fmt: skip
    axes.set_yticks(range(len(ordered)), [short(str(target)) for target in ordered])
    axes.invert_yaxis()
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.margins(x=0.14)
    baseline = column.removeprefix("gain over ")
    axes.set_xlabel(f"relative gain in {result} over {baseline}, per cent")
    only_grid(axes, "x")
    return drawing.finished(
        name,
        f"Gain over {baseline}",
        f"What the chosen ensemble gains over {baseline}, in per cent of its {result}. The average is that of gains.",
    )


@styled
def sizes_figure(table: pd.DataFrame, name: str = "sizes", result: str = "mIoU") -> StudyFigure:
    """What the best ensemble gains with its size (A22, figure 7).

    Args:
        table: See :func:`muster.study.papers.best_of_each_size`; of one regime.
        name: Of the files.
        result: What a result is called.

    Returns:
        The figure: a line a target, and their mean.
    """
    drawing = start(2.9, 5.2)
    axes = drawing.figure.subplots()
    targets = list(dict.fromkeys(table["target"]))
    colours, markers = series_colours(targets), series_markers(targets)
    for target in targets:
        part = table[table["target"] == target].sort_values("size")
        axes.plot(part["size"], part["gain"], color=colours[target], linewidth=1.2, alpha=0.8, zorder=2)
        dots = axes.scatter(part["size"], part["gain"], s=24, color=colours[target], marker=markers[target], zorder=3,
                            label=short(target))  # fmt: skip
        drawing.says(dots, [_size_text(target, row, result) for row in part.to_dict("records")])
    mean = table.groupby("size")["gain"].mean()
    axes.plot(mean.index, mean, color=INK, linewidth=2.4, zorder=4, label="mean")
    axes.set_xticks(sorted(table["size"].unique()))
    axes.set_xlabel("members of the ensemble")
    axes.set_ylabel("gain over the best\nsingle member, per cent")
    drawing.figure.legend(loc="outside right center")
    return drawing.finished(
        name,
        "What more members bring",
        "The best ensemble of each size by its result, against the best single member. The best of more candidates is "
        "the more flattered by chance.",
    )


def _size_text(target: str, row: dict[Hashable, Any], result: str) -> str:
    best = f"{target}, best of {row['candidates']:,} of {row['size']}"
    return f"{best}\n{result} {number(row['best'])}, {number(row['gain'], 1)} % over the best single member"


@styled
def members_figure(table: pd.DataFrame, name: str = "ensemble_and_members", result: str = "mIoU") -> StudyFigure:
    """The chosen ensemble beside its members (A22, figure 6).

    Args:
        table: See :func:`muster.study.papers.ensemble_and_members`.
        name: Of the files.
        result: What a result is called.

    Returns:
        The figure: a row a target, the best ensemble on top.
    """
    whole = table["learned_head"].fillna(table["plain_mean"])
    ordered = table.assign(whole=whole).sort_values("whole", ascending=False)
    drawing = start(0.75 + _ROW * len(ordered), 5.6)
    axes = drawing.figure.subplots()
    for place, row in enumerate(ordered.to_dict("records")):
        singles = row["results"]
        axes.plot([min(singles), row["whole"]], [place, place], color=PALE, linewidth=1.4, zorder=1)
        dots = axes.scatter(singles, [place] * len(singles), s=26, facecolor="white", edgecolor=BLUE, linewidth=1.3,
                            zorder=3, label="its members" if place == 0 else None)  # fmt: skip
        drawing.says(dots, [f"{member} on {row['target']}\n{result} {number(reached)}"
                            for member, reached in zip(row["members"].split(), singles, strict=True)])  # fmt: skip
        for column, marker, colour, label in (("plain_mean", "D", GREY, "their plain mean"),
                                              ("learned_head", "^", ORANGE, "with learned head")):  # fmt: skip
            if np.isfinite(row[column]):
                dot = axes.scatter([row[column]], [place], s=34, marker=marker, color=colour, zorder=4)
                dot.set_label(label if label not in axes.get_legend_handles_labels()[1] else "_nolegend_")
                drawing.says(dot, [(f"{ensemble_text(row['members'])} on {row['target']}, {label}\n"
                                   f"{result} {number(row[column])}")])  # fmt: skip
    axes.set_yticks(range(len(ordered)), [short(target) for target in ordered["target"]])
    axes.set_ylim(len(ordered) - 0.4, -0.6)
    axes.set_xlabel(f"{result} after fine-tuning")
    only_grid(axes, "x")
    legend_above(drawing)
    return drawing.finished(
        name, "The chosen ensemble and its members", "Each row is a target; the more to the right, the better."
    )

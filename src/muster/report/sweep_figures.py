"""Figures of what changes with a setting: size of the probe set and dimensions (B21), hard subsets (H22)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, NullLocator

from muster.report.figures import BLUE, INK, ORANGE
from muster.report.study_style import (
    GREY,
    PALE,
    WIDTH,
    StudyFigure,
    legend_above,
    only_grid,
    series_colours,
    series_markers,
    short,
    start,
    styled,
)
from muster.report.tables import metric_label, number

_MOST_PANELS = 3
"""Beside each other."""


@styled
def sweep_figure(
    table: pd.DataFrame,
    column: str,
    value: str = "mean",
    label: str = "mean Pearson correlation",
    reference: float | int | None = None,
    name: str = "sweep",
    logarithmic: bool = True,
    column_label: str = "",
) -> StudyFigure:
    """How metrics change with one setting (B21, figures 1 and 2a; H22, figure 4).

    Args:
        table: ``metric``, ``column`` and ``value``; ``deviation`` where known, which belongs to ``mean``.
        column: What was varied: ``pixels``, ``dimensions``, ``fraction``, ``bucket``.
        value: What is shown: ``mean``, ``relative``, ``relative_seconds``.
        label: What it is called.
        reference: Where a dotted line marks the usual setting.
        name: Of the files.
        logarithmic: Whether the setting is on a logarithmic axis.
        column_label: What the setting is called.

    Returns:
        The figure: a line a metric.
    """
    metrics = list(dict.fromkeys(table["metric"]))
    drawing = start(3.0 + 0.1 * max(0, len(metrics) - 12), 6.2)
    axes = drawing.figure.subplots()
    colours, markers = series_colours(metrics), series_markers(metrics)
    setting = column_label or column
    for metric in metrics:
        part = table[table["metric"] == metric].sort_values(column)
        axes.plot(part[column], part[value], color=colours[metric], linewidth=1.3, zorder=2)
        if value == "mean" and "deviation" in part:
            axes.fill_between(part[column], part["mean"] - part["deviation"], part["mean"] + part["deviation"],
                              color=colours[metric], alpha=0.13, linewidth=0, zorder=1)  # fmt: skip
        dots = axes.scatter(part[column], part[value], s=24, color=colours[metric], marker=markers[metric], zorder=3,
                            label=short(metric_label(metric), 26))  # fmt: skip
        drawing.says(dots, [f"{metric_label(metric)}\n{setting} {row[column]:g}, {label} {number(row[value])}"
                            for row in part.to_dict("records")])  # fmt: skip
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda number_, _: f"{number_:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sorted(table[column].unique()))
    if value.startswith("relative_"):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda number_, _: f"{number_:g}"))
    if value.startswith("relative"):
        axes.axhline(1, color=GREY, linewidth=0.9, zorder=1)
    if reference is not None:
        axes.axvline(reference, color=INK, linewidth=0.9, linestyle=":", zorder=1)
    axes.set_xlabel(setting)
    axes.set_ylabel(label)
    drawing.figure.legend(loc="outside right center")
    return drawing.finished(
        name, f"{label[:1].upper()}{label[1:]} by {setting}", "Bands are one standard deviation over probe seeds."
    )


@styled
def sweep_panels(
    table: pd.DataFrame, label: str, name: str, title: str, names: Mapping[float, str] = MappingProxyType({})
) -> StudyFigure:
    """How metrics change with one setting of the probe, on each target and on average.

    Args:
        table: ``panel`` (a target, or their mean), ``metric``, ``value``, ``weighted_kendall`` and ``own``, whether it
            is the study's own setting. An infinite value means all that there is, and stands at the right end.
        label: What was varied.
        name: Of the files.
        title: Of the figure.
        names: What values stand for, where they are places in a list.

    Returns:
        The figure: a panel a target, a line a metric.
    """
    metrics, panels = list(dict.fromkeys(table["metric"])), list(dict.fromkeys(table["panel"]))
    values = sorted(set(table["value"]))
    places = dict(zip(values, range(len(values)), strict=True))
    columns = min(len(panels), _MOST_PANELS)

    def called(value: float) -> str:
        return names.get(value) or _value(value)

    rows = -(-len(panels) // columns)
    drawing = start(0.5 + 1.75 * rows + 0.17 * -(-len(metrics) // 4), min(WIDTH, 2.2 + 2.0 * columns))
    grid = drawing.figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    colours, markers = series_colours(metrics), series_markers(metrics)
    for axes, panel in zip(grid, panels, strict=False):
        part = table[table["panel"] == panel]
        for metric in metrics:
            line = part[part["metric"] == metric].sort_values("value")
            at = line["value"].map(places)
            axes.plot(at, line["weighted_kendall"], color=colours[metric], linewidth=0.0 if names else 1.2, zorder=2)
            known = line[line["weighted_kendall"].notna()]
            dots = axes.scatter(known["value"].map(places), known["weighted_kendall"], s=18, color=colours[metric],
                                marker=markers[metric], zorder=3, label=short(metric_label(metric), 26))  # fmt: skip
            drawing.says(dots, [f"{metric_label(metric)}, {panel}\n{label}: {called(row['value'])}"
                                f"{' (own)' if row['own'] else ''}\nweighted tau {number(row['weighted_kendall'], 2)}"
                                for row in known.to_dict("records")])  # fmt: skip
        for own in set(part.loc[part["own"], "value"]):
            axes.axvline(places[own], color=INK, linewidth=0.9, linestyle=":", zorder=1)
        axes.set_title(short(str(panel)))
        axes.set_xticks(range(len(values)), [short(called(value), 14) for value in values])
        if names:  # no order, so no lines either
            axes.tick_params(axis="x", rotation=30)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    drawing.figure.supxlabel(label, fontsize=8.0)
    drawing.figure.supylabel("weighted Kendall tau", fontsize=8.0)
    legend_above(drawing)
    return drawing.finished(name, title, "A line is a metric; dotted is the study's own setting.")


def _value(value: float | int) -> str:
    return "all" if np.isinf(value) else f"{value:g}"


@styled
def hard_subsets_figure(
    table: pd.DataFrame, label: str = "Pearson", name: str = "hard_subsets", of: str = ""
) -> StudyFigure:
    """What hard subsets change for each metric and target (H22, tables 1 and 3).

    Args:
        table: See :func:`muster.study.papers.hard_subset_table`.
        label: What the correlation is called.
        name: Of the files.
        of: Which scores these are, for the title.

    Returns:
        The figure: a panel a metric, a row a target; a line from the plain metric to its two variants.
    """
    metrics, targets = list(dict.fromkeys(table["metric"])), list(dict.fromkeys(table["target"]))
    drawing = start(0.9 + 0.24 * len(targets), min(7.0, 1.4 + 1.9 * len(metrics)))
    grid = drawing.figure.subplots(1, len(metrics), sharex=True, sharey=True, squeeze=False)[0]
    variants = [("base", "all samples", INK, "|", 0.0), ("CA", "hard for the source (CA)", BLUE, "o", -0.14),
                ("CS", "hard for the class (CS)", ORANGE, "^", 0.14)]  # fmt: skip
    for axes, metric in zip(grid, metrics, strict=True):
        part = table[table["metric"] == metric].set_index("target")
        for column, meaning, colour, marker, shift in variants:
            for place, target in enumerate(targets):
                if target in part.index and np.isfinite(part.loc[target, column]):
                    reached = float(part.loc[target, column])
                    axes.plot(
                        [part.loc[target, "base"], reached], [place + shift] * 2, color=PALE, linewidth=1.4, zorder=1
                    )
                    is_new = meaning not in axes.get_legend_handles_labels()[1]
                    dot = axes.scatter([reached], [place + shift], s=70 if column == "base" else 28, color=colour,
                                       marker=marker, zorder=3, label=meaning if is_new else None)  # fmt: skip
                    drawing.says(dot, [f"{metric_label(metric)} on {target}, {meaning}\n{label} {number(reached)}"])
        axes.set_title(metric_label(metric))
        only_grid(axes, "x")
    grid[0].set_yticks(range(len(targets)), [short(target) for target in targets])
    grid[0].set_ylim(len(targets) - 0.5, -0.5)
    drawing.figure.supxlabel(label, fontsize=8.0)
    legend_above(drawing)
    title = f"Metrics on hard subsets: {of}" if of else "Metrics on hard subsets"
    return drawing.finished(name, title, "To the right of the bar a hard subset agrees better with the results.")

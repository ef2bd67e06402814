"""Figures of what one should do: choices beside baselines, quality against cost, intervals, chosen sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from muster.report.figures import BLUE, INK, MUTED, overlap
from muster.report.study_style import (
    GREY,
    PALE,
    StudyFigure,
    ensemble_text,
    legend_above,
    only_grid,
    series_colours,
    series_markers,
    short,
    start,
    styled,
)
from muster.report.tables import number
from muster.study.papers.m21_analyses import datasets_in_order
from muster.study.tables import SINGLE_SOURCE

_HOUR, _MINUTE = 3600, 60
_ROUND_DURATIONS = [0.01, 0.1, 1, 3, 10, 30, *(_MINUTE * minutes for minutes in (1, 3, 10, 30)),
                    *(_HOUR * hours for hours in (1, 3, 10, 30, 100, 300, 1000))]  # fmt: skip


@styled
def choices_figure(
    choices: pd.DataFrame,
    order: Sequence[str] | None = None,
    baseline: str | None = None,
    name: str = "choices",
    highlighted: str | None = None,
    result: str = "mIoU",
) -> StudyFigure:
    """What each way to choose reached on each target.

    Args:
        choices: ``target``, ``choice`` (who chose), ``result``; ``members`` where known. Several rows of a target and
            choice (seeds) are averaged.
        order: Which choices, in the order of the legend; all of them by default.
        baseline: Results are shown in per cent of what this choice reached; ``None`` shows results.
        name: Of the files.
        highlighted: The choice that the figure is about; drawn larger, and dark.
        result: What a result is called.

    Returns:
        The figure: a row a target, and their mean where results are relative.
    """
    names = list(order or dict.fromkeys(choices["choice"]))
    wide = choices.pivot_table(index="target", columns="choice", values="result", sort=False)[names]
    shown = wide if baseline is None else 100 * (wide.div(wide[baseline], axis=0) - 1)
    if baseline is not None and len(shown) > 1:
        shown.loc["mean"] = shown.mean()
    chosen = choices.groupby(["target", "choice"])["members"].first() if "members" in choices else None
    drawing = start(0.95 + 0.32 * len(shown) + 0.16 * (len(names) // 4))
    axes = drawing.figure.subplots()
    colours, markers = series_colours(names), series_markers(names)
    for place, choice in enumerate(names):
        first = choice == highlighted
        heights = np.arange(len(shown)) + (place - (len(names) - 1) / 2) * min(0.08, 0.6 / len(names))
        known = shown[choice].notna().to_numpy()
        dots = axes.scatter(shown[choice][known], heights[known], s=110 if first else 30,
                            color=INK if first else colours[choice], marker="*" if first else markers[choice],
                            edgecolor="white", linewidth=0.5, zorder=4 if first else 3, label=choice)  # fmt: skip
        drawing.says(dots, [_choice_text(choice, str(target), wide, shown, chosen, baseline, result)
                            for target in shown.index[known]])  # fmt: skip
    axes.set_yticks(range(len(shown)), [short(str(target)) for target in shown.index])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    for place in range(1, len(shown)):
        axes.axhline(place - 0.5, color=PALE, linewidth=0.6)
    if baseline is not None:
        axes.axvline(0, color=GREY, linewidth=0.9, zorder=1)
    axes.set_xlabel(result if baseline is None else f"{result}, per cent above {baseline}")
    only_grid(axes, "x")
    legend_above(drawing)
    return drawing.finished(
        name,
        "What each way to choose reached",
        "Each row is a target. " + ("" if baseline is None else f"0 is what {baseline} reached. ")
        + "The oracle knows the results.",
    )  # fmt: skip


def _choice_text(
    choice: str,
    target: str,
    wide: pd.DataFrame,
    shown: pd.DataFrame,
    chosen: pd.Series[str] | None,
    baseline: str | None,
    result: str,
) -> str:
    lines = [f"{choice}, {target}"]
    if chosen is not None and isinstance(members := chosen.get((target, choice)), str) and members:
        lines.append(ensemble_text(members))
    if target in wide.index:
        lines.append(f"{result} {number(wide[choice][target])}")
    if baseline is not None:
        lines.append(f"{number(shown[choice][target], 1)} % above {baseline}")
    return "\n".join(lines)


@styled
def cost_figure(
    costs: pd.DataFrame, quality: str = "mIoU", name: str = "cost", seconds_label: str = "seconds of one GPU"
) -> StudyFigure:
    """Quality against cost of each way to choose.

    Args:
        costs: ``choice``, ``seconds`` (positive), ``quality``; ``low`` and ``high`` of the quality where known.
        quality: What the quality is called.
        name: Of the files.
        seconds_label: Whose seconds.

    Returns:
        The figure; a line joins the choices than which none is both cheaper and better.
    """
    caption = (
        "Round dots: no other way is both cheaper and better. The cost is all that has to be computed on the target: "
        "choosing and fine-tuning."
    )
    return _against(costs, quality, name, seconds_label, duration, ("Quality against cost", caption))


@styled
def time_figure(
    times: pd.DataFrame, quality: str, name: str = "time", reference: str = "", title: str = "Quality against time"
) -> StudyFigure:
    """How well each metric does against the time that it takes (as B21 compares methods).

    Args:
        times: ``choice`` (which metric), ``seconds`` (those of the metric divided by those of the reference; positive),
            ``quality``.
        quality: What the quality is called.
        name: Of the files.
        reference: The metric whose time is 1.
        title: Of the figure.

    Returns:
        The figure; a line joins the metrics than which none is both quicker and better.
    """
    caption = (
        "Round dots: no other metric is both quicker and better. The time is that of the scores alone, without running "
        "the members or making predictions of them."
    )
    return _against(times, quality, name, f"time beside {reference}", _times, (title, caption))


def _times(factor: float | int) -> str:
    return f"\N{MULTIPLICATION SIGN} {factor:.3g}"


def _against(
    costs: pd.DataFrame,
    quality: str,
    name: str,
    cost: str,
    told: Callable[[float], str],
    words: tuple[str, str],
) -> StudyFigure:
    """Dots with their names, and the front; ``words`` are the title and the caption."""
    drawing = start(3.1, 5.8)
    axes = drawing.figure.subplots()
    ordered = costs.sort_values(["seconds", "quality"], ascending=[True, False]).reset_index(drop=True)
    best = front_of(costs)
    front = ordered[ordered["choice"].isin(best)]
    axes.step(front["seconds"], front["quality"], where="post", color="#a9d0ea", linewidth=1.6, zorder=1)
    if {"low", "high"} <= set(ordered.columns):
        axes.vlines(ordered["seconds"], ordered["low"], ordered["high"], color=GREY, linewidth=1.0, zorder=2)
    for row in ordered.to_dict("records"):
        on_front = row["choice"] in best
        dot = axes.scatter([row["seconds"]], [row["quality"]], s=42, color=BLUE if on_front else GREY,
                           marker="o" if on_front else "s", edgecolor="white", linewidth=0.7, zorder=3)  # fmt: skip
        drawing.says(dot, [f"{row['choice']}\n{quality} {number(row['quality'])}, {told(row['seconds'])}"])
    axes.set_xscale("log")
    axes.margins(x=0.16, y=0.14)
    if told is duration:
        _duration_ticks(axes)
    else:
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: told(float(value))))
    _label_dots(
        drawing.figure, axes, list(ordered["seconds"]), list(ordered["quality"]), list(map(str, ordered["choice"]))
    )
    axes.set_xlabel(cost)
    axes.set_ylabel(quality)
    return drawing.finished(name, *words)


def front_of(costs: pd.DataFrame) -> list[str]:
    """The choices than which none is both cheaper and better, or as cheap and better; the cheapest first.

    Args:
        costs: ``choice``, ``seconds``, ``quality``.
    """
    ordered = costs.sort_values(["seconds", "quality"], ascending=[True, False])
    better = ordered["quality"] > ordered["quality"].cummax().shift(fill_value=-np.inf)
    return list(map(str, ordered.loc[better, "choice"]))


def _duration_ticks(axes: Axes) -> None:
    """Ticks at round durations, far enough apart to be read."""
    low, high = axes.get_xlim()
    inside = [seconds for seconds in _ROUND_DURATIONS if low <= seconds <= high]
    axes.xaxis.set_major_locator(FixedLocator(inside[:: 1 + len(inside) // 9] or [float(np.sqrt(low * high))]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(float(value))))


def duration(seconds: float | int) -> str:
    """Seconds for people: ``40 s``, ``12 min``, ``3 h``."""
    for unit, name in ((_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"


def _label_dots(figure: Figure, axes: Axes, xs: Sequence[float], ys: Sequence[float], names: Sequence[str]) -> None:
    """Names beside dots, where neither another name nor a dot is; sizes are measured on the drawn figure."""
    figure.draw_without_rendering()
    dots = axes.transData.transform(np.column_stack([xs, ys])) * 72 / figure.dpi
    frame = axes.get_window_extent().frozen()
    low, high = frame.x0 * 72 / figure.dpi, frame.x1 * 72 / figure.dpi
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in dots]
    for (x, y), place, name in zip(dots, zip(xs, ys, strict=True), names, strict=True):
        length = 3.9 * len(name)
        left = -7 - length
        tried = [(6, 4), (6, -11), (left, 4), (left, -11), (7, -3), (left, -3), (-length / 2, 7), (-length / 2, -14),
                 (8, 15), (8, -22), (left, 15), (left, -22)]  # fmt: skip
        boxes = [(x + right, y + up, x + right + length, y + up + 8) for right, up in tried]
        free = [i for i, box in enumerate(boxes)
                if box[0] >= low and box[2] <= high and not any(overlap(box, other) for other in taken)]  # fmt: skip
        chosen = free[0] if free else 0
        taken.append(boxes[chosen])
        axes.annotate(name, place, tried[chosen], textcoords="offset points", fontsize=7.5, zorder=5,
                      path_effects=[withStroke(linewidth=2.2, foreground="white")])  # fmt: skip


@styled
def intervals_figure(
    table: pd.DataFrame, label: str, name: str = "intervals", title: str = "Intervals", zero: bool = True
) -> StudyFigure:
    """Estimates with their intervals, one row each.

    Args:
        table: ``label``, ``value``, ``low``, ``high``; ``group`` where rows belong together, which are then coloured.
        label: What the values are.
        name: Of the files.
        title: For the heading.
        zero: Whether 0 means something and is to be seen.

    Returns:
        The figure.
    """
    rows = table.assign(group=table.get("group", ""))
    groups = list(dict.fromkeys(rows["group"]))
    colours, markers = series_colours(groups), series_markers(groups)
    drawing = start(0.6 + 0.2 * len(rows) + (0.25 if len(groups) > 1 else 0), 5.8)
    axes = drawing.figure.subplots()
    for place, row in enumerate(rows.to_dict("records")):
        colour = colours[row["group"]]
        axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=1.5, solid_capstyle="butt")
        dot = axes.scatter([row["value"]], [place], s=28, color=colour, marker=markers[row["group"]], zorder=3)
        drawing.says(dot, [(f"{row['label']}{', ' if row['group'] else ''}{row['group']}\n{label} "
                           f"{number(row['value'])} ({number(row['low'])} to {number(row['high'])})")])  # fmt: skip
    axes.set_yticks(range(len(rows)), [short(str(text), 34) for text in rows["label"]])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    if zero:
        axes.axvline(0, color=GREY, linewidth=0.9, zorder=1)
    axes.set_xlabel(label)
    only_grid(axes, "x")
    if len(groups) > 1:
        handles = [Line2D([], [], color=colours[group], marker=markers[group], linewidth=1.5, markersize=5, label=group)
                   for group in groups]  # fmt: skip
        legend_above(drawing, handles)
    return drawing.finished(name, title, "Dots are estimates, lines their intervals.")


@styled
def chosen_sources_figure(chosen: pd.DataFrame, datasets: pd.DataFrame, name: str = "chosen_sources") -> StudyFigure:
    """Which sources were chosen for each target (A22, figure 5).

    Args:
        chosen: See :func:`muster.study.papers.chosen_sources`.
        datasets: ``dataset``, ``domain``, ``train_images`` of all sources: the rows, domain by domain.
        name: Of the files.

    Returns:
        The figure: a column a target, a row a source; colour and shape tell architecture and pre-training. Where a
        source is the target itself, the cell is grey.
    """
    rows = [*datasets_in_order(datasets)]
    rows += [text for text in dict.fromkeys(map(_source_name, chosen.to_dict("records"))) if text not in rows]
    targets = list(dict.fromkeys(chosen["target"]))
    networks = list(dict.fromkeys(chosen["architecture"] + ", " + chosen["pretraining"]))
    colours, markers = series_colours(networks), series_markers(networks)
    drawing = start(1.6 + 0.2 * len(rows) + 0.17 * -(-len(networks) // 2), min(7.0, 2.4 + 0.42 * len(targets)))
    axes = drawing.figure.subplots()
    for column, target in enumerate(targets):
        if target in rows:
            axes.add_patch(Rectangle((column - 0.5, rows.index(target) - 0.5), 1, 1, color="#e3e6ea", zorder=1))
        part = chosen[chosen["target"] == target].to_dict("records")
        for source in dict.fromkeys(map(_source_name, part)):
            there = [row for row in part if _source_name(row) == source]
            for shift, row in zip(
                np.linspace(-0.22, 0.22, len(there)) if len(there) > 1 else [0.0], there, strict=True
            ):
                network = f"{row['architecture']}, {row['pretraining']}"
                dot = axes.scatter([column + shift], [rows.index(source)], s=36, color=colours[network],
                                   marker=markers[network], edgecolor="white", linewidth=0.5, zorder=3)  # fmt: skip
                drawing.says(dot, [f"{row['member']}, chosen for {target}"])
    domains = datasets.drop_duplicates("dataset").set_index("dataset")["domain"]
    for place in range(1, len(rows)):
        if domains.get(rows[place]) != domains.get(rows[place - 1]):
            axes.axhline(place - 0.5, color=MUTED, linewidth=0.7)
    axes.set_yticks(range(len(rows)), [short(row) for row in rows])
    axes.set_xticks(range(len(targets)), [short(target, 16) for target in targets], rotation=40, ha="right",
                    rotation_mode="anchor")  # fmt: skip
    axes.set_xlim(-0.5, len(targets) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_ylabel("source")
    axes.set_xlabel("target")
    handles = [Line2D([], [], color=colours[each], marker=markers[each], linewidth=0, label=each) for each in networks]
    legend_above(drawing, handles)
    return drawing.finished(
        name,
        "Which sources are chosen",
        "A sign is a chosen member. Lines part domains; sources of a domain are ordered by size, the largest last.",
    )


def _source_name(row: Mapping[Any, Any]) -> str:
    kind = str(row["kind"])
    return str(row["dataset"]) if kind == SINGLE_SOURCE else kind

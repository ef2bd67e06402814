"""Figures of transfer from sources to targets (M21): matrices, distance against gain, two regimes, a map of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, Normalize, TwoSlopeNorm

from muster.report.figures import BLUE, INK, MUTED, ORANGE
from muster.report.study_style import (
    AMOUNTS,
    GAINS,
    GREY,
    PALE,
    Drawing,
    StudyFigure,
    legend_above,
    series_colours,
    series_markers,
    short,
    start,
    styled,
)
from muster.report.tables import metric_label, number
from muster.study.papers.m21 import NEGATIVE, POSITIVE
from muster.study.tables import MULTI_SOURCE

_LEAST_SCALE, _MOST_SCALE = 5.0, 40.0
"""Gains beyond the second have its colour; the scale never spans less than the first, so that noise stays pale."""

_LONGEST_NAME = 40
"""Letters of a name before it is cut: enough for a dataset with its task behind it."""

_BY_DOMAIN = (
    "Rows are targets, columns sources. Blue: better than the target straight from pre-training; orange: worse. "
    "Datasets are ordered by domain and, in a domain, by size."
)

_TRANSFERS = {
    "within": ("within one domain", BLUE, "o"),
    "across": ("across domains", ORANGE, "^"),
    MULTI_SOURCE: (MULTI_SOURCE, "#009e73", "D"),
}
"""What dots of each kind of transfer are called, and how they look."""


@styled
def gain_matrix_figure(
    matrix: pd.DataFrame,
    domains: pd.Series[str] | None = None,
    name: str = "gain_matrix",
    title: str = "Transfer gains",
    caption: str = _BY_DOMAIN,
) -> StudyFigure:
    """Transfer gains as a heat map (M21, tables 4a, 5a, 6).

    Args:
        matrix: See :func:`muster.study.papers.gain_matrix`, per cent.
        domains: The domain of each dataset, by name; lines are drawn where it changes. Optional.
        name: Of the files.
        title: For the heading.
        caption: What stands below it.

    Returns:
        The figure.
    """
    known = np.abs(matrix.to_numpy(float))
    scale = float(np.clip(np.nanmax(known) if np.isfinite(known).any() else 0, _LEAST_SCALE, _MOST_SCALE))
    drawing = _matrix(matrix, GAINS, TwoSlopeNorm(0, -scale, scale), 1 if scale < 10 else 0,
                      lambda value: f"gain {number(value, 1)} %", domains)  # fmt: skip
    return drawing.finished(
        name,
        title,
        caption,
    )


@styled
def amount_matrix_figure(
    matrix: pd.DataFrame,
    label: str,
    digits: int = 2,
    domains: pd.Series[str] | None = None,
    name: str = "matrix",
    title: str = "",
    reverse: bool = False,
) -> StudyFigure:
    """Numbers as a heat map: distances, absolute results, agreement of metrics by mode or target.

    Args:
        matrix: Any.
        label: What the numbers are.
        digits: Decimals.
        domains: As for :func:`gain_matrix_figure`.
        name: Of the files.
        title: For the heading.
        reverse: Whether small numbers are the dark ones, as of distances.

    Returns:
        The figure. Numbers of both signs get the two-sided colours, around 0.
    """
    values = matrix.to_numpy(float)
    low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if np.isfinite(values).any() else (0.0, 1.0)
    norm: Normalize
    if low < 0 < high:
        most = max(-low, high)
        colours, norm = GAINS, TwoSlopeNorm(0, -most, most)
    else:
        colours, norm = (AMOUNTS.reversed() if reverse else AMOUNTS), Normalize(low, high if high > low else low + 1)
    drawing = _matrix(matrix, colours, norm, digits, lambda value: f"{label} {number(value, digits + 1)}", domains)
    return drawing.finished(name, title or label, f"Rows: {matrix.index.name}; columns: {matrix.columns.name}.")


def _matrix(
    matrix: pd.DataFrame,
    colours: Colormap,
    norm: Normalize,
    digits: int,
    words: Callable[[float], str],
    domains: pd.Series[str] | None,
) -> Drawing:
    rows, columns = matrix.shape
    labels = [short(text, _LONGEST_NAME) for text in _names(matrix.columns)]
    side = min(0.42, 5.2 / max(columns, 1))
    width = min(7.0, 1.9 + side * columns)
    drawing = start(0.55 + 0.055 * max(map(len, labels)) + 0.26 * rows, max(width, 3.4))
    axes = drawing.figure.subplots()
    values = matrix.to_numpy(float)
    cells = [(i, j) for i in range(rows) for j in range(columns) if np.isfinite(values[i, j])]
    corners = [[(j - 0.5, i - 0.5), (j + 0.5, i - 0.5), (j + 0.5, i + 0.5), (j - 0.5, i + 0.5)] for i, j in cells]
    shades = [colours(norm(values[i, j])) for i, j in cells]
    axes.set_facecolor("#eceef1")
    shown = PolyCollection(corners, facecolors=shades, edgecolors="white", linewidths=0.8)
    axes.add_collection(shown)
    if cells:
        drawing.says(shown, [f"{matrix.index[i]}, {matrix.columns[j]}\n{words(values[i, j])}" for i, j in cells])
    size = 7.5 if side >= 0.3 else 6.0
    for (i, j), shade in zip(cells, shades, strict=True):
        light = 0.299 * shade[0] + 0.587 * shade[1] + 0.114 * shade[2] > 0.55
        text = number(_without_minus_zero(values[i, j], digits), digits)
        axes.text(j, i, text, ha="center", va="center", fontsize=size, color=INK if light else "white")
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xticks(range(columns), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(rows), [short(text, _LONGEST_NAME) for text in _names(matrix.index)])
    axes.set_ylabel(str(matrix.index.name or ""))
    axes.set_xlabel(str(matrix.columns.name or ""))
    axes.grid(visible=False)
    _part_domains(axes, matrix, domains)
    return drawing


def _names(index: pd.Index[str]) -> list[str]:
    """Metrics by their titles, everything else by its name."""
    return [metric_label(str(name)) if index.name == "metric" else str(name) for name in index]


def _without_minus_zero(value: float, digits: int) -> float:
    return round(value, digits) + 0.0


def _part_domains(axes: Axes, matrix: pd.DataFrame, domains: pd.Series[str] | None) -> None:
    if domains is None:
        return
    for names, line in ((matrix.index, axes.axhline), (matrix.columns, axes.axvline)):
        for place in range(1, len(names)):
            if domains.get(names[place]) != domains.get(names[place - 1]):
                line(place - 0.5, color=INK, linewidth=1.1)


@styled
def distance_gain_figure(
    pairs: pd.DataFrame, assignment: str = "target_to_source", tau: float | None = None, name: str = "distance_gain"
) -> StudyFigure:
    """Domain distance against transfer gain (M21, A3).

    Args:
        pairs: See :func:`muster.study.papers.with_distances`; of one regime.
        assignment: Which distance.
        tau: The rank correlation of closeness with gain, for the corner.
        name: Of the files.

    Returns:
        The figure: a dot for each target and member.
    """
    drawing = start(3.2, 5.4)
    axes = drawing.figure.subplots()
    _scatter_chains(drawing, axes, pairs, assignment, "gain",
                    lambda row: f"gain {number(row['gain'], 1)} %, distance {number(row[assignment], 2)}")  # fmt: skip
    _level_lines(axes)
    if tau is not None:
        axes.set_title(f"rank correlation of closeness and gain {number(tau, 2)}", loc="left")
    axes.set_xlabel("distance from target to source images")
    axes.set_ylabel("gain, per cent")
    legend_above(drawing)
    return drawing.finished(
        name,
        "Domain distance and transfer gain",
        "A dot is a member fine-tuned on a target. The distance is the mean over target images to the closest source "
        "image. Between the dashed lines a gain is insignificant.",
    )


def _scatter_chains(
    drawing: Drawing, axes: Axes, table: pd.DataFrame, x: str, y: str, words: Callable[[Mapping[Any, Any]], str]
) -> None:
    """A dot for each target and member, by how far apart their domains are."""
    for transfer, (label, colour, marker) in _TRANSFERS.items():
        part = table[table["domain_transfer"] == transfer]
        if len(part):
            dots = axes.scatter(part[x], part[y], s=22, color=colour, marker=marker, alpha=0.75, linewidth=0, zorder=3,
                                label=label)  # fmt: skip
            drawing.says(dots, [f"{row['member']} on {row['target']}\n{words(row)}"
                                for row in part.to_dict("records")])  # fmt: skip


def _level_lines(axes: Axes) -> None:
    axes.axhline(0, color=GREY, linewidth=0.9, zorder=1)
    for level in (POSITIVE, NEGATIVE):
        axes.axhline(level, color=PALE, linewidth=0.9, linestyle="--", zorder=1)


@styled
def small_full_figure(both: pd.DataFrame, small: str, full: str, name: str = "small_full") -> StudyFigure:
    """Gains with few target images against gains with all of them (M21, A9).

    Args:
        both: See :func:`muster.study.papers.gains_in_both`.
        small: What the regime of few images is called.
        full: What the regime of all images is called.
        name: Of the files.

    Returns:
        The figure: a dot for each target and member, with the line on which both gains are equal.
    """
    drawing = start(3.7, 4.2)
    axes = drawing.figure.subplots()
    _scatter_chains(
        drawing, axes, both, "small_gain", "full_gain",
        lambda row: f"{small} {number(row['small_gain'], 1)} %, {full} {number(row['full_gain'], 1)} %",
    )  # fmt: skip
    axes.set_aspect("equal", adjustable="datalim")
    axes.axline((0, 0), slope=1, color=GREY, linewidth=1, linestyle=(0, (5, 4)), zorder=1)
    axes.axhline(0, color=PALE, linewidth=0.9, zorder=1)
    axes.axvline(0, color=PALE, linewidth=0.9, zorder=1)
    axes.set_xlabel(f"gain, per cent, labels: {small}")
    axes.set_ylabel(f"gain, per cent, labels: {full}")
    legend_above(drawing)
    return drawing.finished(
        name,
        "Gains with few and with all target images",
        "Below the dashed line a gain is larger with few images than with all of them.",
    )


@styled
def map_figure(points: pd.DataFrame, name: str = "map", title: str = "Images of all datasets") -> StudyFigure:
    """Images of all datasets on a plane, similar ones together (M21, figure 3a).

    Args:
        points: ``x``, ``y``, ``dataset``, ``domain``; ``image`` (what to call it) where known.
        name: Of the files.
        title: For the heading.

    Returns:
        The figure: colour is the domain, shape the dataset among those of one colour.
    """
    drawing = start(4.6, 6.4)
    axes = drawing.figure.subplots()
    domains = list(dict.fromkeys(points["domain"]))
    colours = series_colours(domains)
    used: dict[str, list[str]] = {}  # by colour: with many domains colours repeat, and shapes must not
    for domain in domains:
        of_domain = points[points["domain"] == domain]
        alike = used.setdefault(colours[domain], [])
        alike += dict.fromkeys(of_domain["dataset"])
        shapes = series_markers(alike)
        for dataset, part in of_domain.groupby("dataset", sort=False):
            label = f"{short(str(dataset), 18)} ({short(domain, 22)})"
            dots = axes.scatter(part["x"], part["y"], s=13, color=colours[domain], marker=shapes[str(dataset)],
                                alpha=0.65, linewidth=0, zorder=2, label=label)  # fmt: skip
            names = part["image"] if "image" in part else [""] * len(part)
            drawing.says(dots, [f"{dataset}, {domain}\n{image}".strip() for image in names])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("t-SNE: distances between far dots mean nothing", color=MUTED)
    for handle in drawing.figure.legend(loc="outside right center", markerscale=1.6).legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)
    return drawing.finished(
        name,
        title,
        "Each dot is an image, by features of one network; images that look alike lie together. A source whose dots "
        "surround those of a target includes it.",
    )

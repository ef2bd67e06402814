"""Figures that need axes, drawn with matplotlib's object interface as SVG, so that no global state is touched."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from muster.arrays import NumpyArray

INK, MUTED, LINE = "#1b2430", "#5b6675", "#dfe3e8"
BLUE, ORANGE = "#0072b2", "#d55e00"

MARKERS = ("o", "^", "s", "D", "v", "P", "X")
"""Shapes for marked candidates, so that colour is not all that tells them apart."""

MAX_POINTS = 1500
"""Longer courses are thinned: nobody sees more, and a report must stay small."""

LABELLED_CLASSES = 30
"""A scatter of more classes names only those farthest from the diagonal."""

STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "svg.fonttype": "none",  # text stays text: sharp, small, and in the reader's own font
    "svg.hashsalt": "muster",  # the same figure gives the same file
    "text.parse_math": False,  # class names may hold dollar signs
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": "#aab2bd",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "legend.frameon": False,
}
"""What all figures of reports have in common, for ``matplotlib.rc_context``."""


@dataclass(frozen=True)
class Mark:
    """A candidate worth pointing at.

    Attributes:
        rank: Its place in the ranking, from 1.
        score: Its score.
        colour: As ``#rrggbb``.
        marker: One of :data:`MARKERS`.
        label: Who it is.
    """

    rank: int
    score: float
    colour: str
    marker: str
    label: str


def svg_of(figure: Figure) -> str:
    """A figure as SVG, from its first tag on: the same for the same figure, with text as text."""
    with warnings.catch_warnings():
        # The browser draws the text, with fonts of its own: what this machine's fonts lack does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif", svg)
    return svg[svg.index("<svg") :]


def _thinned(count: int) -> NumpyArray:
    """Indices of at most :data:`MAX_POINTS` points, denser at the start."""
    if count <= MAX_POINTS:
        return np.arange(count)
    return np.unique(np.geomspace(1, count, MAX_POINTS).round().astype(np.int64) - 1)


@rc_context(STYLE)
def ranking_figure(scores: Float[NumpyArray, " candidates"], marks: Sequence[Mark], label: str) -> str:
    """Score against rank, with the distribution of scores on the same axis.

    Args:
        scores: The scores of all candidates, best first.
        marks: Candidates to point at.
        label: What the score is called.

    Returns:
        SVG.
    """
    figure = Figure(figsize=(9.6, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3.4, 1))
    kept = _thinned(len(scores))
    left.plot(kept + 1, scores[kept], color="#8a94a3", linewidth=1.6, zorder=2)
    left.scatter(kept + 1, scores[kept], s=9, color="#8a94a3", linewidth=0, zorder=2)
    if len(scores) > 30:  # below that, every candidate has room of its own
        left.set_xscale("log")
        left.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    for mark in reversed(marks):  # the first one comes to lie on top
        left.scatter(
            [mark.rank], [mark.score], s=105, color=mark.colour, marker=mark.marker, edgecolor="white", linewidth=1.2,
            zorder=4,
        )  # fmt: skip
    left.set_xlabel("rank of the candidate")
    left.set_ylabel(label)
    right.hist(scores, bins=min(40, max(5, len(scores) // 8)), orientation="horizontal", color="#c3cad3")
    right.axhline(float(np.median(scores)), color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    right.annotate("median", (1, float(np.median(scores))), xycoords=("axes fraction", "data"), ha="right",
                   va="bottom", color=MUTED, fontsize=8)  # fmt: skip
    if marks:
        right.axhline(marks[0].score, color=marks[0].colour, linewidth=1.4)
    right.grid(visible=False)
    right.set_xlabel("candidates")
    return svg_of(figure)


@rc_context(STYLE)
def scatter_figure(
    predicted: Sequence[float],
    finetuned: Sequence[float],
    names: Sequence[str],
    colours: Sequence[str],
    result: str = "IoU",
) -> str:
    """Predicted against fine-tuned result of each class, with the line on which both are equal.

    Args:
        predicted: Before fine-tuning, 0..1.
        finetuned: After it, 0..1.
        names: The classes.
        colours: The colours of the classes, as ``#rrggbb``.
        result: What it is called.

    Returns:
        SVG.
    """
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#aab2bd", linewidth=1.2, linestyle=(0, (5, 4)), zorder=1)
    axes.scatter(predicted, finetuned, s=74, c=list(colours), edgecolor="#3a4350", linewidth=0.8, zorder=3)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axes.set(xlabel=f"predicted {result}", ylabel=f"fine-tuned {result}")
    axes.text(0.035, 0.985, "better than predicted", color=MUTED, fontsize=8, va="top", transform=axes.transAxes)
    axes.text(0.985, 0.02, "worse than predicted", color=MUTED, fontsize=8, ha="right", transform=axes.transAxes)
    _name_points(axes, predicted, finetuned, names)
    return svg_of(figure)


def _name_points(axes: Axes, xs: Sequence[float], ys: Sequence[float], names: Sequence[str]) -> None:
    """Write names beside points where there is room, the farthest from the diagonal first."""
    width, height = 295.0, 295.0  # about the size of the axes in points
    taken = [(x * width - 6, y * height - 6, x * width + 6, y * height + 6) for x, y in zip(xs, ys, strict=True)]
    taken += [(0.0, height - 20, 150.0, height + 10), (width - 150, -10.0, width, 16.0)]  # the two remarks
    order = sorted(range(len(names)), key=lambda i: -abs(xs[i] - ys[i]))
    for index in order[:LABELLED_CLASSES]:
        name = names[index] if len(names[index]) <= 22 else names[index][:21] + "…"
        length = 4.9 * len(name)
        for right, up in ((9, -4), (-9 - length, -4), (-length / 2, 9), (-length / 2, -18), (8, 7), (-8 - length, 7)):
            x, y = xs[index] * width + right, ys[index] * height + up
            box = (x, y, x + length, y + 11)
            inside = box[0] > -8 and box[2] < width + 12
            if inside and not any(overlap(box, other) for other in taken):
                taken.append(box)
                axes.annotate(name, (xs[index], ys[index]), xytext=(right, up), textcoords="offset points", fontsize=8)
                break


def overlap(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    """Whether two boxes do: left, lower, right and upper edge of each."""
    apart = first[2] < second[0] or second[2] < first[0] or first[3] < second[1] or second[3] < first[1]
    return not apart


@rc_context(STYLE)
def loss_figure(losses: Mapping[str, Sequence[tuple[int, float]]], colours: Mapping[str, str]) -> str:
    """The course of each member's training loss.

    Args:
        losses: (step, loss) by member.
        colours: The colours of the members, as ``#rrggbb``.

    Returns:
        SVG.
    """
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, course in losses.items():
        steps, values = np.array([step for step, _ in course]), np.array([loss for _, loss in course])
        kept = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), MAX_POINTS)).round().astype(np.int64))
        axes.plot(steps[kept], values[kept], color=colours[name], linewidth=0.8, alpha=0.35)
        axes.plot(steps[kept], _smoothed(values)[kept], color=colours[name], linewidth=2)
    axes.set(xlabel="step", ylabel="training loss")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    return svg_of(figure)


def _smoothed(values: NumpyArray) -> NumpyArray:
    """Mean over a window of about a fortieth of the course, narrower at its ends."""
    half = len(values) // 80
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    half_there = np.minimum(half, np.minimum(places, len(values) - 1 - places))
    smooth: NumpyArray = (sums[places + half_there + 1] - sums[places - half_there]) / (2 * half_there + 1)
    return smooth

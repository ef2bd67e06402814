"""Figures of hard subsets (H22): accuracy by bin, a map of samples, bounds of LEEP, extreme images, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.ticker import FuncFormatter, NullLocator
from torch import Tensor

from muster.arrays import NumpyArray
from muster.data.resizing import resized
from muster.metrics.leep_bounds import LeepBounds
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
from muster.report.tables import number

HARD_FOR = {"haste_ca": "the source (CA)", "haste_cs": "the class (CS)"}
"""What is meant by hard, by wrapper."""

HARD_FOR_IN_WORDS = {wrapper: f"finding what is hard for {meaning}" for wrapper, meaning in HARD_FOR.items()}
"""What time is spent on, by wrapper."""

GRID = 5
"""Rows and columns of a grid of images (H22, figures 5 to 9)."""

_TILE, _GAP = 80, 4  # pixels
_MOST_LINES = 8


@styled
def bins_figure(
    accuracies: Mapping[str, Sequence[float]], name: str, title: str, unit: str, label: str = "accuracy"
) -> StudyFigure:
    """Accuracy in bins of equal size, from the hardest to the easiest (H22, figure 1a).

    Args:
        accuracies: By member, bin by bin from the hardest on.
        name: Of the files.
        title: Of the figure.
        unit: What bins are of: images, pixels.
        label: What is accurate.

    Returns:
        The figure: a line a member; of more than eight those with the best mean.
    """
    best = sorted(accuracies, key=lambda member: -float(np.nanmean(accuracies[member])))[:_MOST_LINES]
    drawing = start(2.9, 5.4)
    axes = drawing.figure.subplots()
    colours, markers = series_colours(best), series_markers(best)
    for member in best:
        values = accuracies[member]
        places = np.arange(1, len(values) + 1)
        axes.plot(places, values, color=colours[member], linewidth=1.3, zorder=2)
        dots = axes.scatter(places, values, s=24, color=colours[member], marker=markers[member], zorder=3,
                            label=short(member, 30))  # fmt: skip
        drawing.says(dots, [f"{member}\nbin {place}: {number(float(value))}"
                            for place, value in zip(places, values, strict=True)])  # fmt: skip
    bins = max(map(len, accuracies.values()))
    ends = {1: "\nhardest", bins: "\neasiest"}
    axes.set_xticks(range(1, bins + 1), [f"{place}{ends.get(place, '')}" for place in range(1, bins + 1)])
    axes.set_xlabel(f"bins of {unit}, of equal size")
    axes.set_ylabel(label)
    only_grid(axes, "y")
    drawing.figure.legend(loc="outside right center")
    fewer = "" if len(best) == len(accuracies) else f" The best {len(best)} of {len(accuracies)} members."
    return drawing.finished(
        name, title, f"If what is hard for the source is hard to classify, lines rise from left to right.{fewer}"
    )


@styled
def map_figure(
    places: Float[NumpyArray, "shown 2"],
    labels: Int[NumpyArray, " shown"],
    is_hard: Bool[NumpyArray, " shown"],
    classes: Sequence[str],
    name: str,
    title: str,
) -> StudyFigure:
    """Samples of a few classes on a plane: all of them, and the hard ones alone (H22, figure 2).

    Args:
        places: Of each sample.
        labels: Its class.
        is_hard: Whether it is in the hard subset.
        classes: Names of all classes.
        name: Of the files.
        title: Of the figure.

    Returns:
        The figure: two panels with the same places.
    """
    drawing = start(3.4, WIDTH)
    grid = drawing.figure.subplots(1, 2, sharex=True, sharey=True)
    there = [int(label) for label in np.unique(labels)]
    names = [classes[label] for label in there]
    colours, markers = series_colours(names), series_markers(names)
    for axes, kept, heading in zip(
        grid, (np.ones_like(is_hard), is_hard), ("all samples", "hard samples"), strict=True
    ):
        axes.scatter(*places[~kept].T, s=9, color=PALE, linewidth=0, zorder=1)
        for label, called in zip(there, names, strict=True):
            chosen = kept & (labels == label)
            shown = axes.scatter(*places[chosen].T, s=17, color=colours[called], marker=markers[called], linewidth=0.4,
                                 edgecolor="white", zorder=3, label=short(called))  # fmt: skip
            drawing.says(shown, [called] * int(chosen.sum()))
        axes.set_title(f"{heading} ({int(kept.sum())})")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
    legend_above(drawing)
    return drawing.finished(
        name, title,
        "Near samples look alike to the hardness model (t-SNE). The more entangled the hard ones are, the less a "
        "classifier can tell their classes apart.",
    )  # fmt: skip


@styled
def bounds_figure(bounds: Mapping[str, LeepBounds], name: str, title: str) -> StudyFigure:
    """LEEP on the hard subset between its bounds, member by member (H22, figure 3).

    Args:
        bounds: By member.
        name: Of the files.
        title: Of the figure.

    Returns:
        The figure: a row a member, the best LEEP on top.
    """
    order = sorted(bounds, key=lambda member: -bounds[member].leep)
    drawing = start(0.9 + 0.24 * len(order), 6.0)
    axes = drawing.figure.subplots()
    parts = [("upper", "upper bound: best table (lemma 1)", ORANGE, "v"), ("leep", "LEEP on hard samples", BLUE, "o"),
             ("lower", "lower bound: NCE with LEEP's table (lemma 2)", INK, "^")]  # fmt: skip
    for place, member in enumerate(order):
        found = bounds[member]
        axes.plot([found.lower, found.upper], [place, place], color=PALE, linewidth=2.2, zorder=1)
        for column, meaning, colour, marker in parts:
            value = float(getattr(found, column))
            dot = axes.scatter([value], [place], s=30, color=colour, marker=marker, zorder=3,
                               label=meaning if place == 0 else None)  # fmt: skip
            drawing.says(dot, [f"{member}\n{meaning}: {number(value)}"])
    axes.set_yticks(range(len(order)), [short(member, 34) for member in order])
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.set_xlabel("mean log-likelihood")
    only_grid(axes, "x")
    legend_above(drawing)
    return drawing.finished(name, title, "No dot may lie outside its bar. Near bounds make LEEP say much.")


@styled
def cost_figure(seconds: Mapping[str, float], hard: Sequence[str], name: str, title: str) -> StudyFigure:
    """What finding the hard samples takes, beside what metrics take (H22, A.3).

    Args:
        seconds: By what they are spent on, for people.
        hard: Those that are spent on finding hard samples.
        name: Of the files.
        title: Of the figure.

    Returns:
        The figure: a bar each, on a logarithmic axis.
    """
    order = sorted(seconds, key=lambda what: seconds[what])
    drawing = start(0.7 + 0.22 * len(order), 5.6)
    axes = drawing.figure.subplots()
    for place, what in enumerate(order):
        bar = axes.barh(place, max(seconds[what], 1e-6), height=0.62, color=ORANGE if what in hard else GREY)
        drawing.says(bar.patches[0], [f"{what}\n{seconds[what]:.3g} s"])
        axes.annotate(f"{seconds[what]:.2g} s", (max(seconds[what], 1e-6), place), (4, 0), textcoords="offset points",
                      va="center", fontsize=7.5)  # fmt: skip
    axes.set_yticks(range(len(order)), order)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.16)
    axes.set_xlabel("seconds, for all members together")
    only_grid(axes, "x")
    return drawing.finished(
        name, title,
        "Orange: to find the hard samples, once for each source, from what the members made of the samples. Running "
        "the members comes on top, for all alike.",
    )  # fmt: skip


@styled
def extremes_figure(
    easy: Sequence[UInt8[Tensor, "_ _ _"]], hard: Sequence[UInt8[Tensor, "_ _ _"]], name: str, title: str
) -> StudyFigure:
    """The easiest and the hardest images beside each other (H22, figures 1b and 5 to 9).

    Args:
        easy: The easiest first.
        hard: The hardest first.
        name: Of the files.
        title: Of the figure.

    Returns:
        The figure: two grids, read line by line.
    """
    rows = -(-max(len(easy), len(hard)) // GRID)
    drawing = start(0.35 + 0.66 * rows, WIDTH)
    for axes, images, heading in zip(
        drawing.figure.subplots(1, 2), (easy, hard), ("easiest first", "hardest first"), strict=True
    ):
        axes.imshow(tiled(images, rows), interpolation="none")
        axes.set_title(heading)
        axes.set_axis_off()
    return drawing.finished(name, title, "Training images of the target, row by row from the most extreme on.")


def tiled(images: Sequence[UInt8[Tensor, "_ _ _"]], rows: int) -> UInt8[NumpyArray, "height width 3"]:
    """Images as one: each fitted into a square, in rows of :data:`GRID`.

    Args:
        images: Of any sizes, three channels.
        rows: How many.

    Returns:
        White between them and where there are none.
    """
    step = _TILE + _GAP
    whole = torch.full((3, rows * step - _GAP, GRID * step - _GAP), 255, dtype=torch.uint8)
    for place, image in enumerate(images[: rows * GRID]):
        scale = _TILE / max(image.shape[1:])
        height, width = (max(1, round(side * scale)) for side in image.shape[1:])
        small = resized(image, (height, width), "bilinear")
        top = place // GRID * step + (_TILE - height) // 2
        left = place % GRID * step + (_TILE - width) // 2
        whole[:, top : top + height, left : left + width] = small
    return whole.permute(1, 2, 0).numpy()

"""What a selection's report shows of hard subsets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from muster.data import Dataset, Split
from muster.metrics import parse_metric
from muster.report.display import as_rgb
from muster.report.hard_figures import (
    GRID,
    HARD_FOR,
    HARD_FOR_IN_WORDS,
    bins_figure,
    bounds_figure,
    cost_figure,
    extremes_figure,
    map_figure,
)
from muster.report.study_style import StudyFigure
from muster.report.tables import metric_label
from muster.report.wording import predictor_label
from muster.selection.hard_views import HardView
from muster.selection.record import Selection


def hard_figures(selection: Selection, target: Dataset) -> list[StudyFigure]:
    """Figures of a selection that looked at hard subsets.

    Accuracies and bounds are those of all members, each on what the hardness model of its own source calls hard. The
    map and the images are those of the first source of a chosen member.

    Args:
        selection: Just made: one that was read from disk knows no samples.
        target: Its target; the most extreme images are read.

    Returns:
        None if no hard subset was looked at.
    """
    return list(_figures(selection, target)) if selection.hard_views else []


def _figures(selection: Selection, target: Dataset) -> Iterator[StudyFigure]:
    from muster.study.papers.image_map import t_sne  # here, as studies import reports

    for wrapper, meaning in HARD_FOR.items():
        views = [view for view in selection.hard_views if view.wrapper == wrapper]
        if not views:
            continue
        unit = selection.words.holds if wrapper == "haste_ca" or selection.words.is_pooled else "pixels"
        accuracies = {member: values for view in views for member, values in view.accuracies.items()}
        label = f"accuracy of\n{predictor_label(selection.predictor)}"
        yield bins_figure(
            accuracies, f"hard_bins_{wrapper}", f"Accuracy of {unit} hard for {meaning}, bin by bin", unit, label
        )
        if bounds := {member: found for view in views for member, found in view.bounds.items()}:
            yield bounds_figure(bounds, f"hard_bounds_{wrapper}", f"LEEP on samples hard for {meaning}, and its bounds")
        view = _shown(views, selection)
        by = f"as {view.model} sees it"
        if len(view.labels) >= 4:
            places = t_sne(view.features.astype(np.float64))
            title = f"{unit.capitalize()} hard for {meaning}, {by}"
            yield map_figure(places, view.labels, view.is_hard, selection.classes, f"hard_map_{wrapper}", title)
        if target.spec.has_texts:  # the page shows them as they are
            continue
        easy, hard = _extremes(view, selection, target)
        yield extremes_figure(easy, hard, f"hard_images_{wrapper}", f"Images hard for {meaning}, {by}")
    yield _cost(selection)


def _shown(views: list[HardView], selection: Selection) -> HardView:
    """That of a chosen member's source, or the first."""
    return next((view for view in views if set(view.accuracies) & set(selection.members)), views[0])


def _extremes(view: HardView, selection: Selection, target: Dataset) -> tuple[list[Tensor], list[Tensor]]:
    """The easiest and the hardest images, at most half of all each."""
    images = Split(target.spec, target.train.name, tuple(selection.train_images), target.train.read)
    easy, hard = ([as_rgb(images[place].image) for place in places] for places in view.extremes(GRID * GRID))
    return easy, hard


def _cost(selection: Selection) -> StudyFigure:
    """Of the metrics on all samples, and of finding hard ones."""
    told = {
        HARD_FOR_IN_WORDS.get(name) or metric_label(name): seconds
        for name, seconds in selection.seconds.items()
        if name in HARD_FOR_IN_WORDS or parse_metric(name).hard is None
    }
    return cost_figure(told, list(HARD_FOR_IN_WORDS.values()), "hard_cost", "What hard subsets cost")

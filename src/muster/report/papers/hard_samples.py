"""Figures of the hard samples of a study's targets (H22, figures 1 to 3 and 5 to 9)."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pandas as pd
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from muster.files import as_file_name
from muster.metrics.leep_bounds import LeepBounds
from muster.report.hard_figures import HARD_FOR, bins_figure, bounds_figure, extremes_figure, map_figure
from muster.report.study_style import StudyFigure
from muster.report.wording import predictor_label
from muster.study.tables import CELL, HARD_TABLES, StudyTables

MOST_TARGETS = 4
"""Targets that are shown; a page with the images of dozens would be slow to open. The tables have all of them."""

MOST_BOUNDS = 20
"""Members whose bounds are shown, those with the best LEEP."""


def shown_targets(tables: StudyTables) -> list[str]:
    """The targets whose hard samples are shown.

    Args:
        tables: Of a study.

    Returns:
        The first of those that have tables about hard samples; none where no metric looked at hard subsets.
    """
    return list(dict.fromkeys(tables.hard_bins["target"]))[:MOST_TARGETS]


def hard_sample_figures(tables: StudyTables) -> Iterator[StudyFigure]:
    """Accuracy by bin, bounds of LEEP, a map of samples and the most extreme images, target by target.

    Args:
        tables: Of a study; of a target with several cells the first is shown.

    Yields:
        Up to four figures for a target and a way to find hard samples.
    """
    for target in shown_targets(tables):
        for wrapper, meaning in HARD_FOR.items():
            frames = {name: _of_first_cell(getattr(tables, name), target, wrapper) for name in HARD_TABLES}
            if len(frames["hard_bins"]):
                task = tables.task_of(target)
                unit = task.holds if wrapper == "haste_ca" or task.is_pooled else "pixels"
                yield from _figures(frames, target, f"{wrapper}_{as_file_name(target)}", meaning, unit)


def _of_first_cell(table: pd.DataFrame, target: str, wrapper: str) -> pd.DataFrame:
    found = table[(table["target"] == target) & (table["wrapper"] == wrapper)]
    return found[(found[list(CELL)] == found[list(CELL)].iloc[0]).all(axis=1)] if len(found) else found


def _figures(frames: dict[str, pd.DataFrame], target: str, key: str, meaning: str, unit: str) -> Iterator[StudyFigure]:
    bins, bounds = frames["hard_bins"], frames["hard_bounds"]
    accuracies = {str(member): part.sort_values("bin")["accuracy"].tolist() for member, part in bins.groupby("member")}
    label = f"accuracy of\n{predictor_label(str(bins['predictor'].iloc[0]))}"
    yield bins_figure(
        accuracies, f"h22_bins_{key}", f"{target}: accuracy of {unit} hard for {meaning}, bin by bin", unit, label
    )
    if len(bounds):
        best = bounds.assign(leep=bounds["leep"].astype(float)).nlargest(MOST_BOUNDS, "leep")
        found = {str(name): LeepBounds(*map(float, three)) for name, *three in
                 best[["member", "lower", "leep", "upper"]].itertuples(index=False)}  # fmt: skip
        fewer = "" if len(best) == len(bounds) else f" (the best {len(best)} of {len(bounds)} members)"
        title = f"{target}: LEEP on {unit} hard for {meaning}, and its bounds{fewer}"
        yield bounds_figure(found, f"h22_bounds_{key}", title)
    if len(points := frames["hard_map"]):
        classes, labels = np.unique(points["label"].astype(str), return_inverse=True)
        places = points[["x", "y"]].to_numpy(dtype=np.float64)
        title = f"{target}: {unit} hard for {meaning}, as {points['model'].iloc[0]} sees it"
        is_hard = points["is_hard"].to_numpy(dtype=bool)
        yield map_figure(places, labels, is_hard, classes.tolist(), f"h22_map_{key}", title)
    if len(images := frames["hard_images"]):
        easy, hard = (_pictures(images[images["extreme"] == which]) for which in ("easy", "hard"))
        title = f"{target}: images hard for {meaning}, as {images['model'].iloc[0]} sees it"
        yield extremes_figure(easy, hard, f"h22_images_{key}", title)


def _pictures(images: pd.DataFrame) -> list[UInt8[Tensor, "3 _ _"]]:
    """The most extreme first."""
    kept = images.sort_values("rank")["jpeg"]
    read = [np.array(Image.open(BytesIO(content)).convert("RGB")) for content in kept]
    return [torch.from_numpy(pixels).permute(2, 0, 1) for pixels in read]

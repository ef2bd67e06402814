"""What a study keeps of hard subsets so that it can be shown: accuracies, bounds, a map, the most extreme images.

Axis names: ``h`` and ``w`` rows and columns of an image.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Num
from PIL import Image
from torch import Tensor

from muster.data import Split
from muster.data.resizing import resized
from muster.selection.hard_views import HardView
from muster.selection.member_scoring import ScoredMembers
from muster.study.papers.image_map import t_sne
from muster.study.tables import COLUMNS, HARD_TABLES, PROBE

EXTREMES = 25
"""Easiest images that are kept, and hardest ones (H22, figures 5 to 9, have grids of five by five)."""

SIDE = 80
"""Longer side of a kept image, in pixels."""

LEAST_ON_MAP = 4
_QUALITY = 85  # of JPEG: about 3 kB an image


def hard_tables(scored: ScoredMembers, train: Split, predictor: str) -> dict[str, pd.DataFrame]:
    """The tables about hard samples, without the columns that say of which cell and seed.

    Accuracies and bounds are those of all members, each on what the hardness model of its own source calls hard. The
    map and the images are those of one source: that of the best member by LEEP, or the first one.

    Args:
        scored: With what there is to show of hard subsets.
        train: The images that were looked at.
        predictor: What the accuracies are those of.

    Returns:
        By name; of no rows if no metric was computed on hard subsets. Of texts there are no images.
    """
    views = scored.hard_views
    shown = [_shown([view for view in views if view.wrapper == name], scored) for name in _wrappers(views)]
    rows: dict[str, Iterator[tuple[Any, ...]]] = {
        "hard_bins": ((*_of(view), predictor, member, place, accuracy) for view in views
                      for member, found in view.accuracies.items() for place, accuracy in enumerate(found, 1)),
        "hard_bounds": ((*_of(view), member, *found) for view in views for member, found in view.bounds.items()),
        "hard_map": (row for view in shown for row in _on_map(view, train.spec.classes)),
        "hard_images": (row for view in shown if not train.spec.has_texts for row in _extremes(view, train)),
    }  # fmt: skip
    return {name: pd.DataFrame(rows[name], columns=list(COLUMNS[name][len(PROBE) :])) for name in HARD_TABLES}


def _wrappers(views: tuple[HardView, ...]) -> list[str]:
    return list(dict.fromkeys(view.wrapper for view in views))


def _of(view: HardView) -> tuple[str, str, str]:
    return view.wrapper, view.source, view.model


def _shown(views: list[HardView], scored: ScoredMembers) -> HardView:
    best = max(scored.leeps, key=lambda member: scored.leeps[member])
    return next((view for view in views if best in view.accuracies), views[0])


def _on_map(view: HardView, classes: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    if len(view.labels) < LEAST_ON_MAP:
        return
    plane = t_sne(view.features.astype(np.float64))
    for (x, y), label, is_hard in zip(plane.tolist(), view.labels.tolist(), view.is_hard.tolist(), strict=True):
        yield *_of(view), x, y, classes[label], is_hard


def _extremes(view: HardView, train: Split) -> Iterator[tuple[Any, ...]]:
    for extreme, places in zip(("easy", "hard"), view.extremes(EXTREMES), strict=True):
        for rank, place in enumerate(places, 1):
            sample = train[place]
            yield *_of(view), extreme, rank, sample.identifier, thumbnail(sample.image)


def thumbnail(image: Num[Tensor, "_ h w"]) -> bytes:
    """A small copy of an image, as a JPEG file.

    Args:
        image: Of any number of channels.

    Returns:
        The content of the file; its longer side is :data:`SIDE`, or that of an image which is smaller.
    """
    from muster.report.display import as_rgb  # here, as reports import studies

    scale = min(1.0, SIDE / max(image.shape[1:]))
    height, width = (max(1, round(side * scale)) for side in image.shape[1:])
    small = resized(as_rgb(image), (height, width), "bilinear")
    content = BytesIO()
    Image.fromarray(small.permute(1, 2, 0).cpu().numpy()).save(content, "JPEG", quality=_QUALITY)
    return content.getvalue()

"""Draw units (pixels, or whole images) of which something is known."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from muster.tasks.task import Task


def draw_units(task: Task, truth: Tensor, count: int, seed: int, index: int) -> tuple[Tensor, Tensor]:
    """Draw units of an image uniformly, with replacement, from those that have a truth.

    Args:
        task: Says which these are.
        truth: Of the image.
        count: How many pixels; where a prediction is for a whole image, each of its units is taken once.
        seed: The seed of the whole draw.
        index: Which image it is; every image has a draw of its own.

    Returns:
        Their places in the image, row after row, int64 ``[units]``, and their truths ``[units, ...]``; none if no unit
        has a truth.
    """
    places, truths = task.known_units(truth)
    if len(places) == 0 or task.is_pooled:
        return places[:count], truths[:count]
    chosen = torch.from_numpy(np.random.default_rng((seed % 2**64, index)).choice(len(places), count))
    return places[chosen], truths[chosen]

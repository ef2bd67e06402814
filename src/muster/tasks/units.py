"""Units (pixels, or whole images) of which something is known: draw them, and count what is predicted of them.

Axis names: ``outputs`` numbers of a head, as in :mod:`muster.tasks.task`.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
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


def tally_units(task: Task, predictions: Float[Tensor, "outputs units"], truth: Tensor) -> Tensor:
    """What predictions of single units come to, whichever images they are of.

    Args:
        task: Says what is counted.
        predictions: Of some units.
        truth: Of these units, ``[units, ...]`` as :meth:`muster.tasks.task.Task.known_units` gives it.

    Returns:
        A tally, see :meth:`muster.tasks.task.Task.tally`; those of several sets of units can be added up.
    """
    if task.is_pooled:  # each unit is an image
        decided = task.decide(predictions.T[..., None, None])
        told = truth.reshape(len(truth), *(truth.shape[1:] or (1,)), 1)
    else:  # all of them are laid out as a single image
        decided, told = task.decide(predictions[None, :, None]), truth[None, None]
    return task.tally(decided, told, len(predictions)).sum(dim=0)

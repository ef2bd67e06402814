"""Average precision of objects that are found: matched within each image, counted by score, added up over images.

Axis names: ``d`` objects that are found in an image, the best score first; ``g`` those that there are; ``t`` thresholds
of similarity; ``c`` classes; ``rows`` found and right at each threshold, then found and wrong at each, then one whose
first number is how many objects there are; ``bins`` intervals of a score, ascending.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Int64, Real
from torch import Tensor

from muster.arrays import NumpyArray
from muster.data.boxes import CROWD

BINS = 64
"""Scores are kept as one of so many intervals of their log-odds, so that results of images can be added up. The average
precision differs from that of exact scores by what falls into one interval: less than 0.01 on hundreds of objects."""

_LARGEST = 8.0
"""Log-odds beyond this count as this: scores below 0.0003 and above 0.9997."""

RECALLS = 101
"""Precision is averaged at recalls of 0, 0.01, ..., 1 (COCO)."""

_ALMOST_ONE = 1 - 1e-10


def box_overlaps(
    found: Float[NumpyArray, "d 4"], there: Float[NumpyArray, "g 4"], ignored: Int[NumpyArray, " g"]
) -> Float64[NumpyArray, "d g"]:
    """IoU of boxes; of a crowd, the share of the found box that lies in it (COCO)."""
    low = np.maximum(found[:, None, :2], there[None, :, :2])
    high = np.minimum(found[:, None, 2:], there[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2, dtype=np.float64)
    own, others = (np.prod(each[:, 2:] - each[:, :2], axis=1, dtype=np.float64) for each in (found, there))
    union = np.where(ignored[None] == CROWD, own[:, None], own[:, None] + others[None] - shared)
    overlaps: NumpyArray = shared / np.maximum(union, 1e-12)
    return overlaps


def match(
    similarities: Float64[NumpyArray, "d g"], ignored: Int[NumpyArray, " g"], thresholds: Float64[NumpyArray, " t"]
) -> tuple[Bool[NumpyArray, "d t"], Bool[NumpyArray, "d t"]]:
    """Give each found object the most similar one that is not taken yet, as COCO does.

    Args:
        similarities: Negative where the classes differ.
        ignored: Which count neither way, see :mod:`muster.data.boxes`; a crowd can be matched any number of times.
        thresholds: A match needs so much.

    Returns:
        Which are right, and which are wrong; those that are matched with one that is ignored are neither.
    """
    right, passed = (np.zeros((len(similarities), len(thresholds)), bool) for _ in range(2))
    if not similarities.shape[1]:
        return right, ~right
    bounds = np.minimum(thresholds, _ALMOST_ONE)[:, None]
    free = np.ones((len(thresholds), len(ignored)), bool)
    counts, again = (ignored == 0)[None], ignored == CROWD
    levels = np.arange(len(thresholds))
    for place, row in enumerate(similarities):
        fits = free & (row[None] >= bounds)
        meant = np.where((fits & counts).any(axis=1, keepdims=True), counts, ~counts)
        fits &= meant
        # Of equals the last is taken, as in COCO's own code.
        best = len(row) - 1 - np.where(fits, row[None], -1.0)[:, ::-1].argmax(axis=1)
        hit = fits.any(axis=1)
        right[place], passed[place] = hit & counts[0][best], hit & ~counts[0][best]
        free[levels[hit], best[hit]] = again[best[hit]]
    return right, ~right & ~passed


def counts_of_image(
    scores: Float[NumpyArray, " d"],
    classes: Int[NumpyArray, " d"],
    similarities: Float64[NumpyArray, "d g"],
    there: Int[NumpyArray, " g"],
    ignored: Int[NumpyArray, " g"],
    thresholds: Float64[NumpyArray, " t"],
    num_classes: int,
) -> Int64[Tensor, "c rows bins"]:
    """What the objects that are found in one image come to.

    Args:
        scores: In 0..1.
        classes: Of what is found.
        similarities: Whatever the classes.
        there: The classes of what is there.
        ignored: See :func:`match`.
        thresholds: Likewise.
        num_classes: How many there are.
    """
    count = len(thresholds)
    found = np.zeros((num_classes, 2 * count + 1, BINS), np.int64)
    order = np.argsort(-scores, kind="stable")
    scores, classes = scores[order], classes[order]
    alike = np.where(classes[:, None] == there[None], similarities[order], -1.0)
    right, wrong = match(alike, ignored, thresholds)
    odds = np.log(np.clip(scores, 1e-12, None)) - np.log(np.clip(1 - scores, 1e-12, None))
    bins = np.clip((odds + _LARGEST) / (2 * _LARGEST) * BINS, 0, BINS - 1).astype(np.int64)
    for first, marks in ((0, right), (count, wrong)):
        which, level = np.nonzero(marks)
        np.add.at(found, (classes[which], first + level, bins[which]), 1)
    np.add.at(found, (there[ignored == 0], 2 * count, 0), 1)
    return torch.from_numpy(found)


def objects_there(counts: Real[Tensor, "*any c rows bins"]) -> Real[Tensor, "*any c"]:
    """How many objects of each class there are."""
    return counts[..., -1, 0]


def average_precision(counts: Real[Tensor, "*any c rows bins"]) -> Float64[Tensor, "*any c"]:
    """COCO's average precision of each class, the mean over the thresholds.

    Within an interval of scores, right and wrong ones are taken to follow each other evenly.

    Args:
        counts: Sums of :func:`counts_of_image`.

    Returns:
        In 0..1, larger is better; NaN for a class of which there is no object.
    """
    levels = (counts.shape[-2] - 1) // 2
    there = objects_there(counts).double()
    flipped = counts[..., :-1, :].double().flip(-1)
    right, wrong = flipped[..., :levels, :], flipped[..., levels:, :]
    right_before, wrong_before = right.cumsum(dim=-1), wrong.cumsum(dim=-1)
    recalls = torch.linspace(0, 1, RECALLS, dtype=torch.float64, device=counts.device)
    # So many have to be right for a recall; the first one for a recall of 0.
    needed = (recalls * there[..., None, None] - 1e-9).ceil().clamp(min=1).expand(*right.shape[:-1], RECALLS)
    place = torch.searchsorted(right_before.contiguous(), needed.contiguous())
    reached = place < right.shape[-1]
    place = place.clamp(max=right.shape[-1] - 1)
    inside, others, so_far, wrong_so_far = (
        each.gather(-1, place) for each in (right, wrong, right_before, wrong_before)
    )
    nth = needed - (so_far - inside)
    false = wrong_so_far - others + others * nth / (inside + 1)
    precision = torch.where(reached, needed / (needed + false), 0.0)
    envelope = precision.flip(-1).cummax(dim=-1).values.flip(-1)
    mean: Tensor = envelope.mean(dim=(-2, -1))
    return mean.masked_fill(there == 0, torch.nan)

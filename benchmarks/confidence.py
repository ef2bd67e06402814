"""Bootstrap of the top-k candidates beside scoring every resample's repeated pixels with the plain metrics."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.timing import cost, megabytes_on_top
from muster.metrics import METRICS, eep
from muster.metrics.registry import ENSEMBLE_METRICS
from muster.scoring.bootstrap import Fixed, Refitted, bootstrap_top_k

MEMBERS, CLASSES, SIZE = 10, 23, 3


def confidence(pixels: int = 150_000, images: int = 150, candidates: int = 20, resamples: int = 200) -> dict[str, Any]:
    """Bootstrap of 20 candidates of three among ten members, 23 source and target classes, 200 resamples.

    Args:
        pixels: Probe pixels.
        images: That they are spread over evenly.
        candidates: How many are compared.
        resamples: How many there are. The plain version is timed on one, and multiplied.

    Returns:
        Per metric the seconds, the plain version's, how many times faster, and processor time, over all threads; and
        the memory on top of the predictions.
    """
    probs, labels, groups, rows = _problem(pixels, images, candidates)
    refitted, fixed = [Refitted(p) for p in probs], [Fixed(eep(p, labels, CLASSES)) for p in probs]
    few = slice(0, 2 * pixels // images)
    result: dict[str, Any] = {"megabytes_of_probabilities": round(sum(p.nbytes for p in probs) / 1e6)}
    for metric in ENSEMBLE_METRICS:
        bootstrap_top_k(  # compiles, or loads what was compiled before
            [Refitted(p[few]) for p in probs], labels[few], groups[few], rows[:2], metric, 40
        )
        spent, _ = cost(partial(bootstrap_top_k, refitted, labels, groups, rows, metric, resamples))
        plain, _ = cost(partial(_plain_resample, probs, labels, groups, rows, metric))
        result[metric] = {
            "seconds": round(spent.seconds, 2),
            "processor_seconds": round(spent.processor_seconds, 2),
            "plain_seconds_extrapolated": round(resamples * plain.seconds, 1),
            "plain_processor_seconds_extrapolated": round(resamples * plain.processor_seconds, 1),
            "times_faster": round(resamples * plain.seconds / spent.seconds, 1),
        }
    usual = partial(bootstrap_top_k, refitted, labels, groups, rows, "soft_iou_eep", resamples)
    if (memory := megabytes_on_top(usual)) is not None:
        result["soft_iou_eep"]["megabytes_on_top"] = round(memory)
    spent, _ = cost(partial(bootstrap_top_k, fixed, labels, groups, rows, "soft_iou_eep", resamples))
    return result | {"soft_iou_eep_of_fixed_predictions": {"seconds": round(spent.seconds, 2)}}


def _problem(pixels: int, images: int, candidates: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Members of rising skill, pixels in the order of their images."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, pixels)
    groups = np.arange(pixels) * images // pixels
    probs = []
    for member in range(MEMBERS):
        values = generator.random((pixels, CLASSES), dtype=np.float32) ** 4
        values[np.arange(pixels), labels] += 0.3 + 0.02 * member
        probs.append(values / values.sum(axis=1, keepdims=True))
    rows = np.array([np.sort(generator.choice(MEMBERS, SIZE, replace=False)) for _ in range(candidates)])
    return probs, labels, groups, rows


def _plain_resample(
    probs: Sequence[np.ndarray], labels: np.ndarray, groups: np.ndarray, rows: np.ndarray, metric: str
) -> list[float]:
    """One resample by the definition: repeat the pixels of its images, fit EEPs, score each candidate."""
    images = int(groups[-1]) + 1
    bounds = np.searchsorted(groups, np.arange(images + 1))
    drawn = np.random.default_rng(0).integers(0, images, images)
    pixels = np.concatenate([np.arange(bounds[image], bounds[image + 1]) for image in drawn])
    eeps = [eep(torch.from_numpy(p[pixels]), torch.from_numpy(labels[pixels]), CLASSES) for p in probs]
    function = METRICS[metric].function
    return [function([eeps[member] for member in row], labels[pixels]) for row in rows.tolist()]

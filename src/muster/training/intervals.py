"""How far an mIoU depends on which images happened to be in the test split: a bootstrap over these images.

Images are drawn with replacement, as many as there are, and each draw gives one mIoU as the whole split does: one
confusion matrix over the images drawn, mean over the classes that occur in their ground truth. Models are compared on
the same draws, so that what is hard in an image weighs on both sides alike (a paired comparison). The intervals say
nothing about other training seeds or other training images.

Axis names: ``images`` those of the split, ``c`` classes, ``draws`` bootstrap samples.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3 (percentile intervals).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float

from muster.arrays import NumpyArray
from muster.training.evaluation import SplitCounts
from muster.training.results import Difference

DRAWS = 1000
"""Bootstrap samples: enough for the ends of a 95 % interval to be steady to a few per cent of its width."""

LEVEL = 0.95
"""Share of the draws that an interval spans."""

LEAST_IMAGES = 2
"""With one image every draw is the same, and an interval of width 0 would look like certainty."""

_DRAWS_AT_ONCE = 100


def bootstrap_results(counts: SplitCounts, seed: int, draws: int = DRAWS) -> Float[NumpyArray, " draws"] | None:
    """The result of a model on bootstrap samples of the images.

    Args:
        counts: Its counts.
        seed: The same seed draws the same images for every model of a split.
        draws: Bootstrap samples.

    Returns:
        NaN for a draw in which nothing is scored. ``None`` if fewer than :data:`LEAST_IMAGES` images have
        something to score: then there is no interval.
    """
    by_image = counts.by_image
    if int((by_image.flatten(1) != 0).any(dim=1).sum()) < LEAST_IMAGES:
        return None
    generator = np.random.default_rng(seed)
    images, digests = len(by_image), by_image.flatten(1).double()
    results = []
    for start in range(0, draws, _DRAWS_AT_ONCE):
        some = min(_DRAWS_AT_ONCE, draws - start)
        weights = generator.multinomial(images, np.full(images, 1 / images), size=some)
        # Counts are whole numbers below 2^53, so that the product is exact.
        sums = (torch.from_numpy(weights).double() @ digests).view(some, *by_image.shape[1:])
        results.append(counts.task.results(sums).numpy())
    return np.concatenate(results)


def percentile_interval(values: Float[NumpyArray, " draws"], level: float = LEVEL) -> tuple[float, float]:
    """The middle part of bootstrap results.

    Args:
        values: One result a draw; NaN where there is none.
        level: Share of the draws between the two ends.

    Returns:
        Lower and upper end.

    Example:
        >>> import numpy as np
        >>> [round(end, 3) for end in percentile_interval(np.linspace(0, 1, 101), 0.9)]
        [0.05, 0.95]
    """
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def result_intervals(counts: Mapping[str, SplitCounts], seed: int) -> dict[str, tuple[float, float]]:
    """The interval of each mIoU over bootstrap samples of the test images.

    Args:
        counts: The counts of each model.
        seed: Which images are drawn.

    Returns:
        Lower and upper end by name; nothing if there are too few images.
    """
    drawn = {name: bootstrap_results(each, seed) for name, each in counts.items()}
    return {name: percentile_interval(results) for name, results in drawn.items() if results is not None}


def differences_to(baseline: str, counts: Mapping[str, SplitCounts], seed: int) -> dict[str, Difference]:
    """The difference of each mIoU to the baseline's, with its interval over the same draws of images for both.

    Args:
        baseline: Name of the baseline.
        counts: The counts of each model, the baseline among them.
        seed: Which images are drawn.

    Returns:
        For every other model its difference.
    """
    base = bootstrap_results(counts[baseline], seed)
    differences = {}
    for name, each in counts.items():
        if name == baseline:
            continue
        found = each.result - counts[baseline].result
        drawn = bootstrap_results(each, seed)
        ends = (None, None) if drawn is None or base is None else percentile_interval(drawn - base)
        differences[name] = Difference(found, *ends)
    return differences

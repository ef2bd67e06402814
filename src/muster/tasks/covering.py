"""A choice of images that shows each class, where images have several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from muster.data import Split
from muster.tasks.classification import LEAST_OF_A_CLASS


def covering(split: Split, has: Callable[[int], Bool[Tensor, " classes"]], count: int, seed: int) -> Split:
    """A seeded choice in which at least two images have each class, where there are so many.

    Rare classes come first, each with images at random; what is left of the count is drawn from all others. Where the
    count does not allow two images for each class, frequent ones go without.

    Args:
        split: More than ``count`` images.
        has: Which classes the image at a place has.
        count: At least 1.
        seed: Which ones.

    Returns:
        In the order of the split.
    """
    order = np.random.default_rng(seed % 2**64).permutation(len(split))
    found = torch.stack([has(index) for index in order.tolist()]).numpy()
    chosen = np.zeros(len(split), dtype=bool)
    for label in np.argsort(found.sum(axis=0), kind="stable"):
        wanted = max(0, LEAST_OF_A_CLASS - int(found[chosen, label].sum()))
        chosen[np.flatnonzero(found[:, label] & ~chosen)[: min(wanted, count - int(chosen.sum()))]] = True
    chosen[np.flatnonzero(~chosen)[: count - int(chosen.sum())]] = True
    kept = sorted(order[chosen].tolist())
    return replace(split, identifiers=tuple(split.identifiers[index] for index in kept))

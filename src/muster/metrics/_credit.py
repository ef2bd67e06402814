"""Accuracy that does not depend on how ties between classes are broken."""

from __future__ import annotations

import torch
from jaxtyping import Int, Shaped
from torch import Tensor


def accuracy_with_ties(
    scores: Shaped[Tensor, "samples classes"], labels: Int[Tensor, " samples"], tolerance: float = 0.0
) -> float:
    """Share of the samples whose own class has the highest score; expected share where several have it.

    Args:
        scores: Score of each class, larger is better.
        labels: 0..classes-1, or -1 for a class that has no score and is always missed.
        tolerance: Scores no further below the highest also count as highest.

    Returns:
        0..1. A sample of which t classes have the highest score counts 1 / t if its own is among them: what breaking
        ties by a fair die gives on average.
    """
    best = scores >= scores.amax(dim=1, keepdim=True) - tolerance
    own = best.gather(1, labels.clamp(min=0)[:, None])[:, 0] & (labels >= 0)
    return float(torch.where(own, 1.0 / best.sum(dim=1).double(), 0.0).mean())

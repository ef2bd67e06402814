"""How much to trust scores: the factor on them that predicts held-out labels best.

Axis names as in :mod:`muster.arrays`.
"""

# scipy's minimize_scalar takes 1.3 to 1.9 times as long, with float64 scores; float32 ones would move the factor 4e-5.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

SHARPEST = 1e3
"""Largest factor, for scores that are never wrong."""

_PRECISION = 1e-4
_ROUNDS = 60

_WORTHLESS = 1e-7
"""A gain in mean log-likelihood not worth another step: scores that are never wrong would take dozens."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Predictions of held-out pixels: probabilities are softmax(factor * values + log_shares).

    Attributes:
        values: How far each class is from what its share alone would say, finite, float32 or float64.
        log_shares: Minus infinity for a class that nothing is known about.
        labels: The true classes; all of them known.
    """

    values: Float[Tensor, "pixels classes"]
    log_shares: Float[Tensor, " classes"]
    labels: Int[Tensor, " pixels"]

    @classmethod
    def of_known(cls, values: Tensor, log_shares: Tensor, labels: Tensor) -> Scores:
        """Leave out the pixels of classes that nothing is known about: no factor makes a difference to them."""
        known = torch.isfinite(log_shares)[labels]
        return cls(values[known], log_shares.to(values.dtype), labels[known])

    def __len__(self) -> int:
        """Number of pixels."""
        return len(self.labels)

    def moments(self, factor: float) -> tuple[float, float, float]:
        """Log-likelihood summed over the pixels, and its first and second derivative by the factor."""
        logs = torch.add(self.log_shares, self.values, alpha=factor).log_softmax(dim=1)
        chosen = self.labels[:, None]
        value = logs.gather(1, chosen).sum(dtype=torch.float64)
        weighted = logs.exp_().mul_(self.values)
        means = weighted.sum(dim=1).double()
        slope = (self.values.gather(1, chosen)[:, 0] - means).sum()
        bend = means.square().sum() - weighted.mul_(self.values).sum(dtype=torch.float64)
        first, second, third = torch.stack([value, slope, bend]).tolist()  # brought from a device in one piece
        return first, second, third


def best_inverse_temperature(held_out: Sequence[Scores]) -> tuple[float, float]:
    """The factor under which held-out labels are likeliest, by Newton's method between bounds.

    The log-likelihood is concave in the factor.

    Args:
        held_out: One or several fits, with at least one pixel in all.

    Returns:
        The factor, 0 (only shares count) to :data:`SHARPEST`, and the mean log-likelihood there.
    """
    low, high, factor = 0.0, SHARPEST, 1.0
    value, count = 0.0, sum(len(scores) for scores in held_out)
    for _ in range(_ROUNDS):
        value, slope, bend = (
            sum(parts) for parts in zip(*(scores.moments(factor) for scores in held_out), strict=True)
        )
        low, high = (factor, high) if slope > 0 else (low, factor)
        if abs(slope) * (high - low) <= _WORTHLESS * count:  # more than all that is left to gain
            break
        newton = factor - slope / bend if bend < 0 else high
        following = newton if low < newton < high else (low + high) / 2
        if abs(following - factor) <= _PRECISION * factor:
            break
        factor = following
    return factor, value / count

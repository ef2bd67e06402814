"""Multinomial logistic regression with a ridge penalty, for many samples and a few hundred dimensions.

Axis names: ``samples``, ``dimensions`` of a feature vector, ``classes``; the ``parameters`` of a class are its weights
and, last, its bias.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.metrics._products import product

_REMEMBERED = 10
"""Steps whose curvature L-BFGS remembers."""

_SHORTEST = 2.0**-20
"""Part of a step below which it must be rounding that keeps the objective from falling."""


class SoftmaxRegression:
    """Mean cross-entropy of softmax(x W' + b + log shares), plus half the penalty times the sum of squared weights.

    ``shares`` is which part of the samples each class has: without weights and biases the classifier says just that,
    and a class without samples has probability 0. Biases bear no penalty, so that at the minimum the mean prediction
    is the shares, whatever the penalty.

    Attributes:
        log_shares: Log of which part of the samples each class has, float64; minus infinity for one without samples.
    """

    log_shares: Float[Tensor, " classes"]

    def __init__(
        self, features: Float[Tensor, "samples dimensions"], labels: Int[Tensor, " samples"], num_classes: int
    ) -> None:
        """Remember the samples.

        Args:
            features: float64, or float32 where a rough fit will do. Centred and uncorrelated ones need the fewest
                steps.
            labels: 0..num_classes-1.
            num_classes: Number of classes.
        """
        shares = torch.bincount(labels, minlength=num_classes).double() / len(labels)
        self.log_shares = shares.log()
        self._features, self._labels, self._offsets = features, labels, self.log_shares.to(features.dtype)
        self._rows = torch.arange(len(labels), device=labels.device)
        # What the objective bends by at zero weights, in the direction of each weight and of each bias.
        spread = (shares * (1 - shares)).clamp(min=torch.finfo(torch.float64).eps)[:, None].to(features.dtype)
        self._weight_curvature = spread * features.square().mean(dim=0)
        self._bias_curvature = spread

    def minimise(
        self, penalty: float, start: Float[Tensor, "classes parameters"], steps: int, tolerance: float = 1e-9
    ) -> Float[Tensor, "classes parameters"]:
        """Take steps of L-BFGS, preconditioned by the curvature at zero weights.

        Args:
            penalty: Positive.
            start: Where to begin, of the features' type.
            steps: At most so many.
            tolerance: Stop where the objective is expected to fall by less than this.

        Returns:
            Parameters of that type, nowhere worse than the start.
        """
        curvature = torch.cat([self._weight_curvature + penalty, self._bias_curvature], dim=1)
        history: deque[tuple[Tensor, Tensor]] = deque(maxlen=_REMEMBERED)
        parameters = start
        value, gradient = self.evaluate(parameters, penalty)
        for _ in range(steps):
            direction = -_newton_like(gradient, history, curvature)
            slope = float((gradient * direction).sum())
            if -slope < 2 * tolerance:
                break
            found = _search(lambda point: self.evaluate(point, penalty), parameters, direction, value, slope)
            if found is None:
                break
            moved, value, new_gradient = found
            step, change = moved - parameters, new_gradient - gradient
            if float((step * change).sum()) > 0:
                history.append((step, change))
            parameters, gradient = moved, new_gradient
        return parameters

    def evaluate(
        self, parameters: Float[Tensor, "classes parameters"], penalty: float
    ) -> tuple[float, Float[Tensor, "classes parameters"]]:
        """The objective, and its gradient."""
        weights, count = parameters[:, :-1], len(self._labels)
        scores = product(self._features, weights.T).add_(parameters[:, -1] + self._offsets)
        totals = scores.logsumexp(dim=1)
        loss = float((totals - scores[self._rows, self._labels]).mean())
        errors = scores.sub_(totals[:, None]).exp_()
        errors[self._rows, self._labels] -= 1
        slopes = product(errors.T, self._features) / count + penalty * weights
        gradient = torch.cat([slopes, errors.sum(dim=0)[:, None] / count], dim=1)
        return loss + 0.5 * penalty * float(weights.square().sum()), gradient


def _search(
    evaluate: Callable[[Tensor], tuple[float, Tensor]],
    parameters: Tensor,
    direction: Tensor,
    value: float,
    slope: float,
) -> tuple[Tensor, float, Tensor] | None:
    """Halve the step until the objective falls as it should; ``None`` if it never does."""
    part = 1.0
    while part > _SHORTEST:
        moved = parameters + part * direction
        new_value, gradient = evaluate(moved)
        if new_value <= value + 1e-4 * part * slope:
            return moved, new_value, gradient
        part /= 2
    return None


def _newton_like(gradient: Tensor, history: deque[tuple[Tensor, Tensor]], curvature: Tensor) -> Tensor:
    """The gradient times L-BFGS's estimate of the inverse Hessian (Nocedal and Wright, algorithm 7.4)."""
    result, parts = gradient, []
    for step, change in reversed(history):
        part = (step * result).sum() / (step * change).sum()
        parts.append(part)
        result = result - part * change
    result = result / curvature
    if history:
        step, change = history[-1]
        result = result * (step * change).sum() / (change * change / curvature).sum()
    for (step, change), part in zip(history, reversed(parts), strict=True):
        result = result + step * (part - (change * result).sum() / (step * change).sum())
    return result

"""Multinomial logistic regressions with a ridge penalty, several at once, of many samples and some hundred dimensions.

Axis names: ``problems`` are the regressions, ``samples`` the most that any has, ``dimensions`` of a feature vector,
``classes``; the ``parameters`` of a class are its weights and, last, its bias. ``known`` are the vectors that L-BFGS
combines a direction from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from muster.arrays import NumpyArray
from muster.metrics._products import batch_product

_REMEMBERED = 10
"""Steps whose curvature L-BFGS remembers."""

_SHORTEST = 2.0**-20
"""Part of a step below which it must be rounding that keeps the objective from falling."""


class SoftmaxRegressions:
    """Mean cross-entropy of softmax(x W' + b + log shares), plus half the penalty times the sum of squared weights.

    ``shares`` is which part of the samples each class has: without weights and biases the classifier predicts just
    that, and a class without samples has probability 0. Biases bear no penalty, so that at the minimum the mean
    prediction is the shares, whatever the penalty.

    The problems are solved side by side: on a GPU a few large operations take the place of many small ones.

    Attributes:
        log_shares: Log of which part of the samples each class has, float64; minus infinity for one without samples.
    """

    log_shares: Float[Tensor, "problems classes"]

    def __init__(
        self, features: Sequence[Float[Tensor, "_ dimensions"]], labels: Sequence[Int[Tensor, " _"]], num_classes: int
    ) -> None:
        """Remember the samples.

        Args:
            features: Of each problem: float64, or float32 where a rough fit will do. Centred and uncorrelated ones need
                the fewest steps.
            labels: The labels of each problem: 0..num_classes-1.
            num_classes: Number of classes.
        """
        counts = torch.stack([torch.bincount(own, minlength=num_classes) for own in labels])
        shares = counts.double() / counts.sum(dim=1, keepdim=True)
        self.log_shares = shares.log()
        self._features = _padded(features)
        # What fills up a shorter problem has a label that occurs there, so that its loss, weighted by 0, is finite.
        self._labels = _padded([own + 1 for own in labels]) - 1
        weights = _padded([torch.full_like(rows[:, 0], 1 / len(rows)) for rows in features])
        self._labels = torch.where(weights > 0, self._labels, self._labels[:, :1])[..., None]
        self._weights = weights[..., None]
        dtype = self._features.dtype
        self._offsets = self.log_shares.to(dtype)
        # What the objective bends by at zero weights, in the direction of each weight and of each bias.
        variance = (shares * (1 - shares)).clamp(min=torch.finfo(torch.float64).eps)[..., None].to(dtype)
        squares = torch.stack([rows.square().mean(dim=0) for rows in features])
        self._weight_curvature, self._bias_curvature = variance * squares[:, None], variance

    def minimise(
        self,
        penalties: Sequence[float],
        start: Float[Tensor, "problems classes parameters"],
        steps: int,
        tolerance: float = 1e-9,
    ) -> Float[Tensor, "problems classes parameters"]:
        """Take steps of L-BFGS, preconditioned by the curvature at zero weights.

        Args:
            penalties: One a problem, positive.
            start: Where to begin, of the features' type.
            steps: At most so many.
            tolerance: Leave a problem where its objective is expected to fall by less than this.

        Returns:
            Parameters of that type, nowhere worse than the start.
        """
        ridge = start.new_tensor(penalties)[:, None, None]
        # In units of these the curvature at zero weights is 1 in every direction.
        units = torch.cat([self._weight_curvature + ridge, self._bias_curvature], dim=2).rsqrt()
        history = _History()
        parameters, going = start, np.ones(len(start), dtype=bool)
        values, gradient = self.evaluate(parameters, penalties)
        for _ in range(steps):
            direction, slopes = history.direction((gradient * units).flatten(1))
            going &= -slopes >= 2 * tolerance
            if not going.any():
                break
            step = direction.view_as(parameters) * units
            moved, values, new_gradient, going = self._search(parameters, penalties, step, values, slopes, going)
            kept = torch.from_numpy(going).to(start.device)[:, None, None]
            moved, new_gradient = torch.where(kept, moved, parameters), torch.where(kept, new_gradient, gradient)
            history.add(((moved - parameters) / units).flatten(1), ((new_gradient - gradient) * units).flatten(1))
            parameters, gradient = moved, new_gradient
        return parameters

    def evaluate(
        self, parameters: Float[Tensor, "problems classes parameters"], penalties: Sequence[float]
    ) -> tuple[Float[NumpyArray, " problems"], Float[Tensor, "problems classes parameters"]]:
        """The objectives, and their gradients."""
        weights, ridge = parameters[..., :-1], parameters.new_tensor(penalties)[:, None, None]
        scores = batch_product(self._features, weights.mT).add_((parameters[..., -1] + self._offsets)[:, None])
        logs = scores.log_softmax(dim=2)
        losses = (logs.gather(2, self._labels).double() * self._weights).sum(dim=(1, 2))
        penalty = 0.5 * (ridge * weights.square()).sum(dim=(1, 2))
        errors = logs.exp_()
        errors.scatter_add_(2, self._labels, errors.new_full((1, 1, 1), -1.0).expand_as(self._labels))
        errors *= self._weights
        slopes = batch_product(errors.mT, self._features) + ridge * weights
        gradient = torch.cat([slopes, errors.sum(dim=1)[..., None]], dim=2)
        return (penalty - losses).cpu().numpy(), gradient

    def _search(
        self,
        parameters: Tensor,
        penalties: Sequence[float],
        step: Tensor,
        values: Float[NumpyArray, " problems"],
        slopes: Float[NumpyArray, " problems"],
        going: Bool[NumpyArray, " problems"],
    ) -> tuple[Tensor, NumpyArray, Tensor, NumpyArray]:
        """Halve the step of each problem until its objective falls as it should.

        Returns:
            Where that led, objectives and gradients there, and which problems go on: not those where it never fell.
        """
        parts = np.where(going, 1.0, 0.0)
        while True:
            moved = parameters + step * torch.from_numpy(parts).to(step)[:, None, None]
            new_values, gradient = self.evaluate(moved, penalties)
            missed = going & ~(new_values <= values + 1e-4 * parts * slopes)
            if not missed.any():
                return moved, np.where(going, new_values, values), gradient, going
            parts[missed] /= 2
            going = going & (parts > _SHORTEST)
            parts[~going] = 0.0


class _History:
    """The last steps of some problems, and the changes of their gradients, in units of the preconditioner.

    Directions are combinations of these vectors and the gradient, and only inner products say which: they are brought
    to the host at once, where the usual two loops run over numbers instead of vectors.

    Source:
        Nocedal and Wright, "Numerical Optimization", algorithm 7.4; on inner products after Chen et al., "Large-scale
        L-BFGS using MapReduce", NeurIPS 2014.
    """

    def __init__(self) -> None:
        self._steps: list[Tensor] = []
        self._changes: list[Tensor] = []

    def add(self, step: Float[Tensor, "problems vector"], change: Float[Tensor, "problems vector"]) -> None:
        """Remember a step, and forget the oldest if there are too many."""
        self._steps, self._changes = [*self._steps, step][-_REMEMBERED:], [*self._changes, change][-_REMEMBERED:]

    def direction(
        self, gradient: Float[Tensor, "problems vector"]
    ) -> tuple[Float[Tensor, "problems vector"], Float[NumpyArray, " problems"]]:
        """Minus the gradient times the estimate of the inverse Hessian; and how steep the objective is along it."""
        known = torch.stack([*self._steps, *self._changes, gradient], dim=1)
        inner = batch_product(known, known.mT).double().cpu().numpy()
        factors = _two_loops(inner, len(self._steps))
        direction = batch_product(torch.from_numpy(factors).to(known)[:, None], known)[:, 0]
        return direction, np.einsum("pk,pk->p", factors, inner[:, -1])


def _two_loops(
    inner: Float[NumpyArray, "problems known known"], remembered: int
) -> Float[NumpyArray, "problems known"]:
    """How much of each known vector is in the direction: of the steps, of the changes, and of the gradient.

    A step along which the gradient did not grow is passed over.
    """
    factors = np.zeros(inner.shape[:2])
    factors[:, -1] = 1.0
    along = inner[:, range(remembered), range(remembered, 2 * remembered)]
    fit, safe, parts = along > 0, np.where(along > 0, along, 1.0), np.zeros((len(inner), remembered))
    scale = np.ones(len(inner))
    for place in range(remembered):
        squares = inner[:, remembered + place, remembered + place]
        scale = np.where(fit[:, place], safe[:, place] / np.where(fit[:, place], squares, 1.0), scale)
    for place in reversed(range(remembered)):
        part = np.einsum("pk,pk->p", factors, inner[:, place]) / safe[:, place]
        parts[:, place] = np.where(fit[:, place], part, 0.0)
        factors[:, remembered + place] -= parts[:, place]
    factors *= scale[:, None]
    for place in range(remembered):
        part = np.einsum("pk,pk->p", factors, inner[:, remembered + place]) / safe[:, place]
        factors[:, place] += np.where(fit[:, place], parts[:, place] - part, 0.0)
    return -factors


def _padded(rows: Sequence[Tensor]) -> Tensor:
    """Stacked, shorter ones filled up with zeros."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)

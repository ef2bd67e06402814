"""Variants of EEP: tables read on other images than they were counted on, and a fitted inverse temperature.

Axis names as in :mod:`muster.arrays`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, overload

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import optimize
from torch import Tensor

from muster.arrays import (
    Labels,
    NumpyArray,
    Predictions,
    SourceProbabilities,
    as_labels,
    as_probabilities,
)
from muster.metrics._image_halves import Groups, as_groups, split_in_halves
from muster.metrics._inverse_temperature import Scores, best_inverse_temperature
from muster.metrics.eep import class_given_source

Sharpened: TypeAlias = Literal["prediction", "source"]

_TINY = torch.finfo(torch.float32).smallest_normal
"""Smallest probability that a logarithm is taken of."""

_LEAST, _MOST = 0.1, 10.0
"""Bounds of the factor on a source's log-probabilities."""


@overload
def cross_validated_eep(
    probs: Float[Tensor, "pixels source_classes"],
    labels: Labels,
    groups: Groups,
    num_classes: int | None = None,
    seed: int = 0,
) -> Float[Tensor, "pixels classes"]: ...
@overload
def cross_validated_eep(
    probs: Float[NumpyArray, "pixels source_classes"],
    labels: Labels,
    groups: Groups,
    num_classes: int | None = None,
    seed: int = 0,
) -> Float[NumpyArray, "pixels classes"]: ...
def cross_validated_eep(
    probs: SourceProbabilities, labels: Labels, groups: Groups, num_classes: int | None = None, seed: int = 0
) -> Predictions:
    """The expected empirical predictor, counted on half of the images and read on the other, and the other way round.

    Args:
        probs: Source probabilities, as for :func:`muster.metrics.eep`.
        labels: Target classes, as there.
        groups: Which image each pixel is from, ``[pixels]``, any integers, of at least two images. Rare classes are
            split into both halves, as in :func:`muster.metrics.linear_probe`, and with the same seed alike.
        num_classes: Number of target classes; by default one more than the largest label. A class that is absent from a
            half gets 0 from the table counted there.
        seed: The seed of the split.

    Returns:
        ``[pixels, classes]``, float32 or float64, of the kind that ``probs`` is. A source class without any mass in a
        half contributes 0 to what is read with its table; otherwise rows sum to 1 if those of ``probs`` do.

    Raises:
        ValueError: As :func:`muster.metrics.eep`, or if ``groups`` are not integers, not one per pixel, or all alike.

    Example:
        >>> probs = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
        >>> cross_validated_eep(probs, np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])).round(2).tolist()
        [[0.67, 0.33], [0.0, 1.0], [1.0, 0.0], [0.5, 0.5]]
    """
    source, target, count, right = _checked(probs, labels, groups, num_classes, seed)
    result = torch.empty(len(source), count, dtype=source.dtype, device=source.device)
    for half in _count_halves(source, target, count, right):
        result[half.read] = half.predictions.to(source.dtype)
    return result if isinstance(probs, Tensor) else result.numpy()


@overload
def calibrated_eep(
    probs: Float[Tensor, "pixels source_classes"],
    labels: Labels,
    groups: Groups,
    num_classes: int | None = None,
    seed: int = 0,
    sharpened: Sharpened = "prediction",
    cross_validated: bool = False,
) -> Float[Tensor, "pixels classes"]: ...
@overload
def calibrated_eep(
    probs: Float[NumpyArray, "pixels source_classes"],
    labels: Labels,
    groups: Groups,
    num_classes: int | None = None,
    seed: int = 0,
    sharpened: Sharpened = "prediction",
    cross_validated: bool = False,
) -> Float[NumpyArray, "pixels classes"]: ...
def calibrated_eep(
    probs: SourceProbabilities,
    labels: Labels,
    groups: Groups,
    num_classes: int | None = None,
    seed: int = 0,
    sharpened: Sharpened = "prediction",
    cross_validated: bool = False,
) -> Predictions:
    """The expected empirical predictor with one factor on log-probabilities, which held-out images choose.

    The factor is the one under which the predictions of :func:`cross_validated_eep` make the labels likeliest. On a
    prediction it multiplies the log-ratio to the class priors: softmax(t log(eep / share) + log share).
    On the source it makes p(z) proportional to p(z)^t, before counting.

    Args:
        probs: See :func:`cross_validated_eep`.
        labels: See there.
        groups: See there.
        num_classes: See there.
        seed: See there.
        sharpened: What the factor goes on. 0 to 1000 for a prediction, 0.1 to 10 for a source.
        cross_validated: Return predictions with the tables of the other half of the images too. Otherwise the held-out
            images choose the factor only, and the table is counted on all.

    Returns:
        ``[pixels, classes]``, float32 or float64, of the kind that ``probs`` is. Rows sum to 1 if those of ``probs`` do
        and every source class has mass, and always if predictions were sharpened.

    Raises:
        ValueError: As :func:`cross_validated_eep`.

    Example:
        >>> probs = np.array([[0.6, 0.4], [0.4, 0.6]] * 4)  # always right, and always shy
        >>> labels, images = np.array([0, 1] * 4), np.array([0, 0, 1, 1, 2, 2, 3, 3])
        >>> calibrated_eep(probs, labels, images).round(2)[0].tolist()
        [1.0, 0.0]
    """
    source, target, count, right = _checked(probs, labels, groups, num_classes, seed)
    if sharpened == "source":
        source = _sharpen(source, _best_on_source(source, target, count, right))
    halves = _count_halves(source, target, count, right)
    factor = None
    if sharpened == "prediction":
        factor, _ = best_inverse_temperature([half.scores(target) for half in halves])
    everywhere = torch.ones_like(right)
    parts = halves if cross_validated else [_Counted.of(source, target, count, everywhere, everywhere)]
    result = torch.empty(len(source), count, dtype=source.dtype, device=source.device)
    for part in parts:
        result[part.read] = part.sharpened(factor).to(source.dtype)
    return result if isinstance(probs, Tensor) else result.numpy()


@dataclass(frozen=True, eq=False)
class _Counted:
    """The predictions of a table, counted on some pixels, for these or other pixels.

    Attributes:
        read: The pixels that it predicts.
        predictions: What, float64.
        log_shares: How frequent each class is where the table was counted; minus infinity for one that is not there.
    """

    read: Bool[Tensor, " pixels"]
    predictions: Float[Tensor, "read classes"]
    log_shares: Float[Tensor, " classes"]

    @classmethod
    def of(cls, source: Tensor, labels: Tensor, num_classes: int, counted: Tensor, read: Tensor) -> _Counted:
        """Count on the pixels ``counted``."""
        table = class_given_source(source[counted], labels[counted], num_classes)
        shares = torch.bincount(labels[counted], minlength=num_classes).double() / int(counted.sum())
        return cls(read, source[read].double() @ table.T, shares.log())

    def scores(self, labels: Int[Tensor, " pixels"]) -> Scores:
        """What there is to sharpen, with the true classes."""
        return Scores.of_known(self._beyond_shares(), self.log_shares, labels[self.read])

    def sharpened(self, factor: float | None) -> Float[Tensor, "read classes"]:
        """The predictions with their logarithms beyond the shares multiplied, if by anything."""
        if factor is None:
            return self.predictions
        return torch.add(self.log_shares, self._beyond_shares(), alpha=factor).softmax(dim=1)

    def mean_log(self, labels: Int[Tensor, " pixels"]) -> float:
        """Mean log-probability of the true classes."""
        true_class = self.predictions.gather(1, labels[self.read][:, None])
        return float(true_class.clamp(min=_TINY).log().mean())

    def _beyond_shares(self) -> Float[Tensor, "read classes"]:
        beyond = self.predictions.clamp(min=_TINY).log() - self.log_shares
        return torch.where(torch.isfinite(self.log_shares), beyond, 0.0)


def _checked(
    probs: object, labels: object, groups: object, num_classes: int | None, seed: int
) -> tuple[Tensor, Tensor, int, Bool[Tensor, " pixels"]]:
    """Probabilities, labels, the number of classes, and which pixels are in the right half."""
    source = as_probabilities("probs", probs)
    target, count = as_labels(labels, len(source), num_classes, source.device)
    images = as_groups(groups, len(source))
    right = split_in_halves(images, target.cpu().numpy(), np.random.default_rng(seed))
    return source, target, count, torch.from_numpy(right).to(source.device)


def _count_halves(source: Tensor, labels: Tensor, num_classes: int, right: Tensor) -> list[_Counted]:
    """Each half read with the table of the other."""
    return [_Counted.of(source, labels, num_classes, half, ~half) for half in (right, ~right)]


def _sharpen(source: Float[Tensor, "pixels source_classes"], factor: float) -> Float[Tensor, "pixels source_classes"]:
    """Powers of the probabilities, scaled back to what each row summed to."""
    powers = source.double().pow(factor)
    total = powers.sum(dim=1, keepdim=True)
    return torch.where(total > 0, powers * source.sum(dim=1, keepdim=True) / total, 0.0).clamp(max=1.0).to(source.dtype)


def _best_on_source(source: Tensor, labels: Tensor, num_classes: int, right: Tensor) -> float:
    """The factor on the source under which held-out labels are likeliest, by a bounded search (Brent)."""

    def held_out(log_factor: float) -> float:
        halves = _count_halves(_sharpen(source, math.exp(log_factor)), labels, num_classes, right)
        return -sum(half.mean_log(labels) * int(half.read.sum()) for half in halves)

    found = optimize.minimize_scalar(
        held_out, bounds=(math.log(_LEAST), math.log(_MOST)), method="bounded", options={"xatol": 0.02}
    )
    return math.exp(float(found.x))

"""Whether a pool predicts anything of a target: its members beside guessing by class frequency.

Guessing never looks at an image: it gives every probe pixel the shares of the classes, or always names the most
frequent class. What members say is read on images that their predictor was not made from; otherwise any predictor with
enough parameters would beat guessing on noise.

Axis names: ``pixels`` the probe pixels, ``images`` those that they lie in, ``classes`` the target's, ``members`` the
candidates, ``resamples`` bootstrap samples of the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.arrays import NumpyArray
from muster.metrics import cross_validated_eep, iou_eep
from muster.selection.metric_inputs import Inputs
from muster.selection.predictors import Predictor
from muster.selection.record_parts import Guessing

LEAST_EXPLAINED = 0.05
"""A member counts as better than guessing if it explains at least this share of the entropy of the probe labels. Chosen
by us: with less, members know little more than how frequent the classes are, whatever the interval says."""

LEVEL = 0.95
RESAMPLES = 1000
"""Bootstrap samples of the images; a mean over images takes no time."""

_ROUNDING = 1e-6
"""Relative differences between pixels that are rounding in float32."""


@dataclass(frozen=True, eq=False)
class Honest:
    """How one member does on images that its predictor was not made from.

    Attributes:
        logs: float64 ``[images]``, mean over an image's pixels of the log-probability of the true class.
        pixels: int64 ``[images]``, how many probe pixels each has.
        iou: Mean IoU of the most probable classes.
    """

    logs: Float[NumpyArray, " images"]
    pixels: Int[NumpyArray, " images"]
    iou: float

    @property
    def leep(self) -> float:
        """Mean over all pixels."""
        return float(self.logs @ self.pixels / self.pixels.sum())


def honest_scores(inputs: Inputs, predictor: Predictor) -> Honest:
    """Read a member on images that its predictor was not made from.

    Args:
        inputs: ``prediction``, ``labels`` and ``groups``; and ``probs`` for EEP, which is repeated with tables
            counted on half of the images and read on the other.
        predictor: What made the prediction.

    Returns:
        Its scores. A single image cannot be split: then they are those of the prediction itself.
    """
    values = inputs.values
    predictions, labels, groups = values["prediction"], values["labels"], values["groups"]
    if predictor.name == "eep" and bool((groups != groups[0]).any()):
        predictions = cross_validated_eep(values["probs"], labels, groups, predictor.num_classes)
    true_class = predictions.gather(1, labels[:, None])[:, 0].double()
    true_class = true_class.clamp(min=torch.finfo(predictions.dtype).smallest_normal)
    images, logs = groups.cpu().numpy(), true_class.log().cpu().numpy()
    pixels = np.bincount(images)
    return Honest(np.bincount(images, weights=logs) / pixels, pixels, iou_eep([predictions], labels))


def is_constant(values: Float[Tensor, "pixels dimensions"]) -> bool:
    """Whether rows are the same at every pixel, up to rounding in their interpolation; ``False`` for less than two."""
    if len(values) < 2 or values.shape[1] == 0:
        return False
    low, high = values.amin(dim=0), values.amax(dim=0)
    return bool((high - low <= _ROUNDING * torch.maximum(low.abs(), high.abs())).all())


def guessing_leep(labels: Int[Tensor, " pixels"]) -> float:
    """LEEP of guessing by class frequency: minus the entropy of the labels."""
    shares = torch.bincount(labels).double() / len(labels)
    return float(torch.special.xlogy(shares, shares).sum())


def compare_with_guessing(
    honest: Mapping[str, Honest], labels: Int[Tensor, " pixels"], seed: int = 0
) -> Guessing | None:
    """Compare the members with guessing.

    A member is better if it explains :data:`LEAST_EXPLAINED` of the entropy of the labels, keeps ahead of guessing over
    bootstrap samples of the images (95 % percentile interval), and reaches a larger mean IoU than always naming the
    most frequent class.

    Args:
        honest: How each member does.
        labels: The true classes.
        seed: The seed of the bootstrap samples.

    Returns:
        How the best member compares, and whether any is better; ``None`` if there is no member or only one class.
    """
    counts = torch.bincount(labels)
    counts = counts[counts > 0]
    if not honest or len(counts) < 2:
        return None
    leep, iou = guessing_leep(labels), float(counts.max()) / len(labels) / len(counts)
    names = list(honest)
    leeps = np.array([scores.leep for scores in honest.values()])
    low, high = _intervals(list(honest.values()), seed)
    ahead = (1 - leeps / leep >= LEAST_EXPLAINED) & (low > leep)
    better = ahead & (np.array([scores.iou for scores in honest.values()]) > iou)
    best = int(np.where(better, leeps, leeps - 1e9).argmax()) if better.any() else int(leeps.argmax())
    return Guessing(
        leep=leep, iou=iou, best=names[best], best_leep=float(leeps[best]), best_iou=honest[names[best]].iou,
        low=float(low[best]), high=float(high[best]), level=LEVEL, better=tuple(np.array(names)[better].tolist()),
    )  # fmt: skip


def _intervals(honest: list[Honest], seed: int) -> tuple[NumpyArray, NumpyArray]:
    """Percentile intervals of the members' LEEPs over bootstrap samples of the images."""
    logs = np.stack([scores.logs for scores in honest], axis=1)
    return percentile_intervals(resampled_means(logs, honest[0].pixels, seed))


def resampled_means(
    means: Float[NumpyArray, "images members"], pixels: Int[NumpyArray, " images"], seed: int
) -> Float[NumpyArray, "resamples members"]:
    """Means over pixels, on bootstrap samples of the images.

    Args:
        means: Those over the pixels of each image.
        pixels: How many each image has, at least 1.
        seed: The seed of the samples.

    Returns:
        One row a sample, :data:`RESAMPLES` of them.
    """
    images = len(pixels)
    copies = np.random.default_rng(seed).multinomial(images, [1 / images] * images, RESAMPLES)
    weights = copies * pixels
    resampled: NumpyArray = weights @ means / weights.sum(axis=1, keepdims=True)
    return resampled


def percentile_intervals(resampled: Float[NumpyArray, "resamples members"]) -> tuple[NumpyArray, NumpyArray]:
    """Lower and upper ends of what :data:`LEVEL` of the samples lie between, for each member."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    return low, high

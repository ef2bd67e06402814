"""Bootstrap confidence of a choice: the top-k candidates on bootstrap samples of the probe images.

Pixels of one image are much alike, so it is images that are resampled, not pixels. A resample is a number of copies of
each image; everything below is then a weighted sum. :mod:`muster.scoring.cpu.resampling` takes these sums in compiled
loops, :mod:`muster.scoring.device.resampling` on the device of the predictions.

Axis names: ``pixels`` the probe pixels, ``images`` those that they lie in, ``classes`` the target's, ``candidates`` the
top-k, best first, ``size`` the members of one candidate, ``resamples`` the bootstrap samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from muster.arrays import (
    Labels,
    NumpyArray,
    Predictions,
    SourceProbabilities,
    as_labels,
    as_probabilities,
    to_tensor,
)
from muster.metrics.registry import get_ensemble_metric
from muster.metrics.ties import largest_tie
from muster.scoring.cpu.resampling import resampled_scores as compiled_scores
from muster.scoring.device.resampling import resampled_scores as tensor_scores
from muster.scoring.metric_kinds import has_resampling_kernels
from muster.scoring.resampling import ResamplingProblem
from muster.scoring.resampling_by_definition import resample_by_definition


@dataclass(frozen=True, eq=False)
class Refitted:
    """A member whose EEP (:func:`muster.metrics.eep`) is refitted: P(y | z) is estimated anew for each resample.

    Attributes:
        probs: Source probabilities, ``[pixels, source_classes]``.
    """

    probs: SourceProbabilities


@dataclass(frozen=True, eq=False)
class Fixed:
    """A member whose target predictions stay as they are while the images are resampled.

    This is right for predictions of held-out images, as the cross-validated linear probe makes them. What another
    draw of the images would have changed in its *fit* is then not part of the intervals, only what it changes in the
    images that are read. For an EEP, which was fitted to the very pixels that it is scored on, use :class:`Refitted`:
    held fixed, it gives too narrow an interval.

    Attributes:
        predictions: Target predictions, ``[pixels, classes]``.
    """

    predictions: Predictions


Predictor: TypeAlias = Refitted | Fixed
"""What makes one member's predictions."""

Backend: TypeAlias = Callable[[ResamplingProblem, NumpyArray, Callable[[int, int], None]], NumpyArray]
"""Scores ``[weightings, candidates]`` of a problem under weightings ``[weightings, images]``; reports its progress."""


@dataclass(frozen=True)
class Margin:
    """The margin of one score over another.

    Attributes:
        value: On the probe images as they are.
        low: Lower end of the percentile interval over the resamples.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low > 0


@dataclass(frozen=True, eq=False)
class ResampledScores:
    """Scores of the top-k candidates, and what resampling the probe images makes of them.

    Attributes:
        metric: What was scored.
        candidates: int64 ``[candidates, size]``, best first, as they came.
        scores: float64 ``[candidates]`` on the probe images as they are.
        resampled: float64 ``[resamples, candidates]``.
        images: How many images were resampled.
        level: Share of the resamples that an interval spans, 0..1.
    """

    metric: str
    candidates: Int[NumpyArray, "candidates size"]
    scores: Float[NumpyArray, " candidates"]
    resampled: Float[NumpyArray, "resamples candidates"]
    images: int
    level: float

    @property
    def resamples(self) -> int:
        """Number of resamples."""
        return len(self.resampled)

    @cached_property
    def selection_frequency(self) -> Float[NumpyArray, " candidates"]:
        """Share of the resamples in which each candidate is best; the first of those that tie. Sums to 1."""
        best = self.resampled.max(axis=1, keepdims=True)
        winners = (self.resampled >= best - largest_tie(self.resampled)).argmax(axis=1)
        frequency: NumpyArray = np.bincount(winners, minlength=len(self.scores)) / self.resamples
        return frequency

    @property
    def margin(self) -> Margin:
        """The margin of the first candidate over the second."""
        return self.margin_over(1)

    @property
    def margin_over_best_other(self) -> Margin:
        """The margin of the first candidate over the best other one in each resample.

        The best of several varies upwards: this interval lies lower than that of :attr:`margin`, and is the one to
        judge the choice as a whole by.
        """
        value = self.scores[0] - self.scores[1:].max()
        return self._margin(value, self.resampled[:, 0] - self.resampled[:, 1:].max(axis=1))

    def margin_over(self, place: int) -> Margin:
        """The margin of the first candidate over another one.

        Args:
            place: The place of the other one, counted from 0.

        Returns:
            The margin with its interval.
        """
        return self._margin(self.scores[0] - self.scores[place], self.resampled[:, 0] - self.resampled[:, place])

    def _margin(self, value: float, resampled: NumpyArray) -> Margin:
        tail = (1 - self.level) / 2
        low, high = np.quantile(resampled, [tail, 1 - tail])
        return Margin(float(value), float(low), float(high))


def bootstrap_top_k(
    predictors: Mapping[int, Predictor] | Sequence[Predictor],
    labels: Labels,
    groups: Integer[Tensor, " pixels"] | Integer[NumpyArray, " pixels"],
    candidates: Integer[Tensor, "candidates size"] | Integer[NumpyArray, "candidates size"],
    metric: str,
    resamples: int = 200,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    confidence: float = 0.95,
    num_classes: int | None = None,
    by_tensors: bool | None = None,
) -> ResampledScores:
    """Score the top-k candidates on bootstrap samples of the probe images.

    A resample draws as many images as there are, with replacement, each with all its probe pixels. What an EEP learned
    from the labels, P(y | z), is estimated anew from the images of each resample, because it was fitted to the pixels
    that it is scored on. The same resamples serve all candidates.

    An interval says how far a margin varies with the choice of images. It does not say how much better a predictor fits
    the images that it was fitted to than others: with few images, members of many source classes are flattered, in the
    resamples as much as in the score itself.

    Cost: once per resample and image in it (63 % of them), that of turning every member of a candidate into EEPs and of
    scoring every candidate. An EEP takes pixels x classes x source classes multiplications for a member, or pixels x
    source classes for the two LEEPs, which look at the true class only. Fixed predictions are scored once per image;
    all resamples are then one product of matrices. With hundreds of classes, give it fewer pixels of each image. Runs
    where the predictions are: on the CPU, on as many threads as torch would use, and neither their number nor the order
    of the pixels matters; on other devices in double precision, in batched products.

    Args:
        predictors: What makes each member's predictions, by its index; at least those in ``candidates``, and all of one
            kind.
        labels: Target classes, ``[pixels]``, integers in 0..classes-1; void must have been left out.
        groups: The image of each pixel, ``[pixels]``, any integers.
        candidates: The top-k, ``[candidates, size]``, best first; members of a row differ.
        metric: Name of a metric of ensembles, such as ``e_leep`` or ``soft_iou_eep``.
        resamples: How many; enough for at least one in each tail that ``confidence`` leaves.
        seed: The seed of the resamples, not negative. The first of them do not depend on how many there are.
        progress: Told how much is done, and how much there is.
        confidence: Share of the resamples that an interval spans, between 0 and 1.
        num_classes: Number of target classes; by default that of fixed predictions, or else one more than the largest
            label.
        by_tensors: Whether tensor operations take the sums, and not the compiled loops; by default if the first
            member's predictions are on a device other than the CPU that knows double precision.

    Returns:
        Scores, margins with their percentile intervals, and how often each candidate is best. As in the definition of
        the metrics, a class without a pixel in a resample does not count there.

    Raises:
        ValueError: If there are fewer than two candidates or two images: nothing can be compared or resampled.
        ValueError: If ``candidates`` names a member twice in a row, or one that ``predictors`` lacks.
        ValueError: If predictors are of two kinds, differ in shape, or hold no probabilities.
        ValueError: If ``labels`` or ``groups`` are not integers, not one per pixel, or a label is out of range.
        ValueError: If ``metric`` is unknown, or ``resamples``, ``seed`` or ``confidence`` is out of range.

    Source:
        Percentile bootstrap: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; whole images
        as units after Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8.

    Example:
        >>> probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.1, 0.9]])
        >>> members = [Refitted(probs), Refitted(probs[::-1].copy()), Refitted(np.full((4, 2), 0.5))]
        >>> labels, images = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
        >>> sure = bootstrap_top_k(members, labels, images, np.array([[0], [2]]), "e_leep")
        >>> sure.scores.round(2).tolist(), sure.selection_frequency.tolist(), sure.margin.is_clear
        ([-0.34, -0.69], [1.0, 0.0], True)
    """
    _require_options(metric, resamples, seed, confidence)
    rows = _as_rows(candidates)
    problem = _problem(predictors, labels, groups, rows, metric, num_classes)
    copies = np.random.default_rng(seed).multinomial(problem.images, [1 / problem.images] * problem.images, resamples)
    weights = np.concatenate([np.ones((1, problem.images)), copies.astype(np.float64)])  # the images as they are, first
    scores = _backend(problem, by_tensors)(problem, weights, progress or (lambda _done, _total: None))
    return ResampledScores(metric, rows, scores[0], scores[1:], problem.images, confidence)


def _backend(problem: ResamplingProblem, by_tensors: bool | None) -> Backend:
    """What takes the sums over pixels, by the kind of the metric and the device of the predictions."""
    if not has_resampling_kernels(get_ensemble_metric(problem.metric)):
        return resample_by_definition
    on_device = problem.arrays[0].device.type != "cpu"
    return tensor_scores if (on_device if by_tensors is None else by_tensors) else compiled_scores


def _require_options(metric: str, resamples: int, seed: int, confidence: float) -> None:
    get_ensemble_metric(metric, "metric to resample")
    if not 0 < confidence < 1:
        raise ValueError(f"Expected `confidence` to be between 0 and 1, but got {confidence}.")
    least = int(np.ceil(round(2 / (1 - confidence), 6)))
    if resamples < least:
        raise ValueError(
            f"Expected `resamples` to be at least {least}, so that each tail outside an interval of {confidence:g} "
            f"holds one, but got {resamples}."
        )
    if seed < 0:
        raise ValueError(f"Expected `seed` to be at least 0, but got {seed}.")


def _as_rows(candidates: object) -> Int[NumpyArray, "candidates size"]:
    """Candidates as int64, members ascending in a row: that is the order in which they are summed."""
    tensor = to_tensor("candidates", candidates)
    if tensor.is_floating_point() or tensor.ndim != 2 or tensor.shape[1] == 0:
        raise ValueError(
            "Expected `candidates` to be integers with 2 axes (candidates, size), "
            f"but got {tensor.dtype} of shape {list(tensor.shape)}."
        )
    if len(tensor) < 2:
        raise ValueError(f"Expected `candidates` to hold at least 2 to compare, but got {len(tensor)}.")
    rows: NumpyArray = np.sort(tensor.cpu().numpy().astype(np.int64), axis=1)
    repeats = (np.diff(rows, axis=1) == 0).any(axis=1)
    if repeats.any():
        raise ValueError(
            f"Expected the members of a candidate to differ, but got {rows[int(repeats.argmax())].tolist()}."
        )
    return rows


def _problem(
    predictors: Mapping[int, object] | Sequence[object],
    labels: object,
    groups: object,
    rows: NumpyArray,
    metric: str,
    num_classes: int | None,
) -> ResamplingProblem:
    """Check the arguments against each other, keeping only the members that a candidate needs."""
    used, local = np.unique(rows, return_inverse=True)
    kinds, given = zip(*(_member(predictors, int(index)) for index in used), strict=True)
    device = _device_of(given[0])
    arrays = [array.to(device) for array in given]
    if len(set(kinds)) > 1:
        raise ValueError("Expected `predictors` to be all Refitted or all Fixed, but got both.")
    refits = kinds[0] is Refitted
    for index, array in zip(used, arrays, strict=True):
        alike = len(array) == len(arrays[0]) if refits else array.shape == arrays[0].shape
        if not alike:
            raise ValueError(
                f"Expected every predictor to have the pixels{'' if refits else ' and classes'} of "
                f"predictors[{used[0]}], {list(arrays[0].shape)}, but predictors[{index}] has {list(array.shape)}."
            )
    wanted = num_classes if refits else arrays[0].shape[1]
    if num_classes is not None and num_classes != wanted:
        raise ValueError(f"Expected `num_classes` to be the {wanted} of the predictions, but got {num_classes}.")
    checked, count = as_labels(labels, len(arrays[0]), wanted, torch.device("cpu"))
    order, starts = _by_image(groups, checked.numpy())
    return ResamplingProblem(arrays, refits, checked.numpy(), count, order, starts, local.reshape(rows.shape), metric)


def _device_of(array: Tensor) -> torch.device:
    """Where to compute: where the array is, if that device knows double precision."""
    return torch.device("cpu") if array.device.type == "mps" else array.device


def _member(predictors: Mapping[int, object] | Sequence[object], index: int) -> tuple[type[Predictor], Tensor]:
    """Kind and checked array of one member, float32 or float64."""
    known = index in predictors if isinstance(predictors, Mapping) else 0 <= index < len(predictors)
    if not known:
        raise ValueError(f"Expected `predictors` to hold every member of `candidates`, but got none for {index}.")
    predictor, name = predictors[index], f"predictors[{index}]"
    if isinstance(predictor, Refitted):
        return Refitted, as_probabilities(name, predictor.probs)
    if isinstance(predictor, Fixed):
        return Fixed, as_probabilities(name, predictor.predictions)
    raise ValueError(f"Expected `{name}` to be Refitted or Fixed, but got {type(predictor).__name__}.")


def _by_image(groups: object, labels: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
    """Order of the pixels by image and label, and where each image begins in it."""
    tensor = to_tensor("groups", groups)
    if tensor.is_floating_point() or tensor.shape != labels.shape:
        raise ValueError(
            f"Expected `groups` to be integers of shape {list(labels.shape)}, "
            f"but got {tensor.dtype} of shape {list(tensor.shape)}."
        )
    _, owners = np.unique(tensor.cpu().numpy(), return_inverse=True)
    images = int(owners.max()) + 1
    if images < 2:
        raise ValueError("Expected `groups` to name at least 2 images to resample, but got 1.")
    order = np.lexsort((labels, owners))
    return order, np.searchsorted(owners[order], np.arange(images + 1))

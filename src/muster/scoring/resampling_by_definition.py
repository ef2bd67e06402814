"""The bootstrap of any metric of ensembles, by its own accumulator, in torch on the device of the predictions.

States are sums over pixels, so those of a resample are the states of its images, each as often as the resample holds
the image. Axis names as in :mod:`muster.scoring.bootstrap`; ``weightings`` are resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.metrics.accumulators import State, sum_members
from muster.metrics.ensemble_block import EnsembleBlock
from muster.metrics.registry import Metric
from muster.scoring.by_definition import update_states
from muster.scoring.metric_kinds import definition_of
from muster.threads import one_thread


def resample_by_definition(
    metric: Metric,
    arrays: Sequence[Float[Tensor, "pixels columns"]],
    refits: bool,
    labels: Int[Tensor, " pixels"],
    images: Int[Tensor, " pixels"],
    candidates: Int[Tensor, "candidates size"],
    num_classes: int,
    weights: Float[Tensor, "weightings images"],
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, "weightings candidates"]:
    """Score candidates under every weighting of the images.

    Args:
        metric: A metric of ensembles.
        arrays: Per member source probabilities if EEPs are refitted, or else target predictions.
        refits: Whether the arrays become EEPs under every weighting, counted from the images with their weights.
        labels: True classes.
        images: Index of the image of each pixel, from 0.
        candidates: Indices into ``arrays``, ascending in a row.
        num_classes: Number of target classes.
        weights: How often each image counts, float64, at least one more than 0 times in every row.
        progress: Told how much is done, and how much there is.

    Returns:
        float64; larger is better.
    """
    definition = definition_of(metric)
    rows = torch.arange(len(arrays))[:, None] if definition.sums_members else candidates
    problem = _Problem(metric, arrays, labels, images, rows, num_classes)
    with one_thread():
        make = problem.refitted_states if refits else problem.fixed_states
        states = make(weights, progress or (lambda _done, _total: None))
    counts = weights @ problem.label_counts(weights.shape[1])
    scores = metric.ranked(definition.finalise(states, counts[:, None]))
    return sum_members(scores.T, candidates).T if definition.sums_members else scores


class _Problem:
    """What is scored under any weighting."""

    def __init__(
        self,
        metric: Metric,
        arrays: Sequence[Tensor],
        labels: Tensor,
        images: Tensor,
        candidates: Tensor,
        num_classes: int,
    ) -> None:
        """Target predictions are rounded to the type that the members have in common."""
        self._accumulator, self._arrays, self._labels, self._images = (
            definition_of(metric).accumulator, arrays, labels, images,
        )  # fmt: skip
        self._candidates, self._num_classes = candidates, num_classes
        single = all(array.dtype == torch.float32 for array in arrays)
        self._precision = torch.float32 if single else torch.float64

    def label_counts(self, num_images: int) -> Float[Tensor, "images classes"]:
        """Pixels of each class in each image."""
        flat = self._images * self._num_classes + self._labels
        counts = torch.bincount(flat, minlength=num_images * self._num_classes)
        return counts.view(num_images, self._num_classes).double()

    def fixed_states(self, weights: Tensor, progress: Callable[[int, int], None]) -> State:
        """Each image has one state, whatever the weighting."""
        predictions = [array.to(self._precision) for array in self._arrays]
        of_images = []
        for image in range(weights.shape[1]):
            of_images.append(self._state(predictions, self._images == image))
            progress(image + 1, weights.shape[1])
        states: Tensor = torch.tensordot(weights, torch.stack(of_images), dims=1)
        return states

    def refitted_states(self, weights: Tensor, progress: Callable[[int, int], None]) -> State:
        """Predictions are others under every weighting; pixels of the same weight are added together."""
        states = []
        for done, weighting in enumerate(weights):
            of_pixel = weighting[self._images]
            predictions = [self._refit(array, of_pixel) for array in self._arrays]
            times = [float(value) for value in torch.unique(of_pixel) if value > 0]
            states.append(sum((w * self._state(predictions, of_pixel == w) for w in times), torch.zeros(())))
            progress(done + 1, len(weights))
        return torch.stack(states)

    def _refit(
        self, probs: Float[Tensor, "pixels sources"], weights: Float[Tensor, " pixels"]
    ) -> Float[Tensor, "pixels classes"]:
        """A member's EEP, P(y | z) counted with the weights; see :func:`muster.metrics.eep`."""
        source = probs.double()
        joint = source.new_zeros(self._num_classes, source.shape[1])
        joint.index_add_(0, self._labels, source * weights[:, None])
        mass = joint.sum(dim=0)
        given = torch.where(mass > 0, joint / mass, 0.0)
        predictions: Tensor = (source @ given.T).to(self._precision)
        return predictions

    def _state(self, predictions: Sequence[Tensor], chosen: Tensor) -> State:
        """What some of the pixels add up to."""
        block = EnsembleBlock([each[chosen] for each in predictions], self._labels[chosen], self._candidates)
        state = self._accumulator.init(len(self._candidates), self._num_classes, self._labels.device)
        update_states({self._accumulator: state}, block)
        return state

"""The bootstrap of any metric of ensembles, by its own accumulator, in torch on the device of the predictions.

States are sums over pixels, so those of a resample are the states of its images, each as often as the resample holds
the image. Axis names as in :mod:`muster.scoring.resampling`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.arrays import NumpyArray
from muster.metrics.accumulators import State, sum_members
from muster.metrics.ensemble_block import EnsembleBlock
from muster.metrics.registry import get_ensemble_metric
from muster.scoring.by_definition import update_states
from muster.scoring.metric_kinds import definition_of
from muster.scoring.resampling import ResamplingProblem
from muster.threads import one_thread

Report = Callable[[int, int], None]


def resample_by_definition(
    problem: ResamplingProblem, weights: Float[NumpyArray, "weightings images"], progress: Report
) -> Float[NumpyArray, "weightings candidates"]:
    """Score every candidate under every weighting of the images.

    Args:
        problem: Candidates and predictions, by any metric of ensembles.
        weights: How often each image counts, at least one more than 0 times in every row.
        progress: Told how much is done, and how much there is.

    Returns:
        float64; larger is better.
    """
    metric, device = get_ensemble_metric(problem.metric), problem.arrays[0].device
    definition, sums = definition_of(metric), _Sums(problem)
    of_images = torch.from_numpy(weights).to(device)
    with one_thread():
        make = sums.refitted if problem.refits else sums.fixed
        states = make(of_images, progress)
    counts = torch.from_numpy(weights @ problem.label_counts()).to(device)
    scores = metric.ranked(definition.finalise(states, counts[:, None]))
    if definition.sums_members:
        scores = sum_members(scores.T, torch.from_numpy(problem.rows).to(device)).T
    result: NumpyArray = scores.cpu().numpy()
    return result


class _Sums:
    """Sums over pixels under any weighting."""

    def __init__(self, problem: ResamplingProblem) -> None:
        """Target predictions are rounded to the type that the members have in common."""
        self._problem, self._device = problem, problem.arrays[0].device
        self._accumulator = definition_of(get_ensemble_metric(problem.metric)).accumulator
        self._labels = torch.from_numpy(problem.labels).to(self._device)
        self._scored = torch.from_numpy(problem.scored).to(self._device)

    def fixed(self, weights: Tensor, progress: Report) -> State:
        """Each image has one state, whatever the weighting."""
        predictions = [array.to(self._problem.precision) for array in self._problem.arrays]
        of_images = []
        for image in range(self._problem.images):
            pixels = torch.from_numpy(self._problem.pixels_of(image)).to(self._device)
            of_images.append(self._state(predictions, pixels))
            progress(image + 1, self._problem.images)
        states: Tensor = torch.tensordot(weights, torch.stack(of_images), dims=1)
        return states

    def refitted(self, weights: Tensor, progress: Report) -> State:
        """Predictions are others under every weighting; pixels of the same weight are added together."""
        images = torch.from_numpy(self._problem.image_of_pixel).to(self._device)
        states = []
        for done, weighting in enumerate(weights):
            of_pixel = weighting[images]
            predictions = [self._refit(array, of_pixel) for array in self._problem.arrays]
            times = [float(value) for value in torch.unique(of_pixel) if value > 0]
            alike = [torch.nonzero(of_pixel == value)[:, 0] for value in times]
            each = [value * self._state(predictions, pixels) for value, pixels in zip(times, alike, strict=True)]
            states.append(torch.stack(each).sum(dim=0))
            progress(done + 1, len(weights))
        return torch.stack(states)

    def _refit(
        self, probs: Float[Tensor, "pixels sources"], weights: Float[Tensor, " pixels"]
    ) -> Float[Tensor, "pixels classes"]:
        """A member's EEP, P(y | z) counted with the weights; see :func:`muster.metrics.eep`."""
        source = probs.double()
        joint = source.new_zeros(self._problem.num_classes, source.shape[1])
        joint.index_add_(0, self._labels, source * weights[:, None])
        mass = joint.sum(dim=0)
        given = torch.where(mass > 0, joint / mass, 0.0)
        predictions: Tensor = (source @ given.T).to(self._problem.precision)
        return predictions

    def _state(self, predictions: Sequence[Tensor], pixels: Int[Tensor, " some"]) -> State:
        """What some of the pixels add up to."""
        block = EnsembleBlock([each[pixels] for each in predictions], self._labels[pixels], self._scored)
        state = self._accumulator.init(len(self._scored), self._problem.num_classes, self._device)
        update_states({self._accumulator: state}, block)
        return state

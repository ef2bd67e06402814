"""Depth from a single image: the distance to the surface that each pixel shows.

The truth of an image is float32 ``[h, w]``, in metres, NaN where it is not known (the sky, holes of a sensor).

Axis names: ``b`` images, ``h`` and ``w`` places of the truth, ``numbers`` of a tally.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float, Float64, Int32, Int64, Shaped, UInt8
from torch import Tensor
from torch.nn import functional

from muster.data import VOID, Split
from muster.tasks.depth_pictures import depth_pictures
from muster.tasks.task import TASKS, Task

INTERVALS = 10
"""Classes that depths are seen as in a selection, with about as many pixels each; chosen."""

_SURVEYED_IMAGES, _SURVEYED_PIXELS = 100, 1000
"""Ends of intervals come from so many images, and so many known pixels of each, evenly spread."""

_RATIO = 1.25
_STEPS = 8
_WIDTH = math.log(_RATIO) / _STEPS
_LOWEST = math.log(1e-3)
_BINS = 500
"""Logarithms of true depths are counted in intervals of an eighth of log 1.25, from 1 mm to 1.1 km."""

_COUNT, _HITS, _SQUARES = range(3)


class Depth(Task):
    """The task: share of the pixels whose depth is predicted to within a quarter, beside the RMSE in metres.

    Source:
        Mensink et al., Factors of Influence, 2021, section 4.2 and appendix A.5: one linear regression layer, softplus,
        bilinear upsampling; RMSE, and delta < 1.25 with delta = max(predicted / true, true / predicted).
    """

    name, unit, result, key, class_result = "depth", "pixel", "delta < 1.25", "delta1", "delta < 1.25"
    error, error_key = "RMSE in metres", "rmse"
    losses = ("l1", "l1_smoothness")
    ensemble_metrics = ("ridge_mean", "ms_leep", "e_leep")
    default_metric = "ridge_mean"
    selected_as = "segmentation"
    outputs_are_classes = False
    answer_names, answer_slack = ("depth", "millimetres"), 1
    built_in_recipe = "worlds.yaml --training.loss l1_smoothness"
    hub_tags = ("depth-estimation",)

    def in_classes(self, split: Split) -> Split:
        """Intervals of depth with about as many pixels each; unknown pixels are void."""
        edges = _edges_of(split)
        ends = ["0", *(f"{edge:.3g}" for edge in edges.tolist()), "far"]
        names = tuple(f"{near} to {far}{'' if far == 'far' else ' m'}" for near, far in pairwise(ends))
        spec = replace(split.spec, task=self.selected_as, classes=names)
        return replace(split.with_truths(spec, partial(_interval_of, edges)), read_numbers=split.mask_of)

    def notes_on(self, split: Split) -> tuple[str, ...]:
        """See :meth:`Task.notes_on`: the range of the depths, and how much is not known."""
        maps = [split.mask(index) for index in range(len(split))]
        known = [values for depths in maps if len(values := depths[~depths.isnan()])]
        if not known:
            return (f"No depth of {split.name} is known.",)
        low, high = min(float(values.min()) for values in known), max(float(values.max()) for values in known)
        median = float(torch.cat([_spread(values) for values in known]).median())
        share = 1 - sum(map(len, known)) / sum(depths.numel() for depths in maps)
        told = f"Depths of {split.name} are {low:.3g} to {high:.3g} m, half of them below {median:.3g} m; "
        return (f"{told}{100 * share:.1f} % of the pixels are not known.",)

    def activate(self, scores: Float[Tensor, "*any 1 h w"]) -> Float[Tensor, "*any 1 h w"]:
        """Depths, which are positive."""
        return functional.softplus(scores.float())

    def decide(self, predictions: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b h w"]:
        """See :meth:`Task.decide`: the depths as they are."""
        return predictions[:, 0]

    def answers(self, predictions: Float[Tensor, "b 1 h w"]) -> Int32[Tensor, "b h w"]:
        """See :meth:`Task.answers`: the depths in whole millimetres."""
        return (predictions[:, 0] * 1000).round().to(torch.int32)

    def pictures(
        self, image: UInt8[Tensor, "3 h w"], truth: Float[Tensor, "h w"] | None, predictions: Mapping[str, Tensor]
    ) -> dict[str, UInt8[Tensor, "3 h w"]]:
        """See :meth:`Task.pictures`: near is bright; the last one shows where the last prediction is wrong."""
        return depth_pictures(image, truth, {name: depths[0] for name, depths in predictions.items()})

    def without_truth(self, truth: Shaped[Tensor, "*b h w"]) -> Float[Tensor, "*b h w"]:
        """See :meth:`Task.without_truth`."""
        return torch.full_like(truth, torch.nan)

    def is_known(self, truth: Float[Tensor, ...]) -> Tensor:
        """See :meth:`Task.is_known`."""
        return ~truth.isnan()

    def about_truth(
        self,
        predictions: Float[Tensor, "*any 1 units"],
        truth: Float[Tensor, " units"],  # noqa: ARG002 (there is one number)
    ) -> Float[Tensor, "*any 1 units"]:
        """All of it."""
        return predictions

    def unit_losses(
        self, about_truth: Float[Tensor, "1 units"], truth: Float[Tensor, " units"]
    ) -> Float[Tensor, " units"]:
        """The distance of the logarithms: what delta is made of, and alike for near and far."""
        tiny = torch.finfo(torch.float32).tiny
        return (about_truth[0].clamp(min=tiny).log() - truth.clamp(min=tiny).log()).abs()

    def known_units(self, truth: Float[Tensor, "h w"]) -> tuple[Int64[Tensor, " units"], Float[Tensor, " units"]]:
        """See :meth:`Task.known_units`."""
        depths = truth.flatten()
        places = (~depths.isnan()).nonzero()[:, 0]
        return places, depths[places]

    def no_tally(self, outputs: int) -> Float64[Tensor, " numbers"]:  # noqa: ARG002 (there is one)
        """See :meth:`Task.no_tally`."""
        return torch.zeros(_SQUARES + 1 + _BINS, dtype=torch.float64)

    def tally(
        self,
        decided: Float[Tensor, "b h w"],
        truth: Float[Tensor, "b h w"],
        outputs: int,  # noqa: ARG002
    ) -> Float64[Tensor, "b numbers"]:
        """Of each image: known pixels, those within a quarter, squared errors; and how many true depths lie where."""
        known = ~truth.isnan()
        true, found = truth.where(known, 1.0).double(), decided.double().clamp(min=torch.finfo(torch.float32).tiny)
        hits = (torch.maximum(found / true, true / found) < _RATIO) & known
        squares = (found - true).square() * known
        sums = torch.stack([each.flatten(1).double().sum(dim=1) for each in (known, hits, squares)], dim=1)
        counts = torch.zeros(len(truth), _BINS, dtype=torch.float64, device=truth.device)
        counts.scatter_add_(1, _bins_of(true).flatten(1), known.flatten(1).double())
        return torch.cat([sums, counts], dim=1)

    def digest(self, tally: Float64[Tensor, "b numbers"]) -> Float64[Tensor, "b 3"]:
        """Known pixels, those within a quarter, and the sum of the squared errors."""
        return tally[:, : _SQUARES + 1]

    def results(self, digests: Float64[Tensor, "... 3"]) -> Float64[Tensor, ...]:
        """Share of the known pixels within a quarter."""
        return digests[..., _HITS].double() / _some(digests[..., _COUNT])

    def errors(self, digests: Float64[Tensor, "... 3"]) -> Float64[Tensor, ...]:
        """Root of the mean squared error over all known pixels, in metres."""
        return (digests[..., _SQUARES].double() / _some(digests[..., _COUNT])).sqrt()

    def class_results_of(self, tally: Float64[Tensor, " numbers"]) -> tuple[float | None, ...]:
        """The result itself: there is one number."""
        value = float(self.results(self.digest(tally[None]))[0])
        return (None if math.isnan(value) else value,)

    def guess(self, train: Split, tally: Float64[Tensor, " numbers"]) -> float:
        """The result of the one depth that is within a quarter of the most pixels of the training images."""
        counts = self.no_tally(1)[_SQUARES + 1 :]
        for index in range(len(train)):
            depths = self.known_units(train.mask(index))[1]
            counts += torch.bincount(_bins_of(depths.double()), minlength=_BINS)
        return float(_within(tally[_SQUARES + 1 :])[_within(counts).argmax()] / _some(tally[_COUNT]))

    def units_of_outputs(self, tally: Float64[Tensor, " numbers"]) -> tuple[int, ...]:
        """Known pixels."""
        return (int(tally[_COUNT]),)


def _some(count: Tensor) -> Tensor:
    """NaN in place of no pixel."""
    return count.double().masked_fill(count == 0, torch.nan)


def _bins_of(depths: Tensor) -> Int64[Tensor, ...]:
    return ((depths.log() - _LOWEST) / _WIDTH).floor().long().clamp(0, _BINS - 1)


def _within(counts: Float64[Tensor, " bins"]) -> Float64[Tensor, " edges"]:
    """How many depths lie within a quarter of each end of an interval."""
    return counts.unfold(0, 2 * _STEPS, 1).sum(dim=1)


def _spread(values: Tensor) -> Tensor:
    """Some of the values, evenly spread over the image."""
    return values[:: max(1, len(values) // _SURVEYED_PIXELS)]


def _edges_of(split: Split) -> Float[Tensor, " edges"]:
    """Depths that part the intervals; none if nothing is known."""
    step = max(1, len(split) // _SURVEYED_IMAGES)
    masks = (split.mask(index) for index in range(0, len(split), step))
    some = torch.cat([torch.zeros(0), *(_spread(mask[~mask.isnan()]) for mask in masks)])
    if not len(some):
        return torch.linspace(1, INTERVALS - 1, INTERVALS - 1)
    places = torch.linspace(0, 1, INTERVALS + 1)[1:-1]
    edges: Tensor = some.quantile(places, interpolation="nearest").sort().values
    # Many depths may be equal, as all that is beyond a range is.
    return edges[edges > torch.cat([some.min()[None], edges[:-1]])]


def _interval_of(edges: Float[Tensor, " edges"], depths: Float[Tensor, "h w"]) -> UInt8[Tensor, "h w"]:
    """The interval of each pixel's depth, void where it is not known."""
    return torch.bucketize(depths, edges, right=True).to(torch.uint8).masked_fill(depths.isnan(), VOID)


DEPTH = TASKS.add("depth", Depth())

"""What there is to show of hard subsets: how members do on them, where they lie, which images are the hardest.

Axis names: ``samples`` are probe images or probe pixels, ``images`` those that have probe pixels, ``shown`` some of the
samples, ``dimensions`` of a feature vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from muster.arrays import NumpyArray
from muster.metrics import hard_buckets, hard_images_to_pixels, hard_subset
from muster.metrics.leep_bounds import LeepBounds, leep_bounds
from muster.metrics.metric_spec import WRAPPERS_OF_HARDNESS, Hardness
from muster.pool import Member
from muster.probe import ProbeSet
from muster.selection.hard_subsets import HardSubsets, Known, source_of

BINS = 5
"""Parts of equal size, from the hardest to the easiest (H22, figure 1)."""

BOUND_SAMPLES, BOUND_NUMBERS = 2000, 2_000_000
"""Bounds are of so many of the hard samples at most, and of so many probabilities: a second or two for a member."""


@dataclass(frozen=True, eq=False)
class HardView:
    """What one hardness model says of a target.

    Attributes:
        wrapper: ``haste_ca`` or ``haste_cs``.
        source: The source dataset whose members it is for.
        model: The member that says it.
        images: Places of the images among those that the selection looked at, in the order of :attr:`hardness`.
        hardness: Of each image; where it is of pixels, the mean over those of the image.
        accuracies: By member of the source, the share of samples whose class its predictions name, bin by bin from the
            hardest on.
        bounds: By member of the source, LEEP on the hard subset and what it lies between; members without source
            classes have none.
        features: Of some samples of a few classes, as the model sees them.
        labels: Their classes.
        is_hard: Which of them are in the hard subset.
    """

    wrapper: str
    source: str
    model: str
    images: tuple[int, ...]
    hardness: Float[NumpyArray, " images"]
    accuracies: Mapping[str, tuple[float, ...]]
    bounds: Mapping[str, LeepBounds]
    features: Float[NumpyArray, "shown dimensions"]
    labels: Int[NumpyArray, " shown"]
    is_hard: Bool[NumpyArray, " shown"]

    def extremes(self, most: int) -> tuple[list[int], list[int]]:
        """The easiest and the hardest images, of :attr:`images`: the most extreme first, at most half of all each.

        Args:
            most: Of either.
        """
        order = np.argsort(self.hardness, kind="stable")
        count = min(most, len(order) // 2)
        easiest, hardest = order[:count], np.argsort(-self.hardness, kind="stable")[:count]
        return [self.images[place] for place in easiest], [self.images[place] for place in hardest]


class HardViews:
    """Collects what there is to show, member by member."""

    def __init__(self, hard: HardSubsets, fraction: float, probe: ProbeSet) -> None:
        """Nothing is known yet.

        Args:
            hard: Knows what is hard.
            fraction: Which part counts as hard.
            probe: Knows the images.
        """
        self._hard, self._fraction, self._probe = hard, fraction, probe
        self._accuracies: dict[tuple[str, Hardness], dict[str, tuple[float, ...]]] = {}
        self._bounds: dict[tuple[str, Hardness], dict[str, LeepBounds]] = {}

    def note(self, member: Member, values: Mapping[str, Tensor]) -> None:
        """Look at what one member predicts.

        Args:
            member: Whose predictions these are.
            values: What is known of it, on the CPU, its predicted classes among it; see
                :class:`muster.selection.metric_inputs.Inputs`.
        """
        source = source_of(member)
        for kind in self._hard.kinds:
            found = self._hard.known(source, kind)
            if found is None:
                continue
            right, key = values["predictions"] == values["labels"], (source, kind)
            buckets = hard_buckets(found.hardness, min(BINS, len(found.hardness)))
            parts = [right[self._pixels(kind, bucket, values)].double().mean() for bucket in buckets]
            self._accuracies.setdefault(key, {})[member.name] = tuple(float(part) for part in parts)
            if member.card.classes:
                pixels = self._pixels(kind, hard_subset(found.hardness, self._fraction), values)
                probs = values["probs"]
                some = _thinned(pixels, min(BOUND_SAMPLES, max(1, BOUND_NUMBERS // probs.shape[1])))
                bounds = leep_bounds(probs[some], values["labels"][some])
                self._bounds.setdefault(key, {})[member.name] = bounds

    def views(self) -> tuple[HardView, ...]:
        """All of it, source by source in the order of their names."""
        return tuple(self._view(*key, found) for key in sorted(self._accuracies) if (found := self._hard.known(*key)))

    def _view(self, source: str, kind: Hardness, found: Known) -> HardView:
        wrapper, probe = WRAPPERS_OF_HARDNESS[kind], self._probe
        hard = torch.zeros(len(found.hardness), dtype=torch.bool)
        hard[hard_subset(found.hardness, self._fraction)] = True
        hardness = found.hardness.double()
        if kind == "pixels":
            counts = torch.bincount(found.groups, minlength=len(probe.images)).clamp(min=1)
            hardness = torch.bincount(found.groups, hardness, minlength=len(probe.images)) / counts
        return HardView(
            wrapper,
            source,
            self._hard.models[wrapper][source],
            tuple(probe.images),
            hardness.numpy(),
            self._accuracies[source, kind],
            self._bounds.get((source, kind), {}),
            found.features.numpy(),
            found.labels.numpy(),
            hard[found.shown].numpy(),
        )

    @staticmethod
    def _pixels(kind: Hardness, chosen: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        return hard_images_to_pixels(chosen, values["groups"]) if kind == "images" else chosen


def _thinned(chosen: Tensor, most: int) -> Tensor:
    if len(chosen) <= most:
        return chosen
    return chosen[torch.from_numpy(np.sort(np.random.default_rng(0).permutation(len(chosen))[:most]))]

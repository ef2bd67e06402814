"""Image classification with several classes for one image, or none: a probability for each class by itself.

Axis names: ``b`` images, ``c`` classes, ``bins`` intervals of a score; ``2`` is images without and with a class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float, Float64, Int64, Integer, Real, UInt8
from torch import Tensor
from torch.nn import functional

from muster.data import VOID, DatasetSpec, Split
from muster.tasks.covering import covering
from muster.tasks.task import TASKS, Task

BINS = 256
"""Scores are kept as one of so many intervals of their log-odds, so that results of images can be added up. The average
precision differs from that of exact scores by what falls into one interval: less than 0.01 on hundreds of images."""

_LARGEST = 10.0
"""Log-odds beyond this count as this: probabilities below 0.00005 and above 0.99995."""


class MultiLabel(Task):
    """The task: mean average precision over the classes of a split that some image has.

    The truth of an image is uint8 ``[c, 1]``: 1 where it has the class, 0 where it does not, 255 where that is not
    known (as for the difficult objects of Pascal VOC).

    Source:
        Bolya et al., "Scalable Diverse Model Selection for Accessible Transfer Learning", 2021, has VOC2007 as such a
        target. Average precision is the area below the steps of precision over recall, not Pascal VOC's mean of eleven
        points.
    """

    name, unit, result, key, class_result = "multilabel", "image", "mean AP", "map", "AP"
    is_pooled = True
    built_in_recipe = "worlds.yaml --training.loss binary"
    losses = ("binary",)
    selected_as = "classification"
    hub_tags = ("image-classification",)

    def in_classes(self, split: Split) -> Split:
        """One unit for each class that an image has; an image without any is passed over."""
        return split.with_truths(replace(split.spec, task=self.selected_as), _classes_of)

    def subset(self, split: Split, count: int | None, seed: int) -> Split:
        """See :meth:`Task.subset`: at least two images that have each class, where there are so many.

        Rare classes come first, each with images at random; what is left of the count is drawn from all others. Where
        the count does not allow two images for each class, frequent ones go without.
        """
        if count is None or count >= len(split) or count < 1:
            return split.subset(count, seed)
        return covering(split, lambda index: split.mask(index)[:, 0] == 1, count, seed)

    def some_classes(self, spec: DatasetSpec, places: Sequence[int | None]) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """See :meth:`Task.some_classes`: their rows."""
        return partial(_rows_of, [old for old, new in enumerate(places) if new is not None])

    def shows_a_class(self, truth: UInt8[Tensor, "c 1"]) -> bool:
        """See :meth:`Task.shows_a_class`."""
        return bool((truth == 1).any())

    def notes_on(self, split: Split) -> tuple[str, ...]:
        """See :meth:`Task.notes_on`: what is not known, and classes that no image is without."""
        truths = torch.stack([split.mask(index)[:, 0] for index in range(len(split))])
        unknown, without = (truths == VOID).sum(dim=0).tolist(), (truths == 0).sum(dim=0).tolist()
        names, notes = split.spec.classes, []
        if any(unknown):
            shown = ", ".join(f"{name}: {count}" for name, count in zip(names, unknown, strict=True) if count)
            notes.append(f"Images of {split.name} of which it is not known whether they have a class: {shown}.")
        if always := [name for name, count in zip(names, without, strict=True) if not count]:
            notes.append(
                f"No image of {split.name} is known to be without {', '.join(always)}: whatever is predicted, the "
                "average precision of such a class is 1."
            )
        return tuple(notes)

    def activate(self, scores: Float[Tensor, "*any outputs h w"]) -> Float[Tensor, "*any outputs h w"]:
        """The probability of each class, whatever that of the others."""
        return scores.float().sigmoid()

    def soft_loss(self, scores: Float[Tensor, "b c 1 1"], wanted: Float[Tensor, "b c 1 1"]) -> Float[Tensor, ""]:
        """See :meth:`Task.soft_loss`: the binary cross-entropy with the teacher's probability of each class."""
        return functional.binary_cross_entropy_with_logits(scores.float(), wanted.detach())

    def decide(self, predictions: Float[Tensor, "b c 1 1"]) -> Int64[Tensor, "b c"]:
        """The interval that the log-odds of each class lie in."""
        odds = predictions[:, :, 0, 0].double().logit(eps=1e-12).clamp(-_LARGEST, _LARGEST)
        return ((odds + _LARGEST) / (2 * _LARGEST) * BINS).long().clamp(max=BINS - 1)

    def answers(self, predictions: Float[Tensor, "b c"]) -> UInt8[Tensor, "b c"]:
        """See :meth:`Task.answers`: 1 for each class that an image rather has than not."""
        return (predictions >= 0.5).to(torch.uint8)

    def in_words(self, predictions: Sequence[float], names: Sequence[str]) -> dict[str, str | float]:
        """The classes that an image rather has than not, and the probabilities of all."""
        has = "; ".join(name for name, value in zip(names, predictions, strict=True) if value >= 0.5)
        return {"classes": has, **{f"p({name})": round(v, 6) for name, v in zip(names, predictions, strict=True)}}

    def without_truth(self, truth: Integer[Tensor, "*b c 1"]) -> Integer[Tensor, "*b c 1"]:
        """See :meth:`Task.without_truth`."""
        return torch.full_like(truth, VOID)

    def is_known(self, truth: Integer[Tensor, "*b c 1"]) -> Tensor:
        """See :meth:`Task.is_known`."""
        return truth != VOID

    def about_truth(
        self,
        predictions: Float[Tensor, "*any c units"],
        truth: Integer[Tensor, "units c"],  # noqa: ARG002 (all of them count)
    ) -> Float[Tensor, "*any c units"]:
        """All of it."""
        return predictions

    def unit_losses(
        self, about_truth: Float[Tensor, "c units"], truth: Integer[Tensor, "units c"]
    ) -> Float[Tensor, " units"]:
        """Cross-entropy of the classes that are known of an image, their mean."""
        known = (truth != VOID).T
        has = (truth == 1).T.float()
        tiny = torch.finfo(torch.float32).tiny
        logs = has * about_truth.clamp(min=tiny).log() + (1 - has) * (1 - about_truth).clamp(min=tiny).log()
        return -(logs * known).sum(dim=0) / known.sum(dim=0).clamp(min=1)

    def known_units(self, truth: Integer[Tensor, "c 1"]) -> tuple[Int64[Tensor, " units"], Int64[Tensor, "units c"]]:
        """The image, if anything is known of it."""
        count = int(bool((truth != VOID).any()))
        return torch.arange(count, device=truth.device), truth[:, 0].long()[None].expand(count, -1)

    def no_tally(self, outputs: int) -> Int64[Tensor, "c 2 bins"]:
        """See :meth:`Task.no_tally`."""
        return torch.zeros(outputs, 2, BINS, dtype=torch.int64)

    def tally(
        self, decided: Int64[Tensor, "b c"], truth: Integer[Tensor, "b c 1"], outputs: int
    ) -> Int64[Tensor, "b c 2 bins"]:
        """Of each image a single one for each class that is known, in the interval of its score."""
        known, has = truth[..., 0] != VOID, truth[..., 0] == 1
        places = functional.one_hot(decided + BINS * has, 2 * BINS) * known[..., None]
        return places.view(len(decided), outputs, 2, BINS)

    def total(
        self, decided: Int64[Tensor, "b c"], truth: Integer[Tensor, "b c 1"], outputs: int
    ) -> Int64[Tensor, "c 2 bins"]:
        """See :meth:`Task.total`: counted at once, as the tallies of single images are long and nearly empty."""
        known, has = truth[..., 0] != VOID, truth[..., 0] == 1
        places = decided + BINS * (has + 2 * torch.arange(outputs, device=decided.device))
        return torch.bincount(places[known], minlength=2 * BINS * outputs).view(outputs, 2, BINS)

    def digest(self, tally: Int64[Tensor, "b c 2 bins"]) -> Int64[Tensor, "b c 2 bins"]:
        """All of it: 40 kB an image of 20 classes."""
        return tally

    def results(self, digests: Real[Tensor, "... c 2 bins"]) -> Float64[Tensor, ...]:
        """The mean average precision."""
        mean: Tensor = average_precision(digests).nanmean(dim=-1)
        return mean

    def class_results_of(self, tally: Int64[Tensor, "c 2 bins"]) -> tuple[float | None, ...]:
        """Average precision of each class."""
        return tuple(None if value != value else value for value in average_precision(tally).tolist())

    def guess(self, train: Split, tally: Int64[Tensor, "c 2 bins"]) -> float:  # noqa: ARG002 (any constant is alike)
        """The result of giving every image the same score: the shares of the images that have each class."""
        return self.result_of(tally.sum(dim=-1, keepdim=True))

    def units_of_outputs(self, tally: Int64[Tensor, "c 2 bins"]) -> tuple[int, ...]:
        """Images that have each class."""
        return tuple(tally[:, 1].sum(dim=-1).tolist())


def average_precision(counts: Real[Tensor, "*any c 2 bins"]) -> Float64[Tensor, "*any c"]:
    """Area below the steps of precision over recall, from counts of images by score.

    Args:
        counts: Without and with each class, scores ascending. Images of one interval are taken in together.

    Returns:
        In 0..1, larger is better; NaN for a class that no image has.
    """
    without, having = counts.double().flip(-1).cumsum(dim=-1).unbind(dim=-2)
    precision = having / (without + having).clamp(min=1)
    gained = counts.double().flip(-1)[..., 1, :]
    total = having[..., -1]
    return (gained * precision).sum(dim=-1) / total.masked_fill(total == 0, torch.nan)


def _rows_of(kept: list[int], truth: UInt8[Tensor, "c 1"]) -> UInt8[Tensor, "kept 1"]:
    """The rows of some classes."""
    return truth[kept]


def _classes_of(truth: UInt8[Tensor, "c 1"]) -> Int64[Tensor, "classes 1"]:
    """The classes that an image has, as a list."""
    return (truth[:, 0] == 1).nonzero()


MULTILABEL = TASKS.add("multilabel", MultiLabel())

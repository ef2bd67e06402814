"""What tasks have in common whose truth is objects, each with a place of its own.

What is found in an image is ``[columns, t, 1]``: left, top, right, bottom in pixels of the stored image, score, class,
and across and down of each point where objects have points. It has that shape since predictions are maps elsewhere.

Axis names: ``b`` images, ``rows`` and ``columns`` those of a truth (:mod:`muster.data.boxes`), ``t`` objects found,
``c`` classes; in a tally ``rows`` and ``bins`` as in :mod:`muster.tasks.precision_recall`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Real, UInt8
from torch import Tensor

from muster.arrays import NumpyArray
from muster.data import VOID, Split
from muster.data.boxes import CLASS, FOUND_POINTS, IGNORED, LABEL, SCORE, areas, of_known_objects
from muster.errors import ConfigError
from muster.late import late
from muster.tasks.covering import covering
from muster.tasks.object_pictures import colour_of, draw_enlarged
from muster.tasks.precision_recall import BINS, average_precision, counts_of_image, objects_there
from muster.tasks.task import Task

ops = late("torchvision.ops")

LEAST_SHOWN = 0.3
"""Reports show objects of at least this score."""


class FindsObjects(Task):
    """A task whose result is average precision.

    Attributes:
        thresholds: Of the similarity that a found object needs to be right; precision is averaged over them.
        has_points: Whether objects have points.
    """

    finds_objects = True
    outputs_are_classes = False  # a selection looks at pixels, and heat is of centres
    has_points = False
    unit = "object"
    selected_as = "segmentation"
    thresholds: tuple[float, ...]

    @abstractmethod
    def similarities(
        self, found: Float64[NumpyArray, "t columns"], truth: Float64[NumpyArray, "n columns_of_truth"],
        image: Float64[NumpyArray, " columns_of_truth"],
    ) -> Float64[NumpyArray, "t n"]:  # fmt: skip
        """How alike what is found is to what is there, in 0..1; classes aside.

        Args:
            found: In one image.
            truth: Its objects.
            image: The first row of the truth.
        """

    def scored_classes(self, outputs: int) -> int:
        """How many classes have a part in the result."""
        return outputs

    def in_classes(self, split: Split) -> Split:
        """The pixels of boxes, whose class is that of the smallest box around them; every other pixel is void.

        So a selection asks whether features tell the classes apart at their places: images that show several classes
        at once hardly differ as wholes. The shares of the classes in an image are those of their boxes' areas, an
        overlap counted as often as there are boxes in it.

        Source:
            Bolya et al., "Scalable Diverse Model Selection for Accessible Transfer Learning", 2021, section 6.2, for
            the shares; the pixels are ours.
        """
        seen = split.with_truths(replace(split.spec, task=self.selected_as), _pixels_of_boxes)
        return replace(seen, read_shares=partial(_shares_in, split))

    def subset(self, split: Split, count: int | None, seed: int) -> Split:
        """See :meth:`Task.subset`: at least two images of each class, where there are so many."""
        if count is None or count >= len(split) or count < 1:
            return split.subset(count, seed)
        classes = self.scored_classes(split.spec.num_classes)
        return covering(split, lambda index: _shares(split.mask(index), classes) > 0, count, seed)

    def notes_on(self, split: Split) -> tuple[str, ...]:
        """See :meth:`Task.notes_on`: how many objects there are, and how many count neither way."""
        truths = [split.mask(index) for index in range(len(split))]
        known = [int(of_known_objects(truth).sum()) for truth in truths]
        passed = sum(int(((truth[1:, CLASS] >= 0) & (truth[1:, IGNORED] > 0)).sum()) for truth in truths)
        empty = sum(count == 0 for count in known)
        notes = [f"{split.name} has {sum(known)} objects, at most {max(known, default=0)} in an image."]
        if empty:
            notes.append(f"{empty} image(s) of {split.name} have none: a selection passes them over.")
        if passed:
            notes.append(f"{passed} objects of {split.name}, crowds or difficult ones, are neither learned nor scored.")
        return tuple(notes)

    def activate(self, scores: Float[Tensor, "*any outputs h w"]) -> Float[Tensor, "*any outputs h w"]:
        """Nothing: what a network says is looked at by :meth:`predictions` alone."""
        return scores.float()

    def places_of(self, truth: Float[Tensor, "*b rows columns"]) -> tuple[int, int]:
        """Rows and columns of the stored image: objects are found in its pixels."""
        first = truth.reshape(-1, truth.shape[-1])[0]
        return int(first[3]), int(first[2])

    def decide(self, predictions: Float[Tensor, "b columns t 1"]) -> Float[Tensor, "b columns t 1"]:
        """All of it."""
        return predictions

    def without_truth(self, truth: Float[Tensor, "*b rows columns"]) -> Float[Tensor, "*b rows columns"]:
        """See :meth:`Task.without_truth`."""
        nothing = truth.clone()
        nothing[..., 0, IGNORED] = 1
        return nothing

    def is_known(self, truth: Float[Tensor, "*b rows columns"]) -> Tensor:
        """See :meth:`Task.is_known`."""
        return of_known_objects(truth)[..., None].expand(truth.shape)

    def about_truth(self, predictions: Tensor, truth: Tensor) -> Tensor:  # noqa: ARG002
        """There are no units with a prediction each, see :meth:`known_units`."""
        raise self._no_head()

    def unit_losses(self, about_truth: Tensor, truth: Tensor) -> Tensor:  # noqa: ARG002
        """There are no units with a prediction each, see :meth:`known_units`."""
        raise self._no_head()

    def known_units(self, truth: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """There are no units with a prediction each, which a head could combine.

        Raises:
            ConfigError: Always.
        """
        raise self._no_head()

    def _no_head(self) -> ConfigError:
        return ConfigError(f"Networks for {self.name} are used one by one: their lists of objects cannot be combined.")

    def no_tally(self, outputs: int) -> Int64[Tensor, "c rows bins"]:
        """See :meth:`Task.no_tally`."""
        rows = 2 * len(self.thresholds) + 1
        return torch.zeros(self.scored_classes(outputs), rows, BINS, dtype=torch.int64)

    def tally(
        self, decided: Float[Tensor, "b columns t 1"], truth: Float[Tensor, "b n columns_of_truth"], outputs: int
    ) -> Int64[Tensor, "b c rows bins"]:
        """See :meth:`Task.tally`: matched within each image, counted by score; on the CPU."""
        pairs = zip(decided[..., 0].transpose(1, 2).double().cpu(), truth.double().cpu(), strict=True)
        return torch.stack([self._of_image(found.numpy(), there.numpy(), outputs) for found, there in pairs])

    def _of_image(self, found: NumpyArray, truth: NumpyArray, outputs: int) -> Int64[Tensor, "c rows bins"]:
        image, objects = truth[0], truth[1:]
        if image[IGNORED]:
            return self.no_tally(outputs)
        found, objects = found[found[:, SCORE] > 0], objects[objects[:, CLASS] >= 0]
        return counts_of_image(
            found[:, SCORE],
            found[:, LABEL].astype(np.int64),
            self.similarities(found, objects, image),
            objects[:, CLASS].astype(np.int64),
            objects[:, IGNORED].astype(np.int64),
            np.array(self.thresholds),
            self.scored_classes(outputs),
        )

    def digest(self, tally: Int64[Tensor, "b c rows bins"]) -> Int64[Tensor, "b c rows bins"]:
        """All of it: 5 kB an image and class, with ten thresholds."""
        return tally

    def results(self, digests: Real[Tensor, "... c rows bins"]) -> Float64[Tensor, ...]:
        """The mean over the classes of which there are objects."""
        mean: Tensor = average_precision(digests).nanmean(dim=-1)
        return mean

    def class_results_of(self, tally: Int64[Tensor, "c rows bins"]) -> tuple[float | None, ...]:
        """Average precision of each class."""
        return tuple(None if value != value else value for value in average_precision(tally).tolist())

    def guess(self, train: Split, tally: Tensor) -> float:  # noqa: ARG002
        """0: whoever does not look finds no object at its place."""
        return 0.0

    def units_of_outputs(self, tally: Int64[Tensor, "c rows bins"]) -> tuple[int, ...]:
        """Objects of each class."""
        return tuple(objects_there(tally).tolist())

    def pictures(
        self, image: UInt8[Tensor, "3 h w"], truth: Tensor | None, predictions: Mapping[str, Tensor]
    ) -> dict[str, UInt8[Tensor, "3 y x"]]:
        """What a report shows of one image: the boxes that there are, and those that are found.

        Args:
            image: RGB, as stored.
            truth: Of the image; ``None`` if it is not known.
            predictions: What is found, ``[columns, t, 1]`` as :meth:`predictions` gives it, by the name of who finds
                it.

        Returns:
            Pictures, by what to call them; small images are enlarged.
        """
        shown = {"image": draw_enlarged(image, torch.zeros(0, FOUND_POINTS))}
        if truth is not None:
            shown["ground truth"] = draw_enlarged(image, self.truth_objects(truth), points=self.has_points)
        for name, found in predictions.items():
            rows = found[..., 0].T
            kept = rows[rows[:, SCORE] >= LEAST_SHOWN]
            shown[name] = draw_enlarged(image, kept, points=self.has_points)
        return shown

    def drawn_colours(self, classes: Sequence[str]) -> dict[str, tuple[int, int, int]]:
        """See :meth:`Task.drawn_colours`: of each class; with points, of the box and each point."""
        shown = (*self.object_classes(classes), *classes) if self.has_points else tuple(classes)
        return {name: colour_of(place) for place, name in enumerate(shown)}

    def truth_objects(self, truth: Float[Tensor, "rows columns"]) -> Float[Tensor, "n columns_of_found"]:
        """What is there, in the columns of what is found; the score of each is 1."""
        known = truth[of_known_objects(truth)]
        ones = torch.ones(len(known), 1)
        return torch.cat([known[:, :4], ones, known[:, CLASS : CLASS + 1], self._points_of(known)], dim=1)

    def _points_of(self, known: Tensor) -> Tensor:
        return known[:, :0]


def _pixels_of_boxes(truth: Float[Tensor, "rows columns"]) -> UInt8[Tensor, "h w"]:
    """The class of the smallest box around each pixel; void where there is none, or one that is ignored alone."""
    width, height = (int(side) for side in truth[0, 2:4].tolist())
    mask = torch.full((height, width), VOID, dtype=torch.uint8)
    known = truth[of_known_objects(truth)]
    for left, top, right, bottom, label in known[areas(known).argsort(descending=True), : CLASS + 1].tolist():
        mask[max(0, round(top)) : max(0, round(bottom)), max(0, round(left)) : max(0, round(right))] = int(label)
    return mask


def _shares_in(split: Split, identifier: str) -> Float64[Tensor, " classes"]:
    """Which part of the area of all boxes of an image those of each class have."""
    return _shares(split.mask_of(identifier), split.spec.num_classes)


def _shares(truth: Float[Tensor, "rows columns"], classes: int) -> Float64[Tensor, " classes"]:
    known = truth[of_known_objects(truth)]
    total = torch.zeros(classes, dtype=torch.float64)
    total.index_add_(0, known[:, CLASS].long(), areas(known).double())
    return total / total.sum().clamp(min=1e-12)


def suppress(found: Float[Tensor, "columns t"], overlap: float) -> Float[Tensor, "columns kept"]:
    """Leave out boxes that a hotter one of their class covers.

    Args:
        found: In one image.
        overlap: The largest IoU that two boxes of a class may have (M21, appendix C, takes 0.3 on some datasets).

    Returns:
        Those that stay, the hottest first.
    """
    found = found[:, found[SCORE] > 0]
    kept = ops.batched_nms(found[:4].T, found[SCORE], found[LABEL].long(), overlap)
    return found[:, kept]

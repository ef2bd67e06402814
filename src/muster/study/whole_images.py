"""Results of all ensembles where one prediction is made for an image and its truth is no single class.

Axis names: ``outputs`` numbers of a prediction, ``candidates`` the ensembles of one size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from muster.arrays import NumpyArray
from muster.scoring.score import list_candidates
from muster.tasks.task import Task

NUMBERS_AT_ONCE = 1 << 22
"""Predictions of so many numbers are tallied at a time."""


class WholeImages:
    """The predictions of members, image by image: a few numbers each, so that all of a test split are kept.

    Attributes:
        candidates: By size, int64 ``[candidates, size]``, in lexicographic order.
    """

    def __init__(self, task: Task, members: int, outputs: int, sizes: Sequence[int]) -> None:
        """Nothing is known yet.

        Args:
            task: Of which one prediction is made for an image.
            members: How many there are.
            outputs: Numbers of a prediction.
            sizes: Members of the candidates, each 1 to ``members``.
        """
        self.task, self.outputs = task, outputs
        self.candidates = {size: list_candidates(members, size) for size in sizes}
        self._predictions = list[Tensor]()
        self._truths = list[Tensor]()

    def __len__(self) -> int:
        """Images so far."""
        return len(self._truths)

    def add(self, predictions: Sequence[Float[Tensor, "1 outputs"]], truth: Tensor) -> None:
        """Take in one image; one of which nothing is known is passed over.

        Args:
            predictions: Of each member.
            truth: Of the image.
        """
        if self.task.is_known(truth).any():
            self._predictions.append(torch.cat(list(predictions)).float().cpu())
            self._truths.append(truth.cpu())

    def results(self, size: int) -> Float64[NumpyArray, " candidates"]:
        """The results of the ensembles of one size: NaN without an image.

        Args:
            size: One of the sizes.
        """
        rows = self.candidates[size]
        if not self._truths:
            return np.full(len(rows), np.nan)
        found, truths = np.empty(len(rows)), torch.stack(self._truths)
        images = max(1, NUMBERS_AT_ONCE // self.outputs)
        for place, mean in enumerate(self._means(rows)):
            total = self.task.no_tally(self.outputs)
            for some in range(0, len(mean), images):
                decided = self.task.decide(mean[some : some + images, :, None, None])
                total = total + self.task.total(decided, truths[some : some + images], self.outputs)
            found[place] = self.task.results(self.task.digest(total[None]))[0]
        return found

    def errors(self, size: int) -> Float64[NumpyArray, " candidates"]:
        """NaN: no task of whole images has an error beside its result."""
        return np.full(len(self.candidates[size]), np.nan)

    def losses(self, size: int) -> Float64[NumpyArray, " candidates"]:
        """What a learned head would make small, as a mean over the images: NaN without an image.

        Args:
            size: One of the sizes.
        """
        rows = self.candidates[size]
        if not self._truths:
            return np.full(len(rows), np.nan)
        truths = torch.cat([self.task.known_units(truth)[1] for truth in self._truths])
        means = (self.task.unit_losses(self.task.about_truth(mean.T, truths), truths) for mean in self._means(rows))
        return np.array([float(losses.double().mean()) for losses in means])

    def _means(self, rows: NumpyArray) -> Iterator[Float[Tensor, "images outputs"]]:
        """What each ensemble predicts: the mean of its members, in ascending order."""
        predictions = torch.stack(self._predictions, dim=1)
        for members in rows.tolist():
            yield predictions[members].mean(dim=0)

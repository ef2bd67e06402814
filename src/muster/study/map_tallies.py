"""Results of all ensembles where predictions are made for places of an image and are no classes that could be counted.

Axis names: ``candidates`` the ensembles of one size, ``outputs`` numbers of a prediction.
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


class MapTallies:
    """What each ensemble predicts of an image is tallied at once, as maps are too large to be kept.

    Attributes:
        candidates: By size, int64 ``[candidates, size]``, in lexicographic order.
    """

    def __init__(self, task: Task, members: int, outputs: int, sizes: Sequence[int]) -> None:
        """Nothing is known yet.

        Args:
            task: Of which predictions are made for places of an image.
            members: How many there are.
            outputs: Numbers of a prediction.
            sizes: Members of the candidates, each 1 to ``members``.
        """
        self.task, self.outputs = task, outputs
        self.candidates = {size: list_candidates(members, size) for size in sizes}
        nothing = task.digest(task.no_tally(outputs)[None])[0]
        self._digests = {size: torch.stack([nothing] * len(rows)) for size, rows in self.candidates.items()}
        self._losses = {size: torch.zeros(len(rows), dtype=torch.float64) for size, rows in self.candidates.items()}
        self._units = 0

    def add(self, predictions: Sequence[Float[Tensor, "1 outputs _ _"]], truth: Tensor) -> None:
        """Take in one image; one of which nothing is known is passed over.

        Args:
            predictions: Of each member, as :meth:`muster.tasks.task.Task.predictions` gives them.
            truth: Of the image.
        """
        task = self.task
        if not task.is_known(truth).any():
            return
        truth = truth.to(predictions[0].device)
        # Objects have no mean, and so no head that could make a loss small.
        places, known = (None, None) if task.finds_objects else task.known_units(truth)
        self._units += 0 if known is None else len(known)
        for size, rows in self.candidates.items():
            for place, mean in enumerate(self._means(predictions, rows)):
                found = task.tally(task.decide(mean), truth[None], self.outputs)
                self._digests[size][place] += task.digest(found)[0].to(self._digests[size])
                if places is not None and known is not None:
                    about = task.about_truth(mean[0].flatten(1)[:, places], known)
                    self._losses[size][place] += float(task.unit_losses(about, known).double().sum())

    def results(self, size: int) -> Float64[NumpyArray, " candidates"]:
        """The results of the ensembles of one size: NaN without an image.

        Args:
            size: One of the sizes.
        """
        found: NumpyArray = self.task.results(self._digests[size]).numpy()
        return found

    def errors(self, size: int) -> Float64[NumpyArray, " candidates"]:
        """The errors beside them, see :attr:`muster.tasks.task.Task.error`; NaN where the task has none.

        Args:
            size: One of the sizes.
        """
        found: NumpyArray = self.task.errors(self._digests[size]).numpy()
        return found

    def losses(self, size: int) -> Float64[NumpyArray, " candidates"]:
        """What a learned head would make small, as a mean over the units: NaN where there is no such thing.

        Args:
            size: One of the sizes.
        """
        if not self._units:
            return np.full(len(self.candidates[size]), np.nan)
        found: NumpyArray = (self._losses[size] / self._units).numpy()
        return found

    @staticmethod
    def _means(predictions: Sequence[Tensor], rows: NumpyArray) -> Iterator[Tensor]:
        """What each ensemble predicts: the mean of its members, in ascending order."""
        for members in rows.tolist():
            yield torch.stack([predictions[member] for member in members]).mean(dim=0)

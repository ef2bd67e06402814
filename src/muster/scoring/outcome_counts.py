"""Count the predictions of every candidate over images that come one after the other.

For the results of fine-tuned ensembles on a whole test split: what makes up the mean IoU or the accuracy of all
candidates, from one look at each image, and no image is kept. Axis names as in :mod:`muster.scoring.score`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int, Int64
from torch import Tensor

from muster.arrays import Array, NumpyArray
from muster.machine import available_cores
from muster.metrics.ensemble_block import members_of
from muster.scoring.cpu.exhaustive import sums_of_store
from muster.scoring.device.exhaustive import sums_of_tiles
from muster.scoring.fixed_point import FixedPointSums
from muster.scoring.prediction_store import Backend, InMemoryStore
from muster.scoring.score import list_candidates

_METRIC = "iou_eep"
"""Any metric for which predicted classes are counted."""

_CHUNK_PIXELS = 1 << 16


class OutcomeCounts:
    """Units (pixels, or whole images) that each candidate predicts right and wrong, by class.

    A candidate predicts the class with the largest sum of its members' probabilities, as in
    :func:`muster.metrics.iou_eep`; the counts are exact, on the processor and on other devices.

    Attributes:
        candidates: By size, int64 ``[candidates, size]``, in lexicographic order.
        label_counts: int64 ``[classes]``, pixels of each class so far.
    """

    def __init__(
        self,
        num_members: int,
        num_classes: int,
        sizes: Sequence[int],
        threads: int | None = None,
        backend: Backend | None = None,
    ) -> None:
        """Nothing is counted yet.

        Args:
            num_members: How many members there are.
            num_classes: How many classes.
            sizes: Members of the candidates, each 1 to ``num_members``.
            threads: How many to compute on, on the processor; by default one for each.
            backend: Who counts; by default ``numba`` on the processor and ``torch`` on other devices.
        """
        self.num_classes = num_classes
        self.candidates = {size: list_candidates(num_members, size) for size in sizes}
        self.label_counts = np.zeros(num_classes, dtype=np.int64)
        self._threads, self._backend = threads or available_cores(), backend
        shape = 2 * num_classes
        self._counts = {size: np.zeros((len(rows), shape), np.int64) for size, rows in self.candidates.items()}

    def add(self, predictions: Sequence[Array], labels: Int[Tensor, " pixels"]) -> None:
        """Count some pixels.

        Args:
            predictions: Of each member, ``[pixels, classes]``, between 0 and 1.
            labels: The true classes, void left out; there may be none.

        Raises:
            ValueError: If they are not of one shape, or a label is none of the classes.
        """
        if len(labels) == 0:
            return
        store = InMemoryStore(members_of(predictions, labels), chunk_pixels=_CHUNK_PIXELS)
        for size, rows in self.candidates.items():
            for some, sums in self._sums(store, rows):
                self._counts[size][some] += sums.counts
        self.label_counts += np.bincount(store.labels, minlength=self.num_classes)

    def digests(self, size: int) -> Int64[NumpyArray, "candidates 3 classes"]:
        """Per class, what is predicted right, what is of the class, and what is predicted as it.

        Of these a task makes its result, see :meth:`muster.tasks.task.Task.results`.

        Args:
            size: One of the sizes.
        """
        wrong, right = np.split(self._counts[size], 2, axis=1)
        return np.stack([right, np.broadcast_to(self.label_counts, right.shape), right + wrong], axis=1)

    def _sums(self, store: InMemoryStore, rows: NumpyArray) -> Iterable[tuple[slice, FixedPointSums]]:
        if (self._backend or store.backend) == "torch":
            return [(slice(None), sums_of_tiles(store.in_memory(), rows, [_METRIC], _no_progress))]
        return sums_of_store(store, rows, [_METRIC], self._threads, _no_progress)


def _no_progress(_: float) -> None:
    """Tell nobody."""

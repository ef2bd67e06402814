"""Scores of some candidates under many weightings of the probe images; what :mod:`muster.scoring.bootstrap` rests on.

Axis names as there. ``sources`` are the source classes of all members in a row.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float

from muster.arrays import NumpyArray
from muster.metrics.registry import get_ensemble_metric
from muster.scoring.accumulators import adds_logs, definition_of, is_soft

_TABLE_BYTES = 1 << 28
"""Most that the tables P(y | z) of the resamples worked on at a time may take."""

_JOINT_BYTES = 1 << 25
"""Most that the joint counts of the images worked on at a time may take."""

_SCRATCH_BYTES = 1 << 18
"""Most that predictions of a block of pixels take; a core's second cache holds several times as much."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be scored, checked.

    Attributes:
        arrays: Per member float32 or float64 ``[pixels, source_classes]``, or ``[pixels, classes]`` if not counted.
        is_counted: Whether the arrays are source probabilities, to be turned into EEPs under every weighting.
        labels: int64 ``[pixels]``.
        num_classes: Number of target classes.
        order: The pixels image by image, and in an image by label.
        starts: Where each image begins in ``order``, and the number of all pixels at the end.
        rows: ``[candidates, size]``, places in ``arrays``.
        metric: Name of a metric that :func:`muster.scoring.accumulators.has_resampling_kernels`.
    """

    arrays: list[NumpyArray]
    is_counted: bool
    labels: NumpyArray
    num_classes: int
    order: NumpyArray
    starts: NumpyArray
    rows: NumpyArray
    metric: str

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.starts) - 1

    @property
    def takes_logs(self) -> bool:
        """Whether only what the true class gets is looked at."""
        return adds_logs(get_ensemble_metric(self.metric))

    @property
    def is_soft(self) -> bool:
        """Whether hits and misses are probabilities."""
        return is_soft(get_ensemble_metric(self.metric))

    @property
    def sums_members(self) -> bool:
        """Whether a candidate's score is the sum of its members'."""
        return definition_of(get_ensemble_metric(self.metric)).sums_members

    @property
    def scored(self) -> NumpyArray:
        """What sums are taken for: the candidates, or each member by itself if candidates sum their scores."""
        return np.arange(len(self.arrays))[:, None] if self.sums_members else self.rows

    @property
    def precision(self) -> type[np.float32] | type[np.float64]:
        """To which target predictions are rounded, as for :func:`muster.arrays.as_members`."""
        return np.float32 if all(array.dtype == np.float32 for array in self.arrays) else np.float64

    @property
    def smallest(self) -> float:
        """Least argument of a log."""
        return float(np.finfo(self.precision).smallest_normal)

    def pixels_of(self, image: int) -> NumpyArray:
        """Places of one image's pixels, by label."""
        return self.order[self.starts[image] : self.starts[image + 1]]

    def label_counts(self) -> Float[NumpyArray, "images classes"]:
        """Pixels of each class in each image."""
        owners = np.repeat(np.arange(self.images), np.diff(self.starts))
        flat = owners * self.num_classes + self.labels[self.order]
        counts = np.bincount(flat, minlength=self.images * self.num_classes)
        return counts.reshape(self.images, self.num_classes).astype(np.float64)

    def blank_totals(self, weightings: int) -> NumpyArray:
        """Zeros for sums of logs, or for hits and misses of each class, of everything that is scored."""
        by_class = () if self.takes_logs else (2, self.num_classes)
        return np.zeros((weightings, len(self.scored), *by_class))


def resampled_scores(
    problem: Problem,
    weights: Float[NumpyArray, "weightings images"],
    progress: Callable[[int, int], None] | None = None,
) -> Float[NumpyArray, "weightings candidates"]:
    """Score every candidate under every weighting of the images.

    Args:
        problem: Candidates and predictions.
        weights: How often each image counts, at least one more than 0 times in every row.
        progress: Told how much is done, and how much there is.

    Returns:
        The scores; larger is better.
    """
    make = _counted_totals if problem.is_counted else _fixed_totals
    totals = make(problem, weights, progress or (lambda _done, _total: None))
    counts = weights @ problem.label_counts()
    scores = get_ensemble_metric(problem.metric).final_scores(totals, counts[:, None])
    return scores[:, problem.rows].sum(axis=2) if problem.sums_members else scores


def _fixed_totals(problem: Problem, weights: NumpyArray, progress: Callable[[int, int], None]) -> NumpyArray:
    """Sums over pixels; those of an image are the same under every weighting."""
    from muster.scoring.cpu import resampling_kernels as kernels  # importing Numba takes a second

    totals, rows = problem.blank_totals(len(weights)), problem.scored
    for image in range(problem.images):
        pixels = problem.pixels_of(image)
        labels, own = problem.labels[pixels], problem.blank_totals(1)
        if problem.takes_logs:
            truths = np.stack([array[pixels, labels] for array in problem.arrays]).astype(problem.precision)
            kernels.add_logs_fixed(truths, rows, problem.smallest, own[0])
        else:
            said = np.stack([array[pixels] for array in problem.arrays]).transpose(0, 2, 1)
            said = np.ascontiguousarray(said, dtype=problem.precision)
            kernels.tally_fixed(said, labels, rows, problem.is_soft, own[0])
        share = np.ascontiguousarray(weights[:, image : image + 1])
        kernels.add_weighted(share, own.reshape(1, -1), totals.reshape(len(weights), -1))
        progress(image + 1, problem.images)
    return totals


def _counted_totals(problem: Problem, weights: NumpyArray, progress: Callable[[int, int], None]) -> NumpyArray:
    """Sums over pixels, of EEPs that are counted anew under every weighting."""
    sources = sum(array.shape[1] for array in problem.arrays)
    at_once = max(1, _TABLE_BYTES // (8 * sources * problem.num_classes))
    lows = range(0, len(weights), at_once)
    totals = problem.blank_totals(len(weights))
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for number, low in enumerate(lows):
            share = slice(low, low + at_once)
            counting = _Counting(problem, weights[share], totals[share], threads)
            counting.estimate()
            for image in range(problem.images):
                counting.accumulator(image)
                progress(number * problem.images + image + 1, len(lows) * problem.images)
    return totals


@dataclass(eq=False)
class _Counting:
    """Counts anew under some weightings, which the threads share out among them.

    Each thread writes to what belongs to its own weightings, and goes through images and pixels in their order: the
    numbers do not depend on how many threads there are.

    Attributes:
        problem: Candidates and source probabilities.
        weights: ``[weightings, images]``.
        totals: Where sums are added, see :meth:`Problem.blank_totals`.
        threads: Who works.
        tables: P(y | z) of each weighting, ``[weightings, classes, sources]``.
    """

    problem: Problem
    weights: NumpyArray
    totals: NumpyArray
    threads: ThreadPoolExecutor
    tables: NumpyArray = field(init=False)

    def __post_init__(self) -> None:
        """Lay out the sources and the shares of the threads."""
        widths = [array.shape[1] for array in self.problem.arrays]
        self._ends = np.cumsum([0, *widths])
        self.tables = np.zeros((len(self.weights), self.problem.num_classes, int(self._ends[-1])))
        # Several shares a thread, so that one that the machine holds up is not waited for as long.
        count = min(len(self.weights), 4 * torch.get_num_threads())
        bounds = np.linspace(0, len(self.weights), count + 1).astype(int)
        self._shares = [slice(low, high) for low, high in pairwise(bounds)]

    def estimate(self) -> None:
        """Fill the tables: joint counts of each image, weighted sums of those, each column divided by its mass."""
        from muster.scoring.cpu import resampling_kernels as kernels  # importing Numba takes a second

        entries = self.tables[0].size
        at_once = max(1, _JOINT_BYTES // (8 * entries))
        flat = self.tables.reshape(len(self.weights), entries)
        for low in range(0, self.problem.images, at_once):
            images = range(low, min(low + at_once, self.problem.images))
            joints = np.stack([self._joint(image) for image in images]).reshape(len(images), entries)
            weights = np.ascontiguousarray(self.weights[:, images.start : images.stop])
            self._on_threads(lambda share: kernels.add_weighted(weights[share], joints, flat[share]))  # noqa: B023
        mass = self.tables.sum(axis=1, keepdims=True)
        np.divide(self.tables, mass, out=self.tables, where=mass > 0)

    def accumulator(self, image: int) -> None:
        """Add what one image contributes."""
        from muster.scoring.cpu import resampling_kernels as kernels  # importing Numba takes a second

        problem, rows = self.problem, self.problem.scored
        labels, said = problem.labels[problem.pixels_of(image)], self._said(image)
        weights = np.ascontiguousarray(self.weights[:, image])
        members, precision = len(problem.arrays), problem.precision

        def add(share: slice) -> None:
            where = (said, self._ends, self.tables[share], labels, weights[share], rows)
            if problem.takes_logs:
                truths = np.empty((members, len(labels)), dtype=precision)
                kernels.add_logs_counted(*where, problem.smallest, truths, self.totals[share])
            else:
                scratch = np.empty((members, problem.num_classes, self._block()), dtype=precision)
                kernels.tally_counted(*where, problem.is_soft, scratch, self.totals[share])

        self._on_threads(add)

    def _on_threads(self, work: Callable[[slice], None]) -> None:
        for _ in self.threads.map(work, self._shares):
            pass

    def _said(self, image: int) -> Float[NumpyArray, "sources pixels"]:
        """Source probabilities of all members at an image's pixels, float64."""
        pixels = self.problem.pixels_of(image)
        together = np.concatenate([array[pixels] for array in self.problem.arrays], axis=1)
        return np.ascontiguousarray(together.T, dtype=np.float64)

    def _joint(self, image: int) -> Float[NumpyArray, "classes sources"]:
        """Sum of source probabilities over an image's pixels of each class."""
        labels = self.problem.labels[self.problem.pixels_of(image)]
        present, firsts = np.unique(labels, return_index=True)
        joint = np.zeros(self.tables.shape[1:])
        joint[present] = np.add.reduceat(self._said(image), firsts, axis=1).T
        return joint

    def _block(self) -> int:
        """Pixels at a time."""
        bytes_per_pixel = (
            len(self.problem.arrays) * self.problem.num_classes * np.dtype(self.problem.precision).itemsize
        )
        return min(512, max(32, _SCRATCH_BYTES // bytes_per_pixel))

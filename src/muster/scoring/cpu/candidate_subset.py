"""Scores of listed sets on a growing part of the pixels, by the metrics' definitions.

Sums over members are made in ascending order, so on all pixels the scores are the metrics' own. Axis names:
``candidates`` are sets of ``size`` members, rows in lexicographic order and ascending in a row.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Int

from muster.arrays import NumpyArray
from muster.scoring.cpu.compiling import kernels
from muster.scoring.cpu.extension import MemberSet, cut, factors_of, mean_ious, turned_block
from muster.scoring.cpu.workers import Steps, Workers
from muster.scoring.prediction_store import PredictionStore

Sets = Int[NumpyArray, "candidates size"]

_BLOCK_BYTES = 2**28
"""Most that predictions of all members may take at a time."""

_CACHE_BYTES = 2**19
"""What the predictions of all members at the pixels that are looked at together should fit into."""

_SHORTEST_TILE, _LONGEST_TILE = 128, 1024
_SETS_AT_ONCE = 2048


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is known of the sets; replaced as a whole, so that Ctrl-C never leaves half of an update."""

    sets: NumpyArray
    totals: NumpyArray
    pixels: int


class ListedSets(ABC):
    """Scores of candidates on the pixels seen so far.

    Attributes:
        seen: The candidates and the sums that their scores are made of.
    """

    def __init__(self, sets: Sets, totals: NumpyArray) -> None:
        """No pixel is seen yet."""
        self.seen = _Seen(sets, totals, 0)

    def add(self, chunk: slice) -> None:
        """See some more pixels."""
        more, seen = self._count(chunk), self.seen
        more += seen.totals
        self.seen = _Seen(seen.sets, more, seen.pixels + chunk.stop - chunk.start)

    def keep(self, kept: Bool[NumpyArray, " candidates"]) -> None:
        """Forget the other candidates."""
        self.seen = _Seen(self.seen.sets[kept], self.seen.totals[kept], self.seen.pixels)

    @abstractmethod
    def scores(self) -> Float[NumpyArray, " candidates"]:
        """Scores on the pixels seen so far."""

    @abstractmethod
    def spread(self, chunk: slice, leader: int) -> Float[NumpyArray, " candidates"]:
        """Variance over a chunk's pixels of what a pixel adds to the leader's score and not to the candidate's."""

    @abstractmethod
    def _count(self, chunk: slice) -> NumpyArray:
        """Sums over some pixels."""


@dataclass(frozen=True, eq=False)
class _View:
    """Some pixels: predictions ``[members, classes, pixels]`` of the members in use, and the sets among these."""

    block: NumpyArray
    labels: NumpyArray
    sets: NumpyArray
    tile: int


@dataclass(frozen=True, eq=False)
class _Effects:
    """What a hit adds to a candidate's score, and what a miss takes from it for each of its two classes.

    Both are ``[candidates, classes]``, and times the number of pixels.
    """

    gains: NumpyArray
    losses: NumpyArray


class IouSets(ListedSets):
    """Hits and misses, for IoU-EEP and SoftIoU-EEP."""

    def __init__(self, store: PredictionStore, sets: Sets, metric: str, workers: Workers) -> None:
        """Nothing is seen yet."""
        super().__init__(sets, np.zeros((len(sets), 2, store.num_classes)))
        self._store, self._soft, self._workers = store, metric == "soft_iou_eep", workers
        self._present = np.bincount(store.labels, minlength=store.num_classes) > 0

    def scores(self) -> Float[NumpyArray, " candidates"]:
        """See :meth:`ListedSets.scores`."""
        return mean_ious(self.seen.totals, self._present)

    def spread(self, chunk: slice, leader: int) -> Float[NumpyArray, " candidates"]:
        """See :meth:`ListedSets.spread`: to first order, for the score is no mean over pixels but of ratios of sums."""
        effects, moments = self._effects(), np.zeros((len(self.seen.sets), 2))
        influence = kernels(self._store.dtype, "influence", "add_moments").influence
        for view in self._views(chunk):
            reference = np.empty(len(view.labels))
            gains, losses = effects.gains[leader], effects.losses[leader]
            influence(view.block, view.labels, view.sets[leader], gains, losses, self._soft, reference)
            compare = partial(self._compare_some, view, effects, reference, moments)
            self._workers.each(compare, self._workers.ranges(len(moments), _SETS_AT_ONCE))
        return _variance(moments, chunk.stop - chunk.start)

    def _count(self, chunk: slice) -> NumpyArray:
        totals = np.zeros_like(self.seen.totals)
        kernels(self._store.dtype, "add_sets")  # compiled before several threads need it
        for view in self._views(chunk):
            ranges = self._workers.ranges(len(totals), _SETS_AT_ONCE)
            self._workers.each(partial(self._count_some, view, totals), ranges)
        return totals

    def _views(self, chunk: slice) -> Iterator[_View]:
        used, sets = np.unique(self.seen.sets, return_inverse=True)
        row_bytes = len(used) * self._store.num_classes * self._store.dtype.itemsize
        tile = min(_LONGEST_TILE, max(_SHORTEST_TILE, _CACHE_BYTES // row_bytes))
        for part in cut(chunk, row_bytes, _BLOCK_BYTES):
            block = turned_block(self._store, used, part, self._workers)
            yield _View(block, self._store.labels[part], sets.reshape(self.seen.sets.shape), tile)

    def _count_some(self, view: _View, totals: NumpyArray, some: range) -> None:
        rows = slice(some.start, some.stop)
        add = kernels(self._store.dtype).add_sets
        add(view.block, view.labels, view.sets[rows], self._soft, view.tile, totals[rows])

    def _compare_some(
        self, view: _View, effects: _Effects, reference: NumpyArray, moments: NumpyArray, some: range
    ) -> None:
        rows = slice(some.start, some.stop)
        sets, gains, losses = view.sets[rows], effects.gains[rows], effects.losses[rows]
        add = kernels(self._store.dtype).add_moments
        add(view.block, view.labels, sets, gains, losses, self._soft, view.tile, reference, moments[rows])

    def _effects(self) -> _Effects:
        """With I and U the hits and the hits plus misses of a class, I/U changes by (dI - I/U dU) / U.

        A hit adds to both, a miss to U only.
        """
        hits, whole = self.seen.totals[:, 0], self.seen.totals.sum(axis=1)
        ious = np.divide(hits, whole, out=np.zeros_like(hits), where=whole > 0)
        counts = (whole > 0) & self._present
        weights = np.divide(self.seen.pixels / self._present.sum(), whole, out=np.zeros_like(hits), where=counts)
        return _Effects(weights * (1.0 - ious), weights * ious)


class LogSets(ListedSets):
    """Logarithms, for E-LEEP; of sets of one, for LEEP."""

    def __init__(self, store: PredictionStore, sets: Sets, workers: Workers) -> None:
        """Nothing is seen yet."""
        super().__init__(sets, np.zeros(len(sets)))
        self._truths, self._workers = store.truths(), workers
        self._least = sets.shape[1] * float(np.finfo(store.dtype).smallest_normal)
        self._together = factors_of(store.dtype)

    def scores(self) -> Float[NumpyArray, " candidates"]:
        """See :meth:`ListedSets.scores`."""
        scores: NumpyArray = self.seen.totals / self.seen.pixels - math.log(self.seen.sets.shape[1])
        return scores

    def spread(self, chunk: slice, leader: int) -> Float[NumpyArray, " candidates"]:
        """See :meth:`ListedSets.spread`."""
        truths, sets = np.ascontiguousarray(self._truths[:, chunk]), self.seen.sets
        reference = np.log(np.maximum(truths[sets[leader]].sum(axis=0, dtype=np.float64), self._least))
        moments, add = np.zeros((len(sets), 2)), kernels(truths.dtype, "add_log_moments").add_log_moments

        def compare(some: range) -> None:
            rows = slice(some.start, some.stop)
            add(truths, sets[rows], self._least, reference, moments[rows])

        self._workers.each(compare, self._workers.ranges(len(sets), _SETS_AT_ONCE))
        return _variance(moments, truths.shape[1])

    def _count(self, chunk: slice) -> NumpyArray:
        truths, sets = np.ascontiguousarray(self._truths[:, chunk]), self.seen.sets
        totals, add = np.zeros(len(sets)), kernels(truths.dtype, "add_set_logs").add_set_logs

        def count(some: range) -> None:
            rows = slice(some.start, some.stop)
            add(truths, sets[rows], self._least, self._together, totals[rows])

        self._workers.each(count, self._workers.ranges(len(sets), _SETS_AT_ONCE))
        return totals


def list_sets(store: PredictionStore, sets: Sets, metric: str, workers: Workers) -> ListedSets:
    """What scores listed sets by a metric.

    Args:
        store: What members say.
        sets: The candidates; their last members are added to what the row before shares with them.
        metric: ``e_leep``, ``iou_eep`` or ``soft_iou_eep``.
        workers: Threads to run on.

    Returns:
        A scorer that has seen no pixel yet.
    """
    return LogSets(store, sets, workers) if metric == "e_leep" else IouSets(store, sets, metric, workers)


def exact_scores(
    store: PredictionStore, sets: Sequence[MemberSet], metric: str, workers: Workers, steps: Steps | None = None
) -> dict[MemberSet, float]:
    """Scores of some sets on all pixels, by the metric's definition.

    Args:
        store: What members say; only what these sets need is read.
        sets: Of one size.
        metric: Any of the four.
        workers: Threads to run on.
        steps: Told of every chunk.

    Returns:
        Score of each set.
    """
    rows = np.array(sorted(sets), dtype=np.int64)
    if metric == "ms_leep":
        leeps = member_leeps(store, workers)
        return {tuple(row): float(sum(leeps[row].tolist())) for row in rows.tolist()}
    listed = list_sets(store, rows, metric, workers)
    for chunk in store.chunks:
        listed.add(chunk)
        if steps is not None:
            steps.step()
    return dict(zip(map(tuple, rows.tolist()), listed.scores().tolist(), strict=True))


def member_leeps(store: PredictionStore, workers: Workers) -> Float[NumpyArray, " members"]:
    """LEEP of each member.

    Args:
        store: What members say.
        workers: Threads to run on.

    Returns:
        float64.
    """
    members = LogSets(store, np.arange(store.num_members)[:, None], workers)
    members.add(slice(0, store.num_pixels))
    return members.scores()


def _variance(moments: Float[NumpyArray, "candidates 2"], pixels: int) -> Float[NumpyArray, " candidates"]:
    first, second = moments.T / pixels
    variance: NumpyArray = np.maximum(second - first**2, 0.0) * (pixels / max(1, pixels - 1))
    return variance

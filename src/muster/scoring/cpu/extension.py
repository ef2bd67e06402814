"""Scores of sets with one more member, of every member at once: the step that greedy search and beam search repeat.

Axis names: ``bases`` are the sets that are extended, ``members`` those of the store, ``candidates`` sets of one size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int

from muster.arrays import NumpyArray
from muster.metrics.registry import Metric, get_ensemble_metric
from muster.scoring.by_definition import add_pixels, final_scores, init_states
from muster.scoring.cpu.compiling import kernels
from muster.scoring.cpu.workers import Steps, Workers
from muster.scoring.metric_kinds import adds_logs, counts_outcomes, is_soft
from muster.scoring.prediction_store import PredictionStore

MemberSet = tuple[int, ...]
"""Indices of members, ascending."""

_READ_BYTES = 2**20
"""Most that is read of one member at a time: it should stay in the second-fastest cache until it is used."""

_MEMBERS_AT_ONCE = 32
"""Members that a thread takes on before it looks for more to do."""


class Extensions(ABC):
    """Scores every set that extends a given one by a member.

    Attributes:
        num_members: Members there are.
        evaluated: Sets scored so far.
    """

    num_members: int
    evaluated: int

    @abstractmethod
    def scores(self, bases: Sequence[MemberSet]) -> Float[NumpyArray, "bases members"]:
        """Scores of each base with each member, -inf where the member is in the base already.

        Args:
            bases: Sets, all of one size, which may be 0.

        Returns:
            float64. The sums over members that they rest on are rounded as if the new member came last, so a score may
            differ from the metric's by rounding.
        """


class HitMissExtensions(Extensions):
    """Metrics of hits and misses: each call reads the predictions of all members once, a part of a chunk at a time."""

    def __init__(self, store: PredictionStore, metric: Metric, workers: Workers, steps: Steps) -> None:
        """``steps`` is told of every part; there are :func:`count_parts` of them in each call."""
        self.num_members, self.evaluated = store.num_members, 0
        self._store, self._metric, self._workers, self._steps = store, metric, workers, steps
        self._soft, self._backwards = is_soft(metric), False
        self._extend = kernels(store.dtype, "transpose", "add_extensions").add_extensions

    def scores(self, bases: Sequence[MemberSet]) -> Float[NumpyArray, "bases members"]:
        """See :meth:`Extensions.scores`."""
        store = self._store
        totals = np.zeros((store.num_members, len(bases), 2, store.num_classes))
        parts = list(parts_of(store))
        # What was read last may still be in the system's memory if a store on disk is too large for all of it to be.
        for part in reversed(parts) if self._backwards else parts:
            self._add(part, bases, totals)
            self._steps.step()
        self._backwards = not self._backwards
        counts = np.bincount(store.labels, minlength=store.num_classes)
        scores = np.ascontiguousarray(self._metric.final_scores(totals, counts).T)
        self.evaluated += scores.size - _forbid_repeats(scores, bases)
        return scores

    def _add(self, part: slice, bases: Sequence[MemberSet], totals: NumpyArray) -> None:
        store, labels, size = self._store, self._store.labels[part], len(bases[0]) + 1
        sums, true_class = self._sums(part, bases)

        def extend(members: range) -> None:
            predictions = np.empty((len(labels), store.num_classes), dtype=store.dtype)
            for member in members:
                read_member(store, member, part, predictions)
                self._extend(predictions, labels, sums, true_class, size, self._soft, totals[member])

        self._workers.each(extend, self._workers.ranges(store.num_members, _MEMBERS_AT_ONCE))

    def _sums(self, part: slice, bases: Sequence[MemberSet]) -> tuple[NumpyArray, NumpyArray]:
        """Sums over each base's members in ascending order: all classes ``[bases, classes, pixels]``; the true one."""
        store, labels = self._store, self._store.labels[part]
        used = sorted({member for base in bases for member in base})
        block = transposed_block(store, np.array(used, dtype=np.int64), part, self._workers)
        place = {member: block[row] for row, member in enumerate(used)}
        sums = np.zeros((len(bases), store.num_classes, len(labels)), dtype=store.dtype)
        true_class = np.zeros((len(bases), len(labels)))
        rows = np.arange(len(labels))
        for base, total, true in zip(bases, sums, true_class, strict=True):
            for member in base:
                total += place[member]
                true += place[member][labels, rows]
        return sums, true_class


class LogExtensions(Extensions):
    """Metrics of logs, from what members give to the true classes alone."""

    def __init__(self, store: PredictionStore, metric: Metric, size: int, workers: Workers, steps: Steps) -> None:
        """``size`` is that of the sets searched for; ``steps`` is told of every call of :meth:`scores`."""
        self.num_members, self.evaluated = store.num_members, 0
        self._metric, self._label_counts = metric, np.bincount(store.labels, minlength=store.num_classes)
        self._true_class = store.true_class_probabilities()
        self.offset = size * float(np.finfo(store.dtype).smallest_normal)
        self._together, self._sum_logs = factors_of(store.dtype), kernels(store.dtype, "sum_logs").sum_logs
        self._workers, self._steps = workers, steps

    def scores(self, bases: Sequence[MemberSet]) -> Float[NumpyArray, "bases members"]:
        """See :meth:`Extensions.scores`; the logs' argument is not clamped but has a tiny constant added."""
        everyone = np.arange(self.num_members)
        means = np.stack([self.mean_logs(base, everyone) for base in bases]) - math.log(len(bases[0]) + 1)
        scores = self._metric.final_scores(means * self._true_class.shape[1], self._label_counts)
        self.evaluated -= _forbid_repeats(scores, bases)
        self._steps.step()
        return scores

    def mean_logs(self, base: MemberSet, members: Int[NumpyArray, " some"]) -> Float[NumpyArray, " some"]:
        """Mean over pixels of log(offset + sum over a base and one of the members).

        Args:
            base: The set that is extended.
            members: By which.

        Returns:
            float64, one number for each of ``members``.
        """
        total = self._true_class[list(base)].sum(axis=0, dtype=np.float64)
        sums = np.empty(len(members))

        def add(some: range) -> None:
            part = slice(some.start, some.stop)
            self._sum_logs(self._true_class, total, members[part], self.offset, self._together, sums[part])

        self._workers.each(add, self._workers.ranges(len(members), _MEMBERS_AT_ONCE))
        self.evaluated += len(members)
        mean: NumpyArray = sums / len(total)
        return mean


class TorchExtensions(Extensions):
    """Any metric, by its own accumulator; each call reads the predictions of all members once, chunk by chunk."""

    def __init__(self, store: PredictionStore, metric: Metric, steps: Steps) -> None:
        """``steps`` is told of every chunk."""
        self.num_members, self.evaluated = store.num_members, 0
        self._store, self._metric, self._steps = store, metric, steps

    def scores(self, bases: Sequence[MemberSet]) -> Float[NumpyArray, "bases members"]:
        """See :meth:`Extensions.scores`; sums are made in ascending order, so the scores are the metric's own."""
        store, metric = self._store, self._metric
        new = [
            (row, member) for row, base in enumerate(bases) for member in range(self.num_members) if member not in base
        ]
        candidates = torch.tensor([sorted((*bases[row], member)) for row, member in new])
        states = init_states(store, len(new), [metric])
        for chunk in store.chunks:
            add_pixels(store, candidates, states, chunk)
            self._steps.step()
        scores = np.full((len(bases), self.num_members), -np.inf)
        scores[tuple(zip(*new, strict=True))] = final_scores(
            metric, states, np.bincount(store.labels, minlength=store.num_classes)
        )
        self.evaluated += len(new)
        return scores


def extensions_of(store: PredictionStore, metric: str, size: int, workers: Workers, steps: Steps) -> Extensions:
    """What scores extensions by a metric; one that sums its members needs none.

    Args:
        store: The predictions.
        metric: Name of a metric of ensembles.
        size: The size of the sets searched for.
        workers: Threads to run on.
        steps: Told of progress.

    Returns:
        The scorer: of compiled loops where there are such for the metric and the store, or else of torch.
    """
    known = get_ensemble_metric(metric)
    if store.backend == "numba" and adds_logs(known):
        return LogExtensions(store, known, size, workers, steps)
    if store.backend == "numba" and counts_outcomes(known):
        return HitMissExtensions(store, known, workers, steps)
    return TorchExtensions(store, known, steps)


def steps_of_pass(store: PredictionStore, metric: str) -> int:
    """How many steps one call of :meth:`Extensions.scores` takes.

    Args:
        store: The predictions.
        metric: Name of a metric of ensembles.

    Returns:
        Of what :func:`extensions_of` gives.
    """
    known = get_ensemble_metric(metric)
    if store.backend == "numba" and adds_logs(known):
        return 1
    return count_parts(store) if store.backend == "numba" and counts_outcomes(known) else len(store.chunks)


def factors_of(dtype: np.dtype[np.floating]) -> int:
    """How many numbers of a type, none below its smallest normal one, can be multiplied in float64."""
    return 8 if dtype == np.float32 else 1


def parts_of(store: PredictionStore, row_bytes: int = 0, most_bytes: int = _READ_BYTES) -> Iterator[slice]:
    """The store's pixels, chunk by chunk, in parts that fit into so much memory.

    Args:
        store: Whose.
        row_bytes: What a pixel takes; by default one member's predictions.
        most_bytes: What a part may take; it has at least 256 pixels all the same.

    Yields:
        Slices of pixels, in the store's order.
    """
    for chunk in store.chunks:
        yield from cut(chunk, row_bytes or store.num_classes * store.dtype.itemsize, most_bytes)


def cut(chunk: slice, row_bytes: int, most_bytes: int) -> Iterator[slice]:
    """One chunk in parts, as :func:`parts_of`."""
    step = max(256, most_bytes // row_bytes)
    for start in range(chunk.start, chunk.stop, step):
        yield slice(start, min(start + step, chunk.stop))


def count_parts(store: PredictionStore) -> int:
    """Into how many parts :func:`parts_of` cuts a store."""
    return sum(1 for _ in parts_of(store))


def read_member(store: PredictionStore, member: int, part: slice, into: Float[NumpyArray, "pixels classes"]) -> None:
    """Read one member's predictions at some pixels."""
    store._read(member, part.start, into)


def transposed_block(
    store: PredictionStore, members: Int[NumpyArray, " some"], part: slice, workers: Workers
) -> Float[NumpyArray, "some classes pixels"]:
    """Some members' predictions at some pixels, pixels last."""
    pixels = part.stop - part.start
    block = np.empty((len(members), store.num_classes, pixels), dtype=store.dtype)
    transpose = kernels(store.dtype, "transpose").transpose

    def read(rows: range) -> None:
        predictions = np.empty((pixels, store.num_classes), dtype=store.dtype)
        for row in rows:
            read_member(store, int(members[row]), part, predictions)
            transpose(predictions, block[row])

    workers.each(read, workers.ranges(len(members), _MEMBERS_AT_ONCE))
    return block


def _forbid_repeats(scores: Float[NumpyArray, "bases members"], bases: Sequence[MemberSet]) -> int:
    """Set the scores of a base with its own members to -inf; returns how many those are."""
    for row, base in zip(scores, bases, strict=True):
        row[list(base)] = -np.inf
    return sum(len(base) for base in bases)

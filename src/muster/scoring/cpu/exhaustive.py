"""Scoring all candidates of a store on the processor: which part of the work is done when, by which thread.

The store's chunks are read one after the other and laid out for :mod:`muster.scoring.cpu.exhaustive_kernels`. A chunk
is worked off in parts of about a second, each by all threads together. After a part all candidates have seen the same
pixels, so what was computed up to there can be used. Inside a chunk groups of pixels are shuffled, so that this is a
random sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from muster.arrays import NumpyArray
from muster.cancel import Cancelled, CancelToken
from muster.metrics.registry import get_ensemble_metric
from muster.scoring.cpu.compiling import told_if_slow
from muster.scoring.fixed_point import COUNT_LIMIT, FixedPointSums, fixed_point_scale
from muster.scoring.metric_kinds import adds_logs, counts_outcomes, definition_of
from muster.scoring.prediction_store import PredictionStore

LARGEST_NUM_CLASSES = 32_767
"""What a predicted class, right or wrong, is noted in has 16 bits."""

TABLE_BYTES = 2 << 30
"""Most memory for the sums of all candidates; more candidates are scored in several passes over the store."""

_RUN = 256  # pixels that a candidate sees in a row
_SHUFFLED = 16  # neighbouring pixels that stay together
_BLOCK_BYTES = 8 << 20  # read at a time by a thread
_PART_SECONDS = 1.0
_NANOSECONDS = (0.8, 0.07)  # a pixel of a candidate takes; a class of it takes; roughly, to divide the work
_TASKS = 16  # a thread gets, so that threads end together
_LARGEST_TINY = 1e-38  # eight factors of this size still make a double

Task = tuple[int, int, int, int]
"""Prefixes from, to; last member from, to; the ends excluded."""

Call = tuple[Callable[[], None], float]
"""What a thread is to do, and how many candidates' worth of work it is."""


@dataclass(frozen=True, eq=False)
class Prefixes:
    """The first ``size - 2`` members of the candidates, or one empty prefix if there are none.

    Attributes:
        members: int64 ``[prefixes, size - 2]`` (at least one column), in lexicographic order.
        rows: int64 ``[prefixes + 1]``, candidates before each prefix's, and all.
        size: Members per candidate.
        num_members: Members in the store.
    """

    members: NumpyArray
    rows: NumpyArray
    size: int
    num_members: int

    @classmethod
    def of(cls, candidates: NumpyArray, num_members: int) -> Prefixes:
        """The prefixes of all candidates of one size."""
        size = candidates.shape[1]
        if size < 3:
            return cls(np.zeros((1, 1), dtype=np.int64), np.array([0, len(candidates)]), size, num_members)
        starts = np.flatnonzero((candidates[1:, : size - 2] != candidates[:-1, : size - 2]).any(axis=1)) + 1
        rows = np.concatenate([[0], starts, [len(candidates)]])
        return cls(np.ascontiguousarray(candidates[rows[:-1], : size - 2]), rows, size, num_members)

    def tasks(self, first: int, last: int, threads: int) -> list[tuple[Task, int]]:
        """Divide some prefixes into tasks of about equal work, each with its number of candidates."""
        at_once = 32 if self.size > 2 else 8
        lowest = self.members[first:last, -1] + 1 if self.size > 2 else np.zeros(1, dtype=np.int64)
        whole = max(1, int(self.rows[last] - self.rows[first]) // (threads * _TASKS))
        tasks = []
        for low in range(0, self.num_members, at_once):
            high = min(low + at_once, self.num_members)
            # Pairs b < c of a prefix with c in low..high-1: c - lowest of them for each c.
            pairs = sum(np.ones_like(lowest) if self.size == 1 else np.maximum(c - lowest, 0) for c in range(low, high))
            ends = np.concatenate([[0], np.cumsum(pairs)])
            cuts = np.searchsorted(ends, np.arange(0, ends[-1] + whole, whole))
            bounds = np.unique(np.minimum(cuts, last - first))
            tasks += [
                ((first + int(a), first + int(b), low, high), int(ends[b] - ends[a])) for a, b in pairwise(bounds)
            ]
        return tasks


def score_store(
    store: PredictionStore,
    candidates: NumpyArray,
    metrics: Sequence[str],
    threads: int,
    progress: Callable[[float], None],
    cancel: CancelToken | None = None,
) -> tuple[dict[str, NumpyArray], float]:
    """Score all candidates of one size.

    Args:
        store: The members' predictions.
        candidates: int64 ``[candidates, size]``: all of that size, in lexicographic order.
        metrics: Names of metrics that :func:`~muster.scoring.metric_kinds.has_exhaustive_kernels`.
        threads: How many threads to compute on.
        progress: Told how many candidates' worth of work was done since it was last told.
        cancel: Asked after each part whether to go on.

    Returns:
        Scores per metric; and the share of the pixels that they rest on, less than 1 if the work was cancelled. A soft
        IoU is NaN where its sums are too small for fixed point, see :meth:`FixedPointSums.is_coarse`.

    Raises:
        Cancelled: If nothing that all candidates share was computed before it.
    """
    cancel = cancel or CancelToken()
    scores = {metric: np.empty(len(candidates)) for metric in metrics}
    fraction = 1.0
    for rows, sums in sums_of_store(store, candidates, metrics, threads, progress, cancel):
        fraction = sums.pixels / store.num_pixels
        found = {m: sums.score(m) for m in metrics} if cancel.is_set else sums.scores()
        for metric, values in found.items():
            scores[metric][rows] = values
    return scores, fraction


def sums_of_store(
    store: PredictionStore,
    candidates: NumpyArray,
    metrics: Sequence[str],
    threads: int,
    progress: Callable[[float], None],
    cancel: CancelToken | None = None,
) -> Iterator[tuple[slice, FixedPointSums]]:
    """What scores are made of, for as many candidates at a time as memory allows.

    Args:
        store: See :func:`score_store`, as for all others.
        candidates: Likewise.
        metrics: Likewise.
        threads: Likewise.
        progress: Likewise.
        cancel: Likewise.

    Yields:
        Rows of ``candidates``, and their sums over the pixels.

    Raises:
        Cancelled: If nothing that all candidates share was computed before it.
    """
    cancel = cancel or CancelToken()
    prefixes = Prefixes.of(candidates, store.num_members)
    bounds = _passes(prefixes, store.num_classes, any(counts_outcomes(get_ensemble_metric(name)) for name in metrics))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="score")
    try:
        _compile(store, metrics, pool)
        with cancel.awaited():
            for first, last in pairwise(bounds):
                rows = slice(int(prefixes.rows[first]), int(prefixes.rows[last]))
                scale = fixed_point_scale(prefixes.size, COUNT_LIMIT, store.num_pixels)
                sums = FixedPointSums(candidates[rows], store.num_members, store.num_classes, scale, metrics)
                _Pass(store, prefixes, first, last, sums, pool, threads, cancel, progress).run()
                if sums.pixels == 0 or (cancel.is_set and len(bounds) > 2):
                    raise Cancelled
                yield rows, sums
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@dataclass(eq=False)
class _LaidOut:
    """A chunk as the kernels read it; see :mod:`muster.scoring.cpu.exhaustive_kernels`.

    Attributes:
        labels: int64 ``[pixels]``, in the order of the layout.
        true_class: float64 ``[members, pixels]``, probabilities of the true class.
        wide: Whether some of them are very small.
        likelihoods: int64 ``[members, pixels]``; ``None`` if predicted classes are not counted. Then the rest is empty.
        data: Flat.
        stride: Numbers of one member in ``data``.
        lane_labels: ``labels`` in integers as wide as the numbers of ``data``, up to a whole group of lanes.
    """

    labels: NumpyArray
    true_class: NumpyArray
    wide: bool
    likelihoods: NumpyArray | None
    data: NumpyArray
    stride: int
    lane_labels: NumpyArray


@dataclass(eq=False)
class _Pass:
    """One pass over the store, for the candidates of some prefixes."""

    store: PredictionStore
    prefixes: Prefixes
    first_prefix: int
    last_prefix: int
    accumulator: FixedPointSums
    pool: ThreadPoolExecutor
    threads: int
    cancel: CancelToken
    progress: Callable[[float], None]

    def __post_init__(self) -> None:
        """What stays the same for all parts."""
        store = self.store
        self.tiny = float(np.finfo(store.dtype).smallest_normal)
        self.table = np.zeros(self.accumulator.counts.size, dtype=np.int64)
        self.rows = self.prefixes.rows[:-1] - self.prefixes.rows[self.first_prefix]
        self.tasks = self.prefixes.tasks(self.first_prefix, self.last_prefix, self.threads)
        seconds = _NANOSECONDS[0] + _NANOSECONDS[1] * store.num_classes * self.accumulator.wants_outcomes
        seconds *= 1e-9 * max(1, len(self.accumulator.candidates)) / self.threads
        self.part_pixels = max(1, round(_PART_SECONDS / seconds / _RUN)) * _RUN

    def run(self) -> None:
        """Add chunk after chunk to the accumulator, until the end or until somebody wants to stop."""
        for chunk in self.store.chunks:
            if self.cancel.is_set:
                return
            laid = self._lay_out(chunk)
            for start in range(0, len(laid.labels), self.part_pixels):
                if self.cancel.is_set:
                    return
                self._add(laid, start, min(start + self.part_pixels, len(laid.labels)))

    def _lay_out(self, chunk: slice) -> _LaidOut:
        pixels, members = chunk.stop - chunk.start, self.store.num_members
        places = _shuffled_groups(pixels, chunk.start)
        labels = np.empty(pixels, dtype=np.int64)
        labels[places] = self.store.labels[chunk]
        true_class = aligned(members * pixels, np.dtype(np.float64)).reshape(members, pixels)
        if self.accumulator.wants_outcomes:
            laid = self._lay_out_predictions(chunk, places, labels, true_class)
        else:
            true_class[:, places] = self.store.true_class_probabilities()[:, chunk]
            nothing = np.empty(0, dtype=np.int64)
            laid = _LaidOut(labels, true_class, False, None, nothing, 0, nothing)
        laid.wide = self.store.dtype == np.float64 and float(true_class.min()) < _LARGEST_TINY
        return laid

    def _lay_out_predictions(
        self, chunk: slice, places: NumpyArray, labels: NumpyArray, true_class: NumpyArray
    ) -> _LaidOut:
        from muster.scoring.cpu import exhaustive_kernels

        store, (members, pixels) = self.store, true_class.shape
        lanes = exhaustive_kernels.VECTOR_BYTES // store.dtype.itemsize
        stride = (-(-pixels // lanes) + 1) * lanes * store.num_classes  # one group more, lest members share cache sets
        data = aligned(members * stride, store.dtype)
        likelihoods = np.empty((members, pixels), dtype=np.int64)
        lane_labels = np.zeros(-(-pixels // lanes) * lanes, dtype=f"i{store.dtype.itemsize}")
        lane_labels[:pixels] = labels
        at_once = max(1, _BLOCK_BYTES // (members * store.num_classes * store.dtype.itemsize))

        def read(start: int) -> None:
            part = slice(start, min(start + at_once, pixels))
            block = store.block(slice(chunk.start + part.start, chunk.start + part.stop))
            true = store.labels[chunk][part]
            for member in range(members):
                exhaustive_kernels.lay_out(
                    block[member], true, places[part], self.accumulator.scale, data, member * stride,
                    true_class.reshape(-1), likelihoods.reshape(-1), member * pixels,
                )  # fmt: skip

        self._do([(partial(read, start), 0.0) for start in range(0, pixels, at_once)])
        return _LaidOut(labels, true_class, False, likelihoods, data, stride, lane_labels)

    def _add(self, laid: _LaidOut, first: int, last: int) -> None:
        """Add some pixels of a chunk to the accumulator."""
        calls: list[Call] = []
        share = (last - first) / self.store.num_pixels
        if self.accumulator.wants_outcomes:
            calls += [(partial(self._count, laid, first, last, task), share * count) for task, count in self.tasks]
        if self.accumulator.wants_products:
            weight = 0.0 if calls else share
            calls += [(partial(self._multiply, laid, first, last, task), weight * count) for task, count in self.tasks]
        self._do(calls)
        if not calls:
            self.progress(share * len(self.accumulator.candidates))
        pixels = slice(first, last)
        likelihoods = None if laid.likelihoods is None else laid.likelihoods[:, pixels]
        self.accumulator.add_pixels(laid.labels[pixels], laid.true_class[:, pixels], likelihoods, self.tiny)

    def _count(self, laid: _LaidOut, first: int, last: int, task: Task) -> None:
        from muster.scoring.cpu import exhaustive_kernels

        store = self.store
        assert laid.likelihoods is not None
        codes = np.empty(exhaustive_kernels.GROUP * (task[3] - task[2]) * _RUN, dtype=_code_type(store.num_classes))
        sums = aligned(
            exhaustive_kernels.GROUP * store.num_classes * exhaustive_kernels.VECTOR_BYTES // store.dtype.itemsize,
            store.dtype,
        )
        problem = (self.prefixes.size, store.num_members, store.num_classes, len(laid.labels))
        exhaustive_kernels.count_outcome_codes(
            laid.data, laid.stride, laid.lane_labels, laid.likelihoods.reshape(-1), first, last, _RUN, problem,
            self.prefixes.members, self.rows, task, sums, codes, self.table,
            self.accumulator.counts.reshape(-1), self.accumulator.totals.reshape(-1),
        )  # fmt: skip

    def _multiply(self, laid: _LaidOut, first: int, last: int, task: Task) -> None:
        from muster.scoring.cpu import product_kernels

        problem = (self.prefixes.size, self.store.num_members)
        product_kernels.multiply_true_class(
            laid.true_class.reshape(-1), len(laid.labels), first, last, problem, self.prefixes.members, self.rows, task,
            self.prefixes.size * self.tiny, laid.wide, self.accumulator.fractions, self.accumulator.exponents,
        )  # fmt: skip

    def _do(self, calls: Sequence[Call]) -> None:
        """Do all, on all threads."""
        weights = {self.pool.submit(call): weight for call, weight in calls}
        pending: set[Future[None]] = set(weights)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            self.progress(sum(weights[future] for future in done))


def aligned(count: int, dtype: np.dtype[np.floating]) -> NumpyArray:
    """An empty array that starts where a vector register would like to read."""
    space = np.empty(count * dtype.itemsize + 64, dtype=np.uint8)
    start = -space.ctypes.data % 64
    return space[start : start + count * dtype.itemsize].view(dtype)


def _shuffled_groups(count: int, seed: int) -> NumpyArray:
    """Where to put each of some pixels: groups of neighbours stay together, a last one that is not full stays last."""
    places = np.arange(count, dtype=np.int64)
    groups = np.random.default_rng(seed).permutation(count // _SHUFFLED)
    whole = len(groups) * _SHUFFLED
    places[:whole] = (groups[:, None] * _SHUFFLED + np.arange(_SHUFFLED)).reshape(-1)
    return places


def _code_type(num_classes: int) -> type[np.unsignedinteger]:
    """What holds twice as many numbers as there are classes."""
    return np.uint8 if 2 * num_classes <= 256 else np.uint16


def _compile(store: PredictionStore, metrics: Sequence[str], pool: ThreadPoolExecutor) -> None:
    """Have the kernels compiled, or fetched from disk, before work is divided; say so if that takes long."""
    asked = [get_ensemble_metric(name) for name in metrics]
    needed: list[Callable[[PredictionStore], None]] = []
    if any(map(counts_outcomes, asked)):
        needed.append(_compile_outcome_codes)
    if any(adds_logs(metric) and not definition_of(metric).sums_members for metric in asked):
        needed.append(_compile_products)
    compiling = [pool.submit(kind, store) for kind in needed]
    message = "Preparing the scoring loops; the first time on a machine they are compiled, which takes a while."
    with told_if_slow(message):
        for future in compiling:
            future.result()


def _compile_outcome_codes(store: PredictionStore) -> None:
    """Call without any work."""
    from muster.scoring.cpu import exhaustive_kernels

    numbers, doubles, integers = np.empty(0, store.dtype), np.empty(0), np.empty(0, np.int64)
    labels, codes = np.empty(0, f"i{store.dtype.itemsize}"), np.empty(0, _code_type(store.num_classes))
    exhaustive_kernels.lay_out(np.empty((0, 1), store.dtype), integers, integers, 1.0, numbers, 0, doubles, integers, 0)
    exhaustive_kernels.count_outcome_codes(
        numbers, 0, labels, integers, 0, 0, _RUN, (1, 1, 1, 0), np.zeros((1, 1), np.int64), integers, (0, 0, 0, 0),
        numbers, codes, integers, np.empty(0, np.int32), integers,
    )  # fmt: skip


def _compile_products(_: PredictionStore) -> None:
    """Call without any work."""
    from muster.scoring.cpu import product_kernels

    doubles, integers = np.empty(0), np.empty(0, np.int64)
    prefixes, task = np.zeros((1, 1), np.int64), (0, 0, 0, 0)
    product_kernels.multiply_true_class(
        doubles, 0, 0, 0, (1, 1), prefixes, integers, task, 1.0, False, doubles, integers
    )


def _passes(prefixes: Prefixes, num_classes: int, codes: bool) -> list[int]:
    """Where to divide the prefixes so that the sums of the candidates of each division fit in memory."""
    entry_bytes = 20 * 2 * num_classes if codes else 16
    most = max(1, TABLE_BYTES // entry_bytes)
    bounds = [0]
    for prefix in range(1, len(prefixes.rows)):
        if prefixes.rows[prefix] - prefixes.rows[bounds[-1]] > most and prefix - 1 > bounds[-1]:
            bounds.append(prefix - 1)
    return [*bounds, len(prefixes.rows) - 1]

"""Scores of a subset of the candidates on a growing part of the pixels.

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
import torch
from jaxtyping import Bool, Float, Int

from muster.arrays import NumpyArray
from muster.metrics.accumulators import sum_members
from muster.metrics.e_leep import mean_log
from muster.metrics.registry import Metric, get_ensemble_metric
from muster.scoring.by_definition import add_pixels, init_states, states_of_groups
from muster.scoring.cpu.compiling import kernels
from muster.scoring.cpu.extension import MemberSet, cut, factors_of, transposed_block
from muster.scoring.cpu.workers import Steps, Workers
from muster.scoring.metric_kinds import adds_logs, counts_outcomes, definition_of, is_soft
from muster.scoring.prediction_store import PredictionStore

Candidates = Int[NumpyArray, "candidates size"]

_BLOCK_BYTES = 2**28
"""Most that predictions of all members may take at a time."""

_CACHE_BYTES = 2**19
"""What the predictions of all members at the pixels that are looked at together should fit into."""

_SHORTEST_TILE, _LONGEST_TILE = 128, 1024
_CANDIDATES_AT_ONCE = 2048

_GROUPS = 64
"""Parts of a chunk that are left out in turn, to see how much a score varies with the pixels."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is known of the candidates; replaced as a whole, so that Ctrl-C never leaves half of an update.

    Attributes:
        candidates: Of ``size`` members.
        state: What the metric's accumulator has added up for each.
        label_counts: Pixels of each class that were seen.
    """

    candidates: NumpyArray
    state: NumpyArray
    label_counts: NumpyArray

    @property
    def pixels(self) -> int:
        """How many were seen."""
        return int(self.label_counts.sum())


class CandidateSubset(ABC):
    """Scores of candidates on the pixels seen so far.

    Attributes:
        seen: The candidates and the sums that their scores are made of.
    """

    def __init__(self, store: PredictionStore, candidates: Candidates, metric: Metric, state: NumpyArray) -> None:
        """No pixel is seen yet."""
        self._store, self._metric = store, metric
        self.seen = _Seen(candidates, state, np.zeros(store.num_classes, dtype=np.int64))

    def add(self, chunk: slice) -> None:
        """See some more pixels."""
        state, seen = self._state_of(chunk), self.seen
        state += seen.state
        more = np.bincount(self._store.labels[chunk], minlength=self._store.num_classes)
        self.seen = _Seen(seen.candidates, state, seen.label_counts + more)

    def keep(self, kept: Bool[NumpyArray, " candidates"]) -> None:
        """Forget the other candidates."""
        self.seen = _Seen(self.seen.candidates[kept], self.seen.state[kept], self.seen.label_counts)

    def scores(self) -> Float[NumpyArray, " candidates"]:
        """Scores on the pixels seen so far, larger is better."""
        return self._metric.final_scores(self.seen.state, self.seen.label_counts)

    @abstractmethod
    def variance(self, chunk: slice, best: int) -> Float[NumpyArray, " candidates"]:
        """Variance over a chunk's pixels of what a pixel adds to the best candidate's score and not to another's.

        Args:
            chunk: The pixels that were seen last.
            best: The candidate that leads.

        Returns:
            For each candidate.
        """

    @abstractmethod
    def _state_of(self, chunk: slice) -> NumpyArray:
        """State of some pixels."""


@dataclass(frozen=True, eq=False)
class _View:
    """Some pixels: predictions ``[members, classes, pixels]`` of the members in use, the candidates among these."""

    block: NumpyArray
    labels: NumpyArray
    candidates: NumpyArray
    tile: int


class HitMissSubset(CandidateSubset):
    """Metrics of hits and misses, in compiled loops."""

    def __init__(self, store: PredictionStore, candidates: Candidates, metric: Metric, workers: Workers) -> None:
        """Nothing is seen yet."""
        super().__init__(store, candidates, metric, np.zeros((len(candidates), 2, store.num_classes)))
        self._soft, self._workers = is_soft(metric), workers

    def variance(self, chunk: slice, best: int) -> Float[NumpyArray, " candidates"]:
        """See :meth:`CandidateSubset.variance`: to first order, for the score is no mean over pixels."""
        effects, moments = self._effects(), np.zeros((len(self.seen.candidates), 2))
        influence = kernels(self._store.dtype, "influence", "add_moments").influence
        for view in self._views(chunk):
            reference = np.empty(len(view.labels))
            influence(view.block, view.labels, view.candidates[best], effects[best], self._soft, reference)
            compare = partial(self._compare_some, view, effects, reference, moments)
            self._workers.each(compare, self._workers.ranges(len(moments), _CANDIDATES_AT_ONCE))
        return _variance(moments, chunk.stop - chunk.start)

    def _state_of(self, chunk: slice) -> NumpyArray:
        state = np.zeros_like(self.seen.state)
        kernels(self._store.dtype, "add_candidates")  # compiled before several threads need it
        for view in self._views(chunk):
            ranges = self._workers.ranges(len(state), _CANDIDATES_AT_ONCE)
            self._workers.each(partial(self._count_some, view, state), ranges)
        return state

    def _views(self, chunk: slice) -> Iterator[_View]:
        used, local = np.unique(self.seen.candidates, return_inverse=True)
        row_bytes = len(used) * self._store.num_classes * self._store.dtype.itemsize
        tile = min(_LONGEST_TILE, max(_SHORTEST_TILE, _CACHE_BYTES // row_bytes))
        for part in cut(chunk, row_bytes, _BLOCK_BYTES):
            block = transposed_block(self._store, used, part, self._workers)
            yield _View(block, self._store.labels[part], local.reshape(self.seen.candidates.shape), tile)

    def _count_some(self, view: _View, state: NumpyArray, some: range) -> None:
        rows = slice(some.start, some.stop)
        add = kernels(self._store.dtype).add_candidates
        add(view.block, view.labels, view.candidates[rows], self._soft, view.tile, state[rows])

    def _compare_some(
        self, view: _View, effects: NumpyArray, reference: NumpyArray, moments: NumpyArray, some: range
    ) -> None:
        rows = slice(some.start, some.stop)
        add = kernels(self._store.dtype).add_moments
        candidates = view.candidates[rows]
        add(view.block, view.labels, candidates, effects[rows], self._soft, view.tile, reference, moments[rows])

    def _effects(self) -> Float[NumpyArray, "candidates 3 classes"]:
        """What a hit, a miss and a label of each class change, times the number of pixels: the score's derivatives."""
        state = torch.from_numpy(self.seen.state).requires_grad_()
        counts = torch.from_numpy(self.seen.label_counts).double().expand(len(state), -1).clone().requires_grad_()
        total = self._metric.ranked(definition_of(self._metric).finalise(state, counts)).sum()
        of_state, of_counts = torch.autograd.grad(total, (state, counts), allow_unused=True, materialize_grads=True)
        effects = torch.cat([of_state, of_counts[:, None]], dim=1).nan_to_num_(0.0, 0.0, 0.0)  # 0 / 0: no pixel yet
        scaled: NumpyArray = (effects * self.seen.pixels).numpy()
        return scaled


class LogSubset(CandidateSubset):
    """Mean logs, in compiled loops; of candidates of one member, LEEP."""

    def __init__(self, store: PredictionStore, candidates: Candidates, metric: Metric, workers: Workers) -> None:
        """Nothing is seen yet."""
        super().__init__(store, candidates, metric, np.zeros(len(candidates)))
        self._true_class, self._workers = store.true_class_probabilities(), workers
        self._least = candidates.shape[1] * float(np.finfo(store.dtype).smallest_normal)
        self._together = factors_of(store.dtype)

    def variance(self, chunk: slice, best: int) -> Float[NumpyArray, " candidates"]:
        """See :meth:`CandidateSubset.variance`."""
        true_class, candidates = np.ascontiguousarray(self._true_class[:, chunk]), self.seen.candidates
        reference = np.log(np.maximum(true_class[candidates[best]].sum(axis=0, dtype=np.float64), self._least))
        moments, add = np.zeros((len(candidates), 2)), kernels(true_class.dtype, "add_log_moments").add_log_moments

        def compare(some: range) -> None:
            rows = slice(some.start, some.stop)
            add(true_class, candidates[rows], self._least, reference, moments[rows])

        self._workers.each(compare, self._workers.ranges(len(candidates), _CANDIDATES_AT_ONCE))
        return _variance(moments, true_class.shape[1])

    def _state_of(self, chunk: slice) -> NumpyArray:
        true_class, candidates = np.ascontiguousarray(self._true_class[:, chunk]), self.seen.candidates
        state, add = np.zeros(len(candidates)), kernels(true_class.dtype, "add_candidate_logs").add_candidate_logs

        def count(some: range) -> None:
            rows = slice(some.start, some.stop)
            add(true_class, candidates[rows], self._least, self._together, state[rows])

        self._workers.each(count, self._workers.ranges(len(candidates), _CANDIDATES_AT_ONCE))
        # The loops add logs of sums over members; the members' number is taken out of a mean.
        state -= true_class.shape[1] * math.log(candidates.shape[1])
        return state


class TorchSubset(CandidateSubset):
    """Any metric, by its own accumulator, on the device of the predictions."""

    def __init__(self, store: PredictionStore, candidates: Candidates, metric: Metric) -> None:
        """Nothing is seen yet."""
        state = definition_of(metric).accumulator.init(len(candidates), store.num_classes, torch.device("cpu"))
        super().__init__(store, candidates, metric, state.numpy())

    def variance(self, chunk: slice, best: int) -> Float[NumpyArray, " candidates"]:
        """See :meth:`CandidateSubset.variance`: a random group of pixels is left out after the other (jackknife).

        Nothing is known of how a pixel enters the score, but that states are sums. Without k of n pixels a mean over
        pixels moves by k / (n - k) times its difference from the mean of those k, whose variance is that of a pixel
        over k. Any other smooth function of sums moves like a mean.
        """
        seen, count = self.seen, chunk.stop - chunk.start
        order = np.random.default_rng(chunk.start).permutation(count)
        groups = np.array_split(order, max(2, min(_GROUPS, count)))
        whole, moved = self.scores(), []
        for group, state in zip(groups, self._states_of(chunk, groups), strict=True):
            counts = np.bincount(self._store.labels[chunk][group], minlength=self._store.num_classes)
            change = self._metric.final_scores(seen.state - state, seen.label_counts - counts) - whole
            moved.append((change - change[best]) * (seen.pixels - len(group)) / math.sqrt(max(1, len(group))))
        variance: NumpyArray = np.var(moved, axis=0, ddof=1)
        return variance

    def _states_of(self, chunk: slice, groups: Sequence[NumpyArray]) -> Iterator[NumpyArray]:
        candidates = torch.from_numpy(self.seen.candidates)
        for state in states_of_groups(self._store, candidates, self._metric, chunk, groups):
            yield state.cpu().numpy()

    def _state_of(self, chunk: slice) -> NumpyArray:
        states = init_states(self._store, len(self.seen.candidates), [self._metric])
        add_pixels(self._store, torch.from_numpy(self.seen.candidates), states, chunk)
        state: NumpyArray = states[definition_of(self._metric).accumulator].cpu().numpy()
        return state


def candidate_subset(store: PredictionStore, candidates: Candidates, metric: str, workers: Workers) -> CandidateSubset:
    """What scores a subset of the candidates by a metric.

    Args:
        store: The predictions.
        candidates: Their last members are added to what the row before shares with them.
        metric: Name of a metric of ensembles; of one that sums its members, each row's own score, not the sum.
        workers: Threads to run on.

    Returns:
        A scorer that has seen no pixel yet: of compiled loops where there are such for the metric and the store, or
        else of torch.
    """
    known = get_ensemble_metric(metric)
    if store.backend == "numba" and adds_logs(known) and definition_of(known).finalise is mean_log:
        return LogSubset(store, candidates, known, workers)
    if store.backend == "numba" and counts_outcomes(known):
        return HitMissSubset(store, candidates, known, workers)
    return TorchSubset(store, candidates, known)


def exact_scores(
    store: PredictionStore, candidates: Sequence[MemberSet], metric: str, workers: Workers, steps: Steps | None = None
) -> dict[MemberSet, float]:
    """Scores of some candidates on all pixels, by the metric's definition.

    Args:
        store: The predictions; only what these candidates need is read.
        candidates: Of one size.
        metric: Name of a metric of ensembles.
        workers: Threads to run on.
        steps: Told of every chunk.

    Returns:
        Score of each candidate, larger is better.
    """
    rows = np.array(sorted(candidates), dtype=np.int64)
    if definition_of(get_ensemble_metric(metric)).sums_members:
        of_member = torch.from_numpy(member_scores(store, metric, workers))
        scores = sum_members(of_member, torch.from_numpy(rows)).numpy()
    else:
        subset = candidate_subset(store, rows, metric, workers)
        for chunk in store.chunks:
            subset.add(chunk)
            if steps is not None:
                steps.step()
        scores = subset.scores()
    return dict(zip(map(tuple, rows.tolist()), scores.tolist(), strict=True))


def member_scores(store: PredictionStore, metric: str, workers: Workers) -> Float[NumpyArray, " members"]:
    """Score of each member as a candidate of one: by MS-LEEP, its LEEP.

    Args:
        store: The predictions.
        metric: Name of a metric of ensembles.
        workers: Threads to run on.

    Returns:
        float64, larger is better.
    """
    singles = candidate_subset(store, np.arange(store.num_members)[:, None], metric, workers)
    # Logs need only the probabilities of the true class, which are in memory anyway: one call is enough.
    for chunk in (slice(0, store.num_pixels),) if isinstance(singles, LogSubset) else store.chunks:
        singles.add(chunk)
    return singles.scores()


def _variance(moments: Float[NumpyArray, "candidates 2"], pixels: int) -> Float[NumpyArray, " candidates"]:
    first, second = moments.T / pixels
    variance: NumpyArray = np.maximum(second - first**2, 0.0) * (pixels / max(1, pixels - 1))
    return variance

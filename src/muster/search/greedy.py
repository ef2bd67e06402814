"""Greedy forward selection: start with the best member and add, one after the other, the one that helps most.

Axis names: ``members`` are those of the store.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from muster.arrays import NumpyArray
from muster.cancel import Cancelled, CancelToken
from muster.metrics.e_leep import E_LEEP
from muster.metrics.registry import Metric, get_ensemble_metric
from muster.metrics.ties import best_first_order, largest_tie, least_of_best
from muster.scoring.cpu.candidate_subset import candidate_subset, exact_scores, member_scores
from muster.scoring.cpu.extension import LogExtensions, MemberSet, extensions_of, steps_of_pass
from muster.scoring.cpu.workers import Steps, Workers
from muster.scoring.metric_kinds import definition_of
from muster.scoring.prediction_store import PredictionStore
from muster.search._grow import TOP_K, grow
from muster.search._log_bound import e_leep_bound
from muster.search._race import Race
from muster.search.result import (
    Completeness,
    ScoredSet,
    SearchResult,
    SearchStatus,
    Strategy,
    best_first,
    result_of,
    unfinished,
)

_BATCH = 64
"""Members whose gains are brought up to date together."""


def greedy(
    store: PredictionStore,
    size: int,
    metric: str = "soft_iou_eep",
    *,
    lazy: bool = True,
    confidence: float | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancel: CancelToken | None = None,
) -> SearchResult:
    """Build a set of members one by one, each time adding the one with which the metric is largest.

    **MS-LEEP** is a sum over members: the ``size`` members of largest LEEP are the best set, and ``bound`` is their
    score.

    **E-LEEP.** For a set A let F(A) = mean over pixels i of log(d + sum over s in A of p_s(y_i|x_i)), with d > 0. For
    A of ``size`` S, E-LEEP(A) = F(A) - log S but for d, which is S times the smallest normal number of the store's type
    here (the metric itself clamps the sum there instead). F is monotone and submodular: if A is within B and s in
    neither, the gain of s at a pixel is log(1 + p_s / (d + sum over A)), which is not negative and not larger for B,
    whose sum is not smaller; and a mean of such functions is one too. What follows, with O the best set and A_k the
    first k members that greedy chooses (F(O) <= F(A_k) + sum over O of their gains there, so that the best single gain
    closes 1/S of the distance at least):

    - F(A_S) - F(A_k) >= (1 - (1 - 1/S)^(S-k)) (F(O) - F(A_k)). For k = 0 that is the well-known share 1 - 1/e, of a
      distance from F(empty) = log d, about -86 in float32: it allows for a loss of some 30 nats, so it bounds nothing.
      For k = 1 no constant is left: E-LEEP(A_S) >= E-LEEP(O) - (1 - 1/S)^(S-1) (E-LEEP(O) + log S - LEEP of the best
      member).
    - It does *not* follow that greedy reaches any fixed share of the best E-LEEP, which is negative, nor that
      E-LEEP grows with every member (F does; the mean over members does not), nor anything for IoU-EEP.
    - After the search, E-LEEP(O) <= F(A_k) - log S + the S largest gains at A_k, for each k. Gains that are out of date
      serve too: they were larger.
    - Each gain lets others be skipped: one that was too small for fewer members cannot have become large enough (lazy
      evaluation; the same set results).

    The bound after the search is loose, because any member adds about log(1 + 1/k) to F. ``bound`` is the smaller of it
    and one by convex relaxation, which is usually far smaller: see :func:`muster.search._log_bound.e_leep_bound`.

    **IoU-EEP and SoftIoU-EEP** are neither monotone nor submodular, and nothing is promised of them, nor of any other
    metric. Each round reads all predictions once, which is what takes the time where they are on disk. With a
    ``confidence`` each round is a race instead (:func:`muster.search.racing.racing`): extensions that fall too far
    behind on a random part of the pixels are not read to the end. What is lost is that the set may differ from the one
    that greedy search finds on all pixels, with a probability of at most 1 - ``confidence`` as far as differences of
    scores are normal; what is reported of it is exact all the same.

    Args:
        store: The members' predictions on the probe pixels.
        size: Members of the set, 1..members.
        metric: Name of a metric of ensembles, such as ``e_leep`` or ``soft_iou_eep``.
        lazy: For E-LEEP: bring gains up to date only where they could matter.
        confidence: For all but MS-LEEP and E-LEEP: with which races may decide, above 0 and below 1; ``None`` for none.
        threads: How many threads work; by default one for each processor. The result does not depend on it.
        progress: Called with how much is done and how much there is.
        cancel: Asked after each step whether to go on.

    Returns:
        The set with its exact score; ``top_k`` holds the best sets of the last round. Equal scores are decided
        by the order of the members. A search that was cancelled gives the members chosen until then, without a top-k;
        one by E-LEEP of which only the bound was missing gives the set with a looser bound.

    Raises:
        ValueError: If ``size`` is not between 1 and the number of members, the metric is unknown, or
            ``confidence`` is out of range.

    Source:
        G. Nemhauser, L. Wolsey, M. Fisher, "An Analysis of Approximations for Maximizing Submodular Set Functions I",
        Mathematical Programming, 1978; M. Minoux, "Accelerated Greedy Algorithms for Maximizing Submodular Set
        Functions", Optimization Techniques, 1978 (lazy evaluation).

    Example:
        >>> eeps = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.5, 0.5]], [[0.1, 0.9], [0.8, 0.2]]])
        >>> result = greedy(PredictionStore.of(eeps, np.array([0, 1])), size=2, metric="e_leep")
        >>> result.members, round(result.score, 2), result.bound >= result.score
        ((0, 1), -0.39, True)
    """
    known = check_search(store, size, metric, confidence)
    token = cancel or CancelToken()
    with Workers(threads) as workers, token.awaited():
        if definition_of(known).sums_members:
            return best_sum(store, size, metric, workers, "greedy")
        if is_e_leep(known):
            return _greedy_log(store, size, metric, lazy, workers, progress, token)
        if confidence is not None:
            return _greedy_races(store, size, metric, confidence, workers, progress, token)
        return _greedy_extensions(store, size, metric, workers, progress, token)


def best_sum(store: PredictionStore, size: int, metric: str, workers: Workers, strategy: Strategy) -> SearchResult:
    """The best set by a metric that sums its members: nothing is searched.

    Args:
        store: The members' predictions.
        size: Members of the set.
        metric: Such as ``ms_leep``.
        workers: Threads to run on.
        strategy: What to call the search.

    Returns:
        The members of largest score, with their sum as bound.
    """
    scores = member_scores(store, metric, workers)
    order = best_first_order(scores)
    members = tuple(sorted(order[:size].tolist()))
    score = float(sum(scores[list(members)].tolist()))
    status = SearchStatus(strategy, math.comb(store.num_members, size), store.num_members, bound=score)
    return result_of(metric, ((members, score),), status)


def check_search(store: PredictionStore, size: int, metric: str, confidence: float | None = None) -> Metric:
    """Refuse a search that cannot be made.

    Args:
        store: The members' predictions.
        size: Members of a set.
        metric: What to search by.
        confidence: The confidence of races, if there are any.

    Returns:
        The metric.

    Raises:
        ValueError: If ``size`` is not between 1 and the number of members, the metric is unknown, or ``confidence`` is
            not above 0 and below 1.
    """
    known = get_ensemble_metric(metric, "metric to search by")
    if not 1 <= size <= store.num_members:
        raise ValueError(f"Expected `size` between 1 and the {store.num_members} members there are, but got {size}.")
    if confidence is not None and not 0.0 < confidence < 1.0:
        raise ValueError(f"Expected `confidence` above 0 and below 1, but got {confidence}.")
    return known


def is_e_leep(metric: Metric) -> bool:
    """Whether a metric is E-LEEP, under any name: what is proven of its searches holds for no other."""
    return metric.definition == E_LEEP and metric.larger_is_better


def _status(
    store: PredictionStore,
    size: int,
    evaluated: int,
    completeness: Completeness = "complete",
    bound: float | None = None,
) -> SearchStatus:
    count = math.comb(store.num_members, size)
    return SearchStatus("greedy", count, evaluated, bound=bound, completeness=completeness)


def _greedy_extensions(
    store: PredictionStore,
    size: int,
    metric: str,
    workers: Workers,
    progress: Callable[[int, int], None] | None,
    cancel: CancelToken,
) -> SearchResult:
    steps = Steps(progress, size * steps_of_pass(store, metric) + len(store.chunks), cancel)
    extensions = extensions_of(store, metric, size, workers, steps)
    found: dict[MemberSet, float] = {}
    try:
        for latest in grow(extensions, size, width=1):
            found = latest
        top_k = best_first(exact_scores(store, list(found), metric, workers, steps), TOP_K)
    except Cancelled:
        chosen: MemberSet = next(iter(found), ())
        return unfinished(metric, chosen, _status(store, size, extensions.evaluated, "interrupted"))
    steps.finish()
    return result_of(metric, top_k, _status(store, size, extensions.evaluated))


def _greedy_races(
    store: PredictionStore,
    size: int,
    metric: str,
    confidence: float,
    workers: Workers,
    progress: Callable[[int, int], None] | None,
    cancel: CancelToken,
) -> SearchResult:
    steps = Steps(progress, size * len(store.chunks), cancel)
    members: MemberSet = ()
    top_k: tuple[ScoredSet, ...] = ()
    evaluated, dropped, of_round = 0, 0, 1.0 - (1.0 - confidence) / size
    try:
        for _ in range(size):
            others = [member for member in range(store.num_members) if member not in members]
            sets = np.array(sorted(tuple(sorted((*members, member))) for member in others))
            race = Race(store, metric, candidate_subset(store, sets, metric, workers), of_round)
            race.run(steps)
            result = race.result()
            members, top_k = result.members, result.top_k
            evaluated, dropped = evaluated + len(sets), dropped + result.status.dropped
    except Cancelled:
        return unfinished(metric, members, _status(store, size, evaluated, "interrupted"))
    status = replace(_status(store, size, evaluated), dropped=dropped, confidence=confidence)
    return result_of(metric, top_k, status)


def _greedy_log(
    store: PredictionStore,
    size: int,
    metric: str,
    lazy: bool,
    workers: Workers,
    progress: Callable[[int, int], None] | None,
    cancel: CancelToken,
) -> SearchResult:
    steps = Steps(progress, size + 2, cancel)
    search = _LazyLog(LogExtensions(store, get_ensemble_metric(metric), size, workers, steps), size)
    try:
        for _ in range(size):
            search.add(lazy)
            steps.step()
        top_k = best_first(exact_scores(store, search.top_k, metric, workers), TOP_K)
    except Cancelled:
        evaluated = search.extensions.evaluated
        return unfinished(metric, search.members, _status(store, size, evaluated, "interrupted"))
    members, score = top_k[0]
    bound, completeness = max(score, search.bound), _stepped(steps)
    if completeness == "complete":
        bound = max(score, min(bound, e_leep_bound(store.true_class_probabilities(), size, members, workers, cancel)))
        steps.finish()
    return result_of(metric, top_k, _status(store, size, search.extensions.evaluated, completeness, bound))


def _stepped(steps: Steps) -> Completeness:
    """One more step is done, of a search that has its result already."""
    try:
        steps.step()
    except Cancelled:
        return "interrupted"
    return "complete"


class _LazyLog:
    """Greedy search by E-LEEP that keeps gains which are out of date as upper bounds.

    Attributes:
        members: Chosen so far, ascending.
        bound: No set of the final size has a higher E-LEEP.
        top_k: The best sets met in the last round.
    """

    def __init__(self, extensions: LogExtensions, size: int) -> None:
        """Nothing is chosen yet."""
        self.extensions, self._size = extensions, size
        self._gains = np.full(extensions.num_members, np.inf)
        self._value = math.log(extensions.offset)
        self._tie = 0.0
        self.members: MemberSet = ()
        self.bound = np.inf
        self.top_k: list[MemberSet] = []

    def add(self, lazy: bool) -> None:
        """Choose one more member; ``lazy`` looks only at those that can be the best one or tie with it."""
        values = self._evaluate(lazy)
        if not self.members:
            # How large a tie is depends on the largest number of a column, and later columns are known in part. The
            # first one is known whole, and no later number is larger in size, as far as sums of members stay below 1.
            self._tie = largest_tie(values)
        largest = np.partition(self._gains, -self._size)[-self._size :]
        self.bound = min(self.bound, self._value + float(largest.sum()) - math.log(self._size))
        order = best_first_order(values, self._tie)
        known = order[values[order] > -np.inf][:TOP_K]
        self.top_k = [tuple(sorted((*self.members, member))) for member in known.tolist()]
        best = int(order[0])
        self.members = self.top_k[0]
        self._value = float(values[best])
        self._gains[list(self.members)] = 0.0

    def _evaluate(self, lazy: bool) -> Float[NumpyArray, " members"]:
        """F of the chosen members with each other one, -inf where its gain cannot be the largest."""
        values = np.full(len(self._gains), -np.inf)
        order = np.argsort(-self._gains, kind="stable")
        order = order[~np.isin(order, self.members)]
        for low in range(0, len(order), _BATCH):
            batch = order[low : low + _BATCH]
            # A member may be skipped if it cannot tie with the best ones. Two ties, because gains that are out of date
            # round too, by far less than the second of them.
            if lazy and self._value + self._gains[batch[0]] < least_of_best(values, self._tie) - 2 * self._tie:
                break
            values[batch] = self.extensions.mean_logs(self.members, batch)
            self._gains[batch] = values[batch] - self._value
        return values

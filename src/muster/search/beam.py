"""Beam search: keep the best few sets of every size, then exchange members while that helps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from muster.cancel import Cancelled, CancelToken
from muster.metrics.registry import get_ensemble_metric
from muster.scoring.cpu.candidate_subset import exact_scores
from muster.scoring.cpu.extension import Extensions, MemberSet, extensions_of, steps_of_pass
from muster.scoring.cpu.workers import Steps, Workers
from muster.scoring.metric_kinds import definition_of
from muster.scoring.prediction_store import PredictionStore
from muster.search._grow import TOP_K, best_extensions, grow
from muster.search._log_bound import e_leep_bound
from muster.search.greedy import best_sum, check_search, is_e_leep
from muster.search.result import Completeness, ScoredSet, SearchResult, SearchStatus, best_first, result_of, unfinished

Scored = dict[MemberSet, float]


def beam(
    store: PredictionStore,
    size: int,
    metric: str = "soft_iou_eep",
    *,
    width: int = 4,
    swaps: bool = True,
    max_rounds: int = 10,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancel: CancelToken | None = None,
) -> SearchResult:
    """Extend the best ``width`` sets of each size by every member; then exchange single members of the best sets.

    With ``width=1`` and without swaps this is :func:`muster.search.greedy.greedy`. A round of swaps takes the best sets
    found so far, ``width`` at most, whose exchanges have not been looked at, and scores all sets that differ from one
    of them in one member. It ends when no exchange improves the best set, or after ``max_rounds`` rounds.

    Nothing is promised for IoU-EEP and SoftIoU-EEP but that, if ``max_rounds`` sufficed, no exchange of one member
    improves the set. For E-LEEP ``bound`` is that of :func:`muster.search._log_bound.e_leep_bound`; MS-LEEP is a sum
    over members, whose best set is known without a search.

    Cost: growing takes about ``width`` times what greedy takes in arithmetic, and as many passes over the predictions;
    a round of swaps is a pass with ``size`` times as many sets as it looks at.

    Args:
        store: The members' predictions on the probe pixels.
        size: Members of the set, 1..members.
        metric: Name of a metric of ensembles, such as ``e_leep`` or ``soft_iou_eep``.
        width: Sets kept of every size.
        swaps: Whether to exchange members.
        max_rounds: Most rounds of exchanging.
        threads: How many threads work; by default one for each processor. The result does not depend on it.
        progress: Called with how much is done and how much there is at most.
        cancel: Asked after each step whether to go on.

    Returns:
        The best set with its exact score. Equal scores are decided by the order of the members. If the search was
        cancelled, the best set until then, once there was one of full size; see :class:`SearchResult`.

    Raises:
        ValueError: If ``size`` is not between 1 and the number of members, the metric is unknown, or ``width``
            or ``max_rounds`` is not positive.

    Example:
        >>> import numpy as np
        >>> eeps = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.5, 0.5]], [[0.1, 0.9], [0.8, 0.2]]])
        >>> beam(PredictionStore.of(eeps, np.array([0, 1])), size=2, metric="iou_eep").top_k
        (((0, 1), 1.0), ((0, 2), 0.25), ((1, 2), 0.0))
    """
    known = check_search(store, size, metric)
    if width < 1 or max_rounds < 1:
        raise ValueError(f"Expected `width` and `max_rounds` to be at least 1, but got {width} and {max_rounds}.")
    token = cancel or CancelToken()
    with Workers(threads) as workers, token.awaited():
        if definition_of(known).sums_members:
            return best_sum(store, size, metric, workers, "beam")
        passes = steps_of_pass(store, metric)
        steps = Steps(progress, passes * (size + (max_rounds if swaps else 0)) + len(store.chunks), token)
        extensions = extensions_of(store, metric, size, workers, steps)
        found: Scored = {}
        try:
            for latest in _found(extensions, size, width, max_rounds if swaps else 0):
                found = latest
            top_k = best_first(exact_scores(store, list(found)[:TOP_K], metric, workers, steps), TOP_K)
        except Cancelled:
            return _interrupted(store, metric, size, found, extensions, workers)
        bound = _bound(store, metric, top_k[0], workers, token)
        steps.finish()
        return result_of(metric, top_k, _status(store, size, extensions, "complete", bound))


def _found(extensions: Extensions, size: int, width: int, max_rounds: int) -> Iterator[Scored]:
    """The best sets known after every round, at first of less than full size."""
    found: Scored = {}
    for found in grow(extensions, size, width):
        yield found
    looked_at: set[MemberSet] = set()
    for _ in range(max_rounds):
        before = next(iter(found))
        centres = [members for members in list(found)[:width] if members not in looked_at]
        if size == 1 or not centres:
            return
        looked_at.update(centres)
        found = _swapped(extensions, centres, found, max(width, TOP_K))
        yield found
        if next(iter(found)) == before:
            return


def _swapped(extensions: Extensions, centres: list[MemberSet], found: Scored, count: int) -> Scored:
    """The best sets among those found and all that differ from a centre in one member."""
    bases = list(dict.fromkeys(tuple(m for m in centre if m != left) for centre in centres for left in centre))
    near = best_extensions(bases, extensions.scores(bases), count)
    # A set is scored anew by way of every base; the order of the additions must not make it better than itself.
    return dict(best_first(near | found, count))


def _bound(store: PredictionStore, metric: str, best: ScoredSet, workers: Workers, cancel: CancelToken) -> float | None:
    """What no set exceeds, where that can be known."""
    if not is_e_leep(get_ensemble_metric(metric)):
        return None
    members, score = best
    return max(score, e_leep_bound(store.true_class_probabilities(), len(members), members, workers, cancel))


def _interrupted(
    store: PredictionStore, metric: str, size: int, found: Scored, extensions: Extensions, workers: Workers
) -> SearchResult:
    best = next(iter(found), ())
    status = _status(store, size, extensions, "interrupted")
    if len(best) < size:
        return unfinished(metric, best, status)
    return result_of(metric, tuple(exact_scores(store, [best], metric, workers).items()), status)


def _status(
    store: PredictionStore, size: int, extensions: Extensions, completeness: Completeness, bound: float | None = None
) -> SearchStatus:
    count = math.comb(store.num_members, size)
    return SearchStatus("beam", count, extensions.evaluated, bound=bound, completeness=completeness)

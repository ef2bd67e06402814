"""Racing: score candidates on a growing part of the probe pixels, and drop those that cannot be the best any more.

Axis names: ``candidates`` are sets of ``size`` members.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from jaxtyping import Int

from muster.arrays import NumpyArray
from muster.cancel import Cancelled, CancelToken
from muster.scoring.cpu.candidate_subset import candidate_subset, exact_scores
from muster.scoring.cpu.workers import Steps, Workers
from muster.scoring.metric_kinds import definition_of
from muster.scoring.prediction_store import PredictionStore
from muster.scoring.score import list_candidates
from muster.search._grow import TOP_K
from muster.search._race import Race
from muster.search.greedy import best_sum, check_search
from muster.search.result import SearchResult, SearchStatus, best_first, result_of

MOST_BYTES = 2**31
"""Most that the sums of all candidates may take."""


def racing(
    store: PredictionStore,
    size: int,
    metric: str = "soft_iou_eep",
    candidates: Int[NumpyArray, "candidates size"] | None = None,
    *,
    confidence: float = 0.95,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancel: CancelToken | None = None,
) -> SearchResult:
    """Find the best of many candidates without scoring all of them on all probe pixels.

    All candidates are scored on the first chunk of the store, those that remain on the first two, four, eight and so
    on, and what is left at the end on all. After each step but the last a candidate is dropped if its score is below
    that of the leading candidate by more than z standard errors of that difference. The errors are those of a random
    sample without replacement; the difference is taken pixel by pixel (of the logarithms for E-LEEP, of the pixels'
    first-order effects on the mean IoU for IoU-EEP and SoftIoU-EEP), so that what two candidates have in common does
    not count. z is such that, were the differences normal, the best candidate would fall to any other at any step with
    a probability of at most 1 - ``confidence``.

    What that means:

    - The confidence is about the probe set at hand: that the candidate which scores best on all its pixels was not
      dropped. The chance in it is which pixels came first, and the store dealt them at random whatever image they are
      from. How far another choice of *images* would give another winner is a different question, on which this says
      nothing: pixels of an image are alike, so scores on other images vary more than these errors suggest.
    - It rests on sums of many pixels being normal, and on the first order for ratios: an approximation, poor where few
      pixels of a class decide. Nothing is dropped before 30 pixels of every class (or all there are) were seen.
    - Scores of the survivors are exact; those dropped get none.

    MS-LEEP needs no race: it is a sum over members, and all its scores are exact at once.

    Args:
        store: The members' predictions on the probe pixels.
        size: Members of a candidate.
        metric: Name of a metric of ensembles, such as ``e_leep`` or ``soft_iou_eep``.
        candidates: Members of each candidate, ``[candidates, size]``, in any order; by default all sets of that size.
        confidence: With which the best candidate is not dropped, above 0 and below 1.
        threads: How many threads work; by default one for each processor. The result does not depend on it.
        progress: Called with how many chunks are done and how many there are.
        cancel: Asked after each chunk whether to go on.

    Returns:
        The best of the candidates that remained; ``bound`` is its score if none was dropped, otherwise ``None``. If it
        was cancelled, all scores are of the pixels seen until then.

    Raises:
        ValueError: If ``size`` is not between 1 and the number of members, the metric is unknown,
            ``confidence`` is out of range, ``candidates`` are not sets of ``size`` members of the store, or there are
            too many to hold their scores.

    Source:
        O. Maron, A. Moore, "Hoeffding Races: Accelerating Model Selection Search for Classification and Function
        Approximation", NeurIPS 1993. We bound paired differences, by normal instead of Hoeffding's intervals.

    Example:
        >>> eeps = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.5, 0.5]], [[0.1, 0.9], [0.8, 0.2]]])
        >>> result = racing(PredictionStore.of(eeps, np.array([0, 1])), size=2, metric="iou_eep")
        >>> result.members, result.score, result.status.optimality, result.status.dropped
        ((0, 1), 1.0, 'proven', 0)
    """
    known = check_search(store, size, metric, confidence)
    sets = _sets(store, size, candidates)
    token = cancel or CancelToken()
    with Workers(threads) as workers, token.awaited():
        if definition_of(known).sums_members:
            if candidates is None:
                return best_sum(store, size, metric, workers, "racing")
            return _score_sums(store, sets, metric, workers)
        race = Race(store, metric, candidate_subset(store, sets, metric, workers), confidence)
        with suppress(Cancelled):  # the race knows how far it came
            race.run(Steps(progress, len(store.chunks), token))
        return race.result()


def bytes_needed(count: int, num_classes: int, size: int) -> int:
    """What a race keeps, which may be :data:`MOST_BYTES`.

    Args:
        count: Candidates.
        num_classes: Target classes.
        size: Members of a candidate.

    Returns:
        Bytes.
    """
    return count * (2 * num_classes + size) * 8


def _sets(store: PredictionStore, size: int, candidates: NumpyArray | None) -> Int[NumpyArray, "candidates size"]:
    """The candidates in lexicographic order, each once."""
    count = math.comb(store.num_members, size) if candidates is None else len(candidates)
    needed = bytes_needed(count, store.num_classes, size)
    if needed > MOST_BYTES:
        raise ValueError(
            f"The scores of {count} candidates in {store.num_classes} classes would take {needed / 1e9:.1f} GB. Give "
            "fewer `candidates`, or use `greedy` or `beam`, which do not list them."
        )
    if candidates is None:
        return list_candidates(store.num_members, size)
    rows = np.sort(np.asarray(candidates), axis=-1)
    if rows.ndim != 2 or rows.shape[1] != size or len(rows) == 0 or rows.dtype.kind not in "iu":
        raise ValueError(
            f"Expected `candidates` to be integers of shape [candidates, {size}], but got {rows.dtype} of shape "
            f"{list(rows.shape)}."
        )
    if rows.min() < 0 or rows.max() >= store.num_members or (rows[:, 1:] == rows[:, :-1]).any():
        raise ValueError(f"Expected `candidates` to be sets of members between 0 and {store.num_members - 1}.")
    unique: NumpyArray = np.unique(rows.astype(np.int64), axis=0)
    return unique


def _score_sums(store: PredictionStore, sets: NumpyArray, metric: str, workers: Workers) -> SearchResult:
    """Every candidate, by a metric that sums its members."""
    scored = exact_scores(store, [tuple(row) for row in sets.tolist()], metric, workers)
    top_k = best_first(scored, TOP_K)
    return result_of(metric, top_k, SearchStatus("racing", len(sets), len(sets), bound=top_k[0][1]))

"""Score every candidate ensemble.

All candidates are scored together: on the processor by :mod:`muster.scoring.cpu.exhaustive`, on other devices by
:mod:`muster.scoring.device.exhaustive`. A metric that neither knows is computed by its own accumulator, see
:mod:`muster.scoring.by_definition`. Axis names: ``members`` are pool models, ``candidates`` sets of them, ``size`` the
members of one candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, combinations

import numpy as np
from jaxtyping import Int

from muster.arrays import Array, EnsemblePredictions, Labels, NumpyArray, to_tensor
from muster.cancel import Cancelled, CancelToken
from muster.machine import available_cores
from muster.metrics.ensemble_block import members_of
from muster.metrics.registry import Metric, get_ensemble_metric
from muster.scoring.by_definition import score_by_definition
from muster.scoring.cpu.exhaustive import LARGEST_NUM_CLASSES, score_store
from muster.scoring.device.exhaustive import score_tiles
from muster.scoring.metric_kinds import has_exhaustive_kernels
from muster.scoring.prediction_store import InMemoryStore, PredictionStore
from muster.scoring.ranking import Ranking


def score_ensembles(
    eeps: EnsemblePredictions | PredictionStore,
    labels: Labels,
    size: int = 3,
    metrics: Sequence[str] = ("ms_leep", "e_leep", "iou_eep", "soft_iou_eep"),
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
    cancel: CancelToken | None = None,
) -> Ranking:
    """Score every set of ``size`` members.

    Predicted classes are exactly those of the metrics' definition, and so are counts of them. Sums over pixels differ
    from the definition's by rounding, but not with the number of threads. Rows need not sum to 1: where what they give
    is too little for fixed point, a candidate is scored by the definition itself. The first call on a machine compiles
    the inner loops, which takes some seconds.

    Cost: with M candidates, M * pixels * classes additions and comparisons for the IoU metrics, M * pixels for E-LEEP.
    Memory beyond that of ``eeps``: one chunk of the store, and 40 bytes for each candidate and class.

    Args:
        eeps: The members' target predictions, ``[members, pixels, classes]``, or a sequence of ``[pixels, classes]`` so
            that they need not be copied together; or a store, of which one chunk at a time is read.
        labels: Target classes, ``[pixels]``, integers in 0..classes-1; void must have been left out. Those of a store
            in the store's own order.
        size: Members per candidate, 1..members.
        metrics: Names of metrics of ensembles, see :func:`muster.metrics.ensemble_metrics`.
        progress: Called with how many candidates' worth of work is done and how many candidates there are.
        threads: How many threads to compute on; by default one for each processor.
        cancel: Asked about once a second whether to go on. If not, the scores so far are returned: of a random sample
            of the pixels (:attr:`Ranking.fraction` says how large), and without metrics that were not begun.

    Returns:
        All candidates, in lexicographic order, with one score per metric.

    Raises:
        ValueError: If ``eeps`` is empty, no array of probabilities, or its members differ in shape.
        ValueError: If ``labels`` are not integers, not one per pixel, or outside 0..classes-1; or not the store's.
        ValueError: If ``size`` is not between 1 and the number of members.
        ValueError: If ``metrics`` is empty or names an unknown metric.
        ValueError: If ``threads`` is not positive.
        Cancelled: If ``cancel`` was set before anything usable was computed.

    Example:
        >>> eeps = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.5, 0.5]], [[0.1, 0.9], [0.8, 0.2]]])
        >>> ranking = score_ensembles(eeps, np.array([0, 1]), size=2, metrics=["e_leep"])
        >>> ranking.members.tolist(), ranking.scores["e_leep"].round(2).tolist()
        ([[0, 1], [0, 2], [1, 2]], [-0.39, -0.69, -1.13])
    """
    chosen = _metrics(metrics)
    if threads is not None and threads < 1:
        raise ValueError(f"Expected `threads` to be at least 1, but got {threads}.")
    store = _store(eeps, labels)
    rows = list_candidates(store.num_members, size)
    fast = [metric for metric in chosen if _has_kernels(metric, store)]
    plain = [metric for metric in chosen if metric not in fast]
    report = _Report(progress, len(rows), bool(fast) + bool(plain))
    scores: dict[str, NumpyArray] = {}
    cancel, fraction = cancel or CancelToken(), 1.0
    names = [metric.name for metric in fast]
    if fast and store.backend == "torch":
        scores = score_tiles(store.in_memory(), rows, names, report)
    elif fast:
        scores, fraction = score_store(store, rows, names, threads or available_cores(), report, cancel)
    for metric in fast:
        _rescore_coarse(store, rows, metric, scores[metric.name])
    if cancel.is_set and scores:
        return Ranking(rows, scores, fraction)
    if plain:
        try:
            scores |= score_by_definition(store, rows, plain, report, cancel)
        except Cancelled:
            if not scores:
                raise
            return Ranking(rows, scores)
    report.end()
    return Ranking(rows, {metric.name: scores[metric.name] for metric in chosen})


class _Report:
    """Turns work done into whole candidates, and tells only what is new."""

    def __init__(self, progress: Callable[[int, int], None] | None, total: int, stages: int) -> None:
        """Work adds up to ``total`` candidates in each stage."""
        self._progress, self._total, self._stages = progress, total, stages
        self._work, self._told = 0.0, 0

    def __call__(self, work: float) -> None:
        self._work += work / self._stages
        self._tell(min(int(self._work), self._total - 1))

    def end(self) -> None:
        """All is done."""
        self._tell(self._total)

    def _tell(self, done: int) -> None:
        if self._progress is not None and done > self._told:
            self._told = done
            self._progress(done, self._total)


def _store(eeps: Array | Sequence[Array] | PredictionStore, labels: object) -> PredictionStore:
    if not isinstance(eeps, PredictionStore):
        return InMemoryStore(members_of(eeps, labels))
    if not np.array_equal(to_tensor("labels", labels).cpu().numpy(), eeps.labels):
        raise ValueError("Expected `labels` to be the store's own, in its order (`store.labels`), but got others.")
    return eeps


def _has_kernels(metric: Metric, store: PredictionStore) -> bool:
    """Whether all candidates of this store can be scored without the metric's own accumulator."""
    holds_all = store.backend == "numba" or isinstance(store, InMemoryStore)
    return holds_all and store.num_classes <= LARGEST_NUM_CLASSES and has_exhaustive_kernels(metric)


def _rescore_coarse(store: PredictionStore, rows: NumpyArray, metric: Metric, scores: NumpyArray) -> None:
    """Score candidates by definition where sums were too small for fixed point, which NaN marks."""
    coarse = np.isnan(scores)
    if coarse.any():
        scores[coarse] = score_by_definition(store, rows[coarse], [metric])[metric.name]


def list_candidates(num_members: int, size: int) -> Int[NumpyArray, "candidates size"]:
    """Every set of ``size`` out of ``num_members`` members.

    Args:
        num_members: How many members there are.
        size: Members per candidate.

    Returns:
        int64 ``[candidates, size]``, ascending in a row, rows in lexicographic order.

    Raises:
        ValueError: If ``size`` is not between 1 and ``num_members``.

    Example:
        >>> list_candidates(3, 2).tolist()
        [[0, 1], [0, 2], [1, 2]]
    """
    if not 1 <= size <= num_members:
        raise ValueError(f"Expected `size` between 1 and the {num_members} members there are, but got {size}.")
    flat = chain.from_iterable(combinations(range(num_members), size))
    return np.fromiter(flat, dtype=np.int64).reshape(-1, size)


def _metrics(names: Sequence[str]) -> list[Metric]:
    """Look the metrics up before anything is computed."""
    if isinstance(names, str) or len(names) == 0:
        raise ValueError(f"Expected `metrics` to be a list of at least one name, but got {names!r}.")
    return [get_ensemble_metric(name) for name in dict.fromkeys(names)]

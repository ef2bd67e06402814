"""Score every candidate ensemble: the plain version, one candidate after the other.

Axis names: ``members`` are pool models, ``candidates`` sets of them, ``size`` the members of one candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, combinations

import numpy as np
import torch
from jaxtyping import Float, Int

from muster.errors import unknown_name
from muster.metrics._arrays import Column, EnsemblePredictions, Labels, NumpyArray
from muster.metrics._ensemble import Candidate, members_of
from muster.metrics.base import base_terms
from muster.metrics.registry import ENSEMBLE_METRICS, METRICS, Metric
from muster.search.ranking import Ranking


def score_ensembles(
    eeps: EnsemblePredictions,
    labels: Labels,
    size: int = 3,
    metrics: Sequence[str] = ("ms_leep", "e_leep", "iou_eep", "soft_iou_eep"),
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """Score every set of ``size`` members.

    Args:
        eeps: The members' target predictions, ``[members, pixels, classes]``, or a sequence of ``[pixels, classes]`` so
            that they need not be copied together.
        labels: Target classes, ``[pixels]``, integers in 0..classes-1; void must have been left out.
        size: Members per candidate, 1..members.
        metrics: Names among :data:`muster.metrics.ENSEMBLE_METRICS`.
        progress: Called after each candidate with how many are done and how many there are.

    Returns:
        All candidates, in lexicographic order, with one score per metric.

    Raises:
        ValueError: If ``eeps`` is empty, no array of probabilities, or its members differ in shape.
        ValueError: If ``labels`` are not integers, not one per pixel, or outside 0..classes-1.
        ValueError: If ``size`` is not between 1 and the number of members.
        ValueError: If ``metrics`` is empty or names an unknown metric.

    Example:
        >>> eeps = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.5, 0.5]], [[0.1, 0.9], [0.8, 0.2]]])
        >>> ranking = score_ensembles(eeps, np.array([0, 1]), size=2, metrics=["e_leep"])
        >>> ranking.members.tolist(), ranking.scores["e_leep"].round(2).tolist()
        ([[0, 1], [0, 2], [1, 2]], [-0.39, -0.69, -1.13])
    """
    chosen = _metrics(metrics)
    panel = members_of(eeps, labels)
    rows = list_candidates(len(panel.predictions), size)
    scores = {metric.name: np.empty(len(rows), dtype=np.float64) for metric in chosen}
    with _one_thread():
        for done, row in enumerate(rows.tolist()):
            candidate = Candidate(panel, tuple(row))
            for metric in chosen:
                scores[metric.name][done] = _score(metric, candidate)
            if progress is not None:
                progress(done + 1, len(rows))
    return Ranking(rows, scores)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch's CPU kernels on one thread within the block.

    These kernels last fractions of a millisecond. A second thread hardly helps with them on an idle machine, and makes
    them ten times slower or worse on a busy one, where each waits for the other to be given a core.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def score_base(
    source_miou: Column,
    train_images: Column,
    num_classes: Column,
    members: Int[NumpyArray, "candidates size"],
) -> Float[NumpyArray, " candidates"]:
    """BASE of every candidate, from the members' cards; a column for :meth:`Ranking.with_scores`.

    Args:
        source_miou: Per member of the pool, mIoU on its own source's test split, 0..1.
        train_images: Per member, training images of its source, positive.
        num_classes: Per member, classes of its source, positive.
        members: Indices into the three, as in :attr:`Ranking.members`.

    Returns:
        float64 ``[candidates]``; larger is better.

    Raises:
        ValueError: If the three are not of one length or hold a value out of range, or ``members`` points beyond them.

    Example:
        >>> score_base([0.5, 0.25, 1.0], [100, 8, 1], [10, 2, 3], np.array([[0, 1], [1, 2]])).tolist()
        [504.0, 7.0]
    """
    terms = base_terms(source_miou, train_images, num_classes)
    if members.min() < 0 or members.max() >= len(terms):
        raise ValueError(
            f"Expected `members` between 0 and {len(terms) - 1}, but got {members.min()} to {members.max()}."
        )
    total: NumpyArray = terms[members].sum(axis=1)
    return total


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
    for name in names:
        if name not in ENSEMBLE_METRICS:
            raise ValueError(unknown_name("ensemble metric", name, ENSEMBLE_METRICS))
    return [METRICS[name] for name in dict.fromkeys(names)]


def _score(metric: Metric, candidate: Candidate) -> float:
    """The score as a ranking holds it: larger is better."""
    assert metric.of_candidate is not None  # _metrics let only such through
    value = metric.of_candidate(candidate)
    return value if metric.larger_is_better else -value

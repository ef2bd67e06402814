"""Scores of candidates by every kind of metric: of ensembles, sums over members, from cards, on hard subsets.

Axis names: ``members`` are pool models, ``candidates`` sets of them, ``size`` the members of one candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from muster.arrays import NumpyArray
from muster.cancel import Cancelled, CancelToken
from muster.metrics import MetricSpec, eep
from muster.metrics.accumulators import scores_of
from muster.metrics.ensemble_block import Members
from muster.scoring.cpu.candidate_subset import exact_scores
from muster.scoring.cpu.workers import Report, Workers
from muster.scoring.metric_kinds import definition_of
from muster.scoring.prediction_store import PredictionStore
from muster.scoring.ranking import Ranking
from muster.scoring.score import list_candidates, score_ensembles
from muster.selection.member_scoring import Request, ScoredMembers

INTERRUPTED = "Ctrl-C came before it was computed for every candidate."
"""Why a metric can be missing."""


def rank_all(
    store: PredictionStore,
    scored: ScoredMembers,
    specs: Sequence[MetricSpec],
    size: int,
    progress: Report | None = None,
    hard_progress: Report | None = None,
    cancel: CancelToken | None = None,
) -> Ranking:
    """Score every set of ``size`` members by every metric.

    Args:
        store: The members' predictions.
        scored: What else is known of the members.
        specs: Which metrics; those in ``scored.dropped`` are passed over.
        size: Members per candidate.
        progress: Called with how much is done and how much there is.
        hard_progress: Likewise, for ensemble metrics on hard subsets, which come last.
        cancel: Asked whether to go on.

    Returns:
        All candidates, in lexicographic order, one column a metric in the order of ``specs``. If it was cancelled, the
        plain ensemble metrics may rest on a part of the pixels, see :attr:`Ranking.fraction`, and those that take long
        are left out, see :func:`with_other_scores`.

    Raises:
        Cancelled: If there are plain ensemble metrics, and it was cancelled before they had any scores.
    """
    plain = _plain_names(specs)
    if plain:
        ranking = score_ensembles(store, store.labels, size, plain, progress, cancel=cancel)
    else:
        ranking = Ranking(list_candidates(store.num_members, size), {})
    return with_other_scores(ranking, store, scored, specs, hard_progress, cancel)


def score_alone(store: PredictionStore, scored: ScoredMembers, request: Request) -> dict[str, float]:
    """Score every member as an ensemble of one, by the metric that was chosen by.

    Args:
        store: The members' predictions.
        scored: What else is known of the members.
        request: Says which metric.

    Returns:
        By member; nothing for a metric that compares sets by what is known of their members (OSBORN).
    """
    if request.chosen_by.metric.combination is not None:
        return {}
    ranking = rank_all(store, scored, [request.chosen_by], 1)
    names = (member.name for member in scored.members)
    return dict(zip(names, ranking.scores[request.chosen_by.name].tolist(), strict=True))


def rank_listed(
    rows: Int[NumpyArray, "candidates size"],
    store: PredictionStore,
    scored: ScoredMembers,
    specs: Sequence[MetricSpec],
    hard_progress: Report | None = None,
    cancel: CancelToken | None = None,
) -> Ranking:
    """Score some candidates by every metric.

    Args:
        rows: Indices of their members, ascending in a row, rows in lexicographic order.
        store: The members' predictions.
        scored: What else is known of the members.
        specs: Which metrics.
        hard_progress: As for :func:`rank_all`.
        cancel: As for :func:`with_other_scores`.

    Returns:
        These candidates.
    """
    sets = [tuple(row) for row in rows.tolist()]
    with Workers() as workers:
        found = {name: exact_scores(store, sets, name, workers) for name in _plain_names(specs)}
    scores = {name: np.array([values[members] for members in sets]) for name, values in found.items()}
    return with_other_scores(Ranking(rows, scores), store, scored, specs, hard_progress, cancel)


def _plain_names(specs: Sequence[MetricSpec]) -> list[str]:
    return [spec.name for spec in specs if spec.is_plain_ensemble]


def with_other_scores(
    ranking: Ranking,
    store: PredictionStore,
    scored: ScoredMembers,
    specs: Sequence[MetricSpec],
    progress: Report | None = None,
    cancel: CancelToken | None = None,
) -> Ranking:
    """Add the columns of all metrics that are no plain ensemble metrics.

    Args:
        ranking: Candidates, with the columns of the plain ensemble metrics.
        store: The members' predictions.
        scored: What else is known of the members; metrics that are missing in the end are added to its ``dropped``.
        specs: Which metrics, in which order.
        progress: Called with how many scores on hard subsets are done and how many there are.
        cancel: Asked whether to go on. If not, what takes long is left out: all but sums over members.

    Returns:
        The same candidates with a column for every metric that could be computed.
    """
    cancel = cancel or CancelToken()
    scores = dict(ranking.scores)
    missing = [m for m in specs if m.name not in scores and m.name not in scored.dropped]
    for spec in missing:
        if spec.kind == "member":
            scores[spec.name] = scored.columns[spec.name][ranking.members].sum(axis=1)
    scores.update(_slow_columns(missing, ranking.members, store, scored, progress, cancel))
    scored.dropped |= {spec.name: INTERRUPTED for spec in missing if spec.name not in scores}
    ordered = {spec.name: scores[spec.name] for spec in specs if spec.name in scores}
    return Ranking(ranking.members, ordered, ranking.fraction)


def _slow_columns(
    specs: Sequence[MetricSpec],
    candidates: Int[NumpyArray, "candidates size"],
    store: PredictionStore,
    scored: ScoredMembers,
    progress: Report | None,
    cancel: CancelToken,
) -> Iterator[tuple[str, Float[NumpyArray, " candidates"]]]:
    """Columns of metrics that take long, as many as are done before the work is cancelled."""
    try:
        cancel.check()
        for spec in specs:
            if spec.name in scored.compared:
                yield spec.name, _combined(spec, candidates, store.num_classes, scored)
        hard = [spec for spec in specs if spec.is_of_predictions]
        yield from _hard_columns(hard, candidates, store, scored, progress, cancel)
    except Cancelled:
        return


def _combined(
    spec: MetricSpec, candidates: Int[NumpyArray, "candidates size"], num_classes: int, scored: ScoredMembers
) -> Float[NumpyArray, " candidates"]:
    """A metric that compares candidates by what was kept of each member; larger is better."""
    combination = spec.metric.combination
    assert combination is not None  # nothing was kept for others
    scores = combination.of_candidates(scored.compared[spec.name], candidates, num_classes)
    return scores if spec.metric.larger_is_better else -scores


def _in_use(
    candidates: Int[NumpyArray, "candidates size"],
) -> tuple[list[int], Int[NumpyArray, "candidates size"]]:
    """The members that occur in candidates, ascending, and the candidates as indices into these."""
    used, places = np.unique(candidates, return_inverse=True)
    return used.tolist(), places.reshape(candidates.shape)


def _hard_columns(
    specs: Sequence[MetricSpec],
    candidates: Int[NumpyArray, "candidates size"],
    store: PredictionStore,
    scored: ScoredMembers,
    progress: Report | None,
    cancel: CancelToken,
) -> Iterator[tuple[str, Float[NumpyArray, " candidates"]]]:
    """Columns of ensemble metrics on hard subsets; only pixels that are hard for some member are read, once."""
    if not specs:
        return
    used, places = _in_use(candidates)
    subsets = {name: scored.hard[name][used] for name in sorted({spec.hard_subset for spec in specs})}
    pixels = np.any([hard.any(axis=0) for hard in subsets.values()], axis=0).nonzero()[0]
    given = np.empty_like(store.labels)
    given[store.order] = store.labels
    predictions = HardPredictions(
        torch.from_numpy(given[pixels]), store.num_classes, *_hard_rows(used, torch.from_numpy(pixels), store, scored)
    )
    total = len(specs) * len(candidates)
    for place, spec in enumerate(specs):

        def report(done: int, before: int = place * len(candidates)) -> None:
            if progress is not None:
                progress(before + done, total)
            cancel.check()

        yield spec.name, score_hard(spec, places, predictions, subsets[spec.hard_subset][:, pixels], report)


def _hard_rows(
    used: Sequence[int], pixels: Int[Tensor, " pixels"], store: PredictionStore, scored: ScoredMembers
) -> tuple[list[Tensor], bool]:
    """What each member needs at hard pixels, and whether EEPs are to be counted from it."""
    if scored.source_probabilities is not None:
        return [scored.source_probabilities(index)[pixels] for index in used], True
    return [store.predictions(index)[pixels] for index in used], False


@dataclass(frozen=True, eq=False)
class HardPredictions:
    """The members' predictions at the pixels that are hard for some of them.

    Attributes:
        labels: True classes of these pixels.
        num_classes: Number of target classes.
        rows: For each member ``[pixels, classes]``, target predictions; or probabilities of its own classes.
        counts: Whether they are the latter, to be counted anew on every union of hard subsets.
    """

    labels: Int[Tensor, " pixels"]
    num_classes: int
    rows: Sequence[Tensor]
    counts: bool

    def on(self, union: Int[Tensor, " union"], used: Sequence[int]) -> Members:
        """Target predictions of some members on some of the pixels."""
        labels = self.labels[union]
        rows = [self.rows[index][union] for index in used]
        if self.counts:
            rows = [eep(row, labels, self.num_classes) for row in rows]
        return Members(rows, labels, self.num_classes)


def score_hard(
    spec: MetricSpec,
    candidates: Int[NumpyArray, "candidates size"],
    predictions: HardPredictions,
    hard: Bool[NumpyArray, "members pixels"],
    report: Callable[[int], None] | None = None,
) -> Float[NumpyArray, " candidates"]:
    """An ensemble metric on the union of its members' hard subsets.

    Members of one source share a hard subset, so there are far fewer unions than candidates: EEPs are counted once a
    union.

    Args:
        spec: The metric.
        candidates: Indices into the members, ascending in a row.
        predictions: The predictions of the members, in the order of ``hard``.
        hard: Whether each pixel is in the hard subset of each member.
        report: Called with how many candidates are done.

    Returns:
        float64 ``[candidates]``, larger is better.

    Source:
        "Towards Estimating Transferability using Hard Subsets" (HASTE), anonymous submission, 2022, eq. 5 and appendix
        A.2.
    """
    definition, values, done = definition_of(spec.metric), np.empty(len(candidates)), 0
    for rows, union in _by_union(candidates, hard):
        used, local = np.unique(candidates[rows], return_inverse=True)
        members = predictions.on(torch.from_numpy(union), used.tolist())
        scores = scores_of(definition, members, torch.from_numpy(local.reshape(len(rows), -1)))
        values[rows] = spec.metric.ranked(scores).numpy()
        for _ in rows:
            done += 1
            if report is not None:
                report(done)
    return values


def _by_union(
    candidates: Int[NumpyArray, "candidates size"], hard: Bool[NumpyArray, "members pixels"]
) -> Iterator[tuple[list[int], Int[NumpyArray, " union"]]]:
    """Candidates whose hard subsets have the same union, and that union."""
    known: dict[bytes, int] = {}
    subset_of = np.array([known.setdefault(mask.tobytes(), member) for member, mask in enumerate(hard)])
    rows_of: dict[tuple[int, ...], list[int]] = {}
    for row, subsets in enumerate(np.sort(subset_of[candidates], axis=1).tolist()):
        rows_of.setdefault(tuple(dict.fromkeys(subsets)), []).append(row)
    for subsets_together, rows in rows_of.items():
        yield rows, np.flatnonzero(hard[list(subsets_together)].any(axis=0))

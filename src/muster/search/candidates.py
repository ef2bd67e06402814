"""Scores of candidates by every kind of metric: of ensembles, sums over members, from cards, on hard subsets.

Axis names: ``members`` are pool models, ``candidates`` sets of them, ``size`` the members of one candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from muster.metrics import Measure, eep, osborn_of_candidates, pairwise_conditional_entropy
from muster.metrics._arrays import NumpyArray
from muster.metrics._ensemble import Candidate, Members
from muster.search._listed_sets import exact_scores
from muster.search._workers import Report, Workers
from muster.search.measuring import Measured
from muster.search.panel import Panel
from muster.search.ranking import Ranking
from muster.search.score import ScoringInterrupted, list_candidates, score_ensembles

INTERRUPTED = "Ctrl-C came before it was computed for every candidate."
"""Why a metric can be missing."""


def rank_all(
    panel: Panel,
    measured: Measured,
    measures: Sequence[Measure],
    size: int,
    progress: Report | None = None,
    hard_progress: Report | None = None,
) -> Ranking:
    """Score every set of ``size`` members by every metric.

    Args:
        panel: What each member says.
        measured: What else is known of the members.
        measures: Which metrics; those in ``measured.dropped`` are passed over.
        size: Members per candidate.
        progress: Called with how much is done and how much there is.
        hard_progress: Likewise, for ensemble metrics on hard subsets, which come last.

    Returns:
        All candidates, in lexicographic order, one column a metric in the order of ``measures``. After Ctrl-C the plain
        ensemble metrics may rest on a part of the pixels, see :attr:`Ranking.fraction`, and those that take long are
        left out, see :func:`with_other_scores`.
    """
    plain = _plain_names(measures)
    if plain:
        try:
            ranking = score_ensembles(panel, panel.labels, size, plain, progress)
        except ScoringInterrupted as interrupted:
            ranking = interrupted.ranking
    else:
        ranking = Ranking(list_candidates(panel.num_members, size), {})
    return with_other_scores(ranking, panel, measured, measures, ranking.fraction < 1, hard_progress)


def rank_listed(
    rows: Int[NumpyArray, "candidates size"],
    panel: Panel,
    measured: Measured,
    measures: Sequence[Measure],
    interrupted: bool = False,
    hard_progress: Report | None = None,
) -> Ranking:
    """Score some candidates by every metric.

    Args:
        rows: Indices of their members, ascending in a row, rows in lexicographic order.
        panel: What each member says.
        measured: What else is known of the members.
        measures: Which metrics.
        interrupted: As for :func:`with_other_scores`.
        hard_progress: As for :func:`rank_all`.

    Returns:
        These candidates.
    """
    sets = [tuple(row) for row in rows.tolist()]
    with Workers() as workers:
        found = {name: exact_scores(panel, sets, name, workers) for name in _plain_names(measures)}
    scores = {name: np.array([values[members] for members in sets]) for name, values in found.items()}
    return with_other_scores(Ranking(rows, scores), panel, measured, measures, interrupted, hard_progress)


def _plain_names(measures: Sequence[Measure]) -> list[str]:
    return [measure.name for measure in measures if measure.kind == "ensemble" and measure.hard is None]


def with_other_scores(
    ranking: Ranking,
    panel: Panel,
    measured: Measured,
    measures: Sequence[Measure],
    interrupted: bool = False,
    progress: Report | None = None,
) -> Ranking:
    """Add the columns of all metrics that are no plain ensemble metrics.

    Args:
        ranking: Candidates, with the columns of the plain ensemble metrics.
        panel: What each member says.
        measured: What else is known of the members; metrics that are missing in the end are added to its ``dropped``.
        measures: Which metrics, in which order.
        interrupted: Leave out what takes long: all but sums over members.
        progress: Called with how many scores on hard subsets are done and how many there are.

    Returns:
        The same candidates with a column for every metric that could be computed. Ctrl-C ends the work as if it had
        been interrupted before.
    """
    scores = dict(ranking.scores)
    missing = [m for m in measures if m.name not in scores and m.name not in measured.dropped]
    for measure in missing:
        if measure.kind == "member":
            scores[measure.name] = measured.columns[measure.name][ranking.members].sum(axis=1)
    if not interrupted:
        with suppress(KeyboardInterrupt):
            for measure in missing:
                if measure.kind == "candidate":
                    scores[measure.name] = _osborn(ranking.members, panel.num_classes, measured)
            hard = [measure for measure in missing if measure.kind == "ensemble"]
            scores.update(_hard_columns(hard, ranking.members, panel, measured, progress))
    measured.dropped |= {measure.name: INTERRUPTED for measure in missing if measure.name not in scores}
    ordered = {measure.name: scores[measure.name] for measure in measures if measure.name in scores}
    return Ranking(ranking.members, ordered, ranking.fraction)


def _osborn(
    candidates: Int[NumpyArray, "candidates size"], num_classes: int, measured: Measured
) -> Float[NumpyArray, " candidates"]:
    """Pairs are compared only of members that occur: entropies cost the square of their number."""
    used, places = _in_use(candidates)
    costs, predicted = zip(*(measured.osborn[index] for index in used), strict=True)
    domain, task = np.array(costs).T
    entropies = pairwise_conditional_entropy(np.stack(predicted), num_classes)
    return -osborn_of_candidates(domain, task, entropies, places).total


def _in_use(
    candidates: Int[NumpyArray, "candidates size"],
) -> tuple[list[int], Int[NumpyArray, "candidates size"]]:
    """The members that occur in candidates, ascending, and the candidates as indices into these."""
    used, places = np.unique(candidates, return_inverse=True)
    return used.tolist(), places.reshape(candidates.shape)


def _hard_columns(
    measures: Sequence[Measure],
    candidates: Int[NumpyArray, "candidates size"],
    panel: Panel,
    measured: Measured,
    progress: Report | None,
) -> Iterator[tuple[str, Float[NumpyArray, " candidates"]]]:
    """Columns of ensemble metrics on hard subsets; only pixels that are hard for some member are read, once."""
    if not measures:
        return
    used, places = _in_use(candidates)
    subsets = {name: measured.hard[name][used] for name in sorted({measure.hard_subset for measure in measures})}
    pixels = np.any([hard.any(axis=0) for hard in subsets.values()], axis=0).nonzero()[0]
    given = np.empty_like(panel.labels)
    given[panel.order] = panel.labels
    predictions = HardPredictions(
        torch.from_numpy(given[pixels]), panel.num_classes, *_hard_rows(used, torch.from_numpy(pixels), panel, measured)
    )
    total = len(measures) * len(candidates)
    for place, measure in enumerate(measures):

        def report(done: int, before: int = place * len(candidates)) -> None:
            if progress is not None:
                progress(before + done, total)

        yield measure.name, score_hard(measure, places, predictions, subsets[measure.hard_subset][:, pixels], report)


def _hard_rows(
    used: Sequence[int], pixels: Int[Tensor, " pixels"], panel: Panel, measured: Measured
) -> tuple[list[Tensor], bool]:
    """Of each member what is needed at hard pixels, and whether EEPs are to be counted from it."""
    if measured.source_probabilities is not None:
        return [measured.source_probabilities(index)[pixels] for index in used], True
    return [panel.predictions(index)[pixels] for index in used], False


@dataclass(frozen=True, eq=False)
class HardPredictions:
    """What members say at the pixels that are hard for some of them.

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
    measure: Measure,
    candidates: Int[NumpyArray, "candidates size"],
    predictions: HardPredictions,
    hard: Bool[NumpyArray, "members pixels"],
    report: Callable[[int], None] | None = None,
) -> Float[NumpyArray, " candidates"]:
    """An ensemble metric on the union of its members' hard subsets.

    Members of one source share a hard subset, so there are far fewer unions than candidates: EEPs are counted once a
    union.

    Args:
        measure: The metric.
        candidates: Indices into the members, ascending in a row.
        predictions: What members say, in the order of ``hard``.
        hard: Whether each pixel is in the hard subset of each member.
        report: Called with how many candidates are done.

    Returns:
        float64 ``[candidates]``, larger is better.

    Source:
        "Towards Estimating Transferability using Hard Subsets" (HASTE), anonymous submission, 2022, eq. 5 and appendix
        A.2.
    """
    of_candidate = measure.metric.of_candidate
    assert of_candidate is not None  # the registry's kind says so
    values, done = np.empty(len(candidates)), 0
    for rows, union in _by_union(candidates, hard):
        used, local = np.unique(candidates[rows], return_inverse=True)
        members = predictions.on(torch.from_numpy(union), used.tolist())
        for row, indices in zip(rows, local.reshape(len(rows), -1).tolist(), strict=True):
            values[row] = of_candidate(Candidate(members, tuple(indices)))
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

"""Scores of candidates by every kind of metric: of ensembles, sums over members, from cards, on hard subsets.

Axis names: ``members`` are pool models, ``candidates`` sets of them, ``size`` the members of one candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from muster.metrics import Measure, osborn_of_candidates, pairwise_conditional_entropy
from muster.metrics._arrays import NumpyArray
from muster.metrics._ensemble import Candidate, Members
from muster.search._listed_sets import exact_scores
from muster.search._workers import Workers
from muster.search.measuring import Measured
from muster.search.panel import Panel
from muster.search.ranking import Ranking
from muster.search.score import ScoringInterrupted, list_candidates, score_ensembles

Report = Callable[[int, int], None]


def rank_all(
    panel: Panel, measured: Measured, measures: Sequence[Measure], size: int, progress: Report | None = None
) -> Ranking:
    """Score every set of ``size`` members by every metric.

    Args:
        panel: What each member says.
        measured: What else is known of the members.
        measures: Which metrics; those in ``measured.dropped`` are passed over.
        size: Members per candidate.
        progress: Called with how much is done and how much there is.

    Returns:
        All candidates, in lexicographic order, one column a metric in the order of ``measures``. After Ctrl-C the plain
        ensemble metrics rest on a part of the pixels, see :attr:`Ranking.fraction`.
    """
    plain = _plain_names(measures)
    if plain:
        try:
            ranking = score_ensembles(panel, panel.labels, size, plain, progress)
        except ScoringInterrupted as interrupted:
            ranking = interrupted.ranking
    else:
        ranking = Ranking(list_candidates(panel.num_members, size), {})
    return with_other_scores(ranking, panel, measured, measures)


def rank_listed(
    rows: Int[NumpyArray, "candidates size"], panel: Panel, measured: Measured, measures: Sequence[Measure]
) -> Ranking:
    """Score some candidates by every metric.

    Args:
        rows: Indices of their members, ascending in a row, rows in lexicographic order.
        panel: What each member says.
        measured: What else is known of the members.
        measures: Which metrics.

    Returns:
        These candidates.
    """
    sets = [tuple(row) for row in rows.tolist()]
    with Workers() as workers:
        found = {name: exact_scores(panel, sets, name, workers) for name in _plain_names(measures)}
    scores = {name: np.array([values[members] for members in sets]) for name, values in found.items()}
    return with_other_scores(Ranking(rows, scores), panel, measured, measures)


def _plain_names(measures: Sequence[Measure]) -> list[str]:
    return [measure.name for measure in measures if measure.kind == "ensemble" and measure.hard is None]


def with_other_scores(ranking: Ranking, panel: Panel, measured: Measured, measures: Sequence[Measure]) -> Ranking:
    """Add the columns of all metrics that are no plain ensemble metrics.

    Args:
        ranking: Candidates, with the columns of the plain ensemble metrics.
        panel: What each member says.
        measured: What else is known of the members.
        measures: Which metrics, in which order.

    Returns:
        The same candidates with a column for every metric that could be computed.
    """
    scores = dict(ranking.scores)
    for measure in measures:
        if measure.name not in scores and measure.name not in measured.dropped:
            scores[measure.name] = _column(measure, ranking.members, panel, measured)
    ordered = {measure.name: scores[measure.name] for measure in measures if measure.name in scores}
    return Ranking(ranking.members, ordered, ranking.fraction)


def _column(
    measure: Measure, candidates: Int[NumpyArray, "candidates size"], panel: Panel, measured: Measured
) -> Float[NumpyArray, " candidates"]:
    if measure.kind == "ensemble":
        return score_hard(measure, candidates, panel.in_memory(), measured.hard[str(measure.hard)])
    if measure.kind == "candidate":
        costs, predicted = zip(*measured.osborn, strict=True)
        domain, task = np.array(costs).T
        entropies = pairwise_conditional_entropy(np.stack(predicted), panel.num_classes)
        return -osborn_of_candidates(domain, task, entropies, candidates).total
    column: NumpyArray = measured.columns[measure.name][candidates].sum(axis=1)
    return column


def score_hard(
    measure: Measure,
    candidates: Int[NumpyArray, "candidates size"],
    members: Members,
    hard: Bool[NumpyArray, "members pixels"],
) -> Float[NumpyArray, " candidates"]:
    """An ensemble metric averaged over the union of the members' hard subsets, EEPs being those of the whole probe set.

    Args:
        measure: The metric.
        candidates: Indices into ``members``.
        members: What each says, in the order of ``hard``.
        hard: Whether each pixel is in the hard subset of each member.

    Returns:
        float64 ``[candidates]``, larger is better.

    Source:
        "Towards Estimating Transferability using Hard Subsets" (HASTE), anonymous submission, 2022, appendix A.2.
    """
    of_candidate = measure.metric.of_candidate
    assert of_candidate is not None  # the registry's kind says so
    values = np.empty(len(candidates))
    for place, row in enumerate(candidates.tolist()):
        union = torch.from_numpy(hard[row].any(axis=0).nonzero()[0]).to(members.labels.device)
        rows = [members.predictions[index][union] for index in row]
        part = Members(rows, members.labels[union], members.num_classes)
        values[place] = of_candidate(Candidate(part, tuple(range(len(row)))))
    return values

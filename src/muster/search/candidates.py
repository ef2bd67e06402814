"""Scores of candidates by every kind of metric: of ensembles, sums over members, from cards, on hard subsets.

Axis names: ``members`` are pool models, ``candidates`` sets of them, ``size`` the members of one candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from muster.metrics import Measure, osborn_of_candidates, pairwise_conditional_entropy
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
    kinds = {kind: measured.hard[kind][used] for kind in sorted({str(measure.hard) for measure in measures})}
    pixels = np.any([hard.any(axis=0) for hard in kinds.values()], axis=0).nonzero()[0]
    said = [panel.predictions(index)[torch.from_numpy(pixels)] for index in used]
    given = np.empty_like(panel.labels)
    given[panel.order] = panel.labels
    members = Members(said, torch.from_numpy(given[pixels]), panel.num_classes)
    total = len(measures) * len(candidates)
    for place, measure in enumerate(measures):

        def report(done: int, before: int = place * len(candidates)) -> None:
            if progress is not None:
                progress(before + done, total)

        yield measure.name, score_hard(measure, places, members, kinds[str(measure.hard)][:, pixels], report)


def score_hard(
    measure: Measure,
    candidates: Int[NumpyArray, "candidates size"],
    members: Members,
    hard: Bool[NumpyArray, "members pixels"],
    report: Callable[[int], None] | None = None,
) -> Float[NumpyArray, " candidates"]:
    """An ensemble metric averaged over the union of the members' hard subsets, EEPs being those of the whole probe set.

    Args:
        measure: The metric.
        candidates: Indices into ``members``.
        members: What each says, in the order of ``hard``.
        hard: Whether each pixel is in the hard subset of each member.
        report: Called with how many candidates are done.

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
        if report is not None:
            report(place + 1)
    return values

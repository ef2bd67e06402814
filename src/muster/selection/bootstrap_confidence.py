"""How sure a selection is: the leading candidates on bootstrap samples of the probe images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxtyping import Int

from muster.arrays import NumpyArray
from muster.probe import ProbeCache, ProbeReader, member_probabilities
from muster.scoring.bootstrap import Confidence, Counted, Fixed, bootstrap_top_k
from muster.scoring.bootstrap import Predictor as Resampled
from muster.scoring.prediction_store import PredictionStore
from muster.selection.member_scoring import Progress, Request, ScoredMembers
from muster.selection.predictors import Predictor
from muster.selection.record import BootstrapConfidence
from muster.selection.search_runner import Found

LEADERS = 10
"""How many candidates, from the best down, are compared."""

LEAST_LEADERS = 2
"""How many of them at least, whatever memory there is."""

LEAST_RESAMPLES = 40
"""Fewer leave nothing in the tails of a 95 % interval."""

_FLOAT32_BYTES = 4
_GIGABYTE = 1e9


def resample_choice(
    found: Found,
    store: PredictionStore,
    scored: ScoredMembers,
    request: Request,
    predictor: Predictor,
    reader: ProbeReader,
    cache: ProbeCache | None,
    resamples: int,
    seed: int = 0,
    progress: Progress | None = None,
    memory_gb: float = math.inf,
) -> BootstrapConfidence | None:
    """Resample the probe images, with P(y | z) estimated anew each time, and see whether the choice stays.

    Args:
        found: All candidates that were scored.
        store: What each member says.
        scored: The members.
        request: The metric that was chosen by.
        predictor: What made the predictions; those of the linear one are kept, being of images held out from its fit.
        reader: Knows the probe set.
        cache: Where source probabilities are looked up.
        resamples: How many; 0 for none.
        seed: Of the resamples.
        progress: Told how far the work is.
        memory_gb: Most that the predictions of their members may take, in units of 10^9 bytes: fewer candidates are
            compared then, two at least.

    Returns:
        ``None`` if it was not asked for, or if it has no meaning: for metrics that are no plain ensemble metrics, a
        single candidate, a single image, or scores on a part of the pixels; or if Ctrl-C ended it.
    """
    metric, images = request.chosen_by, len(reader.probe.images)
    leaders = found.ranking.members[found.ranking.order(metric.name)[:LEADERS]]
    if found.ranking.fraction < 1 or resamples == 0 or not metric.is_plain_ensemble or len(leaders) < 2 or images < 2:
        return None

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress("resampling images", done, total)

    labels, groups = reader.probe.labels, reader.probe.image_of_pixel
    bytes_of = [len(labels) * count * _FLOAT32_BYTES for count in _num_classes(scored, predictor)]
    leaders = leaders[: _affordable(leaders, bytes_of, memory_gb)]
    indices = sorted(set(leaders.ravel().tolist()))
    try:
        members = {index: _resampled(index, store, scored, predictor, reader, cache) for index in indices}
        confidence = bootstrap_top_k(
            members, labels, groups, leaders, metric.name, resamples, seed, report, num_classes=predictor.num_classes
        )
    except KeyboardInterrupt:  # the choice itself is made
        return None
    return as_record(confidence)


def as_record(confidence: Confidence) -> BootstrapConfidence:
    """What a selection keeps of it."""
    lead = confidence.lead_over_best_other
    return BootstrapConfidence(
        lead=lead.value,
        low=lead.low,
        high=lead.high,
        level=confidence.level,
        resamples=confidence.resamples,
        images=confidence.images,
        selection_frequency=tuple(confidence.selection_frequency.tolist()),
        summary=confidence.summary,
    )


def _num_classes(scored: ScoredMembers, predictor: Predictor) -> list[int]:
    """How many probabilities a pixel has in what is resampled of each member."""
    if predictor.name == "linear_probe":
        return [predictor.num_classes] * len(scored.members)
    return [len(member.card.classes) for member in scored.members]


def _affordable(leaders: Int[NumpyArray, "candidates size"], bytes_of: Sequence[int], memory_gb: float) -> int:
    """How many of the leaders' members fit into memory together; the first two have to."""
    needed: set[int] = set()
    for count, row in enumerate(leaders.tolist()):
        needed.update(row)
        if count >= LEAST_LEADERS and sum(bytes_of[index] for index in needed) > memory_gb * _GIGABYTE:
            return count
    return len(leaders)


def _resampled(
    index: int,
    store: PredictionStore,
    scored: ScoredMembers,
    predictor: Predictor,
    reader: ProbeReader,
    cache: ProbeCache | None,
) -> Resampled:
    if predictor.name == "linear_probe":
        return Fixed(store.predictions(index))
    return Counted(member_probabilities(scored.members[index], reader, cache))

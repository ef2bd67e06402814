"""Bootstrap confidence of a selection: its top-k candidates on bootstrap samples of the probe images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxtyping import Int

from muster.arrays import NumpyArray
from muster.cancel import Cancelled, CancelToken
from muster.probe import ProbeCache, ProbeReader, member_probabilities
from muster.scoring.bootstrap import Fixed, Refitted, ResampledScores, bootstrap_top_k
from muster.scoring.bootstrap import Predictor as Resampled
from muster.scoring.prediction_store import PredictionStore
from muster.selection.member_scoring import Progress, Request, ScoredMembers
from muster.selection.predictors import Predictor
from muster.selection.record_parts import BootstrapConfidence
from muster.selection.search_runner import Found

TOP_K = 10
"""How many candidates, from the best down, are compared."""

LEAST_TOP_K = 2
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
    cancel: CancelToken | None = None,
) -> BootstrapConfidence | None:
    """Resample the probe images, with P(y | z) estimated anew each time, and see whether the choice stays.

    Args:
        found: All candidates that were scored.
        store: The members' predictions.
        scored: The members.
        request: The metric that was chosen by.
        predictor: What made the predictions; those of the linear probe are kept, being of images held out from its fit.
        reader: Knows the probe set.
        cache: Where source probabilities are looked up.
        resamples: How many; 0 for none.
        seed: The seed of the resamples.
        progress: Told how far the work is.
        memory_gb: Most that the predictions of their members may take, in units of 10^9 bytes: fewer candidates are
            compared then, two at least.
        cancel: Asked whether to go on.

    Returns:
        ``None`` if it was not asked for, or if it has no meaning: for metrics that are no plain ensemble metrics, a
        single candidate, a single image, or scores on a part of the pixels; or if it was cancelled.
    """
    cancel = cancel or CancelToken()
    metric, images = request.chosen_by, len(reader.probe.images)
    top = found.ranking.members[found.ranking.order(metric.name)[:TOP_K]]
    if found.ranking.fraction < 1 or resamples == 0 or not metric.is_plain_ensemble or len(top) < 2 or images < 2:
        return None

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(f"resampling {reader.spec.holds}", done, total)
        cancel.check()

    labels, groups = reader.probe.labels, reader.probe.image_of_pixel
    bytes_of = [len(labels) * count * _FLOAT32_BYTES for count in _num_classes(scored, predictor)]
    top = top[: _affordable(top, bytes_of, memory_gb)]
    indices = sorted(set(top.ravel().tolist()))
    members = {}
    try:
        with cancel.awaited():
            for index in indices:
                cancel.check()
                members[index] = _resampled(index, store, scored, predictor, reader, cache)
            resampled = bootstrap_top_k(
                members, labels, groups, top, metric.name, resamples, seed, report,
                num_classes=predictor.num_classes,
            )  # fmt: skip
    except Cancelled:  # the choice itself is made
        return None
    return as_record(resampled)


def as_record(resampled: ResampledScores) -> BootstrapConfidence:
    """What a selection keeps of it."""
    margin = resampled.margin_over_best_other
    return BootstrapConfidence(
        margin=margin.value,
        low=margin.low,
        high=margin.high,
        level=resampled.level,
        resamples=resampled.resamples,
        images=resampled.images,
        selection_frequency=tuple(resampled.selection_frequency.tolist()),
    )


def _num_classes(scored: ScoredMembers, predictor: Predictor) -> list[int]:
    """How many probabilities a pixel has in what is resampled of each member."""
    if predictor.name == "linear_probe":
        return [predictor.num_classes] * len(scored.members)
    return [len(member.card.classes) for member in scored.members]


def _affordable(top: Int[NumpyArray, "candidates size"], bytes_of: Sequence[int], memory_gb: float) -> int:
    """How many of the candidates' members fit into memory together; the first two have to."""
    needed: set[int] = set()
    for count, row in enumerate(top.tolist()):
        needed.update(row)
        if count >= LEAST_TOP_K and sum(bytes_of[index] for index in needed) > memory_gb * _GIGABYTE:
            return count
    return len(top)


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
    return Refitted(member_probabilities(scored.members[index], reader, cache))

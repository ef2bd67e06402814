"""The torch backend: candidates scored by their metrics' own accumulators, on the device of the predictions.

It knows nothing of a metric but its :class:`~muster.metrics.accumulators.Definition`, so every metric runs here. Those
that the compiled loops of :mod:`muster.scoring.cpu` know run there instead if the store's backend is ``numba``. The
store is read chunk by chunk. Axis names: ``candidates`` are sets of members, ``size`` the members of one candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.arrays import NumpyArray
from muster.cancel import CancelToken
from muster.metrics.accumulators import Accumulator, pieces, sum_members
from muster.metrics.ensemble_block import EnsembleBlock
from muster.metrics.registry import Metric
from muster.scoring.metric_kinds import definition_of
from muster.scoring.prediction_store import PredictionStore
from muster.threads import one_thread

_NUMBERS_AT_ONCE = {"cpu": 1 << 21}
"""Predictions of candidates that are summed in one go; on a processor few enough for its caches."""

_NUMBERS_ON_DEVICE = 1 << 26

States = Mapping[Accumulator, Tensor]
"""The state of each accumulator, for the same candidates."""


def init_states(store: PredictionStore, candidates: int, metrics: Sequence[Metric]) -> dict[Accumulator, Tensor]:
    """States of no pixel, one for all metrics of an accumulator.

    Args:
        store: Where the predictions are.
        candidates: How many.
        metrics: Metrics of ensembles.

    Returns:
        The states.
    """
    accumulators = dict.fromkeys(definition_of(metric).accumulator for metric in metrics)
    return {each: each.init(candidates, store.num_classes, store.device) for each in accumulators}


def add_pixels(
    store: PredictionStore,
    candidates: Int[Tensor, "candidates size"],
    states: States,
    pixels: slice,
    done: Callable[[int], None] = lambda _: None,
) -> None:
    """Add some pixels to the states.

    Args:
        store: Where the predictions are; only those of members that occur are read.
        candidates: Indices of each one's members, ascending in a row.
        states: Of these candidates.
        pixels: Which, in the store's order.
        done: Told how many candidates times pixels were added since it was last told.
    """
    with one_thread():
        update_states(states, _read(store, candidates, pixels), done)


def update_states(states: States, whole: EnsembleBlock, done: Callable[[int], None] = lambda _: None) -> None:
    """Add a block of any size to the states, a part that fits into memory after the other.

    Args:
        states: Of the block's candidates.
        whole: The block.
        done: As for :func:`add_pixels`.
    """
    at_once = _NUMBERS_AT_ONCE.get(whole.labels.device.type, _NUMBERS_ON_DEVICE)
    for rows, part in pieces(len(whole.candidates), len(whole.labels), whole.num_classes, at_once):
        block = EnsembleBlock([each[part] for each in whole.predictions], whole.labels[part], whole.candidates[rows])
        for accumulator, state in states.items():
            accumulator.update(state[rows], block)
        done((rows.stop - rows.start) * (part.stop - part.start))


def states_of_groups(
    store: PredictionStore,
    candidates: Int[Tensor, "candidates size"],
    metric: Metric,
    pixels: slice,
    groups: Sequence[NumpyArray],
) -> Iterator[Tensor]:
    """States of parts of some pixels.

    Args:
        store: Where the predictions are.
        candidates: Indices of each one's members, ascending in a row.
        metric: A metric of ensembles.
        pixels: Which, in the store's order.
        groups: Parts of these, int64, counted from the first of them; of any lengths.

    Yields:
        The state of each group alone.
    """
    whole, accumulator = _read(store, candidates, pixels), definition_of(metric).accumulator
    for group in groups:
        places = torch.from_numpy(group).to(store.device)
        part = EnsembleBlock([each[places] for each in whole.predictions], whole.labels[places], whole.candidates)
        state = accumulator.init(len(candidates), store.num_classes, store.device)
        update_states({accumulator: state}, part)
        yield state


def _read(store: PredictionStore, candidates: Int[Tensor, "candidates size"], pixels: slice) -> EnsembleBlock:
    """All that these candidates predict at some pixels; nothing is summed yet."""
    used, local = torch.unique(candidates, return_inverse=True)
    labels = torch.from_numpy(store.labels[pixels]).to(store.device)
    return EnsembleBlock(store.tensors(used.tolist(), pixels), labels, local)


def score_by_definition(
    store: PredictionStore,
    candidates: Int[NumpyArray, "candidates size"],
    metrics: Sequence[Metric],
    progress: Callable[[float], None] = lambda _: None,
    cancel: CancelToken | None = None,
) -> dict[str, Float[NumpyArray, " candidates"]]:
    """Scores of candidates of one size.

    Args:
        store: Read chunk by chunk, whatever its size.
        candidates: Indices of each one's members, ascending in a row.
        metrics: Metrics of ensembles, at least one.
        progress: Told how many candidates' worth of work was done since it was last told.
        cancel: Asked now and then whether to go on.

    Returns:
        float64 per metric; larger is better.

    Raises:
        Cancelled: If it is not to go on.
    """
    token = cancel or CancelToken()
    summed = [metric for metric in metrics if definition_of(metric).sums_members]
    together = [metric for metric in metrics if not definition_of(metric).sums_members]
    used, local = (torch.from_numpy(each) for each in np.unique(candidates, return_inverse=True))
    local = local.reshape(candidates.shape)
    singles, rows = used[:, None], torch.from_numpy(candidates)
    of_members, of_candidates = init_states(store, len(singles), summed), init_states(store, len(rows), together)
    work = len(singles) * bool(summed) + len(rows) * bool(together)

    def tell(done: int) -> None:
        progress(done / store.num_pixels * len(rows) / work)
        token.check()

    with token.awaited():
        for chunk in store.chunks:
            if summed:
                add_pixels(store, singles, of_members, chunk, tell)
            if together:
                add_pixels(store, rows, of_candidates, chunk, tell)
    counts = np.bincount(store.labels, minlength=store.num_classes)
    scores = {metric.name: final_scores(metric, of_candidates, counts) for metric in together}
    for metric in summed:
        of_member = torch.from_numpy(final_scores(metric, of_members, counts))
        scores[metric.name] = sum_members(of_member, local).numpy()
    return {metric.name: scores[metric.name] for metric in metrics}


def final_scores(
    metric: Metric, states: States, label_counts: Int[NumpyArray, " classes"]
) -> Float[NumpyArray, " candidates"]:
    """Scores of a metric from the states, larger is better; of a metric that sums its members, those of the members."""
    return metric.final_scores(states[definition_of(metric).accumulator].cpu().numpy(), label_counts)

"""Scoring all candidates on the device of the predictions, block by block of pixels.

What is added up are integers (:mod:`muster.scoring.device.blocks`), by one of three backends
(:mod:`muster.scoring.device.backends`); predictions never leave the device. Axis names as in
:mod:`muster.scoring.fixed_point`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Int

from muster.arrays import NumpyArray
from muster.metrics.ensemble_block import Members
from muster.scoring.device.backends import backend_named, fastest_backend
from muster.scoring.device.blocks import Block, LogScale, Runs, Sums, smallest_probability
from muster.scoring.device.torch_backend import TILE_NUMBERS
from muster.scoring.fixed_point import COUNT_LIMIT, FixedPointSums, fixed_point_scale

BLOCK_NUMBERS = 1 << 29
"""Most predictions that are brought into another layout at a time."""


def score_tiles(
    members: Members,
    candidates: Int[NumpyArray, "candidates size"],
    metrics: Sequence[str],
    progress: Callable[[float], None],
    block_numbers: int = BLOCK_NUMBERS,
    tile_numbers: int = TILE_NUMBERS,
    backend: str | None = None,
) -> dict[str, NumpyArray]:
    """Score candidates of one size on the device of the predictions.

    Neither the backend nor a limit on memory changes a predicted class, a count or a sum of likelihoods.

    Args:
        members: Predictions of all members, in any floating-point type.
        candidates: Sets of one size, members ascending; quickest in lexicographic order.
        metrics: Names of metrics that :func:`~muster.scoring.metric_kinds.has_exhaustive_kernels`.
        progress: Told how many candidates' worth of work was done since it was last told.
        block_numbers: Most predictions that are copied at a time.
        tile_numbers: Most pixels times candidates at a time.
        backend: One of :data:`muster.scoring.device.backends.NAMES`; by default the fastest that works here.

    Returns:
        float64 ``[candidates]`` per metric. A soft IoU is NaN where its sums are too small for fixed point, see
        :meth:`FixedPointSums.is_coarse`.

    Raises:
        ValueError: If there is no such backend.
    """
    return sums_of_tiles(members, candidates, metrics, progress, block_numbers, tile_numbers, backend).scores()


def sums_of_tiles(
    members: Members,
    candidates: Int[NumpyArray, "candidates size"],
    metrics: Sequence[str],
    progress: Callable[[float], None],
    block_numbers: int = BLOCK_NUMBERS,
    tile_numbers: int = TILE_NUMBERS,
    backend: str | None = None,
) -> FixedPointSums:
    """What scores are made of; everything as for :func:`score_tiles`."""
    first = members.predictions[0]
    way = backend_named(backend) if backend else fastest_backend(first.device, first.dtype)
    num_pixels = len(members.labels)
    scale = fixed_point_scale(candidates.shape[1], COUNT_LIMIT, num_pixels)
    accumulator = FixedPointSums(candidates, len(members.predictions), members.num_classes, scale, metrics)
    sums = Sums.zeros(members, candidates, counted=accumulator.wants_outcomes, logged=accumulator.wants_products)
    of_members = _MemberSums(members)
    runs = Runs.of(candidates, way.longest_run)
    numbers = len(members.predictions) * members.num_classes
    most = max(1, min(tile_numbers // int(runs.lengths.max()), block_numbers // numbers))
    for start in range(0, num_pixels, most):
        pixels = slice(start, min(start + most, num_pixels))
        block = Block.of(members, pixels, scale, counted=sums.counted, by_label=way.by_label)
        of_members.add(block)
        way.add_block(block, runs, sums, partial(_tell, progress, len(candidates) * block.num_pixels / num_pixels))
    of_members.give(accumulator)
    if sums.counted:
        accumulator.counts[:], accumulator.totals[:] = sums.counts.cpu().numpy(), sums.totals.cpu().numpy()
    if sums.logged:
        accumulator.logs[:] = sums.log_scale.value(sums.logs)
    return accumulator


def _tell(progress: Callable[[float], None], whole: float, part: float) -> None:
    progress(whole * part)


class _MemberSums:
    """Sums over pixels for each member alone, on the device."""

    def __init__(self, members: Members) -> None:
        """Nothing is added yet."""
        device, shape = members.labels.device, (len(members.predictions), members.num_classes)
        self._pixels = len(members.labels)
        self._scale = LogScale.of(self._pixels)
        self._floor = smallest_probability(members)
        self._label_counts = torch.bincount(members.labels, minlength=members.num_classes)
        self._likelihoods = torch.zeros(shape, dtype=torch.int64, device=device)
        self._logs = torch.zeros(2, len(members.predictions), dtype=torch.int64, device=device)

    def add(self, block: Block) -> None:
        """Add a block of pixels."""
        self._likelihoods += block.member_likelihoods()
        self._logs += block.member_logs(self._floor, self._scale)

    def give(self, accumulator: FixedPointSums) -> None:
        """Hand the sums over to what makes scores of them."""
        accumulator.pixels = self._pixels
        accumulator.label_counts = self._label_counts.cpu().numpy()
        accumulator.member_likelihoods = self._likelihoods.cpu().numpy()
        accumulator.member_logs = self._scale.value(self._logs)

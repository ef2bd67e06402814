"""Scoring all candidates in a few large tensor operations each: for devices other than the processor.

One prefix (all members of a candidate but the last) is taken at a time, with every last member that may follow it: a
tile of candidates x pixels that is large enough to keep such a device busy. Only operations are used that give the same
numbers whenever they are run: a class takes the place of another only if it is strictly larger, so ties go to the
lowest; and what is scattered are integers. Axis names as in :mod:`muster.scoring.accumulators`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.arrays import NumpyArray
from muster.metrics.ensemble import Members
from muster.scoring.accumulators import COUNT_BIT, COUNT_LIMIT, Accumulator, share_scale

_WAYS = 32
"""Histograms of a candidate that neighbouring pixels use in turn, so that parallel additions rarely meet."""

_BLOCK_NUMBERS = 1 << 29
"""Most predictions that are brought into another layout at a time."""

_TILE_NUMBERS = 1 << 24
"""Most pixels times candidates at a time."""


def score_tiles(
    members: Members,
    candidates: Int[NumpyArray, "candidates size"],
    metrics: Sequence[str],
    progress: Callable[[float], None],
    block_numbers: int = _BLOCK_NUMBERS,
    tile_numbers: int = _TILE_NUMBERS,
) -> dict[str, NumpyArray]:
    """Score all candidates of one size on the device of the predictions.

    Args:
        members: What the members say.
        candidates: All sets of one size, in lexicographic order.
        metrics: Names of metrics that :func:`~muster.scoring.accumulators.has_exhaustive_kernels`.
        progress: Told how many candidates' worth of work was done since it was last told.
        block_numbers: Most predictions that are copied at a time.
        tile_numbers: Most pixels times candidates at a time.

    Returns:
        float64 ``[candidates]`` per metric. A soft IoU is NaN where its sums are too small for fixed point, see
        :meth:`Accumulator.is_coarse`.
    """
    num_members, num_pixels, size = len(members.predictions), len(members.labels), candidates.shape[1]
    most = min(tile_numbers // num_members, block_numbers // (num_members * members.num_classes))
    scale = share_scale(size, COUNT_LIMIT, num_pixels)
    accumulator = Accumulator(candidates, num_members, members.num_classes, scale, metrics)
    device = members.labels.device
    counts, totals = (torch.zeros(accumulator.counts.shape, dtype=torch.int64, device=device) for _ in range(2))
    logs = torch.zeros(len(candidates), dtype=torch.float64, device=device)
    bounds = _prefix_bounds(candidates)
    for start in range(0, num_pixels, max(1, most)):
        block = _Block(members, slice(start, start + max(1, most)), scale, accumulator.wants_marks)
        accumulator.add_pixels(
            block.labels.cpu().numpy(), block.truths.cpu().numpy(), block.shares.cpu().numpy(), block.tiny
        )
        for first, last in pairwise(bounds):
            prefix, lasts = candidates[first, :-1].tolist(), slice(int(candidates[first, -1]), num_members)
            if accumulator.wants_products:
                logs[first:last] += block.logs(prefix, lasts)
            if accumulator.wants_marks:
                block.count(prefix, lasts, counts[first:last], totals[first:last])
            progress((last - first) * len(block.labels) / num_pixels)
    if accumulator.wants_marks:
        accumulator.counts[:], accumulator.totals[:] = counts.cpu().numpy(), totals.cpu().numpy()
    if accumulator.wants_products:
        accumulator.logs[:] = logs.cpu().numpy()
    return accumulator.scores()


class _Block:
    """What all members say about some pixels, classes first."""

    def __init__(self, members: Members, pixels: slice, scale: float, marks: bool) -> None:
        """Predictions are copied only if they are needed (``marks``)."""
        self.labels = members.labels[pixels]
        column = self.labels[:, None]
        rows = [prediction[pixels] for prediction in members.predictions]
        self.truths = torch.stack([row.gather(1, column)[:, 0] for row in rows]).double()
        self.shares = (self.truths * scale).round().long()
        self.tiny = torch.finfo(rows[0].dtype).smallest_normal
        self.num_classes = members.num_classes
        self.predictions = torch.stack([row.T for row in rows], dim=1) if marks else None
        way = torch.arange(len(column), device=column.device) % _WAYS
        self._offsets = way * (2 * self.num_classes)

    def logs(self, prefix: Sequence[int], lasts: slice) -> Float[Tensor, " lasts"]:
        """Sum over pixels of the log of what each candidate's members together give to the label."""
        totals = self.truths[lasts] + _sum(self.truths, prefix)
        return totals.clamp_(min=(len(prefix) + 1) * self.tiny).log_().sum(dim=1)

    def count(
        self,
        prefix: Sequence[int],
        lasts: slice,
        counts: Int[Tensor, "lasts marks"],
        totals: Int[Tensor, "lasts marks"],
    ) -> None:
        """Add these pixels to :attr:`Accumulator.counts` and :attr:`Accumulator.totals` of the candidates."""
        marks = self._winners(prefix, lasts).long()
        marks += (marks == self.labels) * self.num_classes
        marks += self._offsets
        given = _sum(self.shares, prefix) + (1 << COUNT_BIT)
        # A histogram's count of one way must not overflow.
        for start in range(0, len(self.labels), _WAYS * COUNT_LIMIT):
            some = slice(start, start + _WAYS * COUNT_LIMIT)
            histogram = marks.new_zeros(len(marks), _WAYS * 2 * self.num_classes)
            histogram.scatter_add_(1, marks[:, some], self.shares[lasts, some] + given[some])
            ways = histogram.view(len(marks), _WAYS, -1)
            counts += (ways >> COUNT_BIT).sum(dim=1)
            totals += (ways & ((1 << COUNT_BIT) - 1)).sum(dim=1)

    def _winners(self, prefix: Sequence[int], lasts: slice) -> Int[Tensor, "lasts pixels"]:
        """The first largest class."""
        assert self.predictions is not None
        best = self.predictions[0, lasts] + _sum(self.predictions[0], prefix)
        winners = torch.zeros(best.shape, dtype=torch.int16, device=best.device)
        value, larger = torch.empty_like(best), torch.empty(best.shape, dtype=torch.bool, device=best.device)
        for k in range(1, self.num_classes):
            torch.add(self.predictions[k, lasts], _sum(self.predictions[k], prefix), out=value)
            torch.gt(value, best, out=larger)
            torch.maximum(best, value, out=best)
            winners.masked_fill_(larger, k)
        return winners


def _sum(rows: Tensor, members: Sequence[int]) -> Tensor:
    """Sum over some members in the order given; of none it is 0."""
    if not members:
        return rows.new_zeros(rows.shape[1:])
    total = rows[members[0]]
    for member in members[1:]:
        total = total + rows[member]
    return total


def _prefix_bounds(candidates: Int[NumpyArray, "candidates size"]) -> list[int]:
    """Where the candidates of each prefix begin, and the number of all."""
    changes = (candidates[1:, :-1] != candidates[:-1, :-1]).any(axis=1)
    return [0, *(np.flatnonzero(changes) + 1).tolist(), len(candidates)]

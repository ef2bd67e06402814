"""Scoring all candidates in a few tensor operations for each prefix: for any device that torch knows.

One prefix (all members of a candidate but the last) is taken at a time, with every last member that may follow it: a
tile of candidates x pixels that is large enough to keep a device busy. The functions that do the work have no side
effect and no choice: a class takes the place of another only if it is strictly larger, so ties go to the lowest; only
integers are added over pixels. So torch's compiler may fuse them into a few loops, with the same counts and sums.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import unwrap
from itertools import pairwise
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.scoring.device.blocks import Block, Runs, Sums, split_logs, sum_type
from muster.scoring.fixed_point import COUNT_BIT, COUNT_LIMIT

TILE_NUMBERS = 1 << 24
"""Most pixels times candidates at a time."""

_WAYS = 32
"""Histograms of a candidate that neighbouring pixels use in turn, so that parallel additions rarely meet."""

_CLASSES_AT_ONCE = 32
"""Classes that the compiler unrolls into one loop; with hundreds it would take minutes."""

Choice: TypeAlias = slice | Tensor
"""Neighbouring members, as a slice or as their indices."""


def add_block(
    block: Block, runs: Runs, sums: Sums, progress: Callable[[float], None], *, compiled: bool = False
) -> None:
    """Add a block of pixels to the sums of all candidates.

    Args:
        block: Pixels, of which there are at most :data:`TILE_NUMBERS` for each last member of a run.
        runs: Of any length.
        sums: Added to.
        progress: Told which part of the block was added since it was last told.
        compiled: Whether to let torch compile the work on a tile.
    """
    tile = _Tile(block, compiled)
    for first, length in zip(runs.firsts.tolist(), runs.lengths.tolist(), strict=True):
        *prefix, last = runs.candidates[first].tolist()
        rows, lasts = slice(first, first + length), slice(last, last + length)
        if sums.logged:
            sums.logs[:, rows] += tile.logs(prefix, lasts, sums.log_constants)
        if sums.counted:
            tile.count(prefix, lasts, sums.counts[rows], sums.totals[rows])
        progress(length / len(runs.candidates))


class _Tile:
    """The work on one prefix, its last members and a block of pixels."""

    def __init__(self, block: Block, compiled: bool) -> None:
        self._block, self._compiled = block, compiled
        real, device = slice(block.num_pixels), block.labels.device
        self._labels, self._likelihoods = block.labels[real], block.likelihoods[:, real]
        self._true_probabilities = block.true_probabilities[:, real]
        self._predictions = None if block.predictions is None else block.predictions[:, :, real]
        self._offsets = torch.arange(block.num_pixels, device=device) % _WAYS * (2 * block.num_classes)
        self._members = torch.arange(len(block.likelihoods), device=device)
        bounds = [*range(0, block.num_classes, _CLASSES_AT_ONCE), block.num_classes]
        self._classes = [torch.arange(*bound, dtype=torch.int16, device=device) for bound in pairwise(bounds)]

    def logs(self, prefix: list[int], lasts: slice, constants: Float[Tensor, " constants"]) -> Int[Tensor, "2 lasts"]:
        """Sum over pixels of the log of what each candidate's members together give to the label, in two parts."""
        true_class = self._true_probabilities
        sums: Tensor = self._call(sum_logs)(
            true_class, _ascending_sum(true_class, prefix), self._choice(lasts), *constants
        )
        return sums[:, : lasts.stop - lasts.start]

    def count(
        self, prefix: list[int], lasts: slice, counts: Int[Tensor, "lasts codes"], totals: Int[Tensor, "lasts codes"]
    ) -> None:
        """Add these pixels to the counts and totals of the candidates."""
        choice, num_classes = self._choice(lasts), counts.shape[1] // 2
        given = _ascending_sum(self._likelihoods, prefix) + (1 << COUNT_BIT)
        winners = self._winners(prefix, choice)
        codes, packed = self._call(outcomes)(
            winners, self._labels, self._offsets, num_classes, self._likelihoods, given, choice
        )
        codes, packed = codes[: len(counts)], packed[: len(counts)]
        # A histogram's count of one way must not overflow.
        for start in range(0, self._block.num_pixels, _WAYS * COUNT_LIMIT):
            some = slice(start, start + _WAYS * COUNT_LIMIT)
            histogram = codes.new_zeros(len(counts), _WAYS * counts.shape[1])
            histogram.scatter_add_(1, codes[:, some], packed[:, some])
            ways = histogram.view(len(counts), _WAYS, -1)
            counts += (ways >> COUNT_BIT).sum(dim=1)
            totals += (ways & ((1 << COUNT_BIT) - 1)).sum(dim=1)

    def _winners(self, prefix: list[int], choice: Choice) -> Int[Tensor, "lasts pixels"]:
        """The first largest class."""
        assert self._predictions is not None
        dtype = sum_type(self._predictions.dtype)
        together = _ascending_sum(self._predictions.transpose(0, 1), prefix, dtype)
        # -1 is less than any sum of probabilities.
        best = torch.full_like(self._likelihoods[choice], -1, dtype=dtype)
        winners = torch.zeros_like(best, dtype=torch.int16)
        for number, classes in enumerate(self._classes):
            some = slice(number * _CLASSES_AT_ONCE, number * _CLASSES_AT_ONCE + len(classes))
            best, winners = self._call(advance)(self._predictions[some], together[some], choice, classes, best, winners)
        return winners

    def _choice(self, lasts: slice) -> Choice:
        """A slice gives views. Compiled code takes two indices or more: it would be made anew for another offset."""
        if not self._compiled:
            return lasts
        indices = self._members[lasts]
        return indices.repeat(2) if len(indices) == 1 else indices.clone()

    def _call(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return compile_once(function) if self._compiled else function


@cache
def compile_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let torch compile a function for tensors of any size.

    Args:
        function: Without side effects. What a test run puts around it to check annotations is left out.

    Returns:
        The same function; it is compiled at its first call.
    """
    return torch.compile(unwrap(function), dynamic=True)


def advance(
    predictions: Float[Tensor, "classes members pixels"],
    together: Float[Tensor, "classes pixels"],
    lasts: Choice,
    classes: Int[Tensor, " classes"],
    best: Float[Tensor, "lasts pixels"],
    winners: Int[Tensor, "lasts pixels"],
) -> tuple[Float[Tensor, "lasts pixels"], Int[Tensor, "lasts pixels"]]:
    """Go on with the running arg max over classes.

    Args:
        predictions: As they are stored.
        together: Sum over the prefix.
        lasts: Which members are the last.
        classes: Numbers of the classes, ascending and above those seen before.
        best: Largest sum of the classes seen before.
        winners: Its class.

    Returns:
        Both, of these classes too.
    """
    for k in range(len(classes)):
        values = predictions[k, lasts].to(best.dtype) + together[k]
        winners = torch.where(values > best, classes[k], winners)
        best = torch.maximum(best, values)
    return best, winners


def outcomes(
    winners: Int[Tensor, "lasts pixels"],
    labels: Int[Tensor, " pixels"],
    offsets: Int[Tensor, " pixels"],
    num_classes: int,
    likelihoods: Int[Tensor, "members pixels"],
    given: Int[Tensor, " pixels"],
    lasts: Choice,
) -> tuple[Int[Tensor, "lasts pixels"], Int[Tensor, "lasts pixels"]]:
    """Where in a histogram each pixel goes, and what is added there.

    Args:
        winners: Predicted classes.
        labels: True classes.
        offsets: Where the histogram of each pixel's way begins.
        num_classes: Number of target classes.
        likelihoods: Each member's probability of the label, in fixed point.
        given: What the prefix gives to it, and a count of 1.
        lasts: Which members are the last.

    Returns:
        Places, and counts with sums below them.
    """
    predicted = winners.long()
    codes = torch.where(predicted == labels, predicted + num_classes, predicted)
    return codes + offsets, likelihoods[lasts] + given


def sum_logs(
    true_probabilities: Float[Tensor, "members pixels"],
    together: Float[Tensor, " pixels"],
    lasts: Choice,
    floor: Float[Tensor, ""],
    high: Float[Tensor, ""],
    low: Float[Tensor, ""],
) -> Int[Tensor, "2 lasts"]:
    """Sum over pixels of the log of what each candidate's members together give to the label.

    Args:
        true_probabilities: Each member's probability of the label, float64.
        together: What the prefix gives.
        lasts: Which members are the last.
        floor: Smallest argument of a log.
        high: See :class:`LogScale`.
        low: Likewise.

    Returns:
        Both parts of the sums.
    """
    return split_logs(torch.maximum(true_probabilities[lasts] + together, floor).log(), high, low)


def _ascending_sum(rows: Tensor, members: list[int], dtype: torch.dtype | None = None) -> Tensor:
    """Sum over some members in the order given; of none it is 0."""
    total = torch.zeros(rows.shape[1:], dtype=dtype or rows.dtype, device=rows.device)
    for member in members:
        total = total + rows[member]
    return total

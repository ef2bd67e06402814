"""The inner loops of exhaustive search as two Triton kernels, each one pass over the predictions.

One program takes one *run* of candidates (the same prefix, neighbouring last members: :class:`Runs`) and one tile of
pixels. It keeps the running maximum over classes in registers, so that nothing of size candidates x pixels is ever
written.

Why a result does not depend on the order in which programs run, on their number or on the tile:

* A predicted class is a function of one pixel's predictions alone, and is found within one program: members are added
  in ascending order, and a class takes the place of another only if it is strictly larger, so ties go to the lowest.
* Everything that is added over pixels is an integer of 64 bits: a count, probabilities in fixed point (rounded before
  anything is added to them), the two parts of a log in fixed point. Addition of integers modulo 2^64 is commutative and
  associative. So any order, within a program (``tl.sum``) or among programs (``tl.atomic_add``), gives the same bits.
* No sum overflows, so these bits are the sum itself. Over all pixels, the scales are chosen for that
  (``fixed_point_scale``, :class:`LogScale`). Over one tile, where a count and a sum share one integer, ``COUNT_LIMIT``
  is the bound.

Blocks are padded to whole tiles, so that no load needs a mask over pixels; what the padding gives is replaced by 0
before it is added. Without a GPU the kernels run in Triton's interpreter (``TRITON_INTERPRET=1`` before this import).
"""

# Triton's own functions have no types. No postponed annotations: these functions have none that mypy would need.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# ruff: noqa: ANN001, ANN201, ANN202, N803

from collections.abc import Callable
from inspect import unwrap

import numpy as np
import torch
import triton
from triton import language as tl

from muster.scoring.device.blocks import PIXEL_TILE, Block, Runs, Sums, sum_type
from muster.scoring.fixed_point import COUNT_BIT, COUNT_LIMIT

LONGEST_RUN = 4
"""Candidates of a program: with a tile of 256 pixels, one warp holds their maxima in its registers."""

WARPS = 1
"""Warps of a program: with one, a sum over a tile needs no memory shared among warps."""

_SIZES = ("first_tile", "num_pixels", "num_members", "num_classes")  # one compilation serves all
_TILES_AT_ONCE = 32  # of one launch, so that progress is told in between
_SUM_TYPES = {torch.float32: tl.float32, torch.float64: tl.float64}

assert PIXEL_TILE <= COUNT_LIMIT  # the counts of a tile fit above COUNT_BIT


def _kernel(function):
    """Compile at the first launch. What a test run puts around a function to check annotations is left out."""
    return triton.jit(unwrap(function), do_not_specialize=_SIZES)


@_kernel
def count_outcomes(
    predictions,  # [classes, members, width], stored in any precision
    labels,  # int64 [width]
    likelihoods,  # int64 [members, width]: each member's probability of the label, in fixed point
    candidates,  # int32 [candidates, size]
    runs,  # int32 [runs, 2]: the first candidate, and how many
    counts,  # int64 [candidates, 2 classes]: added to
    totals,  # int64 of that shape: added to
    first_tile,
    num_pixels,
    width,
    num_members,
    num_classes,
    SIZE: tl.constexpr,
    SUM_TYPE: tl.constexpr,
    COUNT_BIT: tl.constexpr,
    LONGEST_RUN: tl.constexpr,
    PIXEL_TILE: tl.constexpr,
):
    """Add one tile of pixels to the outcome codes of one run: wrong as class k, then right as class k."""
    row = tl.load(runs + 2 * tl.program_id(0))
    lanes = tl.arange(0, LONGEST_RUN)
    wanted = lanes < tl.load(runs + 2 * tl.program_id(0) + 1)
    members = candidates + row * SIZE
    lasts = ((tl.load(members + SIZE - 1) + lanes).to(tl.int64) * width)[:, None]
    pixels = (first_tile + tl.program_id(1)) * PIXEL_TILE + tl.arange(0, PIXEL_TILE)

    best = tl.full((LONGEST_RUN, PIXEL_TILE), -1.0, SUM_TYPE)  # less than any sum of probabilities
    winners = tl.zeros((LONGEST_RUN, PIXEL_TILE), tl.int32)
    for k in range(num_classes):
        of_class = predictions + (k * num_members).to(tl.int64) * width
        prefix = tl.zeros((PIXEL_TILE,), SUM_TYPE)  # 0 + p is p
        for i in tl.static_range(SIZE - 1):
            prefix += tl.load(of_class + tl.load(members + i).to(tl.int64) * width + pixels).to(SUM_TYPE)
        values = tl.load(of_class + lasts + pixels[None, :], mask=wanted[:, None], other=0.0).to(SUM_TYPE)
        values += prefix[None, :]
        larger = values > best
        best = tl.where(larger, values, best)
        winners = tl.where(larger, k, winners)

    # A count of 1 above the sum of the members' likelihoods, so that one addition does both.
    given = tl.full((PIXEL_TILE,), 1 << COUNT_BIT, tl.int64)
    for i in tl.static_range(SIZE - 1):
        given += tl.load(likelihoods + tl.load(members + i).to(tl.int64) * width + pixels)
    packed = tl.load(likelihoods + lasts + pixels[None, :], mask=wanted[:, None], other=0) + given[None, :]
    packed = tl.where((pixels < num_pixels)[None, :], packed, 0)

    # First as if every pixel were wrong, visiting only the classes that some candidate predicts here.
    codes = (row + lanes).to(tl.int64) * (2 * num_classes)
    k = tl.min(tl.min(winners, axis=1), axis=0)
    while k < num_classes:
        sums = tl.sum(tl.where(winners == k, packed, 0), axis=1)
        _add(counts + codes + k, totals + codes + k, sums, 1, wanted, COUNT_BIT)
        k = tl.min(tl.min(tl.where(winners > k, winners, num_classes), axis=1), axis=0)
    # Then what is right is moved. The pixels come sorted by label, so that a tile has few of them.
    label = tl.load(labels + pixels).to(tl.int32)
    right = tl.where(winners == label[None, :], packed, 0)
    for k in range(tl.min(label, axis=0), tl.max(label, axis=0) + 1):
        sums = tl.sum(tl.where(label[None, :] == k, right, 0), axis=1)
        _add(counts + codes + k, totals + codes + k, sums, -1, wanted, COUNT_BIT)
        _add(counts + codes + num_classes + k, totals + codes + num_classes + k, sums, 1, wanted, COUNT_BIT)


@_kernel
def _add(counts, totals, sums, SIGN: tl.constexpr, wanted, COUNT_BIT: tl.constexpr):
    """Take counts and likelihoods apart, and add them, or take them away, where there are any."""
    some = wanted & (sums != 0)
    tl.atomic_add(counts, SIGN * (sums >> COUNT_BIT), mask=some, sem="relaxed")
    tl.atomic_add(totals, SIGN * (sums & ((1 << COUNT_BIT) - 1)), mask=some, sem="relaxed")


@_kernel
def add_logs(
    true_probabilities,  # float64 [members, width]
    candidates,  # int32 [candidates, size]
    runs,  # int32 [runs, 2]: the first candidate, and how many
    highs,  # int64 [candidates]: added to
    lows,  # int64 [candidates]: added to
    constants,  # float64 [3]: smallest argument of a log, factors of both parts (an argument would come as float32)
    first_tile,
    num_pixels,
    width,
    SIZE: tl.constexpr,
    LONGEST_RUN: tl.constexpr,
    PIXEL_TILE: tl.constexpr,
):
    """Add the logs of one tile of pixels to one run: of what a candidate's members together give to the label."""
    row = tl.load(runs + 2 * tl.program_id(0))
    lanes = tl.arange(0, LONGEST_RUN)
    wanted = lanes < tl.load(runs + 2 * tl.program_id(0) + 1)
    members = candidates + row * SIZE
    lasts = ((tl.load(members + SIZE - 1) + lanes).to(tl.int64) * width)[:, None]
    pixels = (first_tile + tl.program_id(1)) * PIXEL_TILE + tl.arange(0, PIXEL_TILE)

    prefix = tl.zeros((PIXEL_TILE,), tl.float64)
    for i in tl.static_range(SIZE - 1):
        prefix += tl.load(true_probabilities + tl.load(members + i).to(tl.int64) * width + pixels)
    given = tl.load(true_probabilities + lasts + pixels[None, :], mask=wanted[:, None], other=0.0) + prefix[None, :]
    scaled = tl.log(tl.maximum(given, tl.load(constants))) * tl.load(constants + 1)
    whole = tl.floor(scaled)
    rest = tl.floor((scaled - whole) * tl.load(constants + 2))
    real = (pixels < num_pixels)[None, :]
    high = tl.sum(tl.where(real, whole.to(tl.int64), 0), axis=1)
    low = tl.sum(tl.where(real, rest.to(tl.int64), 0), axis=1)
    tl.atomic_add(highs + row + lanes, high, mask=wanted, sem="relaxed")
    tl.atomic_add(lows + row + lanes, low, mask=wanted, sem="relaxed")


def add_block(block: Block, runs: Runs, sums: Sums, progress: Callable[[float], None]) -> None:
    """Add a block of pixels to the sums of all candidates.

    Programs of neighbouring runs and the same tile of pixels run at the same time, so that they find its predictions in
    the device's cache.

    Args:
        block: Pixels, by label.
        runs: Of at most :data:`LONGEST_RUN` candidates.
        sums: Added to.
        progress: Told which part of the block was added since it was last told.
    """
    device, size = block.labels.device, runs.candidates.shape[1]
    candidates = torch.from_numpy(runs.candidates).to(device, torch.int32)
    table = torch.from_numpy(np.stack([runs.firsts, runs.lengths], axis=1)).to(device, torch.int32)
    width = block.labels.shape[0]
    tiles = width // PIXEL_TILE
    shape = {"SIZE": size, "LONGEST_RUN": LONGEST_RUN, "PIXEL_TILE": PIXEL_TILE, "num_warps": WARPS}
    for first in range(0, tiles, _TILES_AT_ONCE):
        grid = (len(table), min(_TILES_AT_ONCE, tiles - first))
        with torch.cuda.device_of(block.labels):
            if sums.logged:
                places = candidates, table, sums.logs[0], sums.logs[1], sums.log_constants
                add_logs[grid](block.true_probabilities, *places, first, block.num_pixels, width, **shape)
            if sums.counted:
                assert block.predictions is not None
                inputs = block.predictions, block.labels, block.likelihoods, candidates, table
                sizes = first, block.num_pixels, width, block.predictions.shape[1], block.num_classes
                types = {"SUM_TYPE": _SUM_TYPES[sum_type(block.predictions.dtype)], "COUNT_BIT": COUNT_BIT}
                count_outcomes[grid](*inputs, sums.counts, sums.totals, *sizes, **types, **shape)
        progress(grid[1] / tiles)

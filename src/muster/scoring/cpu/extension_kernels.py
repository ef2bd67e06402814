"""The inner loops of greedy search, beam search and racing, compiled by Numba at the first call and kept on disk.

All run without the lock of the interpreter, and write only to the rows of members or candidates that they are given:
any number of threads gives the same numbers. Pixels are the last axis, so that the loops over them use vector
instructions. Axis names: ``bases`` are the sets that are extended, ``pixels`` those of a part of a chunk.
"""

# Compiled functions have no annotations.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202

import math

import numpy as np

from muster.compiled import compiled

_TILE = 512
"""Pixels that are looked at together: one member's predictions at them stay in the fastest caches."""

_LANES = 16
"""Pixels that are turned over together, the float32 numbers of a vector register."""


@compiled
def transpose(values, turned):
    """Write ``[pixels, classes]`` as ``[classes, pixels]``."""
    pixels, classes = values.shape
    whole = pixels - pixels % _LANES
    for low in range(0, whole, _LANES):
        for c in range(classes):
            row = turned[c]
            for lane in range(_LANES):
                row[low + lane] = values[low + lane, c]
    for c in range(classes):
        for pixel in range(whole, pixels):
            turned[c, pixel] = values[pixel, c]


@compiled
def add_extensions(predictions, labels, sums, true_class, size, soft, totals):
    """Add the hits and misses of each base with one more member.

    ``predictions`` ``[pixels, classes]`` of that member; ``sums`` ``[bases, classes, pixels]`` of the base's members;
    ``true_class`` float64 ``[bases, pixels]``, their sum for the true class; ``size`` of the extended set; ``totals``
    ``[bases, 2, classes]``.
    """
    pixels, classes = predictions.shape
    turned = np.empty((classes, min(_TILE, pixels)), dtype=predictions.dtype)
    largest = np.empty(min(_TILE, pixels), dtype=predictions.dtype)
    predicted = np.empty(min(_TILE, pixels), dtype=np.int32)
    for low in range(0, pixels, _TILE):
        high = min(low + _TILE, pixels)
        transpose(predictions[low:high], turned)
        for base in range(len(sums)):
            _first_largest(sums[base], low, turned, 0, high - low, largest, predicted)
            for pixel in range(high - low):
                label = labels[low + pixel]
                likelihood = (true_class[base, low + pixel] + predictions[low + pixel, label]) / size
                _count(totals[base], label, predicted[pixel], likelihood, soft)


@compiled
def add_candidates(block, labels, candidates, soft, tile, totals):
    """Add the hits and misses of each candidate.

    ``block`` ``[members, classes, pixels]``; ``candidates`` ``[candidates, size]``, ascending in a row, best in
    lexicographic order: the prefix that a candidate shares with the one before it is summed once. ``totals``
    ``[candidates, 2, classes]``.
    """
    pixels, classes = block.shape[2], block.shape[1]
    sums, likelihood = np.empty((classes, tile), dtype=block.dtype), np.empty(tile)
    largest, predicted = np.empty(tile, dtype=block.dtype), np.empty(tile, dtype=np.int32)
    for low in range(0, pixels, tile):
        high = min(low + tile, pixels)
        for candidate in range(len(candidates)):
            members = candidates[candidate]
            if candidate == 0 or not _same_prefix(members, candidates[candidate - 1]):
                _sum_prefix(block, labels, members, low, high, sums, likelihood)
            last = block[members[-1]]
            _first_largest(sums, 0, last, low, high - low, largest, predicted)
            for pixel in range(high - low):
                label = labels[low + pixel]
                mean = (likelihood[pixel] + last[label, low + pixel]) / len(members)
                _count(totals[candidate], label, predicted[pixel], mean, soft)


@compiled
def influence(block, labels, members, effects, soft, values):
    """What each pixel adds to the score of one candidate, to first order, into ``values`` ``[pixels]``.

    ``effects`` ``[3, classes]``: what a hit and a miss of full weight change, and one more label.
    """
    pixels, classes = block.shape[2], block.shape[1]
    sums, likelihood = np.empty((classes, pixels), dtype=block.dtype), np.empty(pixels)
    largest, predicted = np.empty(pixels, dtype=block.dtype), np.empty(pixels, dtype=np.int32)
    _sum_prefix(block, labels, members, 0, pixels, sums, likelihood)
    last = block[members[-1]]
    _first_largest(sums, 0, last, 0, pixels, largest, predicted)
    for pixel in range(pixels):
        label = labels[pixel]
        mean = (likelihood[pixel] + last[label, pixel]) / len(members)
        values[pixel] = _change(effects, label, predicted[pixel], mean, soft)


@compiled
def add_moments(block, labels, candidates, effects, soft, tile, reference, moments):
    """Add sum and sum of squares over pixels of each candidate's influence less that of the reference.

    ``effects`` ``[candidates, 3, classes]``; ``reference`` ``[pixels]``; ``moments`` ``[candidates, 2]``.
    """
    pixels, classes = block.shape[2], block.shape[1]
    sums, likelihood = np.empty((classes, tile), dtype=block.dtype), np.empty(tile)
    largest, predicted = np.empty(tile, dtype=block.dtype), np.empty(tile, dtype=np.int32)
    for low in range(0, pixels, tile):
        high = min(low + tile, pixels)
        for candidate in range(len(candidates)):
            members = candidates[candidate]
            if candidate == 0 or not _same_prefix(members, candidates[candidate - 1]):
                _sum_prefix(block, labels, members, low, high, sums, likelihood)
            last = block[members[-1]]
            _first_largest(sums, 0, last, low, high - low, largest, predicted)
            first, second = 0.0, 0.0
            for pixel in range(high - low):
                label = labels[low + pixel]
                mean = (likelihood[pixel] + last[label, low + pixel]) / len(members)
                change = _change(effects[candidate], label, predicted[pixel], mean, soft)
                change -= reference[low + pixel]
                first += change
                second += change * change
            moments[candidate, 0] += first
            moments[candidate, 1] += second


@compiled
def sum_logs(true_class, base, members, offset, together, totals):
    """Sum over pixels of log(offset + base + likelihood) of each member, into ``totals``.

    ``true_class`` ``[all members, pixels]``; ``base`` float64 ``[pixels]``. ``together`` numbers are multiplied before
    one logarithm is taken; their product must neither overflow nor become 0.
    """
    pixels = len(base)
    for place in range(len(members)):
        likelihood = true_class[members[place]]
        total = 0.0
        for low in range(0, pixels, together):
            product = 1.0
            for pixel in range(low, min(low + together, pixels)):
                product *= offset + base[pixel] + likelihood[pixel]
            total += math.log(product)
        totals[place] = total


@compiled
def add_candidate_logs(true_class, candidates, least, together, totals):
    """Add to each candidate's total the sum over pixels of the log of its members' sum, at least ``least``."""
    pixels = true_class.shape[1]
    sums = np.empty(pixels)
    for candidate in range(len(candidates)):
        _sum_true_class_prefix(true_class, candidates, candidate, sums)
        last, total = true_class[candidates[candidate, -1]], 0.0
        for low in range(0, pixels, together):
            product = 1.0
            for pixel in range(low, min(low + together, pixels)):
                product *= max(sums[pixel] + last[pixel], least)
            total += math.log(product)
        totals[candidate] += total


@compiled
def add_log_moments(true_class, candidates, least, reference, moments):
    """Add sum and sum of squares over pixels of that log less the reference ``[pixels]``, ``[candidates, 2]``."""
    pixels = true_class.shape[1]
    sums = np.empty(pixels)
    for candidate in range(len(candidates)):
        _sum_true_class_prefix(true_class, candidates, candidate, sums)
        last, first, second = true_class[candidates[candidate, -1]], 0.0, 0.0
        for pixel in range(pixels):
            change = math.log(max(sums[pixel] + last[pixel], least)) - reference[pixel]
            first += change
            second += change * change
        moments[candidate, 0] += first
        moments[candidate, 1] += second


@compiled(fastmath={"reassoc", "contract"})
def weigh(true_class, weights, totals):
    """Sum over pixels of weight times likelihood for each member, in float64 and any order of addition."""
    for member in range(len(true_class)):
        row, total = true_class[member], 0.0
        for pixel in range(len(weights)):
            total += weights[pixel] * row[pixel]
        totals[member] = total


@compiled
def _first_largest(sums, first, last, second, pixels, largest, predicted):
    """Class with the largest sum, the lowest on a tie, of pixels ``first`` on in one and ``second`` on in the other."""
    largest[:pixels] = -1.0
    predicted[:pixels] = 0
    for c in range(len(sums)):
        one, other = sums[c, first : first + pixels], last[c, second : second + pixels]
        for pixel in range(pixels):
            value = one[pixel] + other[pixel]
            larger = value > largest[pixel]
            largest[pixel] = value if larger else largest[pixel]
            predicted[pixel] = c if larger else predicted[pixel]


@compiled
def _sum_prefix(block, labels, members, low, high, sums, likelihood):
    """Sum of all members but the last, in ascending order, of all classes and (float64) of the true one."""
    pixels = high - low
    sums[:, :pixels] = 0.0
    likelihood[:pixels] = 0.0
    for place in range(len(members) - 1):
        predictions = block[members[place]]
        for c in range(len(sums)):
            row, added = sums[c], predictions[c, low:high]
            for pixel in range(pixels):
                row[pixel] += added[pixel]
        for pixel in range(pixels):
            likelihood[pixel] += predictions[labels[low + pixel], low + pixel]


@compiled
def _sum_true_class_prefix(true_class, candidates, candidate, sums):
    """Sum of all members of a candidate but the last; ``sums`` may hold it already, from the candidate before."""
    members = candidates[candidate]
    if candidate > 0 and _same_prefix(members, candidates[candidate - 1]):
        return
    sums[:] = 0.0
    for place in range(len(members) - 1):
        sums += true_class[members[place]]


@compiled
def _same_prefix(members, others):
    return (members[:-1] == others[:-1]).all()


@compiled
def _count(totals, label, predicted, likelihood, soft):
    """Add one pixel to the hits of its class, or to the misses of its class and of the predicted one."""
    if predicted == label:
        totals[0, label] += likelihood if soft else 1.0
    else:
        miss = 1.0 - likelihood if soft else 1.0
        totals[1, label] += miss
        totals[1, predicted] += miss


@compiled
def _change(effects, label, predicted, likelihood, soft):
    """What one pixel changes, counted as in :func:`_count`."""
    if predicted == label:
        return effects[2, label] + effects[0, label] * (likelihood if soft else 1.0)
    return effects[2, label] + (effects[1, label] + effects[1, predicted]) * (1.0 - likelihood if soft else 1.0)

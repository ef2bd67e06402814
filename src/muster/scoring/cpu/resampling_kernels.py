"""The inner loops of :mod:`muster.scoring.cpu.resampling`, compiled by Numba at the first call and kept on disk.

All run without the lock of the interpreter, and write only to what belongs to the resamples that they are given: any
number of threads gives the same numbers. Pixels are the last axis, so that the loops over them use vector instructions.

Axis names: ``sources`` are the source classes of all members in a row (``starts`` says where each member's begin, the
number of all at the end), ``pixels`` those of one image, sorted by label.
"""

# numba's own functions have no types. No postponed annotations: these functions have none that mypy would need.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
# ruff: noqa: ANN001, ANN201, ANN202

import math

import numpy as np

from muster.compiled import compiled

_WORDS_AT_ONCE = 4096
"""Entries of the tables that are added up over images and resamples while they are in the fastest cache."""


# A product may be fused with the sum after it; nothing else is relaxed.
_compiled = compiled(fastmath={"contract"})


@_compiled
def add_weighted(weights, joints, totals):
    """Add to each resample's totals ``[resamples, entries]`` the images' joints ``[images, entries]``, weighted."""
    resamples, entries = totals.shape
    for low in range(0, entries, _WORDS_AT_ONCE):
        high = min(low + _WORDS_AT_ONCE, entries)
        for resample in range(resamples):
            for image in range(len(joints)):
                weight = weights[resample, image]
                if weight > 0:
                    for entry in range(low, high):
                        totals[resample, entry] += weight * joints[image, entry]


@_compiled
def tally_counted(said, starts, tables, labels, weights, candidates, soft, predictions, totals):
    """Add one image's hits and misses, EEPs made anew for each resample.

    ``said`` float64 ``[sources, pixels]``; ``tables`` ``[resamples, classes, sources]``; ``weights`` how often each
    resample holds the image; ``predictions`` scratch ``[members, classes, block]`` of the type to which an EEP is
    rounded; ``totals`` ``[resamples, candidates, 2, classes]``, hits and misses.
    """
    block = predictions.shape[2]
    for low in range(0, len(labels), block):
        high = min(low + block, len(labels))
        part = np.ascontiguousarray(said[:, low:high])  # a view's loops would not use vector instructions
        for resample in range(len(weights)):
            if weights[resample] > 0:
                _predict(part, starts, tables[resample], predictions)
                _accumulator(predictions, labels[low:high], candidates, soft, weights[resample], totals[resample])


@_compiled
def tally_fixed(said, labels, candidates, soft, totals):
    """The same of predictions ``[members, classes, pixels]`` as they are, into ``[candidates, 2, classes]``."""
    _accumulator(said, labels, candidates, soft, 1.0, totals)


@_compiled
def add_logs_counted(said, starts, tables, labels, weights, candidates, smallest, truths, totals):
    """Add the sum over one image's pixels of the log of each ensemble's true class, EEPs made anew.

    As :func:`tally_counted`, but with ``truths`` ``[members, pixels]`` for scratch and ``totals``
    ``[resamples, candidates]``; a log's argument is at least ``smallest``.
    """
    for resample in range(len(weights)):
        if weights[resample] > 0:
            _predict_truth(said, starts, tables[resample], labels, truths)
            _add_logs(truths, len(labels), candidates, smallest, weights[resample], totals[resample])


@_compiled
def add_logs_fixed(truths, candidates, smallest, totals):
    """The same of what members give to the true class, ``[members, pixels]``, into ``[candidates]``."""
    _add_logs(truths, truths.shape[1], candidates, smallest, 1.0, totals)


@_compiled
def _predict(said, starts, table, predictions):
    """EEPs of a block of pixels, summed in float64."""
    pixels = said.shape[1]
    total = np.empty(pixels)
    for member in range(len(starts) - 1):
        for target in range(len(table)):
            _mix(said, starts[member], starts[member + 1], table[target], 0, pixels, total)
            for pixel in range(pixels):
                predictions[member, target, pixel] = total[pixel]


@_compiled
def _predict_truth(said, starts, table, labels, truths):
    """What each member's EEP gives to the true class."""
    pixels = len(labels)
    total = np.empty(pixels)
    for member in range(len(starts) - 1):
        low = 0
        while low < pixels:
            high = low + 1
            while high < pixels and labels[high] == labels[low]:
                high += 1
            _mix(said, starts[member], starts[member + 1], table[labels[low]], low, high, total)
            low = high
        for pixel in range(pixels):
            truths[member, pixel] = total[pixel]


@_compiled
def _mix(said, first, last, row, low, high, total):
    """Sum of a member's source probabilities at some pixels, each weighted by its entry of ``row``."""
    for pixel in range(low, high):
        total[pixel] = 0.0
    source = first
    while source + 4 <= last:  # four at once, because reading and writing the total costs more than the arithmetic
        a, b, c, d = row[source], row[source + 1], row[source + 2], row[source + 3]
        for pixel in range(low, high):
            total[pixel] += (a * said[source, pixel] + b * said[source + 1, pixel]) + (
                c * said[source + 2, pixel] + d * said[source + 3, pixel]
            )
        source += 4
    while source < last:
        for pixel in range(low, high):
            total[pixel] += row[source] * said[source, pixel]
        source += 1


@_compiled
def _accumulator(predictions, labels, candidates, soft, weight, totals):
    """Hits and misses of every candidate at a block of pixels."""
    pixels, size = len(labels), candidates.shape[1]
    largest = np.empty(pixels, dtype=predictions.dtype)
    summed = np.empty(pixels, dtype=predictions.dtype)
    predicted = np.empty(pixels, dtype=np.int32)
    for candidate in range(len(candidates)):
        members = candidates[candidate]
        _first_largest(predictions, members, largest, summed, predicted)
        for pixel in range(pixels):
            label, hit, miss = labels[pixel], 1.0, 1.0
            if soft:
                truth = 0.0
                for place in range(size):
                    truth += predictions[members[place], label, pixel]
                hit = truth / size
                miss = 1.0 - hit
            if predicted[pixel] == label:
                totals[candidate, 0, label] += weight * hit
            else:
                totals[candidate, 1, label] += weight * miss
                totals[candidate, 1, predicted[pixel]] += weight * miss


@_compiled
def _first_largest(predictions, members, largest, summed, predicted):
    """Arg max over classes of the members' sum, in the precision of the predictions, the lowest class on a tie."""
    pixels = len(largest)
    largest[:] = -1.0
    predicted[:] = 0
    for target in range(predictions.shape[1]):
        first = predictions[members[0], target]
        for pixel in range(pixels):
            summed[pixel] = first[pixel]
        for place in range(1, len(members)):
            other = predictions[members[place], target]
            for pixel in range(pixels):
                summed[pixel] += other[pixel]
        for pixel in range(pixels):
            larger = summed[pixel] > largest[pixel]
            largest[pixel] = summed[pixel] if larger else largest[pixel]
            predicted[pixel] = target if larger else predicted[pixel]


@_compiled
def _add_logs(truths, pixels, candidates, smallest, weight, totals):
    """Sum of logs of every candidate."""
    size = candidates.shape[1]
    for candidate in range(len(candidates)):
        total = 0.0
        for pixel in range(pixels):
            truth = 0.0
            for place in range(size):
                truth += truths[candidates[candidate, place], pixel]
            total += math.log(max(truth / size, smallest))
        totals[candidate] += weight * total

"""The inner loops of :mod:`muster.metrics._pairwise`, compiled by Numba at the first call and kept on disk.

A pair of samples is one 64-bit word: its dissimilarity on a fixed grid in the upper bits, the *key*, and below it
something that travels with it while the words are sorted, the *load*.
"""

# numba's own functions have no types. No postponed annotations: these functions have none that mypy would need.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, assignment"
# ruff: noqa: ANN001, ANN202

import numpy as np

from muster.compiled import compiled

_ONE = np.uint64(1)
_HALF = np.uint64(32)
_LOWER = np.uint64(2**32 - 1)
_BUCKETS = 2048
_DIGIT_BITS = 10
_FEW = 48


@compiled
def _key(correlation, cells, load_bits):
    dissimilarity = min(max(1.0 - correlation, 0.0), 2.0)
    return np.int64(dissimilarity * cells + 0.5) << load_bits


@compiled
def number_pairs(correlations, cells, load_bits, words):
    """Write the words of the pairs of each row with itself and all later ones; their load is their number.

    Pairs are numbered from the last one backwards: then it does not matter how many come before. ``correlations``
    ``[rows, later]`` are those of some rows with the first of them and all that follow; ``words`` int64, from the first
    of these rows on. There are ``cells`` of the grid to a unit of dissimilarity. Returns how many words were written.
    """
    written = 0
    for row in range(len(correlations)):
        values = correlations[row, row:]
        into = words[written : written + len(values)]
        last = len(words) - written - 1
        for other in range(len(values)):
            into[other] = _key(values[other], cells, load_bits) | (last - other)
        into[0] = last  # a row is as like itself as can be
        written += len(values)
    return written


@compiled
def load_pairs(correlations, first, points, distinct, ranks, cells, load_bits, words):
    """Write the words of the pairs of each row with all later ones; their load is the rank that the reference gives.

    As :func:`number_pairs`, the first of the rows being sample ``first``. ``points`` ``[samples]`` says which of the
    ``distinct`` rows of the reference each sample has; ``ranks`` a rank for each pair of such rows, by its number.
    """
    written = 0
    loads = np.empty(distinct, np.int32)
    loaded = -1
    for row in range(len(correlations)):
        values = correlations[row, row + 1 :]
        others = points[first + row + 1 :]
        into = words[written : written + len(values)]
        if points[first + row] != loaded:
            loaded = points[first + row]
            _ranks_with(loaded, loaded if distinct == len(points) else 0, ranks, loads)
        for other in range(len(values)):
            into[other] = _key(values[other], cells, load_bits) | loads[others[other]]
        written += len(values)
    return written


@compiled
def _ranks_with(point, first, ranks, loads):
    distinct = len(loads)
    for other in range(first, distinct):
        behind = distinct - min(point, other)
        loads[other] = ranks[behind * (behind + 1) // 2 - 1 - abs(point - other)]


@compiled
def sort_words(words, spare, load_bits):
    """Sort words by their keys, in place. ``spare`` is as long as ``words`` and is overwritten.

    One pass spreads the words over buckets by the leading bits in which keys differ; each bucket, which then fits into
    cache, is sorted digit by digit.
    """
    lowest, highest = words[0], words[0]
    for word in words:
        lowest, highest = min(lowest, word), max(highest, word)
    below = 0
    while ((highest >> np.uint64(load_bits + below)) - (lowest >> np.uint64(load_bits + below))) >= np.uint64(_BUCKETS):
        below += 1
    shift = np.uint64(load_bits + below)
    starts = _distribute(words, spare, shift, lowest >> shift)
    digits = max((below + _DIGIT_BITS - 1) // _DIGIT_BITS, 1)
    digits += 1 - digits % 2  # an odd number of passes ends in `words`
    width = max((below + digits - 1) // digits, 1)
    for bucket in range(_BUCKETS):
        start, stop = starts[bucket], starts[bucket + 1]
        if stop - start < _FEW:
            _insert(spare[start:stop], words[start:stop])
        else:
            _sort_digits(spare[start:stop], words[start:stop], digits, width, np.uint64(load_bits))


@compiled
def _distribute(words, spare, shift, lowest):
    starts = np.zeros(_BUCKETS + 2, np.int64)
    for word in words:
        starts[np.int64((word >> shift) - lowest) + 2] += 1
    for bucket in range(_BUCKETS + 1):
        starts[bucket + 1] += starts[bucket]
    for word in words:
        bucket = np.int64((word >> shift) - lowest) + 1
        spare[starts[bucket]] = word
        starts[bucket] += 1
    return starts


@compiled
def _insert(source, target):
    for index in range(len(source)):
        word = source[index]
        place = index
        while place > 0 and target[place - 1] > word:
            target[place] = target[place - 1]
            place -= 1
        target[place] = word


@compiled
def _sort_digits(source, target, digits, width, shift):
    values = 1 << width
    mask = np.uint64(values - 1)
    starts = np.empty(values + 1, np.int64)
    for _ in range(digits):
        starts[:] = 0
        for word in source:
            starts[np.int64((word >> shift) & mask) + 1] += 1
        for value in range(values):
            starts[value + 1] += starts[value]
        for word in source:
            value = np.int64((word >> shift) & mask)
            target[starts[value]] = word
            starts[value] += 1
        source, target = target, source
        shift += np.uint64(width)


@compiled
def _tied_up_to(words, start, shift):
    """End of the run of words whose keys are each at most one cell above the one before."""
    key = words[start] >> shift
    stop = start + 1
    while stop < len(words) and (words[stop] >> shift) - key <= _ONE:
        key = words[stop] >> shift
        stop += 1
    return stop


@compiled
def weigh_pairs(counts, weights):
    """Write for how many pairs of samples each pair of rows stands, by its number; ``counts`` samples have a row."""
    number = len(weights)
    for row in range(len(counts)):
        number -= 1
        weights[number] = counts[row] * (counts[row] - 1) // 2
        for other in range(row + 1, len(counts)):
            number -= 1
            weights[number] = counts[row] * counts[other]


@compiled
def rank_pairs(words, spare, weights, total, load_bits, single):
    """Turn weights into ranks, in place, and return the variation of the ranks.

    ``words`` sorted, each loaded with its number, its place in ``weights``, which says for how many pairs of samples it
    stands, ``total`` altogether; where ``single`` holds, that is 1 but for pairs of a row with itself. A rank here is
    twice the mean rank, counted from 1, of the pairs that are tied; the variation is the sum over pairs of the squared
    difference to the mean rank, likewise doubled. ``words`` and ``spare`` are overwritten.
    """
    shift, mask = np.uint64(load_bits), np.uint64((1 << load_bits) - 1)
    variation = 0.0
    below = 0
    start = 0
    while start < len(words):
        stop = _tied_up_to(words, start, shift)
        count = 0
        for index in range(start, stop):
            if single and (words[index] >> shift) > np.uint64(0):
                count += 1
            else:
                count += weights[np.int64(words[index] & mask)]
        rank = 2 * below + count + 1
        for index in range(start, stop):
            words[index] = ((words[index] & mask) << _HALF) | np.uint64(rank)
        variation += float(count) * float(rank - total - 1) ** 2
        below += count
        start = stop
    _scatter(words, spare, weights)
    return variation


@compiled
def _scatter(words, spare, target):
    """Put the lower half of each word at the place that its upper half says, sorted roughly to spare the cache."""
    shift = 32
    while len(words) >> (shift - 32) >= _BUCKETS:
        shift += 1
    _distribute(words, spare, np.uint64(shift), np.uint64(0))
    for word in spare:
        target[np.int64(word >> _HALF)] = np.int32(word & _LOWER)


@compiled
def relate_ranks(words, load_bits):
    """Covariation of the ranks of sorted words with the loaded ranks, and the variation of the former."""
    shift, mask = np.uint64(load_bits), np.uint64((1 << load_bits) - 1)
    middle = len(words) + 1
    covariation = 0.0
    variation = 0.0
    start = 0
    while start < len(words):
        stop = _tied_up_to(words, start, shift)
        loads = 0
        for index in range(start, stop):
            loads += np.int64(words[index] & mask)
        difference = float(start + stop + 1 - middle)
        covariation += difference * float(loads - (stop - start) * middle)
        variation += float(stop - start) * difference**2
        start = stop
    return covariation, variation

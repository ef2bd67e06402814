"""The inner loops of :mod:`muster.scoring.cpu.resampling`, compiled by Numba at the first call and kept on disk.

All run without the lock of the interpreter, and write only to what belongs to the resamples that they are given: any
number of threads gives the same numbers.

An EEP is made anew for every pixel of every resample, so that product takes most of the time. It is made in single
precision, with a tile of pixels and classes in the registers, and serves only to find the predicted classes. Where the
best two classes of a candidate lie closer than what single precision may be wrong by, the candidate's EEPs are made
again in double precision and rounded as the metrics' definition rounds them: predicted classes are exactly those of the
definition. What an EEP gives to the true class is made in double precision throughout.

Axis names: ``sources`` are the source classes of all members in a row (``starts`` says where each member's begin, the
number of all at the end), ``pixels`` those of one image, sorted by label. Grouped arrays are ``[groups][rows][lanes]``,
flat: the lanes of a group are as many neighbouring pixels as fill a vector register.

All is in one file, because Numba takes a compiled function from its cache as long as the function's own file is
unchanged.
"""

# Numba's own functions have no types. No postponed annotations: these functions have none that mypy would need.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202, ARG001

import math

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.extending import intrinsic

from muster.compiled import compiled

_WIDE = get_host_cpu_features().get("avx512f", False)

VECTOR_BYTES = 64 if _WIDE else 32
"""Bytes in a group of lanes: one vector register of the larger processors, two of the smaller."""

GROUPS = 4 if _WIDE else 2
"""Groups of lanes in a tile."""

TARGETS = 4
"""Classes in a tile; GROUPS x TARGETS sums stay in the registers."""

_WAYS = 4  # histograms used in turn, so that an addition need not wait for the one before
_FACTORS = 8
_LEAST_FACTOR = 1e-38  # eight of them are still a normal double

# A product may be fused with the sum after it.
_compiled = compiled(fastmath={"contract"})


def lanes_of(dtype: np.dtype | type) -> int:
    """Pixels in a group of this type."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def _pointer(context, builder, kind, array):
    return context.make_array(kind)(context, builder, array).data


def _load(builder, pointer, at, vector):
    place = builder.bitcast(builder.gep(pointer, [at]), vector.as_pointer())
    return builder.load(place, align=4)


def _store(builder, value, pointer, at):
    builder.store(value, builder.bitcast(builder.gep(pointer, [at]), value.type.as_pointer()), align=4)


def _broadcast(builder, scalar, lanes):
    """A vector of one number."""
    one = builder.insert_element(
        ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined), scalar, ir.IntType(32)(0)
    )
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))


def _move(builder, at, step, times):
    """``at + times * step``."""
    return builder.add(at, builder.mul(step, step.type(times)))


def _repeat(builder, index, count, before, loop, after, end=None):
    """Run a loop, which begins with the block ``loop`` and goes on at ``end``, for each index from 0 to count - 1."""
    following = builder.add(index, index.type(1))
    index.add_incoming(index.type(0), before)
    index.add_incoming(following, end or loop)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
    builder.position_at_end(after)


def _product(targets):
    """Code for a product of source probabilities with some columns of a table, a tile of it in the registers.

    Args:
        targets: Columns of the table in a tile.

    Returns:
        The compiled function. Its tile are GROUPS groups of pixels: for source s, group g is read at
        ``probs[probs_at + s * source_step + g * group_step:]``, the entries of the table at
        ``table[table_at + s * table_step:]``; the sums over ``sources`` sources are written to
        ``into[into_at + g * into_step:]`` (``[targets][lanes]``).
    """

    @intrinsic
    def product(
        typing, probs, probs_at, source_step, group_step, table, table_at, table_step, sources, into, into_at, into_step
    ):
        given = (
            probs, probs_at, source_step, group_step, table, table_at, table_step, sources, into, into_at, into_step
        )  # fmt: skip

        def code(context, builder, signature, arguments):
            _, at, source_step, group_step, _, table_at, table_step, sources, _, into_at, into_step = arguments
            probs, table, into = (_pointer(context, builder, signature.args[i], arguments[i]) for i in (0, 4, 8))
            kind = signature.args[0].dtype
            lanes, number = VECTOR_BYTES * 8 // kind.bitwidth, sources.type
            vector = ir.VectorType(context.get_data_type(kind), lanes)
            before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
            builder.branch(loop)
            builder.position_at_end(loop)
            source = builder.phi(number)
            sums = [[builder.phi(vector) for _ in range(targets)] for _ in range(GROUPS)]
            here = builder.add(at, builder.mul(source, source_step))
            there = builder.add(table_at, builder.mul(source, table_step))
            values = [_load(builder, probs, _move(builder, here, group_step, g), vector) for g in range(GROUPS)]
            found = {}
            for t in range(targets):
                share = builder.load(builder.gep(table, [builder.add(there, number(t))]))
                for g in range(GROUPS):
                    product = builder.fmul(values[g], _broadcast(builder, share, lanes), flags=("contract",))
                    found[g, t] = builder.fadd(product, sums[g][t], flags=("contract",))
                    sums[g][t].add_incoming(ir.Constant(vector, [0.0] * lanes), before)
                    sums[g][t].add_incoming(found[g, t], loop)
            _repeat(builder, source, sources, before, loop, after)
            for (g, t), value in found.items():
                place = _move(builder, into_at, into_step, g)
                _store(builder, value, into, builder.add(place, number(t * lanes)))
            return context.get_dummy_value()

        return types.void(*given), code

    return product


_product_of_tile, _product_of_column = _product(TARGETS), _product(1)


@intrinsic
def _best_classes(typing, predictions, stride, at, row, step, classes, ratio, winners, unsure):
    """The first largest class of a candidate at GROUPS groups of pixels.

    What member m gives is ``predictions[m * stride + at:]``, ``[groups][classes][lanes]`` with ``step`` numbers a
    group; the members in ``row`` are added in its order. Not 0 is written to ``unsure`` where the second largest is at
    least ``ratio`` times the largest.

    Returns:
        Whether any is unsure.
    """
    given = (predictions, stride, at, row, step, classes, ratio, winners, unsure)

    def code(context, builder, signature, arguments):
        kinds = signature.args
        predictions, row, winners, unsure = (_pointer(context, builder, kinds[i], arguments[i]) for i in (0, 3, 7, 8))
        _, stride, at, _, step, classes, ratio, _, _ = arguments
        size = builder.extract_value(context.make_array(kinds[3])(context, builder, arguments[3]).shape, 0)
        bits = kinds[0].dtype.bitwidth
        lanes, number, short = VECTOR_BYTES * 8 // bits, classes.type, ir.IntType(32)
        scalar = context.get_data_type(kinds[0].dtype)
        values, integers = ir.VectorType(scalar, lanes), ir.VectorType(short, lanes)
        below = ir.Constant(values, [-1.0] * lanes)
        before = builder.block
        over_classes, over_members, compare, after = (builder.append_basic_block() for _ in range(4))
        builder.branch(over_classes)

        builder.position_at_end(over_classes)
        target = builder.phi(number)
        best, second = ([builder.phi(values) for _ in range(GROUPS)] for _ in range(2))
        where = [builder.phi(integers) for _ in range(GROUPS)]
        here = builder.add(at, builder.mul(target, number(lanes)))
        builder.branch(over_members)

        builder.position_at_end(over_members)
        place = builder.phi(number)
        sums, found = [builder.phi(values) for _ in range(GROUPS)], []
        member = builder.load(builder.gep(row, [place]))
        start = builder.add(here, builder.mul(member, stride))
        for g, total in enumerate(sums):
            found.append(builder.fadd(total, _load(builder, predictions, _move(builder, start, step, g), values)))
            total.add_incoming(ir.Constant(values, [0.0] * lanes), over_classes)
            total.add_incoming(found[g], over_members)
        _repeat(builder, place, size, over_classes, over_members, compare)

        name = _broadcast(builder, builder.trunc(target, short), lanes)
        for g, value in enumerate(found):
            larger = builder.fcmp_ordered(">", value, best[g])  # not "or equal": the first of equals stays
            loser = builder.select(larger, best[g], value)
            found[g] = (
                builder.select(larger, value, best[g]),
                builder.select(builder.fcmp_ordered(">", loser, second[g]), loser, second[g]),
                builder.select(larger, name, where[g]),
            )
            firsts = (below, below, ir.Constant(integers, [0] * lanes))
            for phi, first, later in zip((best[g], second[g], where[g]), firsts, found[g], strict=True):
                phi.add_incoming(first, before)
                phi.add_incoming(later, compare)
        _repeat(builder, target, classes, before, over_classes, after, compare)

        if bits == 32:
            ratio = builder.fptrunc(ratio, scalar)
        any_close = None
        for g, (largest, next_largest, winner) in enumerate(found):
            close = builder.fcmp_ordered(">=", next_largest, builder.fmul(largest, _broadcast(builder, ratio, lanes)))
            _store(builder, winner, winners, number(g * lanes))
            _store(builder, builder.zext(close, integers), unsure, number(g * lanes))
            any_close = close if any_close is None else builder.or_(any_close, close)
        flags = ir.IntType(lanes)
        return builder.icmp_unsigned("!=", builder.bitcast(any_close, flags), flags(0))

    return types.boolean(*given), code


@_compiled
def add_joint(probs, pixels, labels, joint):
    """Add one member's source probabilities at some pixels to what belongs to their labels, ``[classes, sources]``."""
    for place in range(len(pixels)):
        row, total = probs[pixels[place]], joint[labels[place]]
        for source in range(len(row)):
            total[source] += row[source]


@_compiled
def group_pixels(values, pixels, grouped):
    """Bring ``[pixels, rows]`` into the grouped layout; the last pixel fills what is left of the last tile."""
    rows = values.shape[1]
    lanes = VECTOR_BYTES // values.itemsize
    for place in range(len(grouped) // rows):
        own = values[pixels[min(place, len(pixels) - 1)]]
        start = place // lanes * lanes * rows + place % lanes
        for row in range(rows):
            grouped[start + row * lanes] = own[row]


@_compiled
def count_refitted(
    probs, grouped, starts, tables, packed, labels, weights, rows, num_classes, soft, ratio, exact, totals
):
    """Add one image's hits and misses, EEPs made anew for each resample.

    ``probs`` float64 ``[sources, pixels]``, and the same as float32 ``grouped``, in whole tiles; ``tables`` float64
    ``[resamples, sources, classes]``, the classes filled up to whole tiles, and the same as float32 ``packed``
    ``[resamples, tiles of classes x sources x TARGETS]``; ``weights`` how often each resample holds the image;
    ``ratio`` see :func:`_best_classes`; ``exact`` scratch ``[members, pixels of a tile, classes]`` of the type to which
    an EEP is rounded; ``totals`` ``[resamples, candidates, 3 x classes]``, see
    :func:`_add_outcomes`.
    """
    members, sources, padded = len(starts) - 1, tables.shape[1], tables.shape[2]
    lanes = VECTOR_BYTES // 4
    tile = GROUPS * lanes
    predictions = np.empty(members * tile * padded, np.float32)
    true_class, known = np.empty((members, tile), exact.dtype), np.zeros((members, tile), np.int64)
    winners, unsure, stamp = np.empty(tile, np.int32), np.empty(tile, np.int32), 0
    runs, scratch = np.empty(tile + 1, np.int64), _outcome_scratch(tile, num_classes)
    for low in range(0, len(labels), tile):
        own = labels[low : low + tile]
        part = np.ascontiguousarray(probs[:, low : low + 2 * tile])  # what lies together is fetched together
        _mark_runs(own, runs)
        for resample in range(len(weights)):
            if weights[resample] <= 0:
                continue
            stamp += 1
            for member in range(members):
                begin, count = starts[member], starts[member + 1] - starts[member]
                for target in range(0, padded, TARGETS):
                    _product_of_tile(
                        grouped, low * sources + begin * lanes, lanes, sources * lanes,
                        packed[resample], target * sources + begin * TARGETS, TARGETS, count,
                        predictions, member * tile * padded + target * lanes, padded * lanes,
                    )  # fmt: skip
            if soft:
                _predict_true_class(part, starts, tables[resample], own, runs, true_class)
            for candidate in range(len(rows)):
                row = rows[candidate]
                if _best_classes(
                    predictions, tile * padded, 0, row, padded * lanes, num_classes, ratio, winners, unsure
                ):
                    unsure[len(own) :] = 0
                    _decide(part, starts, tables[resample], row, num_classes, stamp, exact, known, unsure, winners)
                _add_outcomes(
                    winners, own, true_class, row, soft, weights[resample], scratch, totals[resample, candidate]
                )


@_compiled
def count_fixed(grouped, labels, true_class, rows, num_classes, soft, totals):
    """The same of predictions ``[members, grouped]`` as they are, into ``[candidates, 3 x classes]``.

    ``true_class`` are the members' probabilities of the labels, ``[members, pixels]``.
    """
    lanes = VECTOR_BYTES // grouped.itemsize
    tile, stride, flat = GROUPS * lanes, grouped.shape[1], grouped.reshape(-1)
    winners, unsure = np.empty(tile, np.int32), np.empty(tile, np.int32)
    scratch = _outcome_scratch(tile, num_classes)
    for low in range(0, len(labels), tile):
        own, part = labels[low : low + tile], np.ascontiguousarray(true_class[:, low : low + tile])
        for candidate in range(len(rows)):
            # The sums are the definition's own: what is close is known as exactly as there.
            _best_classes(
                flat, stride, low * num_classes, rows[candidate], num_classes * lanes, num_classes, 1.0, winners, unsure
            )
            _add_outcomes(winners, own, part, rows[candidate], soft, 1.0, scratch, totals[candidate])


@_compiled
def add_logs_refitted(probs, starts, tables, labels, weights, rows, smallest, true_class, totals):
    """Add the sum over one image's pixels of the log of each ensemble's true class, EEPs made anew.

    As :func:`count_refitted`, but with ``true_class`` ``[members, pixels]`` for scratch and ``totals``
    ``[resamples, candidates]``; a log's argument is at least ``smallest``.
    """
    runs = np.empty(len(labels) + 1, np.int64)
    _mark_runs(labels, runs)
    for resample in range(len(weights)):
        if weights[resample] > 0:
            _predict_true_class(probs, starts, tables[resample], labels, runs, true_class)
            _add_logs(true_class, rows, smallest, weights[resample], totals[resample])


@_compiled
def add_logs_fixed(true_class, rows, smallest, totals):
    """The same of what members give to the true class, ``[members, pixels]``, into ``[candidates]``."""
    _add_logs(true_class, rows, smallest, 1.0, totals)


@_compiled
def _mark_runs(labels, runs):
    """Where the pixels of each label begin; the number of all pixels from there on."""
    runs[:] = len(labels)
    runs[0], count = 0, 1
    for pixel in range(1, len(labels)):
        if labels[pixel] != labels[pixel - 1]:
            runs[count] = pixel
            count += 1


@_compiled
def _predict_true_class(probs, starts, table, labels, runs, true_class):
    """What each member's EEP gives to the true class.

    Whole tiles are made of each run of equal labels. What lies beyond the run is wrong, and made again by the next one;
    ``probs`` must have a tile of columns beyond the pixels.
    """
    pixels, width, padded = len(labels), probs.shape[1], table.shape[1]
    lanes = VECTOR_BYTES // 8
    total = np.empty(pixels + GROUPS * lanes)
    for member in range(len(starts) - 1):
        begin, count, run = starts[member], starts[member + 1] - starts[member], 0
        while runs[run] < pixels:
            column = begin * padded + labels[runs[run]]
            for low in range(runs[run], runs[run + 1], GROUPS * lanes):
                _product_of_column(
                    probs, begin * width + low, width, lanes, table, column, padded, count, total, low, lanes
                )
            run += 1
        own = true_class[member]
        for pixel in range(pixels):
            own[pixel] = total[pixel]


@_compiled
def _decide(probs, starts, table, row, num_classes, stamp, exact, known, unsure, winners):
    """Predicted classes where single precision does not tell: each EEP in double precision, rounded, then added.

    ``known[member, pixel]`` is ``stamp`` where ``exact`` holds the member's EEP of this resample already.
    """
    total = np.empty(table.shape[1])
    for pixel in range(len(unsure)):
        if not unsure[pixel]:
            continue
        for member in row:
            if known[member, pixel] != stamp:
                known[member, pixel] = stamp
                total[:] = 0.0
                for source in range(starts[member], starts[member + 1]):
                    share, column = probs[source, pixel], table[source]
                    for target in range(len(total)):
                        total[target] += share * column[target]
                exact[member, pixel] = total
        winners[pixel] = _first_largest(exact, row, pixel, num_classes)


@_compiled
def _first_largest(exact, row, pixel, num_classes):
    """Arg max over classes of the members' sum, the lowest class on a tie."""
    winner, largest = 0, exact[row[0], pixel, 0]
    for target in range(num_classes):
        total = exact[row[0], pixel, target]
        for place in range(1, len(row)):
            total += exact[row[place], pixel, target]
        if target == 0 or total > largest:
            winner, largest = target, total
    return winner


@_compiled
def _outcome_scratch(tile, num_classes):
    return np.empty(tile), np.empty((2, tile)), np.empty(tile, np.uint64), np.zeros(_WAYS * 3 * num_classes)


@_compiled
def _add_outcomes(winners, labels, true_class, row, soft, weight, scratch, totals):
    """Add one candidate at a tile of pixels to ``totals``.

    These are ``[3 x classes]``: hits of each class, what was predicted wrongly as it, and what of it was missed.
    """
    likelihood, values, codes, histogram = scratch
    pixels, entries = len(labels), len(totals)
    num_classes, given, missed = entries // 3, values[0], values[1]
    if soft:
        _mean_true_class(true_class, row, likelihood)
    for i in range(pixels):  # no branch, so that vector instructions do it
        right = winners[i] == labels[i]
        hit = likelihood[i] if soft else 1.0
        miss = 1.0 - hit if soft else 1.0
        given[i] = hit if right else miss
        missed[i] = 0.0 if right else miss
        codes[i] = np.uint64(winners[i] + (0 if right else num_classes))
    for i in range(pixels):
        way = np.uint64((i & (_WAYS - 1)) * entries)
        histogram[way + codes[i]] += given[i]
        histogram[way + np.uint64(2 * num_classes + labels[i])] += missed[i]
    for way in range(_WAYS):
        own = histogram[way * entries : (way + 1) * entries]
        for entry in range(entries):
            totals[entry] += weight * own[entry]
    for entry in range(len(histogram)):
        histogram[entry] = 0.0


@_compiled
def _mean_true_class(true_class, row, likelihood):
    """What the ensemble gives to the true class."""
    for place in range(len(row)):
        own = true_class[row[place]]
        if place == 0:
            for i in range(len(own)):
                likelihood[i] = own[i]
        else:
            for i in range(len(own)):
                likelihood[i] += own[i]
    for i in range(len(likelihood)):
        likelihood[i] /= len(row)


@_compiled
def _add_logs(true_class, rows, smallest, weight, totals):
    """Sum of logs of every candidate. Eight numbers are multiplied before a log is taken, if that cannot underflow."""
    pixels, size = true_class.shape[1], rows.shape[1]
    likelihood = np.empty(pixels)
    apart = pixels // _FACTORS if smallest >= _LEAST_FACTOR else 0
    for candidate in range(len(rows)):
        likelihood[:] = 0.0
        for member in rows[candidate]:
            own = true_class[member]
            for i in range(pixels):
                likelihood[i] += own[i]
        for i in range(pixels):
            likelihood[i] = max(likelihood[i] / size, smallest)
        product, total = likelihood[:apart], 0.0
        for factor in range(1, _FACTORS):
            other = likelihood[factor * apart : (factor + 1) * apart]
            for i in range(apart):
                product[i] *= other[i]
        for i in range(apart):
            total += math.log(product[i])
        for i in range(_FACTORS * apart, pixels):
            total += math.log(likelihood[i])
        totals[candidate] += weight * total

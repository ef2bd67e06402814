"""The inner loops of exhaustive search, compiled by Numba at the first call and kept on disk.

All run without the lock of the interpreter and write only to the rows of the candidates that they are given. A
candidate is a *prefix* (its first ``size - 2`` members) and its last two members b < c. For one prefix and a few b at a
time, the sums over all members but the last are made once and serve every c.

Layout: predictions are ``[members][groups of lanes][classes][lanes]`` in one flat array, a member's part ``stride``
numbers long. The lanes of a group are as many neighbouring pixels as fill a vector register, so that the running
maximum over classes stays in registers. LLVM does not find vector instructions for such a loop over classes by itself;
so it is written in vector types, which LLVM maps to what the processor has.

The products of E-LEEP are in :mod:`muster.scoring.cpu.product_kernels`.
"""

# Numba's own functions have no types. No postponed annotations: these functions have none that mypy would need.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202, ARG001

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.extending import intrinsic

from muster.compiled import compiled
from muster.scoring.cpu.kernel_parts import add_up, peek, pointer, poke, row_of, second_last

VECTOR_BYTES = 64 if get_host_cpu_features().get("avx512f", False) else 32
"""Bytes in a group of lanes: one vector register of the larger processors, two of the smaller."""

GROUP = 4
"""Second-to-last members that share each load of a last member's predictions; more would not fit in the registers."""

COUNT_BIT = 52
"""A histogram entry holds a count of pixels from this bit on, below it a sum of likelihoods in fixed point."""

COUNT_LIMIT = (1 << (63 - COUNT_BIT)) - 1
"""Most pixels that such an entry can count."""

_ONE = 1 << COUNT_BIT
_BELOW = _ONE - 1
_WAYS = 4  # histograms used in turn, so that an addition need not wait for the one before


@intrinsic
def _write_outcome_codes(typing, sums, member, member_at, num_classes, labels, labels_at, codes, codes_at, codes_step):
    """The first largest class of GROUP candidates at one group of lanes.

    Candidate g's sums are ``sums[g]`` (``[GROUP][classes][lanes]``) plus ``member[member_at:]`` (``[classes][lanes]``).
    What is written to ``codes[codes_at + g * codes_step:]`` is the class, plus ``num_classes`` where it is the label.
    """
    given = (sums, member, member_at, num_classes, labels, labels_at, codes, codes_at, codes_step)

    def code(context, builder, signature, arguments):
        kinds = signature.args
        pointers = [pointer(context, builder, kinds[i], arguments[i]) for i in (0, 1, 4, 6)]
        classes = arguments[3]
        bits = kinds[0].dtype.bitwidth
        lanes = VECTOR_BYTES * 8 // bits
        numbers, integers = (ir.VectorType(t, lanes) for t in (context.get_data_type(kinds[0].dtype), ir.IntType(bits)))
        step = builder.mul(classes, classes.type(lanes))
        places = [builder.mul(step, step.type(g)) for g in range(GROUP)]
        zeros, ones = ir.Constant(integers, [0] * lanes), ir.Constant(integers, [1] * lanes)

        def load(pointer, at, vector=numbers):
            place = builder.bitcast(builder.gep(pointer, [at]), vector.as_pointer())
            return builder.load(place, align=bits // 8)

        def candidates_at(offset):
            last = load(pointers[1], builder.add(arguments[2], offset))
            return [builder.fadd(load(pointers[0], builder.add(place, offset)), last) for place in places]

        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        start = candidates_at(step.type(0))
        builder.cbranch(builder.icmp_signed(">", classes, classes.type(1)), loop, after)
        builder.position_at_end(loop)
        number, index = builder.phi(classes.type), builder.phi(integers)
        number.add_incoming(classes.type(1), before)
        index.add_incoming(ones, before)
        best, where = ([builder.phi(kind) for _ in range(GROUP)] for kind in (numbers, integers))
        found = []
        for g, value in enumerate(candidates_at(builder.mul(number, classes.type(lanes)))):
            larger = builder.fcmp_ordered(">", value, best[g])  # not "or equal": the first of equals stays
            found.append((builder.select(larger, value, best[g]), builder.select(larger, index, where[g])))
            for phi, first, later in zip((best[g], where[g]), (start[g], zeros), found[g], strict=True):
                phi.add_incoming(first, before)
                phi.add_incoming(later, loop)
        number_after = builder.add(number, classes.type(1))
        number.add_incoming(number_after, loop)
        index.add_incoming(builder.add(index, ones), loop)
        builder.cbranch(builder.icmp_signed("<", number_after, classes), loop, after)
        builder.position_at_end(after)
        winners = [builder.phi(integers) for _ in range(GROUP)]
        for g, winner in enumerate(winners):
            winner.add_incoming(zeros, before)
            winner.add_incoming(found[g][1], loop)
        label = load(pointers[2], arguments[5], integers)
        narrow = ir.VectorType(context.get_data_type(kinds[6].dtype), lanes)
        one = builder.insert_element(
            ir.Constant(integers, ir.Undefined),
            builder.trunc(classes, integers.element) if bits < 64 else classes,
            ir.IntType(32)(0),
        )
        shift = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))
        for g, winner in enumerate(winners):
            shifted = builder.add(winner, shift)
            code = builder.select(builder.icmp_signed("==", winner, label), shifted, winner)
            at = builder.add(arguments[7], builder.mul(arguments[8], classes.type(g)))
            place = builder.bitcast(builder.gep(pointers[3], [at]), narrow.as_pointer())
            builder.store(builder.trunc(code, narrow), place, align=kinds[6].dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(*given), code


@compiled
def lay_out(values, labels, places, scale, data, data_at, true_class, likelihoods, at):
    """Bring one member's ``[pixels, classes]`` into the layout; each pixel goes to its place.

    ``true_class[at:]`` gets what it gives to the labels, ``likelihoods[at:]`` the same in fixed point.
    """
    pixels, classes = values.shape
    lanes = VECTOR_BYTES // values.itemsize
    for pixel in range(pixels):
        place = places[pixel]
        start = data_at + (place // lanes) * lanes * classes + place % lanes
        for k in range(classes):
            poke(data, start + k * lanes, values[pixel, k])
        probability = np.float64(values[pixel, labels[pixel]])
        poke(true_class, at + place, probability)
        poke(likelihoods, at + place, np.int64(probability * scale + 0.5))


@compiled
def _histogram(codes, codes_at, count, entries, prefix, likelihoods, likelihoods_at, histogram):
    """Count outcome codes, and add up the likelihoods of what is counted."""
    whole = count - count % _WAYS
    for pixel in range(0, whole, _WAYS):
        for way in range(_WAYS):
            i = pixel + way
            at = way * entries + np.int64(peek(codes, codes_at + i))
            poke(histogram, at, peek(histogram, at) + (peek(prefix, i) + peek(likelihoods, likelihoods_at + i)))
    for i in range(whole, count):
        at = np.int64(peek(codes, codes_at + i))
        poke(histogram, at, peek(histogram, at) + (peek(prefix, i) + peek(likelihoods, likelihoods_at + i)))


@compiled
def _move(histogram, entries, table, at):
    """Add a histogram to a candidate's row of the table, and empty it."""
    for k in range(entries):
        total = peek(table, at + k)
        for way in range(_WAYS):
            total += peek(histogram, way * entries + k)
        poke(table, at + k, total)
    for i in range(_WAYS * entries):  # not in the loop above: with so many places to write it would not be vectorised
        poke(histogram, i, 0)


@compiled
def _count_last(
    codes, codes_at, codes_step, c0, low, high, pixels, num_classes,
    prefix, likelihoods, likelihoods_stride, start, histogram, table, row,
):  # fmt: skip
    """Count the outcome codes of the candidates of one prefix and b, for each last member from ``low`` to ``high``."""
    entries = 2 * num_classes
    for c in range(low, high):
        at = codes_at + (c - c0) * codes_step
        _histogram(codes, at, pixels, entries, prefix, likelihoods, c * likelihoods_stride + start, histogram)
        _move(histogram, entries, table, (row + c) * entries)


@compiled
def _unpack(table, first, last, counts, totals):
    """Add the entries ``first`` to ``last`` of a table to counts and sums of likelihoods; empty them."""
    for i in range(first, last):
        entry = peek(table, i)
        poke(counts, i, np.int32(peek(counts, i) + (entry >> COUNT_BIT)))
        poke(totals, i, peek(totals, i) + (entry & _BELOW))
        poke(table, i, 0)


@compiled
def _unpack_all(problem, prefixes, rows, task, table, counts, totals):
    """Do so for all candidates of one task."""
    size, num_members, num_classes, _ = problem
    from_prefix, to_prefix, low, high = task
    entries = 2 * num_classes
    for h in range(from_prefix, to_prefix):
        lowest, end = second_last(size, prefixes, h, high)
        for b in range(lowest, end):
            row = rows[h] + row_of(lowest, b, num_members) - b - 1
            _unpack(table, (row + max(low, b + 1)) * entries, (row + high) * entries, counts, totals)


@compiled
def count_outcome_codes(
    data,
    stride,
    labels,
    likelihoods,
    first,
    last,
    run,
    problem,
    prefixes,
    rows,
    task,
    sums,
    codes,
    table,
    counts,
    totals,
):
    """Add the pixels ``first`` to ``last`` to what is known of the candidates of one task.

    ``problem`` is (size, members, classes, numbers a member has in ``likelihoods``). ``task`` is (prefixes from,
    prefixes to, last member from, last member to), the ends excluded. ``counts`` and ``totals`` are flat
    ``[candidates][2 classes]``: pixels predicted wrongly as each class, then pixels of each class predicted right;
    and the likelihoods that members gave to the labels there. ``table`` is the same in packed form, empty before and
    after: most pixels are added there, in one number instead of two. ``run`` pixels are taken at a time: what the last
    members predict for them is to stay in the second-fastest cache. ``sums`` and ``codes`` are space to work in.
    """
    size, num_members, num_classes, likelihoods_stride = problem
    from_prefix, to_prefix, low, high = task
    lanes = VECTOR_BYTES // data.itemsize
    step = num_classes * lanes
    histogram = np.zeros(_WAYS * 2 * num_classes, dtype=np.int64)
    prefix = np.empty(run, dtype=np.int64)
    packed = 0
    for start in range(first, last, run):
        pixels = min(run, last - start)
        if packed + pixels > COUNT_LIMIT:
            _unpack_all(problem, prefixes, rows, task, table, counts, totals)
            packed = 0
        packed += pixels
        for h in range(from_prefix, to_prefix):
            lowest, end = second_last(size, prefixes, h, high)
            for b0 in range(lowest, end, GROUP):
                c0, valid = max(low, b0 + 1), min(GROUP, end - b0)
                for at in range(start, start + pixels, lanes):
                    place = at * num_classes
                    for g in range(GROUP):
                        add_up(size, prefixes, h, b0 + min(g, valid - 1), data, stride, place, step, sums, g * step)
                    for c in range(c0, high):
                        to = (c - c0) * GROUP * run + at - start
                        _write_outcome_codes(sums, data, c * stride + place, num_classes, labels, at, codes, to, run)
                for g in range(valid):
                    b = b0 + g
                    add_up(size, prefixes, h, b, likelihoods, likelihoods_stride, start, pixels, prefix, 0)
                    for i in range(pixels):
                        poke(prefix, i, peek(prefix, i) + _ONE)
                    row = rows[h] + row_of(lowest, b, num_members) - b - 1
                    _count_last(
                        codes, g * run, GROUP * run, c0, max(low, b + 1), high, pixels, num_classes,
                        prefix, likelihoods, likelihoods_stride, start, histogram, table, row,
                    )  # fmt: skip
    _unpack_all(problem, prefixes, rows, task, table, counts, totals)

"""Products over pixels of what each candidate gives to the true class, which make E-LEEP.

Compiled by Numba at the first call and kept on disk. The loops run without the lock of the interpreter and write only
to the rows of the candidates that they are given.
"""

# Numba's own functions have no types. No postponed annotations: these functions have none that mypy would need.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202, ARG001

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from muster.compiled import compiled
from muster.scoring.cpu.kernel_parts import add_up, peek, poke, row_of, second_last

_TRUTHS_AT_ONCE = 1024
_FACTOR_LANES = 16
_FRACTION = (1 << 52) - 1  # the parts of a double
_EXPONENT_BIAS = 1023
_UNIT = _EXPONENT_BIAS << 52


@intrinsic
def _bits_of(typing, value):
    """The bits of a double as an integer."""
    return types.int64(types.float64), lambda _, builder, __, arguments: builder.bitcast(arguments[0], ir.IntType(64))


@intrinsic
def _double_of(typing, value):
    """The double of these bits."""
    return types.float64(types.int64), lambda _, builder, __, arguments: builder.bitcast(arguments[0], ir.DoubleType())


@compiled
def _normalise(value):
    """A positive double as a number in 1..2 and an exponent."""
    bits = _bits_of(value)
    return _double_of((bits & _FRACTION) | _UNIT), (bits >> 52) - _EXPONENT_BIAS


@compiled
def _factor(prefix, true_class, at, i, floor):
    total = peek(prefix, i) + peek(true_class, at + i)
    return max(floor, total)


@compiled
def _four_factors(prefix, true_class, at, i, floor):
    first = _factor(prefix, true_class, at, i, floor) * _factor(prefix, true_class, at, i + _FACTOR_LANES, floor)
    i += 2 * _FACTOR_LANES
    return first * (
        _factor(prefix, true_class, at, i, floor) * _factor(prefix, true_class, at, i + _FACTOR_LANES, floor)
    )


@compiled
def _product(prefix, true_class, at, count, floor, wide, fractions, exponents):
    """Product over pixels of what an ensemble gives to the label, as a number in 1..2 and an exponent.

    Eight factors are multiplied before the exponent is taken out. Where some may be so small that their product would
    leave the range of a double (``wide``), it is taken out of each.
    """
    lanes, factors = _FACTOR_LANES, 1 if wide else 8
    whole = count - count % (factors * lanes)
    for j in range(lanes):
        poke(fractions, j, 1.0)
        poke(exponents, j, 0)
    for i in range(0, whole, factors * lanes):
        for j in range(lanes):
            if wide:
                product, exponent = _normalise(_factor(prefix, true_class, at, i + j, floor))
            else:
                product = _four_factors(prefix, true_class, at, i + j, floor)
                product, exponent = product * _four_factors(prefix, true_class, at, i + 4 * lanes + j, floor), 0
            product, more = _normalise(product * peek(fractions, j))
            poke(fractions, j, product)
            poke(exponents, j, peek(exponents, j) + exponent + more)
    product, total = 1.0, np.int64(0)
    for j in range(lanes):
        product *= peek(fractions, j)  # stays below 2 ** lanes
        total += peek(exponents, j)
    product, exponent = _normalise(product)
    total += exponent
    for i in range(whole, count):
        fraction, exponent = _normalise(_factor(prefix, true_class, at, i, floor))
        product, more = _normalise(product * fraction)
        total += exponent + more
    return product, total


@compiled
def multiply_true_class(
    true_class, stride, first, last, problem, prefixes, rows, task, floor, wide, fractions, exponents
):
    """Multiply into each candidate's product what it gives to the labels of the pixels ``first`` to ``last``.

    ``true_class`` holds the members' probabilities of the true class, flat float64 ``[members][pixels]``. ``problem``
    is (size, members), ``task`` as for :func:`muster.scoring.cpu.exhaustive_kernels.count_outcome_codes`. A
    candidate's product is ``fractions * 2 ** exponents``; its factors are sums over members, at least ``floor``, which
    must be a normal number.
    """
    size, num_members = problem
    from_prefix, to_prefix, low, high = task
    prefix = np.empty(_TRUTHS_AT_ONCE, dtype=np.float64)
    lane_fractions, lane_exponents = np.empty(_FACTOR_LANES), np.empty(_FACTOR_LANES, dtype=np.int64)
    for start in range(first, last, _TRUTHS_AT_ONCE):
        pixels = min(_TRUTHS_AT_ONCE, last - start)
        for h in range(from_prefix, to_prefix):
            lowest, end = second_last(size, prefixes, h, high)
            for b in range(lowest, end):
                add_up(size, prefixes, h, b, true_class, stride, start, pixels, prefix, 0)
                at = rows[h] + row_of(lowest, b, num_members) - b - 1
                for c in range(max(low, b + 1), high):
                    product, exponent = _product(
                        prefix, true_class, c * stride + start, pixels, floor, wide, lane_fractions, lane_exponents
                    )
                    product, more = _normalise(product * fractions[at + c])
                    fractions[at + c] = product
                    exponents[at + c] += exponent + more

"""What the loops over all candidates share: reading arrays, the rows of candidates, sums over their first members.

A candidate is a *prefix* (its first ``size - 2`` members) and its last two members b < c.

Numba takes a compiled loop from its cache as long as the loop's own file is unchanged, whatever it calls. Who changes
this file deletes the ``*.nbi`` files of this folder's ``__pycache__``.
"""

# Numba's own functions have no types. No postponed annotations: these functions have none that mypy would need.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202, ARG001

from numba import types
from numba.extending import intrinsic

from muster.compiled import compiled


def pointer(context, builder, kind, array):
    """Where an array's numbers start, in LLVM."""
    return context.make_array(kind)(context, builder, array).data


@intrinsic
def peek(typing, array, index):
    """``array[index]`` without a thought for negative indices, which would keep loops from being vectorised."""

    def code(context, builder, signature, arguments):
        place = builder.gep(pointer(context, builder, signature.args[0], arguments[0]), [arguments[1]])
        return builder.load(place)

    return array.dtype(array, index), code


@intrinsic
def poke(typing, array, index, value):
    """``array[index] = value`` in the same manner."""

    def code(context, builder, signature, arguments):
        place = builder.gep(pointer(context, builder, signature.args[0], arguments[0]), [arguments[1]])
        builder.store(arguments[2], place)
        return context.get_dummy_value()

    return types.void(array, index, array.dtype), code


@compiled
def row_of(lowest, b, num_members):
    """Candidates of one prefix before those with this b: sum of ``num_members - 1 - x`` over x from lowest to b - 1."""
    return (b - lowest) * (num_members - 1) - (b - lowest) * (b + lowest - 1) // 2


@compiled
def second_last(size, prefixes, h, high):
    """From which to which second-to-last member a prefix goes on, if the last is below ``high``; none is -1."""
    if size == 1:
        return -1, 0
    return (prefixes[h, size - 3] + 1 if size > 2 else 0), high - 1


@compiled
def add_up(size, prefixes, h, b, source, stride, source_at, count, into, into_at):
    """Sum over the prefix's members and b, in ascending order."""
    if b < 0:
        for i in range(count):
            poke(into, into_at + i, 0)
        return
    if size == 2:
        for i in range(count):
            poke(into, into_at + i, peek(source, b * stride + source_at + i))
        return
    first, second = prefixes[h, 0], prefixes[h, 1] if size > 3 else b
    for i in range(count):
        total = peek(source, first * stride + source_at + i) + peek(source, second * stride + source_at + i)
        poke(into, into_at + i, total)
    for j in range(2, size - 1):
        member = prefixes[h, j] if j < size - 2 else b
        for i in range(count):
            poke(into, into_at + i, peek(into, into_at + i) + peek(source, member * stride + source_at + i))

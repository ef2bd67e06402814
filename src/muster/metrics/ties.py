"""When two scores are the same: the one tolerance by which everything that orders scores decides.

Scores are sums over pixels, and sums round: a copy of a member, another order of the additions or predictions that were
read from a disk give numbers that differ in their last digits, by 10^-12 of their size at most (the fixed-point sums of
exhaustive search). What differs by less than 10^-9 of the largest number in a column is therefore the same here, a
thousand times more than rounding and far less than anything that a probe set can tell. The largest number is the
measure, and not each pair's own size, because what cancels in a sum leaves the rounding of its terms.

To be within a tolerance is no equivalence, so numbers are grouped: sorted, and parted wherever neighbours differ by
more. Two numbers of a group may then be farther apart, if others lie between them without a gap.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int

from muster.arrays import NumpyArray

TIE = 1e-9
"""Part of the largest number in a column by which neighbours may differ and still be the same."""

Numbers = Float[NumpyArray, " entries"]


def largest_tie(values: Float[NumpyArray, "..."]) -> float:  # noqa: UP037 (older jaxtyping wants text)
    """How much neighbours may differ and still be the same.

    Args:
        values: Of any shape, not empty; infinite ones do not count.

    Returns:
        A difference, at least 0.
    """
    low, high = float(values.min()), float(values.max())
    if math.isfinite(low) and math.isfinite(high):
        return TIE * max(abs(low), abs(high))
    finite = values[np.isfinite(values)]
    return largest_tie(finite) if finite.size else 0.0


def best_first_order(values: Numbers, tie: float | None = None) -> Int[NumpyArray, " entries"]:
    """Order from the largest to the smallest; equals in the order in which they came.

    Args:
        values: Not NaN; may be infinite.
        tie: How much neighbours may differ and still be the same; by default :func:`largest_tie` of the values. A
            caller that knows only a part of a column gives that of the whole.

    Returns:
        Indices.

    Example:
        >>> best_first_order(np.array([0.3, 0.1 + 0.2, 0.5])).tolist()  # 0.1 + 0.2 is above 0.3, by rounding
        [2, 0, 1]
    """
    order = np.argsort(-values, kind="stable")  # exact equals are in order already
    if not len(order):
        return order
    with np.errstate(invalid="ignore", over="ignore"):
        falls = values[order[:-1]] - values[order[1:]]
    parted = falls > (largest_tie(values) if tie is None else tie)
    uneven = (falls > 0) & ~parted
    if uneven.any():
        group = np.concatenate([[0], np.cumsum(parted)])
        mixed = np.zeros(group[-1] + 1, dtype=bool)
        mixed[group[1:][uneven]] = True
        places = np.flatnonzero(mixed[group])
        order[places] = order[places][np.lexsort((order[places], group[places]))]
    return order


def tie_levels(values: Numbers) -> Int[NumpyArray, " entries"]:
    """Number groups of equals from the smallest up.

    Args:
        values: Not NaN; may be infinite.

    Returns:
        From 0; the same for equals.

    Example:
        >>> tie_levels(np.array([0.3, 0.1 + 0.2, 0.5])).tolist()
        [0, 0, 1]
    """
    levels = np.zeros(len(values), dtype=np.int64)
    if len(values):
        order = np.argsort(values, kind="stable")
        with np.errstate(invalid="ignore", over="ignore"):
            parted = np.diff(values[order]) > largest_tie(values)
        levels[order[1:]] = np.cumsum(parted)
    return levels


def least_of_best(values: Numbers, tie: float) -> float:
    """The smallest number that is the same as the largest.

    Args:
        values: Not NaN, not empty.
        tie: How much neighbours may differ and still be the same.

    Returns:
        The number.

    Example:
        >>> least_of_best(np.array([0.3, 0.1 + 0.2, 0.2]), 1e-9)
        0.3
    """
    falling = -np.sort(-values)
    with np.errstate(invalid="ignore", over="ignore"):
        parted = np.flatnonzero(falling[:-1] - falling[1:] > tie)
    return float(falling[parted[0] if len(parted) else -1])


def first_best(values: Numbers) -> int:
    """Index of the largest number, the first of equals.

    Args:
        values: Not NaN, not empty.

    Returns:
        The index.
    """
    return int(best_first_order(values)[0])


def all_tie(values: Numbers) -> bool:
    """Whether all numbers are the same.

    Args:
        values: Finite, not empty.

    Returns:
        True also for a single one.
    """
    return float(values.max() / 2 - values.min() / 2) <= largest_tie(values) / 2  # halves do not overflow

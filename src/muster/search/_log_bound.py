"""How high E-LEEP can be for any set of a size: an upper bound by convex relaxation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from muster.arrays import NumpyArray
from muster.cancel import CancelToken
from muster.scoring.cpu.compiling import kernels
from muster.scoring.cpu.workers import Workers

_MOST_ROUNDS = 30
_TOLERANCE = 1e-4
"""The relaxation is solved to so much; what it leaves open is usually more."""

_HALVINGS = 20
_MEMBERS_AT_ONCE = 16


def e_leep_bound(
    true_class: Float[NumpyArray, "members pixels"],
    size: int,
    start: Sequence[int],
    workers: Workers,
    cancel: CancelToken | None = None,
) -> float:
    """An upper bound on the E-LEEP of every set of ``size`` members.

    A logarithm lies below its tangents. So for any positive q_i and every set A of S members, with x_i the mean over A
    of p_s(y_i|x_i),

        E-LEEP(A) = mean_i log x_i <= mean_i (log q_i - 1 + x_i / q_i) = mean_i log q_i - 1 + (1/S) sum_{s in A} r_s

    with r_s = mean_i p_s(y_i|x_i) / q_i, and the right side is largest for the S members of largest r. With the clamp t
    of E-LEEP's logarithm this still holds if no q_i is below e t: at x = 0 the right side is then at least log t.

    The bound is good where q is close to the best *mixture* of members with no weight above 1/S, and it is searched for
    there: each round (Frank and Wolfe's method) moves q on the line to the mean over the S members of largest r. The
    smallest bound met on the way is returned; it may exceed the best set's score, because mixtures are no sets.

    Args:
        true_class: What each member gives to the true class of each pixel.
        size: Members of a set, S.
        start: A good set to start from.
        workers: Threads to run on.
        cancel: Asked after each round whether to look for a smaller bound.

    Returns:
        The bound. Each round reads ``true_class`` once.

    Source:
        T. M. Cover, "An Algorithm for Maximizing Expected Log Investment Return", IEEE Trans. Inf. Theory, 1984 (the
        optimality condition, without a limit on weights); M. Frank, P. Wolfe, "An Algorithm for Quadratic
        Programming", Nav. Res. Logist. Q., 1956.
    """
    least = np.e * float(np.finfo(true_class.dtype).smallest_normal)
    mixture = _mean(true_class, start)
    best = np.inf
    for _ in range(_MOST_ROUNDS):
        reference = np.maximum(mixture, least)
        ratios = _ratios(true_class, reference, workers)
        largest = np.argsort(-ratios, kind="stable")[:size]
        reached = float(np.log(reference).mean())
        best = min(best, reached - 1.0 + float(ratios[largest].mean()))
        if best - reached < _TOLERANCE or (cancel is not None and cancel.is_set):
            break
        mixture = _line_search(reference, _mean(true_class, largest))
    return best


def _mean(true_class: Float[NumpyArray, "members pixels"], members: Sequence[int] | NumpyArray) -> NumpyArray:
    mean: NumpyArray = true_class[list(members)].mean(axis=0, dtype=np.float64)
    return mean


def _ratios(
    true_class: Float[NumpyArray, "members pixels"], reference: Float[NumpyArray, " pixels"], workers: Workers
) -> Float[NumpyArray, " members"]:
    weights, ratios = 1.0 / reference, np.empty(len(true_class))
    weigh = kernels(true_class.dtype, "weigh").weigh

    def weigh_some(some: range) -> None:
        part = slice(some.start, some.stop)
        weigh(true_class[part], weights, ratios[part])

    workers.each(weigh_some, workers.ranges(len(true_class), _MEMBERS_AT_ONCE))
    mean: NumpyArray = ratios / len(reference)
    return mean


def _line_search(
    start: Float[NumpyArray, " pixels"], end: Float[NumpyArray, " pixels"]
) -> Float[NumpyArray, " pixels"]:
    """The point between two with the largest mean log, which is concave, by halving."""
    low, high, step = 0.0, 1.0, end - start
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if (step / (start + middle * step)).mean() > 0:
            low = middle
        else:
            high = middle
    point: NumpyArray = start + low * step
    return point

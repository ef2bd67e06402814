"""The cheapest flow between two sets of points, proven by its duals whatever scales the costs mix.

A network simplex in float64 sees costs to some 10^-16 of the largest one times the number of points. Where a few points
lie far out, that hides what the others cost. Here every flow is checked by its dual variables, and what these leave
open is solved again in its own, smaller scale.

Axis names: ``source_points`` and ``points`` are the two sides.
"""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float

from muster.arrays import NumpyArray

_OPTIMAL = 1

_PROVEN = 1e-12
"""What a flow may cost above the least, as a part of its amount times a usual arc's cost: rounding, for ordinary costs.
A flow of whole numbers that is not the cheapest costs more."""

_ROUNDS = 12
"""Solutions in ever smaller scales; each takes some six orders of magnitude off, and float64 has 600."""

_TOLD_APART = 1e-9
"""Rounding of quick squared distances, as a part of a usual arc's cost, above which they are computed from
differences."""

_FARTHEST = 1e12
"""Most that a transported distance may exceed a usual one: beyond, float64 gives a far point one and the same distance
to all others, and what it is coupled with would be chance."""

Plan = Float[NumpyArray, "source_points points"]


def cheapest_flow(
    source: Float[NumpyArray, "source_points dimensions"],
    target: Float[NumpyArray, "points dimensions"],
    source_masses: Float[NumpyArray, " source_points"],
    masses: Float[NumpyArray, " points"],
    max_iterations: int,
) -> Plan:
    """The flow of least cost, a unit from one point to another costing their squared distance.

    Args:
        source: Where the flow comes from.
        target: Where it goes.
        source_masses: Whole numbers, at least 1.
        masses: Whole numbers with the same sum.
        max_iterations: When a solution is given up.

    Returns:
        Whole numbers.

    Raises:
        ValueError: If the solver has not converged, its flow is not proven to be the cheapest, or distances lie so far
            apart that float64 cannot tell which flow is.
    """
    first, second = _to_unit_scale(source, target)
    costs, rounding = _quick_costs(first, second)
    flow = _proven(costs, source_masses, masses, max_iterations) if rounding < _TOLD_APART * costs.mean() else None
    if flow is None or rounding > _TOLD_APART * float(np.median(costs[flow > 0])):
        from scipy.spatial.distance import cdist  # rarely needed, and slow to import

        costs = cdist(first, second, "sqeuclidean")
        flow = _proven(costs, source_masses, masses, max_iterations)
    usual, largest = _usual_cost(flow, costs), float(costs[flow > 0].max())
    if largest > _FARTHEST**2 * usual:
        raise ValueError(
            f"Expected features within one scale, but a point would move {np.sqrt(largest / usual):.0e} times as far "
            "as is usual, and float64 cannot tell where it is cheapest. Leave such outliers out, or clip the features."
        )
    return flow


def _to_unit_scale(source: NumpyArray, target: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
    """Both sides divided by one power of two: 1 at most, and every digit stays."""
    exponent = int(np.frexp(max(float(np.abs(source).max()), float(np.abs(target).max())))[1])
    return np.ldexp(source, -exponent), np.ldexp(target, -exponent)


def _quick_costs(source: NumpyArray, target: NumpyArray) -> tuple[Plan, float]:
    """Squared distances by a product of matrices, and about what they may be wrong by."""
    middle = (source.mean(axis=0) + target.mean(axis=0)) / 2  # products of uncentred rows would lose digits
    first, second = source - middle, target - middle
    squares = [np.einsum("pd,pd->p", side, side) for side in (first, second)]
    costs: Plan = np.maximum(squares[0][:, None] + squares[1] - 2.0 * (first @ second.T), 0.0)
    return costs, 8.0 * float(np.finfo(np.float64).eps) * max(float(side.max()) for side in squares)


def _proven(costs: Plan, source_masses: NumpyArray, masses: NumpyArray, max_iterations: int) -> Plan:
    """The cheapest flow. With duals u and v, a unit on an arc costs its reduced cost c - u - v too much, at least 0.

    The sum of what a flow costs too much bounds what can be saved altogether. Masses are whole numbers, so an arc whose
    single unit would cost more than that is in no cheapest flow: however long, it may be taken for twice as long. That
    brings the reduced costs into the scale of what is still open, in which they are solved again.
    """
    reduced, amount, usual = costs, float(masses.sum()), np.inf
    for _ in range(_ROUNDS):
        flow, prices = _solve(source_masses, masses, reduced, max_iterations)
        usual = min(usual, _usual_cost(flow, costs))  # a flow that is no good yet may use long arcs
        bounds = []
        for start in (prices, np.zeros_like(prices)):  # beside far points, prices may be nothing but rounding
            bounds.append(_reduce(reduced, start, flow))
            if bounds[-1][1] <= _PROVEN * amount * usual:
                return flow
        reduced, too_much = min(bounds, key=lambda bound: bound[1])
        reduced = np.minimum(reduced, 2.0 * too_much)
    raise ValueError(
        f"Expected optimal transport to be proven optimal, but after {_ROUNDS} solutions it may still cost "
        f"{too_much / amount:.1e} too much, in units of the features' squared extent. Leave out far outliers."
    )


def _reduce(costs: Plan, prices: Float[NumpyArray, " points"], flow: Plan) -> tuple[Plan, float]:
    """Reduced costs by the best duals that start from some prices of the targets, and what the flow costs by them."""
    source_prices = (costs - prices).min(axis=1)
    prices = (costs - source_prices[:, None]).min(axis=0)
    # The sum of both prices first: they may be large and of opposite sign, and then it is exact.
    reduced = np.maximum(costs - (source_prices[:, None] + prices), 0.0)
    return reduced, float((flow * reduced).sum())


def _usual_cost(flow: Plan, costs: Plan) -> float:
    """Median cost of the arcs in use, of those that cost something."""
    arcs = costs[flow > 0]
    arcs = arcs[arcs > 0]
    return float(np.median(arcs)) if len(arcs) else 0.0


def _solve(
    source_masses: NumpyArray, masses: NumpyArray, costs: Plan, max_iterations: int
) -> tuple[Plan, Float[NumpyArray, " points"]]:
    """A flow that the solver takes for the cheapest, and its dual variables of the target side.

    Masses are whole numbers, so that those of a basic solution are too: no round-off.
    """
    from ot.lp import emd  # a quarter of a second to import

    exponent = int(np.frexp(costs.max())[1])  # the solver takes very small differences for none
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of what the status says as well
        flow, log = emd(source_masses, masses, np.ldexp(costs, -exponent), numItermax=max_iterations, log=True)
    if log["result_code"] != _OPTIMAL:
        raise ValueError(
            f"Expected optimal transport to converge within {max_iterations} iterations, but it did not "
            f"({log['warning']}). Raise `max_iterations` or lower `max_samples`."
        )
    whole: Plan = np.rint(np.maximum(flow, 0.0))
    return whole, np.ldexp(np.asarray(log["v"], dtype=np.float64), exponent)

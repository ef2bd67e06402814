"""The compiled loop of the weighted Kendall tau of entries that count several times."""

# numba's own functions have no types, and these are given none that mypy would need.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"
# ruff: noqa: ANN001, ANN202

import numpy as np

from muster.compiled import compiled


@compiled
def weights_of(order, counts):
    """Sum of 1 / (1 + rank) over the copies of each entry, ranks from the first of ``order``."""
    weights = np.zeros(len(order))
    rank = 0
    for place in order:
        for _ in range(counts[place]):
            rank += 1
            weights[place] += 1.0 / rank
    return weights


@compiled
def pairs_apart(order, levels, counts, weights):
    """Sum of both weights over all pairs of copies whose levels differ; ``order`` has equal levels side by side."""
    total, sum_weights = 0, 0.0
    tied, group, group_weights = 0.0, 0, 0.0
    for place in range(len(order)):
        entry = order[place]
        if place and levels[entry] != levels[order[place - 1]]:
            tied += (group - 1) * group_weights
            group, group_weights = 0, 0.0
        group += counts[entry]
        group_weights += weights[entry]
        total += counts[entry]
        sum_weights += weights[entry]
    return (total - 1) * sum_weights - tied - (group - 1) * group_weights


@compiled
def pairs_in_order(order, first, second, counts, weights):
    """Sum of both weights over pairs of copies that both columns order alike, less those ordered the other way.

    Entries enter from the largest of ``first`` down, equal ones together; Fenwick trees over the levels of ``second``
    hold how many copies, and which weights, entered below each level.
    """
    top = second.max() + 1
    tree_counts, tree_weights = np.zeros(top + 1, dtype=np.int64), np.zeros(top + 1)
    entered, entered_weights, total = 0, 0.0, 0.0
    start = 0
    while start < len(order):
        stop = start
        while stop < len(order) and first[order[stop]] == first[order[start]]:
            stop += 1
        for place in range(start, stop):
            entry = order[place]
            below, below_weights, upto, upto_weights = 0, 0.0, 0, 0.0
            node = second[entry]
            while node > 0:
                below += tree_counts[node]
                below_weights += tree_weights[node]
                node -= node & -node
            node = second[entry] + 1
            while node > 0:
                upto += tree_counts[node]
                upto_weights += tree_weights[node]
                node -= node & -node
            # What entered is larger in `first`: alike where it is above in `second` too.
            lead, lead_weights = entered - upto - below, entered_weights - upto_weights - below_weights
            total += counts[entry] * lead_weights + weights[entry] * lead
        for place in range(start, stop):
            entry = order[place]
            node = second[entry] + 1
            while node <= top:
                tree_counts[node] += counts[entry]
                tree_weights[node] += weights[entry]
                node += node & -node
            entered += counts[entry]
            entered_weights += weights[entry]
        start = stop
    return total

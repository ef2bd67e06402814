"""Sets that are built member by member: what greedy search and beam search have in common.

Axis names: ``bases`` are the sets that are extended, ``members`` those of the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from muster.arrays import NumpyArray
from muster.metrics.ties import largest_tie
from muster.scoring.cpu.extension import Extensions, MemberSet
from muster.search.result import best_first

TOP_K = 10
"""Best sets that a search reports."""


def grow(extensions: Extensions, size: int, width: int) -> Iterator[dict[MemberSet, float]]:
    """Build sets member by member, keeping the best few of every size.

    Args:
        extensions: Scores them.
        size: Where to stop.
        width: How many sets of a size are extended.

    Yields:
        For sizes 1 to ``size``: the best extensions of what was kept, at least ``width`` of them if there are as many,
        best first, equal scores in lexicographic order.
    """
    bases: list[MemberSet] = [()]
    for _ in range(size):
        found = best_extensions(bases, extensions.scores(bases), max(width, TOP_K))
        yield found
        bases = list(found)[:width]


def best_extensions(
    bases: Sequence[MemberSet], scores: Float[NumpyArray, "bases members"], count: int
) -> dict[MemberSet, float]:
    """The best of the sets that were scored.

    Args:
        bases: What was extended.
        scores: The scores of each base with each member; -inf for none.
        count: How many sets to return at most.

    Returns:
        Best first, equal scores in lexicographic order. A set that arises from several bases counts once.
    """
    flat = scores.ravel()
    # A set can come from as many bases as it has members; equals of the last must not be cut off at random.
    needed = min(count * (len(bases[0]) + 1), flat.size)
    least = np.partition(flat, flat.size - needed)[flat.size - needed]
    found: dict[MemberSet, float] = {}
    for place in np.flatnonzero((flat >= least - largest_tie(flat)) & (flat > -np.inf)):
        base, member = divmod(int(place), scores.shape[1])
        members = tuple(sorted((*bases[base], member)))
        found[members] = max(float(flat[place]), found.get(members, -np.inf))
    return dict(best_first(found, count))

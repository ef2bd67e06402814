"""What a search that does not look at every candidate found, and how good it can vouch for that to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muster.metrics.registry import ENSEMBLE_METRICS
from muster.metrics.ties import best_first_order

SEARCH_METRICS = ENSEMBLE_METRICS
"""The package's own metrics that ``greedy``, ``beam`` and ``racing`` can search by; they take registered ones too."""

Leader = tuple[tuple[int, ...], float]
"""Members, ascending, and their score."""


@dataclass(frozen=True)
class SearchResult:
    """The best set that was found.

    Attributes:
        metric: What it was searched by.
        members: Indices of the members, ascending.
        score: Their score, by the metric's definition; larger is better.
        bound: No set of this size scores higher; ``None`` if nothing can be said.
        guarantee: In words, how far from the best set this one can be; "none" where nothing is promised.
        evaluated: How many sets were scored, on some or all pixels, smaller ones on the way included.
        leaders: The best sets that were found, this one first, each with its score; equal scores in lexicographic order
            of their members.
    """

    metric: str
    members: tuple[int, ...]
    score: float
    bound: float | None
    guarantee: str
    evaluated: int
    leaders: tuple[Leader, ...]


class SearchInterrupted(KeyboardInterrupt):
    """A search that Ctrl-C ended early.

    Attributes:
        result: The best whole set found until then; ``None`` if there was none yet.
        members: The members chosen until then, which may be fewer than asked for.
    """

    def __init__(self, result: SearchResult | None, members: tuple[int, ...] = ()) -> None:
        """What was found."""
        found = f"the best of {result.evaluated} sets so far: {list(result.members)}" if result else "no whole set yet"
        super().__init__(f"The search was interrupted; {found}.")
        self.result = result
        self.members = result.members if result else members


def best_first(scored: dict[tuple[int, ...], float], count: int) -> tuple[Leader, ...]:
    """The best sets.

    Args:
        scored: Score of each set.
        count: How many to return at most.

    Returns:
        From best to worst; equal scores (also up to round-off) in lexicographic order of the members.

    Example:
        >>> best_first({(1, 2): 0.5, (0, 2): 0.5, (0, 1): 0.25}, 2)
        (((0, 2), 0.5), ((1, 2), 0.5))
    """
    sets = sorted(scored)
    order = best_first_order(np.array([scored[members] for members in sets]))[:count]
    return tuple((sets[place], scored[sets[place]]) for place in order.tolist())

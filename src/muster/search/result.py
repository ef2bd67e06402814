"""What a search found, in numbers: the best sets, and how far they can be from the best there is.

Reports turn these numbers into sentences, see :mod:`muster.report.wording`; no text decides anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from muster.metrics.ties import best_first_order

ScoredSet = tuple[tuple[int, ...], float]
"""Members, ascending, and their score."""

Strategy: TypeAlias = Literal["exhaustive", "greedy", "beam", "racing"]
"""How candidates are looked for."""

Optimality: TypeAlias = Literal["proven", "bounded", "unknown"]
"""Whether the best set is known to be the best of all, to be at most so far from it, or neither."""

Completeness: TypeAlias = Literal["complete", "interrupted"]
"""Whether a search was done in full, or ended early because somebody asked it to."""


@dataclass(frozen=True)
class SearchStatus:
    """How a search went, in numbers.

    Attributes:
        strategy: How candidates were looked for.
        candidates: How many sets there were to choose from.
        evaluated: How many sets were scored, on some or all pixels, smaller ones on the way included.
        optimality: Whether the best set found is the best of all candidates; see ``bound``.
        bound: No candidate scores higher; ``None`` if no bound is known.
        dropped: How many of the evaluated sets fell too far behind in a race to be scored on all pixels.
        confidence: With which probability (normal approximation) no set was dropped that would have been kept on all
            pixels; ``None`` if there was no race.
        completeness: Whether the search was done in full.
        fraction: Share of the probe pixels that it looked at, 0..1; less than 1 only if it was interrupted.
    """

    strategy: Strategy
    candidates: int
    evaluated: int
    optimality: Optimality = "unknown"
    bound: float | None = None
    dropped: int = 0
    confidence: float | None = None
    completeness: Completeness = "complete"
    fraction: float = 1.0

    @property
    def lists_all(self) -> bool:
        """Whether all allowed candidates were listed, so that their distribution means something."""
        return self.strategy == "exhaustive"


@dataclass(frozen=True)
class SearchResult:
    """The best set that was found.

    Attributes:
        metric: What it was searched by.
        members: Indices of the members, ascending. Fewer than asked for if the search was interrupted before it had a
            whole set: those chosen until then.
        score: Their score, by the metric's definition; larger is better. NaN if the set is not whole.
        top_k: The best whole sets found, this one first, each with its score; equal scores in
            lexicographic order of their members. None if the search was interrupted before it had one.
        status: How the search went.
    """

    metric: str
    members: tuple[int, ...]
    score: float
    top_k: tuple[ScoredSet, ...]
    status: SearchStatus

    @property
    def bound(self) -> float | None:
        """No set of this size scores higher; ``None`` if no bound is known."""
        return self.status.bound

    @property
    def evaluated(self) -> int:
        """How many sets were scored."""
        return self.status.evaluated


def result_of(metric: str, top_k: tuple[ScoredSet, ...], status: SearchStatus) -> SearchResult:
    """The result that follows from scored sets.

    Args:
        metric: What was searched by.
        top_k: At least one set, best first.
        status: How the search went; its ``optimality`` is found from its ``bound``.

    Returns:
        The result.
    """
    members, score = top_k[0]
    return SearchResult(metric, members, score, top_k, _judged(status, score))


def unfinished(metric: str, members: tuple[int, ...], status: SearchStatus) -> SearchResult:
    """The result of a search that was interrupted before it had a whole set.

    Args:
        metric: What was searched by.
        members: Those chosen until then.
        status: How far the search went.

    Returns:
        A result without a top-k.
    """
    return SearchResult(metric, members, math.nan, (), status)


def _judged(status: SearchStatus, score: float) -> SearchStatus:
    """The status with the optimality that the bound implies."""
    if status.bound is None:
        return replace(status, optimality="unknown")
    return replace(status, optimality="proven" if score >= status.bound else "bounded")


def best_first(scored: dict[tuple[int, ...], float], count: int) -> tuple[ScoredSet, ...]:
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

"""Scores of all candidates, and the order they put them in.

Axis names: ``candidates`` are sets of members, ``size`` the members of one candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from muster.arrays import NumpyArray
from muster.errors import unknown_name
from muster.metrics.ties import best_first_order, tie_levels


@dataclass(frozen=True, eq=False)
class Ranking:
    """All candidates with their scores.

    Attributes:
        members: int64 ``[candidates, size]``, indices into the pool; ascending in a row, rows in lexicographic order.
        scores: Per metric float64 ``[candidates]``, larger is better (a cost is held negated), always finite.
        fraction: Share of the probe pixels that the scores rest on; less than 1 if scoring was interrupted.

    Raises:
        ValueError: If a score has not one entry per candidate, or one that is not finite.
    """

    members: NumpyArray
    scores: dict[str, NumpyArray]
    fraction: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what could not be ordered."""
        if self.members.ndim != 2 or 0 in self.members.shape:
            raise ValueError(f"Expected `members` to be candidates x size, but got shape {list(self.members.shape)}.")
        for metric, values in self.scores.items():
            if values.shape != (len(self),):
                raise ValueError(f"Expected {len(self)} scores of {metric!r}, but got shape {list(values.shape)}.")
            if not np.isfinite(values).all():
                row = int((~np.isfinite(values)).argmax())
                raise ValueError(
                    f"Expected finite scores of {metric!r}, but that of members {self.members[row].tolist()} "
                    f"is {values[row]}."
                )

    def __len__(self) -> int:
        """Number of candidates."""
        return len(self.members)

    def order(self, metric: str, names: Sequence[str] | None = None) -> Int[NumpyArray, " candidates"]:
        """Candidates from best to worst. Scores that differ by round-off tie, see :mod:`muster.metrics.ties`.

        Args:
            metric: Which scores to order by.
            names: Name of each member of the pool, by which ties are broken: the candidate whose sorted names come
                first wins. Without it ties keep the order of the rows: the same thing, if the pool is sorted by name.

        Returns:
            int64 ``[candidates]``, rows of ``members``.

        Raises:
            ValueError: If there are no scores of ``metric``, or ``names`` does not name every member once.

        Example:
            >>> members, scores = np.array([[0, 1], [0, 2], [1, 2]]), np.array([0.5, 0.7, 0.5])
            >>> Ranking(members, {"e_leep": scores}).order("e_leep").tolist()
            [1, 0, 2]
        """
        if metric not in self.scores:
            raise ValueError(unknown_name("metric of this ranking", metric, self.scores))
        if names is None:
            return best_first_order(self.scores[metric])
        columns = np.sort(self._places(names)[self.members], axis=1).T
        return np.lexsort((*columns[::-1], -tie_levels(self.scores[metric])))  # the last key counts most

    def with_scores(self, metric: str, values: Float[NumpyArray, " candidates"]) -> Ranking:
        """The same candidates with the scores of one more metric.

        Args:
            metric: Name of the metric.
            values: float64 ``[candidates]``, larger is better (negate a cost).

        Returns:
            A new ranking; this one is unchanged.

        Raises:
            ValueError: If ``values`` has not one finite entry per candidate.
        """
        return replace(self, scores={**self.scores, metric: values})

    def only(self, rows: Bool[NumpyArray, " candidates"]) -> Ranking:
        """Some of the candidates.

        Args:
            rows: Whether to keep each.

        Returns:
            A new ranking with their scores; this one is unchanged.

        Raises:
            ValueError: If none is kept.
        """
        return replace(self, members=self.members[rows], scores={n: s[rows] for n, s in self.scores.items()})

    def _places(self, names: Sequence[str]) -> NumpyArray:
        """Place of each member in the order of names."""
        needed = int(self.members.max()) + 1
        if len(names) < needed or len(set(names)) < len(names):
            raise ValueError(f"Expected `names` to hold at least {needed} different names, but got {list(names)}.")
        places = np.empty(len(names), dtype=np.int64)
        places[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
        return places

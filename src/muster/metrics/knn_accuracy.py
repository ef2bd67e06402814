"""k-NN: how often the nearest other samples have a sample's class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from muster.metrics._credit import accuracy_with_ties
from muster.metrics._distinct import distinct_rows
from muster.metrics._features import Features, SampleLabels, as_features, as_present_classes
from muster.metrics._linear_algebra import ROWS_AT_ONCE, column_means
from muster.metrics._products import product

MAX_QUERIES = 5000
"""Samples that are classified; of more, a subsample."""

EQUALLY_NEAR = 1e-12
"""Relative difference of squared distances, in float64, up to which neighbours are equally near."""

_NUMBERS_AT_ONCE = 2**21
"""Distances at a time, so that they stay in cache."""

_POINTS_AT_ONCE = 128
"""Points at a time in any case, so that their products with all others are not limited by reading those."""


def knn_accuracy(
    features: Features, labels: SampleLabels, k: int = 1, *, max_queries: int = MAX_QUERIES, seed: int = 0
) -> float:
    """Accuracy of k nearest neighbours, leaving out each sample in turn.

    Neighbours are nearest in Euclidean distance, and the class with most votes among them wins. Who votes are all the
    samples at most as far as the k-th nearest, so more than k where that one ties; and where t classes have the most
    votes and the sample's is among them, it counts 1 / t. So neither the order of samples nor that of classes matters.
    (Published code takes whichever of them comes first in memory.)

    Args:
        features: The member's features of each sample, ``[samples, dimensions]``, at least 2 samples. Neither centred
            nor scaled. Constant features are not an error: every other sample votes.
        labels: Classes, ``[samples]``, integers from 0, not necessarily contiguous; void must have been left out. The
            only sample of a class is always missed.
        k: Number of neighbours, 1 to one less than there are samples.
        max_queries: Samples that are classified, each by all others; of more, so many are drawn without replacement,
            the same for every member, and the standard error is at most 0.5 / sqrt(max_queries).
        seed: The seed of that draw.

    Returns:
        0..1; larger is better. Turning, mirroring, moving and scaling the features as a whole does not matter. Squared
        distances that differ by less than 1e-12 of their size tie; otherwise they are compared as in float64.

    Raises:
        ValueError: If ``features`` are not a finite floating-point array of at least 2 rows and 1 column.
        ValueError: If ``labels`` are not integers, not one per sample, negative, or void (255) is among them.
        ValueError: If ``k`` or ``max_queries`` is out of range.

    Note:
        O(queries x n x d) multiplications, in float32 on the CPU: they only tell who may be near enough, with a margin
        for their rounding, and those few distances are then computed in float64. Memory for one more copy of the
        features, and blocks.

    Source:
        Baseline of Bolya et al., "Scalable Diverse Model Selection for Accessible Transfer Learning", NeurIPS 2021,
        section 3.2 (k = 1), after Puigcerver et al., "Scalable Transfer Learning with Expert Models", ICLR 2021.

    Example:
        >>> import numpy as np
        >>> knn_accuracy(np.array([[0.0], [1.0], [3.0], [7.0]]), np.array([4, 4, 9, 9]))
        0.75
    """
    rows = as_features("features", features, least_samples=2)
    classes, _ = as_present_classes(labels, len(rows), rows.device)
    if not 1 <= k < len(rows):
        raise ValueError(f"Expected `k` between 1 and {len(rows) - 1}, one less than there are samples, but got {k}.")
    if max_queries < 1:
        raise ValueError(f"Expected `max_queries` to be at least 1, but got {max_queries}.")
    queries = torch.arange(len(rows), device=rows.device)
    if len(rows) > max_queries:
        drawn = np.sort(np.random.default_rng(seed).choice(len(rows), max_queries, replace=False))
        queries = torch.from_numpy(drawn).to(rows.device)
    points = _Points.of(rows, classes)
    own, place = torch.unique(points.of_samples[queries], return_inverse=True)
    votes = torch.cat([_votes(points, part, k) for part in torch.split(own, points.at_once)])[place]
    votes[torch.arange(len(queries), device=rows.device), classes[queries]] -= 1.0  # a sample is not its own neighbour
    return accuracy_with_ties(votes, classes[queries])


@dataclass(frozen=True, eq=False)
class _Points:
    """Samples of which those with the same features are one point.

    Attributes:
        of_samples: The point of each sample.
        classes: How many samples of each class a point stands for.
        values: The features of each point.
        center: About the middle of all.
        scale: Power of two that brings differences to it to at most 1.
        screen: Features of each point from there, in the type in which who may be near is found out.
        squares: Squared lengths of these, in float64.
    """

    of_samples: Int[Tensor, " samples"]
    classes: Int[Tensor, "points classes"]
    values: Float[Tensor, "points dimensions"]
    center: Float[Tensor, " dimensions"]
    scale: float
    screen: Float[Tensor, "points dimensions"]
    squares: Float[Tensor, " points"]

    @classmethod
    def of(cls, rows: Float[Tensor, "samples dimensions"], labels: Int[Tensor, " samples"]) -> _Points:
        """Gather samples into points."""
        first, of_samples = (torch.from_numpy(part).to(rows.device) for part in distinct_rows(rows))
        classes = torch.zeros(len(first), int(labels.max()) + 1, dtype=torch.int32, device=rows.device)
        classes.index_put_((of_samples, labels), classes.new_ones(()), accumulate=True)
        values = rows if len(first) == len(rows) else rows[first]
        center = column_means(values)
        extent = max(float((block - center).abs().max()) for block in torch.split(values, ROWS_AT_ONCE))
        if not math.isfinite(extent):
            raise ValueError("Expected `features` with differences that float64 can hold, but got larger ones.")
        scale = 2.0 ** -max(math.frexp(extent)[1], -1000)
        dtype = torch.float32 if rows.device.type == "cpu" else torch.float64
        screen = torch.empty(values.shape, dtype=dtype, device=rows.device)
        squares = torch.empty(len(values), dtype=torch.float64, device=rows.device)
        for start in range(0, len(values), ROWS_AT_ONCE):
            block = (values[start : start + ROWS_AT_ONCE] - center) * scale
            screen[start : start + len(block)] = block
            squares[start : start + len(block)] = block.square().sum(dim=1)
        return cls(of_samples, classes, values, center, scale, screen, squares)

    @property
    def at_once(self) -> int:
        """Points whose distances to all others are in memory at a time."""
        return max(_NUMBERS_AT_ONCE // len(self.values), _POINTS_AT_ONCE)

    def products_with(self, own: Int[Tensor, " own"], dtype: torch.dtype) -> Float[Tensor, "own points"]:
        """Minus twice the products of some points with all."""
        if dtype == self.screen.dtype:
            return product(self.screen[own] * -2.0, self.screen.T)
        rows = (self.values[own] - self.center) * (-2.0 * self.scale)
        blocks = torch.split(self.values, ROWS_AT_ONCE)
        return torch.cat([product(rows, ((block - self.center) * self.scale).T) for block in blocks], dim=1)

    def squared_distances(self, one: Int[Tensor, " pairs"], two: Int[Tensor, " pairs"]) -> Float[Tensor, " pairs"]:
        """Between the points of each pair."""
        size = max(_NUMBERS_AT_ONCE // self.values.shape[1], 1)
        parts = zip(torch.split(one, size), torch.split(two, size), strict=True)
        found = [((self.values[a].double() - self.values[b]) * self.scale).square().sum(dim=1) for a, b in parts]
        return torch.cat(found)


def _votes(points: _Points, own: Int[Tensor, " own"], k: int) -> Float[Tensor, "own classes"]:
    """Votes of each class at some points, those of all samples at the point itself among them."""
    votes = points.classes[own].double()
    lacking = k + 1 - points.classes[own].sum(dim=1)
    seeking = (lacking > 0).nonzero()[:, 0]
    if len(seeking) == 0:
        return votes
    row, other = _candidates(points, own[seeking], min(k, len(points.values) - 1))
    distances = points.squared_distances(own[seeking][row], other)
    order = torch.argsort(distances)
    order = order[torch.argsort(row[order], stable=True)]
    row, other, distances = row[order], other[order], distances[order]
    heard = points.classes[other].sum(dim=1).cumsum(0)
    before = torch.zeros_like(seeking)
    before[1:] = heard[torch.bincount(row).cumsum(0)[:-1] - 1]
    enough = heard - before[row] >= lacking[seeking][row]
    farthest = torch.full(seeking.shape, math.inf, dtype=torch.float64, device=row.device)
    farthest.scatter_reduce_(0, row[enough], distances[enough], "amin")
    voting = distances <= farthest[row] * (1.0 + EQUALLY_NEAR)
    return votes.index_add(0, seeking[row[voting]], points.classes[other[voting]].double())


def _candidates(
    points: _Points, own: Int[Tensor, " own"], neighbours: int
) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """All other points that may be among the nearest ones of some points, and for each of them, whose."""
    near = _may_be_near(points, own, neighbours, points.screen.dtype)
    if points.screen.dtype != torch.float64 and int(near.sum()) > len(own) * (neighbours + len(points.values) / 32):
        near = _may_be_near(points, own, neighbours, torch.float64)  # float32 does not tell enough of them apart
    row, other = near.nonzero(as_tuple=True)
    return row, other


def _may_be_near(
    points: _Points, own: Int[Tensor, " own"], neighbours: int, dtype: torch.dtype
) -> Bool[Tensor, "own points"]:
    """Whether a squared distance may be among the smallest, given that it is known up to rounding.

    A product of d terms is off by more than 8 sqrt(d) roundings with a chance of 1e-13 (Higham and Mary, "A New
    Approach to Probabilistic Rounding Error Analysis", SIAM J. Sci. Comput. 2019); 16 more are for everything else.
    """
    machine = torch.finfo(dtype)
    slack = (8.0 * math.sqrt(points.values.shape[1]) + 16.0) * machine.eps / 2.0 + 2.0 * EQUALLY_NEAR
    squares = points.squares.to(dtype)
    least = points.products_with(own, dtype)
    least += squares * (1.0 + slack)
    least[torch.arange(len(own), device=own.device), own] = math.inf
    most = least.amin(dim=1) if neighbours == 1 else least.topk(neighbours, dim=1, largest=False).values[:, -1]
    least -= squares * (2.0 * slack)
    return least <= (most + squares[own] * (2.0 * slack) + points.values.shape[1] * machine.tiny)[:, None]

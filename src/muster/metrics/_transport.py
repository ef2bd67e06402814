"""Exact optimal transport between two small samples of feature vectors, and the class table of a coupling.

Axis names: ``source_samples`` and ``samples`` are rows of the source's and the target's features, ``dimensions`` the
entries of a feature vector.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from scipy import sparse
from torch import Tensor

from muster.arrays import _VOID, NumpyArray, as_integers
from muster.metrics._features import as_features
from muster.metrics._optimal_flow import cheapest_flow

SourceFeatures: TypeAlias = Float[Tensor, "source_samples dimensions"] | Float[NumpyArray, "source_samples dimensions"]
SourceLabels: TypeAlias = Integer[Tensor, "source_samples"] | Integer[NumpyArray, "source_samples"]

MAX_SAMPLES = 2000
"""Rows a side above which a subsample is transported: an exact coupling takes more than quadratic time."""

MAX_ITERATIONS = 10_000_000
"""Pivots after which the solver is believed to be lost; 2000 rows a side take some hundred thousand."""


@dataclass(frozen=True, eq=False)
class _Side:
    """The rows of one side: which were drawn, and which of them are the same point.

    Attributes:
        size: How many rows there are.
        drawn: Indices of the rows looked at, ascending.
        points: float64 ``[points, dimensions]``, no two alike, in lexicographic order.
        point_of: The point of each row drawn.
    """

    size: int
    drawn: Int[NumpyArray, " drawn"]
    points: Float[NumpyArray, "points dimensions"]
    point_of: Int[NumpyArray, " drawn"]

    @property
    def counts(self) -> Int[NumpyArray, " points"]:
        """Rows drawn of each point."""
        return np.bincount(self.point_of, minlength=len(self.points))

    def shares(self, name: str, classes: object) -> Float[NumpyArray, "points classes"]:
        """The share of each class among the rows of each point."""
        values = _as_classes(name, classes, self.size)[self.drawn]
        present, contiguous = np.unique(values, return_inverse=True)
        table = np.zeros((len(self.points), len(present)))
        np.add.at(table, (self.point_of, contiguous), 1.0)
        return table / self.counts[:, None]


@dataclass(frozen=True, eq=False)
class Coupling:
    """An optimal coupling of a source sample and a target sample.

    Equal rows are one point with more mass, and the points are sorted: the order of the rows does not matter, and where
    equal rows differ in class, their classes are coupled independently of each other.

    Attributes:
        cost: Sum of mass x squared Euclidean distance.
        source: The source's side.
        target: The target's side.
        plan: ``[source points, target points]``, sparse; sums to 1.
    """

    cost: float
    source: _Side
    target: _Side
    plan: Any

    def conditional_entropy(self, source_classes: object, classes: object, names: tuple[str, str]) -> float:
        """Entropy of the target's classes given the source's, under the coupling; natural log.

        Args:
            source_classes: Integers, one for each row of the source's features that were coupled.
            classes: Integers, one for each row of the target's.
            names: What the two arguments are called, for messages.

        Returns:
            0..log(number of target classes).

        Raises:
            ValueError: If one of the two is not an integer array of the right length, holds a negative number or void
                (255).
        """
        source = self.source.shares(names[0], source_classes)
        target = self.target.shares(names[1], classes)
        joint = source.T @ (self.plan @ target)
        given = np.broadcast_to(joint.sum(axis=1, keepdims=True), joint.shape)
        some = joint > 0
        return float(-(joint[some] * np.log(joint[some] / given[some])).sum()) + 0.0  # no minus zero


def couple(
    source_features: object,
    features: object,
    max_samples: int = MAX_SAMPLES,
    seed: int = 0,
    max_iterations: int = MAX_ITERATIONS,
) -> Coupling:
    """Transport a sample of source features to a sample of target features, every row of a side weighing the same.

    Args:
        source_features: ``[source_samples, dimensions]``.
        features: ``[samples, dimensions]``.
        max_samples: Rows a side; of more, so many are drawn without replacement. Which rows depends on the seed, the
            number of rows of that side and ``max_samples`` alone, so all members are measured on the same target rows.
        seed: The seed of that draw.
        max_iterations: When the solver gives up.

    Returns:
        The coupling. Its cost is unique; where several couplings reach it, which one it is depends on the points alone.

    Raises:
        ValueError: If the features are not finite floating-point arrays of one width, or ``max_samples`` is below 1.
        ValueError: If the solver has not converged, or its coupling is not proven optimal.
        ValueError: If features lie so far apart that float64 cannot hold the cost or tell which coupling is optimal.
    """
    if max_samples < 1:
        raise ValueError(f"Expected `max_samples` to be at least 1, but got {max_samples}.")
    first = as_features("source_features", source_features)
    second = as_features("features", features)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            "Expected `source_features` and `features` to have the same number of dimensions, "
            f"but got {first.shape[1]} and {second.shape[1]}."
        )
    source, target = (_side(values, max_samples, (seed, index)) for index, values in enumerate((first, second)))
    common = math.lcm(len(source.drawn), len(target.drawn))
    source_masses, masses = (side.counts * float(common // len(side.drawn)) for side in (source, target))
    flow = sparse.coo_array(cheapest_flow(source.points, target.points, source_masses, masses, max_iterations))
    difference = source.points[flow.coords[0]] - target.points[flow.coords[1]]
    with np.errstate(over="ignore"):
        cost = float(np.einsum("pd,pd->p", difference, difference) @ (flow.data / common))
    if not math.isfinite(cost) or (cost < sys.float_info.min and difference.any()):
        wrong = "more than 1e308. Divide" if cost > 1.0 else "less than 1e-307. Multiply"
        raise ValueError(
            "Expected features whose squared distances float64 can hold, but the transport costs "
            f"{wrong} the features by a constant."
        )
    return Coupling(cost, source, target, flow.tocsr() / common)


def _side(features: Tensor, max_samples: int, stream: tuple[int, int]) -> _Side:
    size = len(features)
    drawn = np.arange(size)
    if size > max_samples:
        generator = np.random.default_rng((stream[0] % 2**64, stream[1]))
        drawn = np.sort(generator.choice(size, max_samples, replace=False))
    rows = features[torch.from_numpy(drawn).to(features.device)].double().cpu().numpy()
    points, point_of = np.unique(rows, axis=0, return_inverse=True)
    return _Side(size, drawn, points, point_of.reshape(-1))


def _as_classes(name: str, values: object, count: int) -> Int[NumpyArray, " samples"]:
    tensor = as_integers(name, values)
    if tensor.shape != (count,):
        raise ValueError(f"Expected `{name}` to have shape [{count}], but got {list(tensor.shape)}.")
    classes = tensor.long().cpu().numpy()
    if (classes == _VOID).any():
        raise ValueError(f"Expected `{name}` without void, but got {_VOID}. Drop void pixels.")
    if classes.min() < 0:
        raise ValueError(f"Expected `{name}` to be at least 0, but got {classes.min()}.")
    return classes

"""What can be wrapped around any metric: fewer dimensions before it, the depth of the network after it; and sums."""

from __future__ import annotations

from typing import overload

import numpy as np
from jaxtyping import Float
from torch import Tensor

from muster.arrays import Array, Column, NumpyArray, to_column
from muster.metrics._features import Features, as_features
from muster.metrics._pca import principal_components
from muster.metrics.ties import all_tie


@overload
def reduce_dimensions(
    features: Float[Tensor, "samples dimensions"], dimensions: int
) -> Float[Tensor, "samples components"]: ...
@overload
def reduce_dimensions(
    features: Float[NumpyArray, "samples dimensions"], dimensions: int
) -> Float[NumpyArray, "samples components"]: ...
def reduce_dimensions(features: Features, dimensions: int) -> Array:
    """Project features on their principal components, so that networks of different width compare ("f = 32").

    Features are centred and not scaled; a metric that standardises does so afterwards.

    Args:
        features: ``[samples, dimensions]``, finite.
        dimensions: How many components to keep, at least 1.

    Returns:
        float64 ``[samples, components]``, uncorrelated, in descending order of variance; of the kind that ``features``
        is (tensor on the same device, or NumPy array). Fewer than asked for where fewer carry variance (at most
        samples - 1 do); constant features give one column of zeros. Exact, so there is no seed; the sign of a component
        makes the largest entry of its direction positive. What several directions of equal variance span is unique,
        which of them are kept is not.

    Raises:
        ValueError: If ``features`` is not a finite floating-point array with two axes, or is empty, or ``dimensions``
            is below 1.

    Source:
        Bolya et al., "Scalable Diverse Model Selection for Accessible Transfer Learning", NeurIPS 2021, section 4 and
        figure 2. The authors' code uses a randomised solver with one power iteration.

    Example:
        >>> reduce_dimensions(np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [2.0, 1.0]]), 1).tolist()
        [[-1.0], [1.0], [-1.0], [1.0]]
    """
    reduced = principal_components(as_features("features", features), dimensions=dimensions)
    if reduced.shape[1] == 0:
        reduced = reduced.new_zeros(len(reduced), 1)
    return reduced if isinstance(features, Tensor) else reduced.numpy()


DEFAULT_L_MAX = 50.0
"""Layers that count as depth 1 unless told otherwise, as in Bolya et al."""


def depth_correction(
    scores: Column, depths: Column, l_max: float | int = DEFAULT_L_MAX
) -> Float[NumpyArray, " members"]:
    """Add how deep a network is to what a metric says of it ("+l"): deep ones change more in fine-tuning.

    Scores are standardised over the members (mean 0, standard deviation 1, over n - 1), and depth / l_max is added.

    Args:
        scores: A metric, one number per member, larger is better; negate a cost first.
        depths: Layers of each member, positive.
        l_max: Layers that add 1; positive. Deeper networks than that add more.

    Returns:
        float64 ``[members]``; larger is better. Scores that are all alike (also up to round-off, and so a single one)
        contribute 0: what remains is the depth.

    Raises:
        ValueError: If the two are not lists of one length of finite numbers, or a depth or ``l_max`` is not positive
            and finite.

    Source:
        Bolya et al., "Scalable Diverse Model Selection for Accessible Transfer Learning", NeurIPS 2021, eq. 6, with
        l_max = 50 "for our experiments". There the mean and the deviation are over all pairs of source and target; here
        only one target is known, so they are over its members. Over n - 1, as in the authors' code.

    Example:
        >>> depth_correction([0.2, 0.4], [18, 50]).round(4).tolist()
        [-0.3471, 1.7071]
    """
    layers = to_column("depths", depths)
    standardised = _standardised("scores", scores, 1)
    if len(layers) != len(standardised):
        raise ValueError(
            f"Expected `scores` and `depths` to have one entry per member, but got {len(standardised)} and "
            f"{len(layers)}."
        )
    if not (layers > 0).all():
        raise ValueError(f"Expected `depths` to be positive, but got {layers.min():g}.")
    if not 0 < l_max < np.inf:
        raise ValueError(f"Expected `l_max` to be positive and finite, but got {l_max:g}.")
    return standardised + layers / l_max


def standardised_sum(*columns: Column) -> Float[NumpyArray, " entries"]:
    """Add numbers that have no common unit: each column is standardised over its entries first.

    Args:
        columns: At least one; each has one number per member or candidate.

    Returns:
        float64 ``[entries]``, the sum of (column - mean) / standard deviation (over n). A column that is constant (up
        to round-off) contributes 0. In the direction of its columns, which must be one: all scores or all costs.

    Raises:
        ValueError: If there is no column, one is not a list of finite numbers, or they differ in length.

    Example:
        >>> standardised_sum([1.0, 3.0], [10.0, 30.0], [7.0, 7.0]).tolist()
        [-2.0, 2.0]
    """
    if not columns:
        raise ValueError("Expected `columns` to hold at least one column, but got none.")
    standardised = [_standardised(f"columns[{index}]", column) for index, column in enumerate(columns)]
    lengths = [len(column) for column in standardised]
    if len(set(lengths)) > 1:
        raise ValueError(f"Expected all of `columns` to have one length, but got {lengths}.")
    total: NumpyArray = np.sum(standardised, axis=0)
    return total


def _standardised(name: str, values: object, lost: int = 0) -> Float[NumpyArray, " entries"]:
    """Mean 0 and standard deviation 1, over n less what is ``lost``; 0 throughout where all entries tie."""
    column = to_column(name, values)
    if all_tie(column):  # standardised, round-off would look like a ranking
        return np.zeros(len(column))
    scaled = np.ldexp(
        column, -int(np.frexp(np.abs(column).max())[1])
    )  # squares of very large or small numbers leave the range
    centred = scaled - scaled.mean()
    standardised: NumpyArray = centred / np.sqrt(np.sum(centred**2) / (len(column) - lost))
    return standardised

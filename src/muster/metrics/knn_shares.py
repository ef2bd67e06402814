"""1-NN of whole images: how much alike an image and its nearest neighbour are annotated."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from muster.arrays import NumpyArray, to_tensor
from muster.metrics._features import Features, as_features
from muster.metrics._linear_algebra import divided, scale_exponent
from muster.metrics.knn_accuracy import EQUALLY_NEAR
from muster.metrics.parc import Annotations

MAX_QUERIES = 2000
"""Images whose neighbour is looked up; of more, a subsample."""

_DISTANCES_AT_ONCE = 2**22
_SUM_SLACK = 1e-3
"""How far from 1 the shares of an image may sum: those in half precision do."""


def knn_shares(features: Features, annotations: Annotations, *, max_queries: int = MAX_QUERIES, seed: int = 0) -> float:
    """Part of an image's pixels that has the same class in its nearest neighbour, leaving out each image in turn.

    The neighbour is the nearest in Euclidean distance between features. With g the shares of the classes, an image i
    and its neighbour j have 1 - |g_i - g_j| / 2 in common, |.| the L1 distance; the result is the mean over images. Of
    one-hot shares that is the accuracy of 1-NN.

    Args:
        features: The member's features of each image, ``[samples, dimensions]``, at least 2, not centred or scaled.
        annotations: Share of each class among an image's pixels, ``[samples, classes]``, at least 0; rows sum to 1.
        max_queries: Images that are compared with their neighbour, found among all; of more, so many are drawn without
            replacement, the same for every member.
        seed: The seed of that draw.

    Returns:
        0..1; larger is better. Where several are equally near (squared distances within 1e-12), the mean over them.

    Raises:
        ValueError: If ``features`` are not a finite floating-point array of at least 2 rows.
        ValueError: If ``annotations`` are no such array of shares with as many rows, or ``max_queries`` is below 1.

    Note:
        O(queries x n x d), in float64 on the CPU.

    Source:
        Bolya et al., "Scalable Diverse Model Selection for Accessible Transfer Learning", NeurIPS 2021, section 6.2,
        which takes the L1 distance itself; half of it, from 1, is an accuracy and orders members alike.

    Example:
        >>> shares = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
        >>> knn_shares(np.array([[0.0], [1.0], [3.0]]), shares)  # each is half like its neighbour
        0.5
    """
    rows = as_features("features", features, least_samples=2)
    shares = _as_shares(annotations, len(rows))
    if max_queries < 1:
        raise ValueError(f"Expected `max_queries` to be at least 1, but got {max_queries}.")
    points = divided(rows, scale_exponent(rows)).double().cpu().numpy()
    queries = np.arange(len(points))
    if len(points) > max_queries:
        queries = np.sort(np.random.default_rng(seed).choice(len(points), max_queries, replace=False))
    at_once = max(_DISTANCES_AT_ONCE // len(points), 1)
    blocks = [queries[start : start + at_once] for start in range(0, len(queries), at_once)]
    return float(sum(_in_common(points, shares, block).sum() for block in blocks) / len(queries))


def _in_common(
    points: Float[NumpyArray, "samples dimensions"], shares: Float[NumpyArray, "samples classes"], queries: NumpyArray
) -> Float[NumpyArray, " queries"]:
    from scipy.spatial.distance import cdist  # slow to import

    distances = cdist(points[queries], points, "sqeuclidean")
    distances[np.arange(len(queries)), queries] = np.inf  # an image is not its own neighbour
    nearest = distances <= distances.min(axis=1, keepdims=True) * (1.0 + EQUALLY_NEAR)
    row, other = np.nonzero(nearest)
    alike = 1.0 - np.abs(shares[queries[row]] - shares[other]).sum(axis=1) / 2
    total: NumpyArray = np.bincount(row, alike, len(queries)) / nearest.sum(axis=1)
    return total


def _as_shares(annotations: object, count: int) -> Float[NumpyArray, "samples classes"]:
    tensor = to_tensor("annotations", annotations)
    shares = (
        as_features("annotations", tensor if tensor.is_floating_point() else tensor.double()).double().cpu().numpy()
    )
    if len(shares) != count:
        raise ValueError(
            f"Expected `features` and `annotations` to have as many rows, but got {count} and {len(shares)}."
        )
    sums = shares.sum(axis=1)
    wrong = (shares.min(axis=1) < 0.0) | (np.abs(sums - 1.0) > _SUM_SLACK)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            "Expected `annotations` to be shares of classes, at least 0 and with sum 1 in every row, but row "
            f"{row} has sum {sums[row]:g} and smallest entry {shares[row].min():g}."
        )
    return np.asarray(shares / sums[:, None])

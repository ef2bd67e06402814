"""Images of several datasets on a plane (M21, figure 3): t-SNE of their features.

Axis names: ``images``, ``dimensions`` of their features.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.spatial.distance import cdist

from muster.arrays import NumpyArray

MAP_IMAGES = 150
"""Of each dataset, as in M21's figure 3a."""

PERPLEXITY = 30.0
_STEPS, _EARLY_STEPS = 500, 125
_EXAGGERATION = 12.0
_MOMENTUM, _EARLY_MOMENTUM = 0.8, 0.5
_LEAST_GAIN = 0.01
_TINY = 1e-12


def image_map(
    features: Mapping[str, Float[NumpyArray, "_ _"]],
    domains: Mapping[str, str],
    images: int = MAP_IMAGES,
    seed: int = 0,
) -> pd.DataFrame:
    """Where the images of each dataset lie on a plane.

    Args:
        features: Of each dataset, ``[images, dimensions]``, of one network.
        domains: Of each dataset.
        images: Of a dataset with more, so many are drawn.
        seed: Of that draw.

    Returns:
        ``dataset``, ``domain``, ``image`` (its row among the features), ``x``, ``y``.

    Raises:
        ValueError: If the features are not finite, or not of one width.
    """
    random = np.random.default_rng(seed)
    rows = {name: np.sort(random.permutation(len(values))[:images]) for name, values in features.items()}
    widths = {values.shape[1] for values in features.values()}
    if len(widths) > 1:
        raise ValueError(f"Expected features of one network for all datasets, but got widths {sorted(widths)}.")
    plane = t_sne(np.concatenate([features[name][chosen] for name, chosen in rows.items()]))
    parts = [pd.DataFrame({"dataset": name, "domain": domains[name], "image": chosen}) for name, chosen in rows.items()]
    return pd.concat(parts, ignore_index=True).assign(x=plane[:, 0], y=plane[:, 1])


def t_sne(
    features: Float[NumpyArray, "images dimensions"],
    perplexity: float | int = PERPLEXITY,
    metric: str = "euclidean",
    steps: int = _STEPS,
) -> Float[NumpyArray, "images 2"]:
    """Place points on a plane so that near ones stay near.

    It starts from the first two principal components and draws nothing at random, so the same features give the same
    map. Exact: time and memory grow with the square of the number of points, which suits a thousand or two.

    Args:
        features: Finite.
        perplexity: About how many neighbours of a point count; at most a third of the other points.
        metric: ``euclidean``; or ``cosine``, which takes no notice of the scale of features.
        steps: Of gradient descent.

    Returns:
        float64, centred.

    Raises:
        ValueError: If there are fewer than 4 points, or a feature is not finite.

    Source:
        van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 2008; the start and the learning rate (points /
        exaggeration, at least 50) after Kobak and Berens, Nature Communications 2019.
    """
    if len(features) < 4 or not np.isfinite(features).all():
        raise ValueError(f"Expected finite features of at least 4 images, but got shape {features.shape}.")
    distances = cdist(features, features, "cosine" if metric == "cosine" else "sqeuclidean")
    wanted = joint_probabilities(np.maximum(distances, 0), min(float(perplexity), (len(features) - 1) / 3))
    points = _principal_plane(features.astype(np.float64))
    rate = max(len(features) / _EXAGGERATION, 50.0)
    speed, gains = np.zeros_like(points), np.ones_like(points)
    for step in range(steps):
        early = step < min(_EARLY_STEPS, steps // 4)
        slope = gradient(points, wanted * (_EXAGGERATION if early else 1.0))
        turned = (slope > 0) != (speed > 0)  # the speed points against the slope while a coordinate goes on its way
        gains = np.maximum(np.where(turned, gains + 0.2, gains * 0.8), _LEAST_GAIN)
        speed = (_EARLY_MOMENTUM if early else _MOMENTUM) * speed - rate * gains * slope
        points = points + speed
        points = points - points.mean(axis=0)
    return points


def gradient(points: Float[NumpyArray, "images 2"], wanted: Float[NumpyArray, "images images"]) -> NumpyArray:
    """The gradient of the divergence between wanted neighbours and those on the plane.

    Args:
        points: Where the images are.
        wanted: How likely each pair is, with a sum of 1; or a multiple of that.

    Returns:
        ``[images, 2]``.
    """
    kernel = 1 / (1 + cdist(points, points, "sqeuclidean"))
    np.fill_diagonal(kernel, 0)
    forces = (wanted - kernel / kernel.sum()) * kernel
    slope: NumpyArray = 4 * (forces.sum(axis=1)[:, None] * points - forces @ points)
    return slope


def joint_probabilities(distances: Float[NumpyArray, "images images"], perplexity: float | int) -> NumpyArray:
    """How likely two images are neighbours: Gaussians, each as wide as gives it the wanted number of neighbours.

    Args:
        distances: Squared, or whatever stands for them.
        perplexity: Two to the power of the entropy of each image's neighbours.

    Returns:
        ``[images, images]``, symmetric, 0 on the diagonal, with a sum of 1.
    """
    count = len(distances)
    others = distances[~np.eye(count, dtype=bool)].reshape(count, count - 1)
    others = others - others.min(axis=1, keepdims=True)  # changes nothing, and keeps exponents in range
    low, high = np.zeros((count, 1)), np.full((count, 1), np.inf)
    sharpness = 1 / np.maximum(others.mean(axis=1, keepdims=True), _TINY)
    for _ in range(60):
        weights = np.exp(-others * sharpness)
        shares = weights / weights.sum(axis=1, keepdims=True)
        entropy = -(shares * np.log(np.maximum(shares, _TINY))).sum(axis=1, keepdims=True)
        too_many = entropy > np.log(perplexity)
        low, high = np.where(too_many, sharpness, low), np.where(too_many, high, sharpness)
        sharpness = np.where(np.isinf(high), sharpness * 2, (low + np.where(np.isinf(high), low, high)) / 2)
    joint = np.zeros((count, count))
    joint[~np.eye(count, dtype=bool)] = shares.ravel()
    both: NumpyArray = (joint + joint.T) / (2 * count)
    return both


def _principal_plane(features: Float[NumpyArray, "images dimensions"]) -> NumpyArray:
    """The first two principal components, small, so that nothing is settled by the start."""
    centred = features - features.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    plane = np.zeros((len(features), 2))
    width = min(2, len(values))
    plane[:, :width] = left[:, :width] * values[:width]
    scale = plane[:, 0].std()
    # Points that coincide would stay together for ever: a lattice keeps them apart.
    apart = np.column_stack([np.arange(len(plane)) % 7 - 3.0, np.arange(len(plane)) % 5 - 2.0])
    start: NumpyArray = plane / (scale if scale > 0 else 1.0) * 1e-4 + 1e-7 * apart
    return start

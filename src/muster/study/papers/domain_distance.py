"""How far a target's images are from a source's, by the features of one network (M21, eq. 1 and table 10).

Axis names: ``targets`` and ``sources`` are images of the two datasets, ``dimensions`` the features of an image: the
spatial mean of the map of a network that was trained on several datasets (M21 3.2).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from muster.arrays import NumpyArray
from muster.errors import unknown_name

ASSIGNMENTS = ("one_to_one", "target_to_source", "source_to_target", "symmetric")
"""Which image is compared with which, in the order of M21's table 10; see :func:`assigned_distance`."""

DISTANCE_IMAGES = 1000
"""Images of each dataset, as in M21 3.2."""

Features: TypeAlias = Float[NumpyArray, "_ _"]
"""``[images, dimensions]``."""


def domain_distance(target: Features, source: Features) -> float:
    """The mean distance of a target image to the source image closest to it.

    It is small where the source *includes* the target, and not symmetric.

    Args:
        target: Features of target images, ``[targets, dimensions]``.
        source: Features of source images, ``[sources, dimensions]``.

    Returns:
        0 and more, smaller is closer; Euclidean.

    Raises:
        ValueError: If the two are not finite arrays of one width with at least one image each.

    Source:
        Mensink et al., "Factors of Influence for Transfer Learning across Diverse Appearance Domains and Task Types",
        TPAMI 2021, eq. 1.

    Example:
        >>> import numpy as np
        >>> domain_distance(np.array([[0.0], [3.0]]), np.array([[1.0], [9.0]]))  # |0 - 1|, |3 - 1|
        1.5
        >>> domain_distance(np.array([[1.0], [9.0]]), np.array([[0.0], [3.0]]))  # |1 - 0|, |9 - 3|
        3.5
    """
    return assigned_distance(target, source, "target_to_source")


def assigned_distance(target: Features, source: Features, assignment: str) -> float:
    """The mean distance between target and source images that belong together.

    Args:
        target: As for :func:`domain_distance`.
        source: As for :func:`domain_distance`.
        assignment: ``one_to_one``: the pairing with the least total, which measures how far the two overlap;
            ``target_to_source``: each target image with its closest source image (eq. 1); ``source_to_target``: each
            source image with its closest target image; ``symmetric``: the mean of the last two.

    Returns:
        0 and more, smaller is closer.

    Raises:
        ValueError: As :func:`domain_distance`, or if there is no such assignment.

    Source:
        M21, section 6, A4. One to one is the Hungarian algorithm there, on equally many images. Where the numbers
        differ, we take the earth mover's distance with equal weights in each dataset, which is the same for equal
        numbers.
    """
    if assignment not in ASSIGNMENTS:
        raise ValueError(unknown_name("assignment", assignment, ASSIGNMENTS))
    _check(target, source)
    distances = cdist(target.astype(np.float64), source.astype(np.float64))
    inclusion, reverse = float(distances.min(axis=1).mean()), float(distances.min(axis=0).mean())
    if assignment == "one_to_one":
        return _one_to_one(distances)
    found = {"target_to_source": inclusion, "source_to_target": reverse, "symmetric": (inclusion + reverse) / 2}
    return found[assignment]


def _check(target: Features, source: Features) -> None:
    for name, features in (("target", target), ("source", source)):
        if features.ndim != 2 or len(features) == 0 or not np.isfinite(features).all():
            raise ValueError(
                f"Expected `{name}` to hold finite features of at least one image, [images, dimensions], but got an "
                f"array of shape {features.shape}{'' if np.isfinite(features).all() else ' with NaN or infinity'}."
            )
    if target.shape[1] != source.shape[1]:
        raise ValueError(
            f"Expected features of one network for both, but `target` has {target.shape[1]} dimensions and `source` "
            f"{source.shape[1]}."
        )


def _one_to_one(distances: NumpyArray) -> float:
    if distances.shape[0] == distances.shape[1]:
        rows, columns = linear_sum_assignment(distances)
        return float(distances[rows, columns].mean())
    import ot

    return float(ot.emd2([], [], distances))  # empty weights are equal ones


def domain_distances(
    features: Mapping[str, Features],
    images: int = DISTANCE_IMAGES,
    seed: int = 0,
    targets: Collection[str] | None = None,
) -> pd.DataFrame:
    """Distances between all pairs of datasets.

    Args:
        features: Of each dataset, of one network.
        images: Of a dataset with more, so many are drawn; the same as target and as source.
        seed: Of that draw.
        targets: Which of the datasets are targets; by default all of them.

    Returns:
        ``target``, ``source``, ``assignment``, ``distance``; a dataset is not compared with itself.

    Raises:
        ValueError: As :func:`assigned_distance`; names the dataset.
    """
    drawn = {name: _drawn(values, images, seed) for name, values in features.items()}
    rows: list[dict[str, Any]] = []
    for target, target_features in drawn.items():
        for source, source_features in drawn.items():
            if target != source and (targets is None or target in targets):
                try:
                    found = {each: assigned_distance(target_features, source_features, each) for each in ASSIGNMENTS}
                except ValueError as error:
                    raise ValueError(f"From target {target!r} to source {source!r}: {error}") from error
                rows += [
                    {"target": target, "source": source, "assignment": each, "distance": distance}
                    for each, distance in found.items()
                ]
    return pd.DataFrame(rows, columns=["target", "source", "assignment", "distance"])


def _drawn(features: Features, images: int, seed: int) -> Features:
    if len(features) <= images:
        return features
    chosen = np.random.default_rng(seed).choice(len(features), images, replace=False)
    return features[np.sort(chosen)]


def distance_matrix(distances: pd.DataFrame, assignment: str = "target_to_source") -> pd.DataFrame:
    """Distances as a matrix (M21, table 9).

    Args:
        distances: See :func:`domain_distances`.
        assignment: Which of them.

    Returns:
        Targets are rows, sources columns, in the order of the frame; NaN where a dataset meets itself.
    """
    part = distances[distances["assignment"] == assignment]
    matrix = part.pivot_table(index="target", columns="source", values="distance")
    names = list(dict.fromkeys([*part["target"], *part["source"]]))
    return matrix.reindex(index=[name for name in names if name in matrix.index], columns=names)

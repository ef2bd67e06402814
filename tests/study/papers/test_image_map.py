"""t-SNE of images: its parts against slow versions, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from muster.study.papers import image_map
from muster.study.papers.image_map import gradient, joint_probabilities, t_sne


def divergence(points: np.ndarray, wanted: np.ndarray) -> float:
    """Kullback and Leibler's, with loops."""
    count = len(points)
    kernel = [[0.0 if i == j else 1 / (1 + sum((points[i] - points[j]) ** 2)) for j in range(count)]
              for i in range(count)]  # fmt: skip
    total = sum(map(sum, kernel))
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    return sum(wanted[i, j] * np.log(wanted[i, j] / (kernel[i][j] / total)) for i, j in pairs)


def test_the_gradient_is_that_of_the_divergence() -> None:
    random = np.random.default_rng(0)
    points, wanted = random.normal(size=(5, 2)), random.uniform(0.1, 1, size=(5, 5))
    np.fill_diagonal(wanted, 0)
    wanted = (wanted + wanted.T) / (wanted + wanted.T).sum()
    slope = gradient(points, wanted)
    for place in np.ndindex(5, 2):
        step = np.zeros((5, 2))
        step[place] = 1e-5
        numeric = (divergence(points + step, wanted) - divergence(points - step, wanted)) / 2e-5
        assert slope[place] == pytest.approx(numeric, abs=1e-7)


def test_each_image_has_the_wanted_number_of_neighbours() -> None:
    random = np.random.default_rng(1)
    features = random.normal(size=(40, 3)) * random.uniform(0.1, 10, size=(40, 1))
    distances = cdist(features, features, "sqeuclidean")
    joint = joint_probabilities(distances, 6)
    assert joint.sum() == pytest.approx(1)
    np.testing.assert_allclose(joint, joint.T)
    assert (np.diag(joint) == 0).all()
    # One image's own shares: the Gaussian whose entropy is that of 6 equal neighbours, found by a plain search.
    others = np.delete(distances[0], 0)
    best = min(np.geomspace(1e-4, 1e4, 20_000), key=lambda each: abs(perplexity_of(others, each) - 6))
    shares = np.exp(-others * best) / np.exp(-others * best).sum()
    mine = 2 * 40 * joint[0, 1:] - [share_of(distances, other, 0, 6) for other in range(1, 40)]
    np.testing.assert_allclose(mine, shares, atol=2e-3)


def perplexity_of(others: np.ndarray, sharpness: float) -> float:
    weights = np.exp(-(others - others.min()) * sharpness)
    shares = weights / weights.sum()
    return float(np.exp(-(shares * np.log(np.maximum(shares, 1e-300))).sum()))


def share_of(distances: np.ndarray, image: int, neighbour: int, perplexity: float) -> float:
    others = np.delete(distances[image], image)
    low, high = 1e-6, 1e6
    for _ in range(80):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if perplexity_of(others, middle) > perplexity else (low, middle)
    weights = np.exp(-(np.delete(distances[image], image) - others.min()) * middle)
    return float(np.exp(-(distances[image, neighbour] - others.min()) * middle) / weights.sum())


def test_clusters_stay_together_and_the_map_is_the_same_every_time() -> None:
    random = np.random.default_rng(2)
    centres = random.normal(size=(3, 10)) * 10
    features = {name: centre + random.normal(size=(25, 10)) for name, centre in zip("abc", centres, strict=True)}
    table = image_map(features, {"a": "d", "b": "d", "c": "e"}, images=20)
    assert table.groupby("dataset").size().tolist() == [20, 20, 20]
    plane = table[["x", "y"]].to_numpy()
    lengths = cdist(plane, plane)
    np.fill_diagonal(lengths, np.inf)
    nearest = table["dataset"].to_numpy()[lengths.argmin(axis=1)]
    assert (nearest == table["dataset"].to_numpy()).all()
    assert image_map(features, {"a": "d", "b": "d", "c": "e"}, images=20).equals(table)


def test_equal_images_are_no_obstacle_and_too_few_are_refused() -> None:
    assert np.isfinite(t_sne(np.ones((9, 3)), steps=20)).all()
    assert np.isfinite(t_sne(np.eye(6), metric="cosine", steps=20)).all()
    with pytest.raises(ValueError, match="at least 4"):
        t_sne(np.eye(3))
    with pytest.raises(ValueError, match="widths"):
        image_map({"a": np.eye(4), "b": np.eye(5)}, {"a": "", "b": ""})

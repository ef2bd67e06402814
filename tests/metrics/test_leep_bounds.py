"""LEEP between its bounds, by their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from muster.metrics import leep, nce
from muster.metrics.leep_bounds import leep_bounds


def made_up(seed: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, 40)
    scores = 1.5 * random.normal(size=(3, 5))[labels] + random.normal(size=(40, 5))
    probs = np.exp(scores)
    return probs / probs.sum(axis=1, keepdims=True), labels


def slow(probs: np.ndarray, labels: np.ndarray) -> tuple[float, float]:  # type: ignore[type-arg]
    """The lower bound and LEEP, one sample after the other."""
    classes, sources = sorted(set(labels.tolist())), range(probs.shape[1])
    joint = {(y, z): sum(p[z] for p, label in zip(probs, labels, strict=True) if label == y)
             for y in classes for z in sources}  # fmt: skip
    of_source = {z: sum(joint[y, z] for y in classes) for z in sources}
    lower = whole = 0.0
    for p, y in zip(probs, labels, strict=True):
        best = max(sources, key=lambda z: (p[z], -z))
        lower += np.log(joint[y, best] / of_source[best]) + np.log(p[best])
        whole += np.log(sum(joint[y, z] / of_source[z] * p[z] for z in sources))
    return lower / len(labels), whole / len(labels)


@pytest.mark.parametrize("seed", range(5))
def test_bounds_are_those_of_the_lemmas(seed: int) -> None:
    probs, labels = made_up(seed)
    found = leep_bounds(probs, labels)
    assert found[:2] == pytest.approx(slow(probs, labels))
    assert found.leep == pytest.approx(leep(probs, labels))
    assert found.lower < found.leep < found.upper < 0
    assert leep_bounds(probs, labels, steps=0).upper == pytest.approx(found.leep)
    longer = leep_bounds(probs, labels, steps=5000).upper
    assert found.upper <= longer + 1e-12
    assert found.upper == pytest.approx(longer, abs=2e-3)
    # No table near the best one is better: the likelihood is concave in the table.
    again = leep_bounds(torch.from_numpy(probs), torch.from_numpy(labels) + 7)
    assert again == pytest.approx(found)


def test_a_source_that_says_the_class_has_bounds_of_zero() -> None:
    labels = np.array([0, 1, 1, 0])
    probs = np.eye(2)[labels]
    assert leep_bounds(probs, labels) == pytest.approx((0, 0, 0), abs=1e-12)
    assert nce(probs, labels) == pytest.approx(0, abs=1e-12)

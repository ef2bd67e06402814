"""`nce` against a slow version, and worked by hand."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics.nce import nce

Numbers = np.ndarray[Any, Any]


def slow_nce(probs: Numbers, labels: Numbers) -> float:
    """Sum over source classes of P(z) times the entropy of the labels of the pixels with that class."""
    pixels = len(probs)
    predicted = [max(range(probs.shape[1]), key=lambda z: (probs[i, z], -z)) for i in range(pixels)]
    total = 0.0
    for z in set(predicted):
        group = [int(labels[i]) for i in range(pixels) if predicted[i] == z]
        shares = [group.count(y) / len(group) for y in set(group)]
        total += len(group) / pixels * math.fsum(share * math.log(share) for share in shares)
    return total


def entropy(labels: Numbers) -> float:
    shares = np.bincount(labels)[np.bincount(labels) > 0] / len(labels)
    return float(-(shares * np.log(shares)).sum())


def test_agrees_with_slow_version(problem: Any) -> None:
    expected = slow_nce(problem.probs, problem.labels)
    assert expected < -0.1
    for dtype in (np.float64, np.float32):
        probs = problem.probs.astype(dtype)
        assert nce(probs, problem.labels) == pytest.approx(expected, rel=1e-12)
        assert nce(torch.from_numpy(probs), torch.from_numpy(problem.labels)) == pytest.approx(expected, rel=1e-12)


def test_worked_by_hand() -> None:
    # Z = 0 for the first three pixels, of classes 0, 0, 1; Z = 1 for the last, of class 1.
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    expected = 3 / 4 * (2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert nce(probs, np.array([0, 0, 1, 1])) == pytest.approx(expected, abs=1e-15)


def test_perfect_and_useless_source() -> None:
    labels = np.array([0, 0, 0, 1, 2, 2])
    assert nce(np.eye(3)[[2, 2, 2, 0, 1, 1]], labels) == 0.0
    assert nce(np.full((6, 4), 0.25), labels) == pytest.approx(-entropy(labels), abs=1e-15)
    assert nce(np.eye(6), labels) == 0.0  # every pixel has a source class of its own


def test_exact_tie_goes_to_the_lowest_source_class() -> None:
    # With the highest class on ties, Z would be 1 throughout and tell nothing.
    probs = np.array([[0.5, 0.5], [0.5, 0.5], [0.2, 0.8], [0.2, 0.8]])
    assert nce(probs, np.array([0, 0, 1, 1])) == 0.0


def test_only_the_largest_entry_matters(problem: Any) -> None:
    sharpened = np.eye(5)[problem.probs.argmax(axis=1)]
    assert nce(sharpened, problem.labels) == nce(problem.probs, problem.labels)


def test_order_and_names_do_not_matter(problem: Any) -> None:
    plain = nce(problem.probs, problem.labels)
    order = np.random.default_rng(3).permutation(200)
    assert nce(problem.probs[order], problem.labels[order]) == pytest.approx(plain, rel=1e-13)
    assert nce(problem.probs[:, [4, 2, 0, 1, 3]], problem.labels) == pytest.approx(plain, rel=1e-13)
    renamed = np.array([11, 3, 70, 8, 0, 1])[problem.labels]
    assert nce(problem.probs, renamed) == pytest.approx(plain, rel=1e-13)


def test_source_classes_without_pixels_add_nothing(problem: Any) -> None:
    wider = np.hstack([problem.probs, np.zeros((200, 3))])
    assert nce(wider, problem.labels) == nce(problem.probs, problem.labels)


def test_one_sample_per_class_and_one_class() -> None:
    assert nce(np.full((4, 2), 0.5), np.arange(4)) == pytest.approx(-math.log(4), abs=1e-15)
    assert nce(np.full((4, 2), 0.5), np.full(4, 7)) == 0.0
    assert nce(np.ones((1, 1)), np.array([0])) == 0.0


@pytest.mark.parametrize(
    ("probs", "labels", "message"),
    [
        (np.ones((0, 2)), np.zeros(0, dtype=int), "at least one pixel"),
        (np.full((2, 2), 1.5), np.array([0, 1]), "probabilities"),
        (np.ones((2, 1)), np.array([0, 255]), "without void"),
        (np.ones((2, 1)), np.array([0, 1, 1]), "shape"),
        (np.ones((2, 1)), np.array([0.0, 1.0]), "integers"),
    ],
)
def test_bad_input(probs: Numbers, labels: Numbers, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(nce)(probs, labels)

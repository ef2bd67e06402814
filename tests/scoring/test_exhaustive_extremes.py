"""Predicted classes of all candidates on predictions that are hard to get exactly right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from muster.scoring.score import score_ensembles

Numbers = np.ndarray[Any, Any]
Maker = Callable[[np.random.Generator, tuple[int, int, int], Numbers], Numbers]


def softmax(logits: Numbers) -> Numbers:
    powers = np.exp(logits - logits.max(axis=2, keepdims=True))
    return np.asarray(powers / powers.sum(axis=2, keepdims=True))


def flat(generator: np.random.Generator, shape: tuple[int, int, int], _: Numbers) -> Numbers:
    """No class stands out."""
    return softmax(0.01 * generator.normal(size=shape))


def confident(generator: np.random.Generator, shape: tuple[int, int, int], labels: Numbers) -> Numbers:
    """Members agree on nearly all of the probability."""
    return softmax(generator.normal(size=shape) + 20.0 * np.eye(shape[2])[labels])


def quarrelling(generator: np.random.Generator, shape: tuple[int, int, int], _: Numbers) -> Numbers:
    """Each member is certain of a class of its own: three-way ties of ones."""
    return np.eye(shape[2])[generator.integers(0, shape[2], shape[:2])]


def uniform(_: np.random.Generator, shape: tuple[int, int, int], __: Numbers) -> Numbers:
    """All classes tie everywhere."""
    return np.full(shape, 1 / shape[2])


def nearly_tied(generator: np.random.Generator, shape: tuple[int, int, int], _: Numbers) -> Numbers:
    """Neighbouring floats, so that the order of adding decides."""
    return (1 / shape[2]) * (1 + 2.0**-23 * generator.integers(-2, 3, shape))


def rounded_away(generator: np.random.Generator, shape: tuple[int, int, int], _: Numbers) -> Numbers:
    """Differences that a sum in float32 loses or keeps, depending on where it starts."""
    return np.asarray(generator.choice([0.5, 2.0**-25, 2.0**-26, 0.5 - 2.0**-25, 0.0], shape))


def iou_of_sums(predictions: Numbers, labels: Numbers, members: list[int]) -> float:
    """By the definition: sums in the given type and in ascending order, the lowest class of those that tie."""
    total = predictions[members[0]].copy()
    for member in members[1:]:
        total += predictions[member]
    predicted = total.argmax(axis=1)
    present = np.unique(labels)
    hits = np.array([np.sum((labels == k) & (predicted == k)) for k in present])
    unions = np.array([np.sum((labels == k) | (predicted == k)) for k in present])
    return float(np.mean(hits / unions))


@pytest.mark.parametrize("make", [flat, confident, quarrelling, uniform, nearly_tied, rounded_away])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [2, 23, 130])
def test_predicted_classes_are_those_of_the_definition(make: Maker, dtype: Any, classes: int) -> None:
    generator = np.random.default_rng(classes)
    labels = generator.integers(0, classes, 300)
    predictions = make(generator, (18, 300, classes), labels).astype(dtype)
    ranking = score_ensembles(predictions, labels, size=3, metrics=["iou_eep"])
    for row in generator.permutation(len(ranking))[:50]:
        expected = iou_of_sums(predictions, labels, ranking.members[row].tolist())
        assert ranking.scores["iou_eep"][row] == pytest.approx(expected, rel=1e-14), ranking.members[row]


@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_order_of_adding_is_that_of_the_members_at_any_size(size: int) -> None:
    generator = np.random.default_rng(size)
    labels = generator.integers(0, 5, 400)
    predictions = rounded_away(generator, (8, 400, 5), labels).astype(np.float32)
    ranking = score_ensembles(predictions, labels, size=size, metrics=["iou_eep"])
    for row, members in enumerate(ranking.members.tolist()):
        assert ranking.scores["iou_eep"][row] == pytest.approx(iou_of_sums(predictions, labels, members), rel=1e-14)

"""`logistic_accuracy` against Newton's method, and worked by hand."""

from __future__ import annotations

import inspect
from collections import Counter
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics.logistic_accuracy import _fit, _halves, logistic_accuracy

Numbers = np.ndarray[Any, Any]


def newton(rows: Numbers, classes: Numbers) -> Numbers:
    """Weights by Newton's method with the whole Hessian, sample by sample; the last row are intercepts."""
    inputs = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    columns, count = inputs.shape[1], classes.max() + 1
    penalty = np.kron(np.diag([1.0] * (columns - 1) + [0.0]), np.eye(count))
    weights = np.zeros((columns, count))
    for _ in range(50):
        gradient, hessian = penalty @ weights.ravel(), penalty.copy()
        for row, own in zip(inputs, classes, strict=True):
            scores = np.exp(row @ weights - (row @ weights).max())
            chances = scores / scores.sum()
            gradient += np.kron(row, chances - np.eye(count)[own])
            hessian += np.kron(np.outer(row, row), np.diag(chances) - np.outer(chances, chances))
        step = np.linalg.lstsq(hessian, gradient, rcond=1e-12)[0]  # a common intercept is free
        weights -= step.reshape(weights.shape)
        if np.abs(step).max() < 1e-13:
            break
    return weights


def dealt(labels: Numbers, seed: int, most: int) -> tuple[list[int], list[int]]:
    """Halves by dealing cards: class after class as they come up in the draw, to either half in turn."""
    draw = [int(index) for index in np.random.default_rng(seed).permutation(len(labels))][:most]
    piles: dict[int, list[int]] = {}
    for index in draw:
        piles.setdefault(int(labels[index]), []).append(index)
    cards = [index for pile in piles.values() for index in pile]
    return cards[0::2], cards[1::2]


def slow_accuracy(features: Numbers, labels: Numbers, seed: int = 0, most: int = 20_000) -> float:
    fitting, reading = dealt(labels, seed, most)
    mean, deviation = features[fitting].mean(axis=0), features[fitting].std(axis=0)
    varies = deviation > 0
    fit, read = ((features[half] - mean)[:, varies] / deviation[varies] for half in (fitting, reading))
    present = sorted(set(labels[fitting].tolist()))
    weights = newton(fit, np.array([present.index(label) for label in labels[fitting]]))
    scores = np.concatenate([read, np.ones((len(read), 1))], axis=1) @ weights
    return float(
        np.mean([present[best] == label for best, label in zip(scores.argmax(1), labels[reading], strict=True)])
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("samples", "dimensions", "classes"), [(61, 3, 4), (24, 30, 3), (40, 2, 2), (9, 3, 5)])
def test_agrees_with_newton(samples: int, dimensions: int, classes: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, samples) * 3
    rows = (generator.standard_normal((samples, dimensions)) * 5.0 + labels[:, None]).astype(np.float32)
    expected = slow_accuracy(rows.astype(float), labels, seed)
    for kind in (rows, rows.astype(float), torch.from_numpy(rows)):
        assert logistic_accuracy(kind, labels, seed) == pytest.approx(expected, abs=1e-12)
    assert 0.0 < expected < 1.0 or samples < 10


@pytest.mark.parametrize(("samples", "dimensions", "classes"), [(60, 3, 4), (20, 30, 3), (50, 4, 2)])
def test_weights_agree_with_newton(samples: int, dimensions: int, classes: int) -> None:
    generator = np.random.default_rng(samples)
    rows, labels = generator.standard_normal((samples, dimensions)), np.arange(samples) % classes
    ours, theirs = _fit(rows, labels), newton(rows, labels)
    assert ours - ours.mean(axis=1, keepdims=True) == pytest.approx(
        theirs - theirs.mean(axis=1, keepdims=True), abs=1e-5
    )


def test_halves_hold_half_of_each_class() -> None:
    labels = np.random.default_rng(1).choice(6, 101, p=[0.5, 0.2, 0.1, 0.1, 0.05, 0.05])
    drawn = np.random.default_rng(2).permutation(101)
    fitting, reading = _halves(drawn, labels[drawn])
    assert sorted([*fitting, *reading]) == list(range(101))
    assert len(fitting) == 51
    counts = [Counter(labels[half].tolist()) for half in (fitting, reading)]
    assert all(abs(counts[0][label] - counts[1][label]) <= 1 for label in range(6))


def test_worked_by_hand() -> None:
    # One sample of each class: either half holds one, and the fit knows no other class.
    assert logistic_accuracy(np.array([[0.0], [1.0]]), np.array([0, 1])) == 0.0
    assert logistic_accuracy(np.array([[0.0], [1.0]]), np.array([6, 6])) == 1.0
    # Three of a class, one of another: the lone one is read and missed, or fitted; the other two or one are found.
    found = {
        logistic_accuracy(np.array([[0.0], [0.1], [0.2], [9.0]]), np.array([0, 0, 0, 3]), seed) for seed in range(20)
    }
    assert found <= {0.5, 1.0}


def test_perfect_and_useless_source() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(300) % 3
    assert logistic_accuracy(np.eye(3)[labels] + 0.05 * generator.standard_normal((300, 3)), labels) == 1.0
    assert abs(logistic_accuracy(generator.standard_normal((300, 3)), labels) - 1 / 3) < 0.12


def test_names_scale_and_columns_do_not_matter() -> None:
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 4, 90)
    rows = generator.standard_normal((90, 5)) + labels[:, None]
    plain = logistic_accuracy(rows, labels)
    assert logistic_accuracy(rows, np.array([9, 2, 30, 0])[labels]) == plain
    assert logistic_accuracy(rows[:, ::-1] * [1e6, -1.0, 2.0, 1e-7, 4.0] + 3.0, labels) == plain
    assert logistic_accuracy(np.concatenate([rows, np.full((90, 3), 0.1)], axis=1), labels) == plain


def test_constant_features_give_the_most_frequent_class() -> None:
    labels = np.array([0] * 10 + [5] * 20)
    assert logistic_accuracy(np.full((30, 2), 0.1), labels) == pytest.approx(2 / 3)
    # Four classes of equal number: any of them is as good.
    assert logistic_accuracy(np.full((40, 2), 0.1), np.arange(40) % 4) == pytest.approx(1 / 4)


def test_equal_columns_and_fewer_samples_than_columns() -> None:
    generator = np.random.default_rng(2)
    labels = np.arange(30) % 3
    rows = generator.standard_normal((30, 2)) + labels[:, None]
    wide = np.tile(rows, (1, 40))
    assert logistic_accuracy(wide, labels) == pytest.approx(slow_accuracy(wide, labels), abs=1e-12)


def test_seed_and_subsample() -> None:
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 3, 200)
    rows = generator.standard_normal((200, 3)) + 0.5 * labels[:, None]
    assert len({logistic_accuracy(rows, labels, seed) for seed in range(5)}) > 1
    assert logistic_accuracy(rows, labels, 4) == logistic_accuracy(rows, labels, 4)
    assert logistic_accuracy(rows, labels, 4, max_samples=50) == pytest.approx(slow_accuracy(rows, labels, 4, 50))


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (np.ones((1, 3)), np.array([0]), "at least 2 samples"),
        (np.ones((0, 3)), np.zeros(0, dtype=np.int64), "at least 2 samples"),
        (np.eye(3), np.array([0, 1]), "shape \\[3\\]"),
        (np.eye(3), np.array([0, 1, 255]), "without void"),
        (np.eye(3), np.array([0.0, 1.0, 2.0]), "to be integers"),
        (np.full((3, 2), np.nan), np.array([0, 1, 2]), "to be finite"),
    ],
)
def test_what_cannot_be_computed(rows: Numbers, labels: Numbers, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(logistic_accuracy)(rows, labels)


def test_a_fit_that_does_not_converge_is_not_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("muster.metrics.logistic_accuracy"), "_ITERATIONS", 1)
    generator = np.random.default_rng(4)
    with pytest.raises(ValueError, match="to converge, but after 1 iterations"):
        logistic_accuracy(generator.standard_normal((60, 5)), np.arange(60) % 3)
    with pytest.raises(ValueError, match="`max_samples` to be at least 2"):
        logistic_accuracy(np.eye(3), np.array([0, 1, 2]), max_samples=1)

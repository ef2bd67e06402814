"""`knn_accuracy` against a slow version in whole numbers, and worked by hand."""

from __future__ import annotations

import inspect
from collections import Counter
from fractions import Fraction
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics.knn_accuracy import knn_accuracy

Numbers = np.ndarray[Any, Any]


def slow_credits(features: Numbers, labels: Numbers, k: int, exact: bool = True) -> list[Fraction]:
    """What each sample counts; distances of whole numbers exactly, of others in float64."""
    rows = [[Fraction(float(value)) if exact else float(value) for value in row] for row in features]
    result = []
    for index, row in enumerate(rows):
        others = [other for other in range(len(rows)) if other != index]
        distances = {i: sum((a - b) ** 2 for a, b in zip(row, rows[i], strict=True)) for i in others}
        farthest = sorted(distances.values())[k - 1]
        votes = Counter(int(labels[other]) for other in others if distances[other] <= farthest)
        winners = [label for label, count in votes.items() if count == max(votes.values())]
        result.append(Fraction(labels[index] in winners, len(winners)))
    return result


def slow_accuracy(features: Numbers, labels: Numbers, k: int, exact: bool = True) -> float:
    return float(sum(slow_credits(features, labels, k, exact)) / len(labels))


@pytest.mark.parametrize("k", [1, 2, 3, 7, 39])
@pytest.mark.parametrize("kind", ["ties", "duplicates", "far apart", "no ties"])
def test_agrees_with_slow_version(kind: str, k: int) -> None:
    generator = np.random.default_rng(k)
    labels = generator.choice([0, 3, 4, 9], 40)
    rows = {
        "ties": generator.integers(0, 3, (40, 3)).astype(float),
        "duplicates": generator.integers(0, 50, (40, 2))[generator.integers(0, 12, 40)].astype(float),
        "far apart": generator.integers(0, 4, (40, 3)) + 2.0**22 * generator.integers(0, 2, (40, 1)),
        "no ties": generator.standard_normal((40, 5)),
    }[kind]
    expected = slow_accuracy(rows, labels, k, exact=kind != "no ties")
    for values in (rows, torch.from_numpy(rows), rows.astype(np.float32)):
        assert knn_accuracy(values, labels, k) == pytest.approx(expected, abs=1e-12)
    assert knn_accuracy(rows, torch.from_numpy(labels), k) == pytest.approx(expected, abs=1e-12)


def test_worked_by_hand() -> None:
    rows, labels = np.array([[0.0], [1.0], [2.0], [5.0]]), np.array([0, 0, 1, 1])
    # 0 hears 1, of its class. 1 hears 0 and 2, equally near: a tie. 2 hears 1 and is missed. 3 hears 2.
    assert knn_accuracy(rows, labels) == (1 + 0.5 + 0 + 1) / 4
    # Two neighbours: 0 hears classes 0, 1; 1 the same; 2 hears 0, 0; 3 hears 1, 0.
    assert knn_accuracy(rows, labels, k=2) == (0.5 + 0.5 + 0 + 0.5) / 4
    # All others: each hears its own class once and the other twice.
    assert knn_accuracy(rows, labels, k=3) == 0.0


def test_equal_samples_of_two_classes() -> None:
    # The three first are the same point: class 0 hears 0 and 1, class 1 hears 0 twice. The last hears all three.
    rows, labels = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, -0.0], [7.0, 7.0]]), np.array([0, 0, 1, 0])
    assert knn_accuracy(rows, labels) == (0.5 + 0.5 + 0 + 1) / 4


def test_perfect_and_useless_source() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(200) % 4
    assert knn_accuracy(np.eye(4)[labels] + 0.01 * generator.standard_normal((200, 4)), labels) == 1.0
    assert abs(knn_accuracy(generator.standard_normal((200, 4)), labels) - 0.25) < 0.12


def test_order_and_position_do_not_matter() -> None:
    generator = np.random.default_rng(1)
    rows, labels = generator.integers(0, 4, (60, 3)).astype(float), generator.integers(0, 5, 60)
    order = generator.permutation(60)
    turn = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
    oblique = np.linalg.qr(generator.standard_normal((3, 3)))[0]
    for k in (1, 4):
        plain = knn_accuracy(rows, labels, k)
        assert knn_accuracy(rows[order], labels[order], k) == pytest.approx(plain, abs=1e-12)
        assert knn_accuracy(rows, np.array([7, 3, 0, 12, 5])[labels], k) == pytest.approx(plain, abs=1e-12)
        assert knn_accuracy(rows @ turn * 1024.0 + 77.0, labels, k) == pytest.approx(plain, abs=1e-12)
        assert knn_accuracy(rows @ oblique, labels, k) == pytest.approx(plain, abs=1e-12)  # ties up to round-off
        assert knn_accuracy(np.repeat(rows, 2, axis=1), labels, k) == pytest.approx(plain, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_very_small_and_large_features(scale: float) -> None:
    generator = np.random.default_rng(2)
    rows, labels = generator.standard_normal((30, 3)), generator.integers(0, 3, 30)
    assert knn_accuracy(rows * scale, labels) == slow_accuracy(rows, labels, 1, exact=False)


def test_constant_features() -> None:
    # Every other sample votes: class 0 hears 2 of its own and 2 of class 1, class 1 hears 3 of class 0 and misses.
    assert knn_accuracy(np.ones((5, 3)), np.array([0, 0, 0, 1, 1])) == pytest.approx((3 * 0.5 + 0) / 5)
    assert knn_accuracy(np.ones((2, 1)), np.array([4, 4])) == 1.0


def test_one_sample_per_class() -> None:
    assert knn_accuracy(np.eye(4), np.array([0, 2, 5, 9])) == 0.0


def test_clusters_that_float32_cannot_see_into() -> None:
    generator = np.random.default_rng(3)
    rows = generator.integers(0, 500, (120, 3)) * 2.0**-40 + generator.choice([-1.0, 1.0], (120, 1))
    assert len(np.unique(rows.astype(np.float32))) == 2
    labels = generator.integers(0, 3, 120)
    assert knn_accuracy(rows, labels) == pytest.approx(slow_accuracy(rows, labels, 1), abs=1e-12)


@pytest.mark.parametrize("k", [1, 4])
def test_blocks_give_the_same(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(4)
    rows = generator.integers(0, 4, (90, 3)) * 2.0**-20 + generator.integers(0, 2, (90, 1))
    labels = generator.integers(0, 3, 90)
    whole = knn_accuracy(rows, labels, k)
    for name, value in (("_NUMBERS_AT_ONCE", 40), ("_POINTS_AT_ONCE", 3), ("ROWS_AT_ONCE", 11)):
        monkeypatch.setattr(import_module("muster.metrics.knn_accuracy"), name, value)
    assert knn_accuracy(rows, labels, k) == pytest.approx(whole, abs=1e-12)
    assert whole == pytest.approx(slow_accuracy(rows, labels, k), abs=1e-12)


def test_reduced_precision_of_products_is_not_used() -> None:
    generator = np.random.default_rng(5)
    rows, labels = generator.standard_normal((150, 40)).astype(np.float32), generator.integers(0, 3, 150)
    plain = knn_accuracy(rows, labels)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert knn_accuracy(rows, labels) == plain == slow_accuracy(rows, labels, 1, exact=False)
    finally:
        torch.set_float32_matmul_precision(before)


def test_subsample_of_queries() -> None:
    generator = np.random.default_rng(6)
    rows, labels = generator.integers(0, 6, (80, 3)).astype(float), generator.integers(0, 3, 80)
    drawn = np.random.default_rng(5).choice(80, 30, replace=False)
    counts = slow_credits(rows, labels, 2)
    expected = float(sum(counts[index] for index in drawn) / 30)
    assert knn_accuracy(rows, labels, 2, max_queries=30, seed=5) == pytest.approx(expected, abs=1e-12)


def test_many_samples() -> None:
    generator = np.random.default_rng(7)
    labels = generator.integers(0, 2, 150_000)
    rows = (generator.standard_normal((150_000, 2)) + 4.0 * labels[:, None]).astype(np.float32)
    assert knn_accuracy(rows, labels, max_queries=50) > 0.9


@pytest.mark.parametrize(
    ("rows", "labels", "k", "message"),
    [
        (np.ones((1, 3)), np.array([0]), 1, "at least 2 samples"),
        (np.ones((0, 3)), np.zeros(0, dtype=np.int64), 1, "at least 2 samples"),
        (np.eye(3), np.array([0, 1, 2]), 3, "`k` between 1 and 2"),
        (np.eye(3), np.array([0, 1, 2]), 0, "`k` between 1 and 2"),
        (np.eye(3), np.array([0, 1]), 1, "shape \\[3\\]"),
        (np.eye(3), np.array([0, 1, 255]), 1, "without void"),
        (np.eye(3), np.array([0, -1, 2]), 1, "between 0"),
        (np.full((3, 2), np.inf), np.array([0, 1, 2]), 1, "to be finite"),
        (np.array([[1.5e308], [-1.5e308], [0.0]]), np.array([0, 1, 2]), 1, "float64 can hold"),
    ],
)
def test_what_cannot_be_computed(rows: Numbers, labels: Numbers, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(knn_accuracy)(rows, labels, k)


def test_bad_number_of_queries() -> None:
    with pytest.raises(ValueError, match="`max_queries` to be at least 1"):
        knn_accuracy(np.eye(3), np.array([0, 1, 2]), max_queries=0)

"""OSBORN's terms against loops, and worked by hand."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics.osborn import (
    cohesion,
    osborn,
    osborn_domain,
    osborn_of_candidates,
    osborn_task,
    pairwise_conditional_entropy,
)
from muster.metrics.otce import otce

Numbers = np.ndarray[Any, Any]


def slow_conditional_entropy(first: list[int], second: list[int]) -> float:
    """H(first | second) = H(first, second) - H(second)."""

    def entropy(values: list[Any]) -> float:
        return -math.fsum(count / len(values) * math.log(count / len(values)) for count in Counter(values).values())

    return entropy(list(zip(first, second, strict=True))) - entropy(second)


def slow_standardised(column: list[float]) -> list[float]:
    mean = math.fsum(column) / len(column)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in column) / len(column))
    return [(value - mean) / deviation for value in column]


@pytest.fixture
def predictions() -> Numbers:
    """Four members; classes 3 and 6 are never predicted, member 2 always says 4."""
    generator = np.random.default_rng(0)
    rows = generator.choice([0, 1, 2, 4, 5], size=(4, 300))
    rows[1] = np.where(generator.random(300) < 0.7, rows[0], rows[1])
    rows[2] = 4
    return rows


def test_entropies_agree_with_slow_version(predictions: Numbers) -> None:
    expected = [[slow_conditional_entropy(a.tolist(), b.tolist()) for b in predictions] for a in predictions]
    entropies = pairwise_conditional_entropy(predictions)
    np.testing.assert_allclose(entropies, expected, rtol=1e-9, atol=1e-13)
    assert (np.diag(entropies) == 0).all()
    assert (entropies[2] == 0).all()  # nothing is open about a constant
    assert entropies[0, 1] != pytest.approx(entropies[1, 0], rel=1e-3)
    assert (pairwise_conditional_entropy(predictions, 9) == entropies).all()
    for dtype in (torch.int16, torch.int32, torch.int64):
        assert (pairwise_conditional_entropy(torch.from_numpy(predictions).to(dtype)) == entropies).all()
    assert cohesion(predictions) == pytest.approx(np.sum(expected), rel=1e-9)


def test_cohesion_by_hand() -> None:
    # Member 0 leaves member 1 open on its class 0 (half of the pixels, a fair coin); member 1 tells member 0.
    assert cohesion(np.array([[0, 0, 1, 1], [0, 2, 1, 1]])) == pytest.approx(math.log(2) / 2, rel=1e-14)
    independent = np.array([[0, 0, 1, 1], [0, 1, 0, 1]])
    assert cohesion(independent) == pytest.approx(2 * math.log(2), rel=1e-14)


def test_cohesion_of_those_who_agree_is_zero(predictions: Numbers) -> None:
    same = np.array([predictions[0], np.array([3, 0, 9, 1, 2, 4])[predictions[0]], predictions[0]])
    assert cohesion(same) == 0.0  # up to names of classes
    assert cohesion(predictions[:1]) == 0.0


def test_cohesion_invariances(predictions: Numbers) -> None:
    plain = cohesion(predictions)
    order = np.random.default_rng(1).permutation(300)
    assert cohesion(predictions[:, order]) == plain
    assert cohesion(predictions[::-1]) == pytest.approx(plain, rel=1e-12)
    assert cohesion(predictions + 3) == pytest.approx(plain, rel=1e-12)
    assert cohesion(np.repeat(predictions, 2, axis=1)) == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize(
    ("rows", "classes", "message"),
    [
        (np.zeros((2, 3)), None, "`predictions` to be integers"),
        (np.zeros(3, dtype=int), None, r"2 axes \(members, pixels\)"),
        (np.zeros((2, 0), dtype=int), None, "none empty"),
        (np.array([[0, -1]]), None, "between 0 and 0, but got -1 to 0"),
        (np.array([[0, 4]]), 4, "between 0 and 3, but got 0 to 4"),
    ],
)
def test_bad_predictions(rows: Any, classes: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(pairwise_conditional_entropy)(rows, classes)


def test_member_terms_are_those_of_otce() -> None:
    generator = np.random.default_rng(0)
    source, target = generator.normal(size=(50, 4)), generator.normal(size=(45, 4)) + 0.5
    source_labels, predicted = generator.integers(0, 3, 50), generator.integers(0, 4, 45)
    domain, task = otce(source, source_labels, target, predicted)
    assert osborn_domain(source, target) == domain
    assert osborn_task(source, source_labels, target, predicted) == task
    few = otce(source, source_labels, target, predicted, max_samples=10, seed=3)
    assert osborn_domain(source, target, max_samples=10, seed=3) == few[0]
    assert osborn_task(source, source_labels, target, predicted, max_samples=10, seed=3) == few[1]
    # A member that always predicts one class has no entropy, whatever the source.
    assert osborn_task(source, source_labels, target, np.full(45, 2)) == 0.0
    with pytest.raises(ValueError, match="`predictions` to be integers"):
        inspect.unwrap(osborn_task)(source, source_labels, target, predicted * 1.0)
    with pytest.raises(ValueError, match=r"`source_labels` to have shape \[50\]"):
        inspect.unwrap(osborn_task)(source, source_labels[:3], target, predicted)


def test_candidates_agree_with_slow_version(predictions: Numbers) -> None:
    generator = np.random.default_rng(2)
    domain, task = generator.random(4).tolist(), generator.random(4).tolist()
    rows = list(combinations(range(4), 3))
    found = osborn_of_candidates(domain, task, pairwise_conditional_entropy(predictions), np.array(rows))
    domains = [sum(domain[i] for i in row) for row in rows]
    tasks = [sum(task[i] for i in row) for row in rows]
    cohesions = [cohesion(predictions[list(row)]) for row in rows]
    np.testing.assert_allclose(found.domain, domains, rtol=1e-12)
    np.testing.assert_allclose(found.task, tasks, rtol=1e-12)
    np.testing.assert_allclose(found.cohesion, cohesions, rtol=1e-12)
    columns = [slow_standardised(column) for column in (domains, tasks, cohesions)]
    expected = [math.fsum(terms) for terms in zip(*columns, strict=True)]
    np.testing.assert_allclose(found.total, expected, rtol=1e-9)
    np.testing.assert_allclose(osborn(domains, tasks, cohesions), expected, rtol=1e-9)


def test_near_agreeing_candidate_wins() -> None:
    entropies = np.array([[0.0, 0.1, 0.9], [0.1, 0.0, 0.9], [0.9, 0.9, 0.0]])
    rows = torch.tensor([[1, 2], [0, 1], [0, 2]])
    terms = osborn_of_candidates([1.0, 1.0, 5.0], [0.2, 0.2, 0.8], torch.from_numpy(entropies), rows)
    assert terms.total.argmin() == 1


def test_constant_terms_contribute_nothing() -> None:
    rows = np.arange(3)[:, None]
    terms = osborn_of_candidates([0.1, 0.1, 0.1], [1.0, 2.0, 3.0], np.zeros((3, 3)), rows)
    np.testing.assert_allclose(terms.total, slow_standardised([1.0, 2.0, 3.0]), rtol=1e-12)
    assert osborn([1.0], [2.0], [3.0]).tolist() == [0.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": [1.0]}, "one length, but got 2 and 1"),
        ({"domain": [1.0, math.nan]}, r"`domain\[1\]` is nan"),
        ({"entropies": np.zeros((2, 3))}, r"shape \[2, 2\], but got shape \[2, 3\]"),
        ({"entropies": np.full((2, 2), np.inf)}, "`entropies` to be finite"),
        ({"candidates": np.array([[0, 2]])}, "between 0 and 1, but got 0 to 2"),
        ({"candidates": np.array([[1, 1]])}, "names a member twice"),
        ({"candidates": np.array([0, 1])}, "integers of 2 axes"),
        ({"candidates": np.zeros((0, 2), dtype=int)}, "none empty"),
    ],
)
def test_bad_candidates(change: dict[str, Any], message: str) -> None:
    arguments = {
        "domain": [1.0, 2.0],
        "task": [1.0, 2.0],
        "entropies": np.zeros((2, 2)),
        "candidates": np.array([[0, 1]]),
    }
    inspect.unwrap(osborn_of_candidates)(**arguments)
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(osborn_of_candidates)(**arguments | change)

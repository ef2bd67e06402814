"""`soft_accuracy_eep` against a slow version, and worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from muster.metrics import accuracy_eep, soft_accuracy_eep


def slow_soft_accuracy(eeps: Any, labels: Any) -> float:
    total = 0.0
    for i, label in enumerate(labels):
        total += sum(float(member[i][label]) for member in eeps) / len(eeps)
    return total / len(labels)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 1e-14)])
def test_agrees_with_slow_version(problem: Any, dtype: Any, tolerance: float) -> None:
    eeps = problem.eeps.astype(dtype)
    expected = slow_soft_accuracy(eeps, problem.labels)
    assert soft_accuracy_eep(eeps, problem.labels) == pytest.approx(expected, abs=tolerance)


def test_worked_by_hand() -> None:
    # The means at the truth are (1/2 + 1) / 2 = 3/4 and (1/4 + 1/8) / 2 = 3/16.
    eeps = np.array([[[0.5, 0.5], [0.75, 0.25]], [[1.0, 0.0], [0.875, 0.125]]])
    assert soft_accuracy_eep(eeps, np.array([0, 1])) == pytest.approx((3 / 4 + 3 / 16) / 2, abs=1e-15)


def test_is_the_mean_of_the_members_own(problem: Any) -> None:
    own = [soft_accuracy_eep([each], problem.labels) for each in problem.eeps]
    assert soft_accuracy_eep(problem.eeps, problem.labels) == pytest.approx(np.mean(own), abs=1e-14)


def test_equals_accuracy_of_predictions_without_doubt() -> None:
    generator = np.random.default_rng(0)
    labels, predicted = generator.integers(0, 4, size=300), generator.integers(0, 4, size=300)
    eeps = np.eye(4)[predicted][None]
    assert soft_accuracy_eep(eeps, labels) == pytest.approx(accuracy_eep(eeps, labels), abs=1e-14)


def test_is_the_accuracy_of_classes_drawn_from_the_probabilities() -> None:
    generator = np.random.default_rng(1)
    labels, eeps = generator.integers(0, 3, 50), generator.dirichlet(np.ones(3), 50)
    drawn = (generator.random((20_000, 50, 1)) > eeps.cumsum(axis=1)).sum(axis=2)
    assert soft_accuracy_eep([eeps], labels) == pytest.approx(float((drawn == labels).mean()), abs=2e-3)

"""`accuracy_eep` against a slow version, and worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from muster.metrics import accuracy_eep, iou_eep


def slow_accuracy(eeps: Any, labels: Any) -> float:
    right = 0
    for i, label in enumerate(labels.tolist()):
        sums = [sum(float(member[i][c]) for member in eeps) for c in range(eeps.shape[2])]
        right += sums.index(max(sums)) == label
    return right / len(labels)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_agrees_with_slow_version(problem: Any, dtype: Any) -> None:
    eeps = problem.eeps.astype(dtype)
    assert accuracy_eep(eeps, problem.labels) == pytest.approx(slow_accuracy(eeps, problem.labels), abs=1e-15)


def test_worked_by_hand() -> None:
    # Sums: (1, 1) is a tie, so 0; (1.25, 0.75) is 0; (0.25, 1.75) is 1. The labels are 0, 1, 1.
    eeps = np.array([[[0.5, 0.5], [0.5, 0.5], [0.25, 0.75]], [[0.5, 0.5], [0.75, 0.25], [0.0, 1.0]]])
    assert accuracy_eep(eeps, np.array([0, 1, 1])) == pytest.approx(2 / 3, abs=1e-15)
    assert accuracy_eep(eeps, np.array([1, 1, 0])) == 0.0  # a tie is never class 1


def test_members_decide_together() -> None:
    # Each member is right about one sample of two, and surer where it is right.
    eeps = np.array([[[0.9, 0.1], [0.6, 0.4]], [[0.4, 0.6], [0.1, 0.9]]])
    labels = np.array([0, 1])
    assert [accuracy_eep(eeps[[member]], labels) for member in (0, 1)] == [0.5, 0.5]
    assert accuracy_eep(eeps, labels) == 1.0


def test_samples_weigh_alike_and_not_classes() -> None:
    # Class 0 has nine samples, all right; class 1 has one, which is wrong, and class 2 has none.
    eeps = np.tile([0.8, 0.1, 0.1], (1, 10, 1))
    labels = np.array([0] * 9 + [1])
    assert accuracy_eep(eeps, labels) == pytest.approx(0.9, abs=1e-15)
    assert iou_eep(eeps, labels) == pytest.approx(0.45, abs=1e-15)

"""`ms_leep` against a slow version, and worked by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from muster.metrics import eep, leep, ms_leep


def slow_ms_leep(eeps: Any, labels: Any) -> float:
    total = 0.0
    for member in eeps:
        for row, label in zip(member, labels, strict=True):
            total += math.log(max(float(row[label]), np.finfo(eeps.dtype).tiny)) / len(labels)
    return total


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_agrees_with_slow_version(problem: Any, dtype: Any, tolerance: float) -> None:
    expected = slow_ms_leep(problem.eeps.astype(dtype), problem.labels)
    assert ms_leep(problem.eeps.astype(dtype), problem.labels) == pytest.approx(expected, abs=tolerance)


def test_worked_by_hand() -> None:
    # Member 0 gives the truth 1/2 and 1/4, member 1 gives 1 and 1/8: (log 1/8 + log 1/8) / 2 = -3 log 2.
    eeps = np.array([[[0.5, 0.5], [0.75, 0.25]], [[1.0, 0.0], [0.875, 0.125]]])
    assert ms_leep(eeps, np.array([0, 1])) == pytest.approx(-3 * math.log(2), abs=1e-14)


def test_is_the_sum_of_leeps(problem: Any) -> None:
    sources = [problem.probs, problem.probs[:, :2], problem.probs**2]
    eeps = np.stack([eep(probs, problem.labels) for probs in sources])
    expected = sum(leep(probs, problem.labels) for probs in sources)
    assert ms_leep(eeps, problem.labels) == pytest.approx(expected, abs=1e-12)


def test_zero_probability_is_clamped_by_type() -> None:
    eeps = np.array([[[0.0, 1.0]]])
    assert ms_leep(eeps, np.array([0])) == pytest.approx(-1022 * math.log(2), abs=1e-9)
    assert ms_leep(eeps.astype(np.float32), np.array([0])) == pytest.approx(-126 * math.log(2), abs=1e-9)

"""`e_leep` against a slow version, and worked by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from muster.metrics import e_leep, ms_leep


def slow_e_leep(eeps: Any, labels: Any) -> float:
    total = 0.0
    for i, label in enumerate(labels):
        mean = sum(float(member[i][label]) for member in eeps) / len(eeps)
        total += math.log(max(mean, np.finfo(eeps.dtype).tiny))
    return total / len(labels)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_agrees_with_slow_version(problem: Any, dtype: Any, tolerance: float) -> None:
    expected = slow_e_leep(problem.eeps, problem.labels)
    assert e_leep(problem.eeps.astype(dtype), problem.labels) == pytest.approx(expected, abs=tolerance)


def test_worked_by_hand() -> None:
    # The means at the truth are (1/2 + 1) / 2 = 3/4 and (1/4 + 1/8) / 2 = 3/16.
    eeps = np.array([[[0.5, 0.5], [0.75, 0.25]], [[1.0, 0.0], [0.875, 0.125]]])
    expected = (math.log(3 / 4) + math.log(3 / 16)) / 2
    assert e_leep(eeps, np.array([0, 1])) == pytest.approx(expected, abs=1e-14)


def test_is_at_least_the_mean_of_leeps(problem: Any) -> None:
    # Jensen: the log of a mean is at least the mean of the logs.
    assert e_leep(problem.eeps, problem.labels) > ms_leep(problem.eeps, problem.labels) / 3


def test_zero_probability_is_clamped_by_type() -> None:
    eeps = np.array([[[0.0, 1.0]], [[0.0, 1.0]]])
    assert e_leep(eeps, np.array([0])) == pytest.approx(-1022 * math.log(2), abs=1e-9)
    assert e_leep(eeps.astype(np.float32), np.array([0])) == pytest.approx(-126 * math.log(2), abs=1e-9)

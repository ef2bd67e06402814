"""`leep` against a slow version, and worked by hand."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics import eep, leep, ms_leep

Numbers = np.ndarray[Any, Any]


def slow_leep(probs: Numbers, labels: Numbers) -> float:
    """Written from the definition, without going through all target classes."""
    pixels, sources = probs.shape
    marginal = [math.fsum(float(probs[i, z]) for i in range(pixels)) for z in range(sources)]
    total = 0.0
    for i in range(pixels):
        likelihood = 0.0
        for z in range(sources):
            joint = math.fsum(float(probs[j, z]) for j in range(pixels) if labels[j] == labels[i])
            if marginal[z] > 0:
                likelihood += joint / marginal[z] * float(probs[i, z])
        total += math.log(likelihood)
    return float(total / pixels)


def test_agrees_with_slow_version(problem: Any) -> None:
    expected = slow_leep(problem.probs, problem.labels)
    assert leep(problem.probs, problem.labels) == pytest.approx(expected, abs=1e-10)
    assert leep(problem.probs.astype(np.float32), problem.labels) == pytest.approx(expected, abs=1e-5)
    single = torch.from_numpy(problem.probs.astype(np.float32))
    assert leep(single, torch.from_numpy(problem.labels)) == pytest.approx(expected, abs=1e-5)


def test_worked_by_hand() -> None:
    # P(y | z) is 0.75 on the diagonal and 0.25 off it (see test_eep), so the true classes get 0.75, 0.5, 0.5, 0.75.
    probs = np.array([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.0, 1.0]])
    expected = (2 * math.log(0.75) + 2 * math.log(0.5)) / 4
    assert leep(probs, np.array([0, 0, 1, 1])) == pytest.approx(expected, abs=1e-14)


def test_perfect_and_useless_source() -> None:
    labels = np.array([0, 0, 0, 1])
    assert leep(np.eye(2)[labels], labels) == 0.0
    # Without information the prediction is the share of each class: 3/4 three times and 1/4 once.
    useless = leep(np.full((4, 2), 0.5), labels)
    assert useless == pytest.approx((3 * math.log(0.75) + math.log(0.25)) / 4, abs=1e-14)


def test_renaming_of_source_classes_does_not_matter(problem: Any) -> None:
    plain = leep(problem.probs, problem.labels)
    assert leep(problem.probs[:, [4, 2, 0, 1, 3]], problem.labels) == pytest.approx(plain, abs=1e-12)
    order = np.random.default_rng(3).permutation(200)
    assert leep(problem.probs[order], problem.labels[order]) == pytest.approx(plain, abs=1e-12)


def test_is_ms_leep_of_one_member(problem: Any) -> None:
    for dtype in (np.float32, np.float64):
        probs = problem.probs.astype(dtype)
        assert leep(probs, problem.labels) == ms_leep([eep(probs, problem.labels)], problem.labels)


@pytest.mark.parametrize(
    ("dtype", "tiny"), [(np.float32, 2.0**-126), (np.float64, 2.0**-1022), (np.float16, 2.0**-126)]
)
def test_log_of_zero_is_clamped(dtype: Any, tiny: float) -> None:
    # The source says nothing at all of pixel 1: its row is 0, and so is the prediction.
    probs = np.array([[1.0], [0.0]], dtype=dtype)
    assert leep(probs, np.array([0, 0])) == pytest.approx(math.log(tiny) / 2, abs=1e-9)


def test_bad_labels() -> None:
    with pytest.raises(ValueError, match="without void"):
        inspect.unwrap(leep)(np.ones((2, 1)), np.array([0, 255]))

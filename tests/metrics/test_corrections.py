"""Reduction of dimensions, the depth correction and standardised sums, from their definitions."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics.corrections import depth_correction, reduce_dimensions, standardised_sum

Numbers = np.ndarray[Any, Any]


def slow_standardised(column: list[float], lost: int = 0) -> list[float]:
    mean = math.fsum(column) / len(column)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in column) / (len(column) - lost))
    return [(value - mean) / deviation for value in column]


def test_depth_correction_agrees_with_slow_version() -> None:
    generator = np.random.default_rng(0)
    scores, depths = generator.normal(size=9).tolist(), generator.integers(8, 152, 9).tolist()
    expected = [s + d / 50 for s, d in zip(slow_standardised(scores, 1), depths, strict=True)]
    np.testing.assert_allclose(depth_correction(scores, depths), expected, rtol=1e-9)
    expected = [s + d / 200 for s, d in zip(slow_standardised(scores, 1), depths, strict=True)]
    np.testing.assert_allclose(depth_correction(torch.tensor(scores), np.array(depths), 200), expected, rtol=1e-6)


def test_depth_correction_by_hand() -> None:
    # Mean 3, deviation 2 (over n - 1): scores 1, 3, 5 become -1, 0, 1.
    np.testing.assert_allclose(depth_correction([1.0, 3.0, 5.0], [50, 25, 10]), [0.0, 0.5, 1.2], rtol=1e-14)
    np.testing.assert_allclose(depth_correction([1.0, 3.0, 5.0], [50, 25, 10], l_max=25), [1, 1, 1.4], rtol=1e-14)


def test_depth_correction_ignores_unit_of_scores() -> None:
    scores, depths = np.array([0.3, -0.2, 0.9, 0.4]), [18, 50, 101, 34]
    plain = depth_correction(scores, depths)
    for scale in (1e-250, 1e-3, 1e250):
        np.testing.assert_allclose(depth_correction(scores * scale, depths), plain, rtol=1e-12)
    np.testing.assert_allclose(depth_correction(scores * 3 + 7, depths), plain, rtol=1e-12)
    order = [2, 0, 3, 1]
    np.testing.assert_allclose(depth_correction(scores[order], np.array(depths)[order]), plain[order], rtol=1e-12)


def test_scores_all_alike_leave_the_depth() -> None:
    assert depth_correction([0.1] * 3, [10, 20, 40]).tolist() == [0.2, 0.4, 0.8]
    assert depth_correction([0.0] * 2, [10, 20]).tolist() == [0.2, 0.4]
    assert depth_correction([-3.0], [10]).tolist() == [0.2]
    alike = np.nextafter([0.1, 0.1, 0.1], [0.1, 0.1, 1.0])  # round-off is no ranking
    assert alike.max() > alike.min()
    assert depth_correction(alike, [10, 20, 40]).tolist() == [0.2, 0.4, 0.8]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [3.0]), "one entry per member, but got 2 and 1"),
        (([1.0, math.nan], [3, 4]), r"`scores\[1\]` is nan"),
        (([1.0, 2.0], [3, 0]), "`depths` to be positive, but got 0"),
        (([1.0, 2.0], [3, 4], 0), "`l_max` to be positive and finite, but got 0"),
        (([1.0, 2.0], [3, 4], math.inf), "`l_max` to be positive and finite"),
        (([], []), "non-empty"),
    ],
)
def test_bad_depths(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(depth_correction)(*arguments)


def test_standardised_sum_agrees_with_slow_version() -> None:
    generator = np.random.default_rng(1)
    columns = [generator.normal(size=7).tolist(), (1e6 * generator.random(7)).tolist(), [5.5] * 7]
    expected = [a + b for a, b in zip(*map(slow_standardised, columns[:2]), strict=True)]
    np.testing.assert_allclose(standardised_sum(*columns), expected, rtol=1e-9)
    np.testing.assert_allclose(standardised_sum(columns[0]), slow_standardised(columns[0]), rtol=1e-12)
    assert standardised_sum([2.0, 2.0], [0.0, 0.0]).tolist() == [0.0, 0.0]


def test_bad_columns() -> None:
    with pytest.raises(ValueError, match="at least one column"):
        standardised_sum()
    with pytest.raises(ValueError, match=r"one length, but got \[2, 3\]"):
        standardised_sum([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"`columns\[1\]\[0\]` is inf"):
        standardised_sum([1.0, 2.0], [math.inf, 2.0])


@pytest.mark.parametrize(("samples", "dimensions"), [(60, 8), (6, 12)])
def test_reduction_agrees_with_singular_vectors(samples: int, dimensions: int) -> None:
    features = np.random.default_rng(0).normal(size=(samples, dimensions)) * (1 + np.arange(dimensions)) + 5.0
    centred = features - features.mean(axis=0)
    _, _, directions = np.linalg.svd(centred)
    kept = directions[:3]
    kept = kept * np.sign(kept[np.arange(3), np.abs(kept).argmax(axis=1)])[:, None]
    reduced = reduce_dimensions(features, 3)
    np.testing.assert_allclose(reduced, centred @ kept.T, rtol=1e-9, atol=1e-9)
    on_torch = reduce_dimensions(torch.from_numpy(features), 3)
    assert isinstance(on_torch, torch.Tensor)
    assert (on_torch.numpy() == reduced).all()


def test_reduction_keeps_what_there_is() -> None:
    features = np.random.default_rng(0).normal(size=(4, 9))
    assert reduce_dimensions(features, 32).shape == (4, 3)
    duplicated = np.repeat(features[:, :1], 5, axis=1)
    reduced = reduce_dimensions(duplicated, 32)
    assert reduced.shape == (4, 1)
    np.testing.assert_allclose(np.abs(reduced[:, 0]), math.sqrt(5) * np.abs(features[:, 0] - features[:, 0].mean()))
    assert reduce_dimensions(np.full((5, 3), 2.5), 2).tolist() == [[0.0]] * 5
    assert reduce_dimensions(np.ones((1, 3), dtype=np.float32), 2).tolist() == [[0.0]]


def test_bad_reduction() -> None:
    with pytest.raises(ValueError, match="`dimensions` to be at least 1"):
        reduce_dimensions(np.ones((3, 2)), 0)
    with pytest.raises(ValueError, match="`features` to have 2 axes"):
        inspect.unwrap(reduce_dimensions)(np.ones(3), 1)
    with pytest.raises(ValueError, match="row 1 holds NaN"):
        reduce_dimensions(np.array([[0.0], [np.nan]]), 1)

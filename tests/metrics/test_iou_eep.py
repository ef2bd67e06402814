"""`iou_eep` against a slow version, worked by hand, and on exact ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics import class_ious, iou_eep
from muster.metrics.ensemble_block import first_argmax, first_largest


def slow_class_ious(eeps: Any, labels: Any) -> list[float]:
    classes = eeps.shape[2]
    tp, fp, fn = [0] * classes, [0] * classes, [0] * classes
    for i, label in enumerate(labels.tolist()):
        best, largest = 0, -1.0
        for c in range(classes):
            total = 0.0
            for member in eeps:
                total += float(member[i][c])
            if total > largest:
                best, largest = c, total
        if best == label:
            tp[label] += 1
        else:
            fn[label] += 1
            fp[best] += 1
    present = set(labels.tolist())
    return [tp[c] / (tp[c] + fp[c] + fn[c]) if c in present else float("nan") for c in range(classes)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_agrees_with_slow_version(problem: Any, dtype: Any, tolerance: float) -> None:
    expected = slow_class_ious(problem.eeps, problem.labels)
    per_class = class_ious(problem.eeps.astype(dtype), problem.labels)
    np.testing.assert_allclose(per_class, expected, rtol=0, atol=tolerance)
    assert np.isnan(per_class).tolist() == [False, False, False, False, True, False]
    mean = sum(expected[c] for c in (0, 1, 2, 3, 5)) / 5
    assert iou_eep(problem.eeps.astype(dtype), problem.labels) == pytest.approx(mean, abs=tolerance)


def test_worked_by_hand() -> None:
    # Sums: pixel 0 -> (1.1, 0.7, 0.2), 1 -> (0.9, 1.0, 0.1), 2 -> (0.2, 0.4, 1.4), 3 -> (0.5, 1.2, 0.3).
    # Predicted 0, 1, 2, 1 for labels 0, 0, 1, 1; class 2 is predicted once but occurs nowhere, so is not averaged.
    # Class 0: TP 1, FN 1 -> 1/2. Class 1: TP 1, FP 1 (pixel 1), FN 1 (pixel 2) -> 1/3.
    eeps = np.array(
        [
            [[0.8, 0.1, 0.1], [0.7, 0.3, 0.0], [0.1, 0.1, 0.8], [0.3, 0.6, 0.1]],
            [[0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6], [0.2, 0.6, 0.2]],
        ]
    )
    labels = np.array([0, 0, 1, 1])
    np.testing.assert_allclose(class_ious(eeps, labels), [1 / 2, 1 / 3, np.nan], atol=1e-15)
    assert iou_eep(eeps, labels) == pytest.approx(5 / 12, abs=1e-15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_exact_ties_go_to_the_lowest_class(dtype: torch.dtype) -> None:
    eeps = torch.full((3, 1000, 40), 1 / 64, dtype=dtype)
    labels = torch.arange(1000) % 2
    # Everything is predicted as class 0: its IoU is 500 / 1000, that of class 1 is 0.
    assert class_ious(eeps, labels)[:2].tolist() == [0.5, 0.0]
    eeps[:, :, 7] = eeps[:, :, 30] = 1 / 32
    assert class_ious(eeps, torch.full((1000,), 7))[7] == 1.0
    assert class_ious(eeps, torch.full((1000,), 30))[30] == 0.0


@pytest.mark.parametrize("argmax", [first_argmax, first_largest])
def test_first_largest_on_all_rows_of_few_values(argmax: Any) -> None:
    # Every row of four entries out of three values: most have ties.
    rows = torch.cartesian_prod(*[torch.tensor([0.0, 0.25, 0.5])] * 4)
    assert argmax(rows).tolist() == [row.index(max(row)) for row in rows.tolist()]


def test_members_are_added_in_ascending_order() -> None:
    # In float64, (0.3 + 0.2) + 0.1 == 0.6 but (0.1 + 0.2) + 0.3 == 0.6000000000000001.
    eeps = np.array([[[0.3, 0.1]], [[0.2, 0.2]], [[0.1, 0.3]]])
    assert iou_eep(eeps, np.array([1])) == 1.0
    assert iou_eep(eeps[::-1].copy(), np.array([1])) == 0.0


def test_sum_is_in_the_type_of_the_input() -> None:
    # The second member's 1e-9 is lost in float32, where the tie then goes to class 0, but not in float64.
    eeps = np.array([[[0.5, 0.5]], [[0.0, 1e-9]]])
    assert iou_eep(eeps, np.array([1])) == 1.0
    assert iou_eep(eeps.astype(np.float32), np.array([1])) == 0.0


def test_more_pixels_than_one_block() -> None:
    generator = np.random.default_rng(0)
    eeps, labels = generator.dirichlet(np.ones(3), size=(2, 140_000)), generator.integers(0, 3, size=140_000)
    predicted = eeps.sum(axis=0).argmax(axis=1)
    hits, either = [], []
    for c in range(3):
        hits.append(np.sum((predicted == c) & (labels == c)))
        either.append(np.sum((predicted == c) | (labels == c)))
    assert class_ious(eeps, labels).tolist() == [hit / whole for hit, whole in zip(hits, either, strict=True)]

"""`soft_iou_eep` against a slow version, and worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from muster.metrics import iou_eep, soft_class_ious, soft_iou_eep


def slow_soft_class_ious(eeps: Any, labels: Any) -> list[float]:
    size, pixels, classes = eeps.shape
    tp, fp, fn = [0.0] * classes, [0.0] * classes, [0.0] * classes
    for i in range(pixels):
        sums = [0.0] * classes
        for s in range(size):
            for c in range(classes):
                sums[c] += float(eeps[s, i, c])
        predicted, label = sums.index(max(sums)), int(labels[i])
        confidence = sums[label] / size
        if predicted == label:
            tp[label] += confidence
        else:
            fn[label] += 1 - confidence
            fp[predicted] += 1 - confidence
    present = set(labels.tolist())
    return [tp[c] / (tp[c] + fp[c] + fn[c]) if c in present else float("nan") for c in range(classes)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_agrees_with_slow_version(problem: Any, dtype: Any, tolerance: float) -> None:
    expected = slow_soft_class_ious(problem.eeps, problem.labels)
    per_class = soft_class_ious(problem.eeps.astype(dtype), problem.labels)
    np.testing.assert_allclose(per_class, expected, rtol=0, atol=tolerance)
    mean = sum(expected[c] for c in (0, 1, 2, 3, 5)) / 5
    assert soft_iou_eep(problem.eeps.astype(dtype), problem.labels) == pytest.approx(mean, abs=tolerance)


def test_worked_by_hand() -> None:
    # Means: pixel 0 -> (0.75, 0.25, 0), 1 -> (0.25, 0.75, 0), 2 -> (0.125, 0.25, 0.625), 3 -> (0.25, 0.5, 0.25).
    # Predicted 0, 1, 2, 1 for labels 0, 0, 1, 1.
    # Class 0: TP 0.75 (pixel 0), FN 1 - 0.25 (pixel 1)                            -> 0.75 / 1.5 = 1/2.
    # Class 1: TP 0.5 (pixel 3), FP 0.75 (pixel 1), FN 1 - 0.25 = 0.75 (pixel 2)   -> 0.5 / 2 = 1/4.
    eeps = np.array(
        [
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.25, 0.75], [0.5, 0.25, 0.25]],
            [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.25, 0.25, 0.5], [0.0, 0.75, 0.25]],
        ]
    )
    labels = np.array([0, 0, 1, 1])
    np.testing.assert_allclose(soft_class_ious(eeps, labels), [1 / 2, 1 / 4, np.nan], atol=1e-15)
    assert soft_iou_eep(eeps, labels) == pytest.approx(3 / 8, abs=1e-15)


def test_equals_iou_where_hits_are_sure_and_misses_give_the_truth_nothing() -> None:
    generator = np.random.default_rng(0)
    labels, predicted = generator.integers(0, 4, size=300), generator.integers(0, 4, size=300)
    eeps = np.eye(4)[predicted][None]
    assert soft_iou_eep(eeps, labels) == pytest.approx(iou_eep(eeps, labels), abs=1e-14)


def test_grows_with_confidence_in_the_truth(problem: Any) -> None:
    truth = np.eye(6)[problem.labels]
    flat, sharp = 0.6 * truth + 0.4 / 6, 0.9 * truth + 0.1 / 6
    wrong = np.roll(truth, 1, axis=1)
    unsure = np.where(np.arange(200)[:, None] % 3 == 0, wrong, flat)[None]
    sure = np.where(np.arange(200)[:, None] % 3 == 0, wrong, sharp)[None]
    assert iou_eep(unsure, problem.labels) == iou_eep(sure, problem.labels)
    assert soft_iou_eep(unsure, problem.labels) < soft_iou_eep(sure, problem.labels)


def test_class_that_nothing_was_added_to_scores_zero() -> None:
    # The only pixel is predicted 0 (a tie of zeros), which is right, with confidence 0.
    assert soft_iou_eep(np.zeros((2, 1, 3)), np.array([0])) == 0.0

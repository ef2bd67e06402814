"""`eep` against counting by hand."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics import eep

Numbers = np.ndarray[Any, Any]


def slow_eep(probs: Numbers, labels: Numbers, num_classes: int) -> list[list[float]]:
    pixels, sources = len(probs), len(probs[0])
    joint = [[0.0] * sources for _ in range(num_classes)]
    for i in range(pixels):
        for z in range(sources):
            joint[int(labels[i])][z] += float(probs[i][z]) / pixels
    marginal = [sum(joint[y][z] for y in range(num_classes)) for z in range(sources)]
    result = []
    for i in range(pixels):
        row = [0.0] * num_classes
        for y in range(num_classes):
            for z in range(sources):
                if marginal[z] > 0:
                    row[y] += joint[y][z] / marginal[z] * float(probs[i][z])
        result.append(row)
    return result


def test_agrees_with_slow_version(problem: Any) -> None:
    expected = np.array(slow_eep(problem.probs, problem.labels, 6))
    double = eep(problem.probs, problem.labels, num_classes=6)
    assert double.dtype == np.float64
    np.testing.assert_allclose(double, expected, rtol=0, atol=1e-10)
    single = eep(problem.probs.astype(np.float32), problem.labels, num_classes=6)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-5)


def test_worked_by_hand() -> None:
    # Joint, times n = 4:      z=0   z=1        P(y | z):   z=0   z=1
    #   y=0 (pixels 0, 1)      1.5   0.5                    0.75  0.25
    #   y=1 (pixels 2, 3)      0.5   1.5                    0.25  0.75
    probs = np.array([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.0, 1.0]])
    expected = [[0.75, 0.25], [0.5, 0.5], [0.5, 0.5], [0.25, 0.75]]
    assert eep(probs, np.array([0, 0, 1, 1])).tolist() == expected


def test_source_class_without_mass_contributes_nothing() -> None:
    probs = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert eep(probs, np.array([0, 1])).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_absent_classes_get_zero_columns() -> None:
    result = eep(np.array([[0.5, 0.5], [0.25, 0.75]]), np.array([1, 1]), num_classes=4)
    np.testing.assert_allclose(result, [[0, 1, 0, 0], [0, 1, 0, 0]], atol=1e-15)


def test_classes_default_to_largest_label_plus_one() -> None:
    assert eep(np.array([[1.0], [1.0]]), np.array([0, 2])).shape == (2, 3)


def test_single_target_and_source_class() -> None:
    assert eep(np.ones((3, 1)), np.zeros(3, dtype=np.int64)).tolist() == [[1.0]] * 3


def test_rows_sum_to_one(problem: Any) -> None:
    np.testing.assert_allclose(eep(problem.probs, problem.labels).sum(axis=1), 1.0, atol=1e-12)


def test_more_pixels_than_one_block() -> None:
    generator = np.random.default_rng(0)
    probs, labels = generator.dirichlet(np.ones(3), size=40_000), generator.integers(0, 4, size=40_000)
    joint = np.zeros((4, 3))
    np.add.at(joint, labels, probs)
    np.testing.assert_allclose(eep(probs, labels), probs @ (joint / joint.sum(axis=0)).T, atol=1e-12)


def test_permuting_pixels_classes_and_source_classes(problem: Any) -> None:
    generator = np.random.default_rng(7)
    pixels, classes, sources = generator.permutation(200), generator.permutation(6), generator.permutation(5)
    plain = eep(problem.probs, problem.labels, num_classes=6)
    moved = eep(problem.probs[pixels][:, sources], classes[problem.labels[pixels]], num_classes=6)
    np.testing.assert_allclose(moved[:, classes], plain[pixels], atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensor_in_tensor_out(problem: Any, dtype: torch.dtype) -> None:
    probs = torch.from_numpy(problem.probs).to(dtype).requires_grad_()
    result = eep(probs, torch.from_numpy(problem.labels))
    assert isinstance(result, torch.Tensor)
    assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert not result.requires_grad
    expected = np.array(slow_eep(probs.detach().double().numpy(), problem.labels, 6))
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-5)


def test_half_precision_counts_exactly() -> None:
    # In float16, 4096 pixels of 1 would stop adding up at 2048.
    probs = torch.ones(4098, 1, dtype=torch.float16)
    labels = torch.zeros(4098, dtype=torch.int64)
    labels[:1024] = 1
    assert eep(probs, labels)[0, 1].item() == pytest.approx(1024 / 4098, abs=1e-7)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_label_types(dtype: Any) -> None:
    probs = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert eep(probs, np.array([1, 0], dtype=dtype)).tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_awkward_numpy_memory_is_read_and_left_alone(problem: Any) -> None:
    expected = eep(problem.probs, problem.labels)
    frozen = problem.probs.copy()
    frozen.setflags(write=False)
    reversed_twice = problem.probs[::-1].copy()[::-1]  # negative strides
    swapped = problem.probs.astype(problem.probs.dtype.newbyteorder())
    for awkward in (frozen, reversed_twice, swapped, np.asfortranarray(problem.probs)):
        np.testing.assert_array_equal(eep(awkward, problem.labels), expected)
    np.testing.assert_array_equal(frozen, problem.probs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(problem: Any) -> None:
    result = eep(torch.from_numpy(problem.probs).cuda(), problem.labels)
    assert result.is_cuda
    np.testing.assert_allclose(result.cpu().numpy(), eep(problem.probs, problem.labels), atol=1e-12)


GOOD_PROBS, GOOD_LABELS = np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 1])


@pytest.mark.parametrize(
    ("probs", "labels", "num_classes", "message"),
    [
        (GOOD_PROBS, np.array([0, 2]), 2, r"`labels` between 0 and 1, but got 0 to 2"),
        (GOOD_PROBS, np.array([-1, 0]), None, r"`labels` between 0 and 0, but got -1 to 0"),
        (GOOD_PROBS, np.array([0, 255]), 19, r"Drop void pixels"),
        (GOOD_PROBS, np.array([0, 255], dtype=np.uint8), None, r"without void"),
        (GOOD_PROBS, np.array([0.0, 1.0]), None, r"`labels` to be integers, but got torch.float64"),
        (GOOD_PROBS, torch.tensor([True, False]), None, r"`labels` to be integers, but got torch.bool"),
        (GOOD_PROBS, np.array([0, 1, 1]), None, r"`labels` to have shape \[2\], but got \[3\]"),
        (GOOD_PROBS, np.array([[0, 1]]), None, r"`labels` to have shape \[2\], but got \[1, 2\]"),
        (GOOD_PROBS[0], np.array([0]), None, r"`probs` to have 2 axes \(pixels, classes\), but got shape \[2\]"),
        (np.empty((0, 3)), np.empty(0, dtype=np.int64), None, r"`probs` to hold at least one pixel.*\[0, 3\]"),
        (np.empty((3, 0)), np.zeros(3, dtype=np.int64), None, r"`probs` to hold at least one pixel.*\[3, 0\]"),
        (np.array([[0.5, np.nan], [1, 0]]), GOOD_LABELS, None, r"`probs` to hold probabilities.* but got NaN"),
        (np.array([[0.5, np.inf], [1, 0]]), GOOD_LABELS, None, r"`probs` to hold probabilities.*inf"),
        (np.array([[3.0, -2.0], [1, 0]]), GOOD_LABELS, None, r"`probs` to hold probabilities.*from -2 to 3"),
        (np.array([[1, 0], [0, 1]]), GOOD_LABELS, None, r"`probs` to be floating point, but got torch.int64"),
        ([[1.0, 0.0], [0.0, 1.0]], GOOD_LABELS, None, r"`probs` to be a tensor or a NumPy array.*list"),
        (GOOD_PROBS.astype(np.longdouble), GOOD_LABELS, None, r"`probs` in half, single or double precision"),
        (GOOD_PROBS.astype(object), GOOD_LABELS, None, r"`probs` to be a tensor or a NumPy array of numbers"),
    ],
)
def test_errors_name_the_argument(probs: Any, labels: Any, num_classes: int | None, message: str) -> None:
    # Unwrapped: in a test run that checks shapes, that check would speak first.
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(eep)(probs, labels, num_classes)

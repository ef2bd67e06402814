"""Variants of counting against slow versions, and worked by hand."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize

from muster.metrics import eep
from muster.metrics._image_halves import split_in_halves
from muster.metrics.calibrated_eep import calibrated_eep, cross_validated_eep

Numbers = np.ndarray[Any, Any]

GROUPS = np.repeat(np.arange(20), 10)


def slow_table(probs: Numbers, labels: Numbers, classes: int) -> Numbers:
    table = np.zeros((classes, probs.shape[1]))
    for z in range(probs.shape[1]):
        mass = probs[:, z].sum()
        for y in range(classes):
            if mass > 0:
                table[y, z] = probs[labels == y, z].sum() / mass
    return table


def slow_cross_validated(probs: Numbers, labels: Numbers, groups: Numbers, classes: int) -> tuple[Numbers, Numbers]:
    """Predictions, and the shares of the classes where the table of each pixel was counted."""
    right = split_in_halves(groups, labels, np.random.default_rng(0))
    said, shares = np.empty((len(labels), classes)), np.empty((len(labels), classes))
    for half in (right, ~right):
        table = slow_table(probs[half], labels[half], classes)
        for i in np.flatnonzero(~half):
            said[i] = [sum(table[y, z] * probs[i, z] for z in range(probs.shape[1])) for y in range(classes)]
            shares[i] = [(labels[half] == y).mean() for y in range(classes)]
    return said, shares


def sharpen(said: Numbers, shares: Numbers, factor: float) -> Numbers:
    # Said another way than in the docstring, without logarithms.
    powers = shares * (said / np.where(shares > 0, shares, 1.0)) ** factor
    result: Numbers = powers / powers.sum(axis=1, keepdims=True)
    return result


def likeliest(loss: Any, low: float, high: float) -> float:
    return float(optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-7}).x)


def test_cross_validated_agrees_with_slow_version(problem: Any) -> None:
    expected, _ = slow_cross_validated(problem.probs, problem.labels, GROUPS, 7)
    found = cross_validated_eep(problem.probs, problem.labels, GROUPS, 7)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)
    single = cross_validated_eep(problem.probs.astype(np.float32), problem.labels, GROUPS, 7)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=1e-6)


@pytest.mark.parametrize("cross_validated", [False, True])
def test_sharpened_predictions_agree_with_slow_version(problem: Any, cross_validated: bool) -> None:
    probs, labels = problem.probs, problem.labels
    held_out, shares = slow_cross_validated(probs, labels, GROUPS, 6)
    rows = np.arange(len(labels))
    known = shares[rows, labels] > 0

    def loss(factor: float) -> float:
        return -float(np.log(sharpen(held_out, shares, factor)[rows, labels][known]).sum())

    factor = likeliest(loss, 0, 20)
    if not cross_validated:
        held_out = probs @ slow_table(probs, labels, 6).T
        shares = np.tile([(labels == y).mean() for y in range(6)], (len(labels), 1))
    found = calibrated_eep(probs, labels, GROUPS, cross_validated=cross_validated)
    np.testing.assert_allclose(found, sharpen(held_out, shares, factor), atol=1e-4)


def test_sharpened_source_agrees_with_slow_version() -> None:
    # A shy source: the mean of what it knows and of not knowing.
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 3, 200)
    odds = np.exp(0.6 * (2 * np.eye(3)[labels] + generator.normal(size=(200, 3))))
    probs = odds / odds.sum(axis=1, keepdims=True)

    def powers(factor: float) -> Numbers:
        raised: Numbers = probs**factor
        return raised / raised.sum(axis=1, keepdims=True)

    def loss(factor: float) -> float:
        said, _ = slow_cross_validated(powers(factor), labels, GROUPS, 3)
        return -float(np.log(said[np.arange(200), labels]).sum())

    factor = likeliest(loss, 0.1, 10)
    assert factor > 2
    found = calibrated_eep(probs, labels, GROUPS, sharpened="source")
    expected = powers(factor) @ slow_table(powers(factor), labels, 3).T
    np.testing.assert_allclose(found, expected, atol=0.01)
    crossed = calibrated_eep(probs, labels, GROUPS, sharpened="source", cross_validated=True)
    np.testing.assert_allclose(crossed, slow_cross_validated(powers(factor), labels, GROUPS, 3)[0], atol=0.01)

    def log_likelihood(said: Numbers) -> float:
        return float(np.log(said[np.arange(200), labels]).mean())

    assert log_likelihood(found) > log_likelihood(eep(probs, labels)) + 0.01
    assert log_likelihood(crossed) > log_likelihood(cross_validated_eep(probs, labels, GROUPS)) + 0.01


def test_worked_by_hand() -> None:
    # One half shows that source class 0 is class 0 in three of four pixels, the other in one of two.
    probs = np.ones((6, 1))
    labels, groups = np.array([0, 0, 0, 1, 0, 1]), np.array([4, 4, 4, 4, 9, 9])
    found = cross_validated_eep(probs, labels, groups)
    np.testing.assert_allclose(found, [[0.5, 0.5]] * 4 + [[0.75, 0.25]] * 2, atol=1e-15)


def test_perfect_and_useless_source() -> None:
    labels = np.random.default_rng(2).integers(0, 3, 200)
    np.testing.assert_allclose(cross_validated_eep(np.eye(3)[labels], labels, GROUPS), np.eye(3)[labels], atol=1e-15)
    useless = np.full((200, 2), 0.5)
    shares = np.bincount(labels) / 200
    for sharpened in ("prediction", "source"):
        found = calibrated_eep(useless, labels, GROUPS, sharpened=sharpened)
        np.testing.assert_allclose(found, np.tile(shares, (200, 1)), atol=1e-9)


def test_order_and_names_do_not_matter(problem: Any) -> None:
    order = np.random.default_rng(3).permutation(200)
    for function in (cross_validated_eep, calibrated_eep):
        plain = function(problem.probs, problem.labels, GROUPS)
        shuffled = function(problem.probs[order][:, [4, 2, 0, 1, 3]], problem.labels[order], 5 - 3 * GROUPS[order])
        # Numbers of images may be any, but their order decides by chance which go together.
        assert shuffled.shape == plain.shape
        same = function(problem.probs[order][:, [4, 2, 0, 1, 3]], problem.labels[order], 3 * GROUPS[order] - 5)
        np.testing.assert_allclose(same, plain[order], atol=1e-8)


def test_classes_and_sources_that_are_missing_from_a_half() -> None:
    labels = np.array([0, 0, 1, 1, 0, 0, 2, 2])  # class 1 is in one image only, class 2 in the other
    groups = np.repeat([0, 1], 4)
    probs = np.array([[1.0, 0.0]] * 4 + [[0.5, 0.5]] * 4)
    found = cross_validated_eep(probs, labels, groups)
    # The second image is read with the first one's table, in which source class 1 has no mass.
    np.testing.assert_allclose(found[4:], [[0.25, 0.25, 0.0]] * 4, atol=1e-15)
    np.testing.assert_allclose(found[:4], [[0.5, 0.0, 0.5]] * 4, atol=1e-15)
    sharpened = calibrated_eep(probs, labels, groups, cross_validated=True)
    assert (sharpened[4:, 2] == 0).all()
    assert (sharpened[:4, 1] == 0).all()
    np.testing.assert_allclose(sharpened.sum(axis=1), 1.0, atol=1e-12)


def test_kinds_of_arrays(problem: Any) -> None:
    for function in (cross_validated_eep, calibrated_eep):
        tensors = [torch.from_numpy(array) for array in (problem.probs, problem.labels, GROUPS)]
        found = function(*tensors)
        assert isinstance(found, torch.Tensor)
        np.testing.assert_array_equal(found.numpy(), function(problem.probs, problem.labels, GROUPS))
        assert function(tensors[0].half(), *tensors[1:]).dtype == torch.float32


@pytest.mark.parametrize("function", [cross_validated_eep, calibrated_eep])
def test_bad_input(function: Any) -> None:
    unchecked = inspect.unwrap(function)
    probs, labels = np.full((4, 2), 0.5), np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match="at least 2 images"):
        unchecked(probs, labels, np.zeros(4, int))
    with pytest.raises(ValueError, match="`groups` to have shape"):
        unchecked(probs, labels, np.zeros(3, int))
    with pytest.raises(ValueError, match="`labels` between 0 and 0"):
        unchecked(probs, labels, np.array([0, 0, 1, 1]), 1)
    with pytest.raises(ValueError, match="probabilities"):
        unchecked(probs * 9, labels, np.array([0, 0, 1, 1]))

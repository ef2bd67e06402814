"""`dds` against the U-statistic's definition, and worked by hand."""

from __future__ import annotations

import inspect
import itertools
import math
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics.dds import dds

Numbers = np.ndarray[Any, Any]


def dissimilarities(rows: Numbers) -> Numbers:
    """1 minus cosines, with a loop over pairs."""
    deviation = rows.std(axis=0)
    rows = (rows - rows.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    result = np.empty((len(rows), len(rows)))
    for i, first in enumerate(rows.tolist()):
        for j, second in enumerate(rows.tolist()):
            product = math.fsum(a * b for a, b in zip(first, second, strict=True))
            result[i, j] = 1.0 - product / (math.hypot(*first) * math.hypot(*second))
    return result


def alignment(first: Numbers, second: Numbers) -> float:
    """The U-statistic: mean over all ordered quadruples of distinct samples of its kernel."""
    return math.fsum(
        first[i, j] * (second[i, j] + second[q, r] - 2.0 * second[i, q])
        for i, j, q, r in itertools.permutations(range(len(first)), 4)
    ) / math.perm(len(first), 4)


def centred(matrix: Numbers) -> Numbers:
    """Least squares instead of the formula: off the diagonal, subtract the closest sum of two numbers."""
    count = len(matrix)
    pairs = list(itertools.combinations(range(count), 2))
    design = np.zeros((len(pairs), count))
    for row, (i, j) in enumerate(pairs):
        design[row, [i, j]] = 1.0
    values = np.array([matrix[pair] for pair in pairs])
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


@pytest.mark.parametrize(("samples", "first", "second"), [(4, 3, 2), (7, 3, 2), (8, 1, 2), (7, 30, 9), (9, 2, 40)])
def test_agrees_with_u_statistic(samples: int, first: int, second: int) -> None:
    generator = np.random.default_rng(samples + first)
    rows = generator.standard_normal((samples, first)).astype(np.float32)
    other = generator.standard_normal((samples, second)) + rows[:, :1]
    left, right = dissimilarities(rows.astype(float)), dissimilarities(other)
    expected = alignment(left, right) / math.sqrt(alignment(left, left) * alignment(right, right))
    for kind in (rows, rows.astype(float), torch.from_numpy(rows)):
        assert dds(kind, other) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("samples", "first", "second"), [(40, 5, 7), (40, 60, 80), (40, 1, 200), (45, 100, 2)])
def test_agrees_with_least_squares(samples: int, first: int, second: int) -> None:
    generator = np.random.default_rng(samples + first)
    rows, other = generator.standard_normal((samples, first)), generator.standard_normal((samples, second))
    rows[:, 0] += other[:, 0]
    left, right = centred(dissimilarities(rows)), centred(dissimilarities(other))
    expected = left @ right / math.sqrt(left @ left * (right @ right))
    assert dds(rows, other) == pytest.approx(expected, rel=1e-9)


def test_worked_by_hand() -> None:
    # Cosines are 1 and -1. Of dissimilarities 0 (twice) and 2 (four times) remain -4/3 and 2/3, whose squares sum to
    # 48/9; the two sides agree in two of the latter only: 4 * (-8/9) + 2 * 4/9 = -24/9.
    left = np.array([[0.0], [0.0], [1.0], [1.0]])
    assert dds(left, left[[0, 2, 1, 3]]) == pytest.approx(-0.5, abs=1e-14)


def test_perfect_and_useless_source() -> None:
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((30, 6))
    assert dds(rows, rows * 3.0 - 1.0) == pytest.approx(1.0, abs=1e-12)
    useless = [dds(generator.standard_normal((30, 40)), rows) for _ in range(300)]
    # What "debiased" means: the mean is 0, here within three of its standard errors; the biased one's is 0.4.
    assert abs(np.mean(useless)) < 3.0 * np.std(useless) / math.sqrt(300)
    assert max(useless) < dds(rows + generator.standard_normal((30, 6)), rows) < 1.0


def test_order_scale_and_sign_do_not_matter() -> None:
    generator = np.random.default_rng(1)
    rows, other = generator.standard_normal((25, 6)), generator.standard_normal((25, 4))
    plain = dds(rows, other)
    order = generator.permutation(25)
    assert dds(rows[order], other[order]) == pytest.approx(plain, rel=1e-9)
    assert dds(other, rows) == pytest.approx(plain, rel=1e-9)
    assert dds((rows[:, ::-1] + 3.0) * [-1e6, 1.0, -2.0, 0.5, 1e-6, 7.0], other) == pytest.approx(plain, rel=1e-9)
    constant = np.concatenate([rows, np.full((25, 2), 0.1)], axis=1)
    assert dds(constant, other) == pytest.approx(plain, rel=1e-12)
    assert dds(np.concatenate([rows, rows], axis=1), other) == pytest.approx(plain, rel=1e-12)


def test_blocks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(2)
    rows, other = generator.standard_normal((50, 6)), generator.standard_normal((50, 4))
    few, wide = dds(rows, other), dds(np.repeat(rows, 20, axis=1), other)
    assert few == pytest.approx(wide, rel=1e-12)
    monkeypatch.setattr(import_module("muster.metrics.dds"), "ROWS_AT_ONCE", 7)
    assert dds(rows, other) == pytest.approx(few, rel=1e-12)
    assert dds(np.repeat(rows, 20, axis=1), other) == pytest.approx(few, rel=1e-12)


def test_many_samples_without_a_matrix_of_pairs() -> None:
    # 150 000 squared numbers would be 180 GB. Half of the direction of the rows is shared: the same at any size.
    generator = np.random.default_rng(3)
    rows = generator.standard_normal((150_000, 4)).astype(np.float32)
    other = rows + generator.standard_normal((150_000, 4)).astype(np.float32)
    part = [dds(rows[start : start + 3000], other[start : start + 3000]) for start in range(0, 60_000, 3000)]
    assert dds(rows, other) == pytest.approx(np.mean(part), abs=4.0 * np.std(part) / math.sqrt(20))


@pytest.mark.parametrize(
    ("rows", "other", "message"),
    [
        (np.ones((5, 3)), np.eye(5), "row of `features` to be 0 after standardisation, but row 0"),
        (np.eye(5), np.array([[-0.1], [0.1], [0.0], [0.3], [-0.3]]), "row of `reference` .* row 2"),
        (np.array([[0.0], [0.0], [0.0], [0.0], [1.0]]), np.eye(5), "that `features` give .* nothing remains"),
        (np.eye(3), np.eye(3), "at least 4 samples"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "at least 4 samples"),
        (np.eye(5), np.eye(4), "as many rows, but got 5 and 4"),
        (np.eye(5), np.full((5, 3), np.nan), "`reference` to be finite"),
        (np.eye(5, dtype=np.int64), np.eye(5), "`features` to be floating point"),
    ],
)
def test_what_cannot_be_computed(rows: Numbers, other: Numbers, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(dds)(rows, other)

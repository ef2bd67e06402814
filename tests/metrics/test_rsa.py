"""`rsa` against exact rational arithmetic and slow loops."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics.parc import parc
from muster.metrics.rsa import rsa
from tests.metrics.slow_pairs import deck, exact_dissimilarities, float_dissimilarities, rational, spearman

Numbers = np.ndarray[Any, Any]


@pytest.fixture
def features() -> Numbers:
    return np.random.default_rng(1).standard_normal((25, 6)) * [1.0, 10.0, 0.1, 3.0, 1.0, 1e-3] + 2.0


@pytest.fixture
def reference() -> Numbers:
    return np.random.default_rng(2).standard_normal((25, 9))


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_exact_arithmetic_where_both_sides_tie(seed: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = deck(generator, 24, 4, [0, 1, 3]), deck(generator, 24, 6, [0, 1, 5])
    first, second = np.repeat(first, 2, axis=0), np.concatenate([second, second])  # equal samples on either side
    sides = [exact_dissimilarities(rational(side, True)) for side in (first, second)]
    assert all(len(set(side)) < len(side) / 2 for side in sides)
    assert rsa(first, second) == pytest.approx(spearman(*sides), rel=1e-12)
    assert rsa(torch.from_numpy(first).float(), torch.from_numpy(second)) == pytest.approx(spearman(*sides), rel=1e-12)


@pytest.mark.parametrize(("samples", "first", "second"), [(25, 6, 9), (10, 50, 30), (3, 4, 5), (80, 3, 3)])
def test_agrees_with_slow_version(samples: int, first: int, second: int) -> None:
    generator = np.random.default_rng(samples)
    rows = generator.standard_normal((samples, first)).astype(np.float32)
    other = generator.standard_normal((samples, second)) + rows[:, :1]
    expected = spearman(float_dissimilarities(rows.astype(float)), float_dissimilarities(other))
    for kind in (rows, rows.astype(float), torch.from_numpy(rows)):
        assert rsa(kind, other) == pytest.approx(expected, rel=1e-9)


def test_worked_by_hand() -> None:
    # Two numbers are correlated 1 or -1: pairs 01 and 23 are alike on the left, 02 and 13 on the right. Mean ranks
    # 1.5 and 4.5, centred -2 twice and 1 four times: covariation 4 * (-2) + 2 * 1 = -6 of 12.
    left = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    assert rsa(left, left[[0, 2, 1, 3]]) == pytest.approx(-0.5, abs=1e-12)


def test_is_parc_of_a_one_hot_reference() -> None:
    rows = np.random.default_rng(3).standard_normal((28, 5))
    marks = np.eye(4)[np.arange(28) % 4]  # alike in number, so that standardising changes no order
    assert rsa(rows, marks) == pytest.approx(parc(rows, marks), rel=1e-12)


def test_perfect_and_useless_source(features: Numbers) -> None:
    assert rsa(features, features * 3.0 + 1.0) == pytest.approx(1.0, abs=1e-12)
    generator = np.random.default_rng(4)
    useless = [rsa(generator.standard_normal((25, 6)), features) for _ in range(30)]
    assert abs(np.mean(useless)) < 0.05
    assert max(useless) < rsa(features + generator.standard_normal((25, 6)) * features.std(axis=0), features) < 1.0


def test_order_and_scale_do_not_matter(features: Numbers, reference: Numbers) -> None:
    plain = rsa(features, reference)
    order = np.random.default_rng(3).permutation(25)
    assert rsa(features[order], reference[order]) == pytest.approx(plain, rel=1e-12)
    assert rsa(reference, features) == pytest.approx(plain, rel=1e-12)
    assert rsa(features[:, ::-1], reference[:, [4, 1, 0, 2, 3, 8, 7, 6, 5]]) == pytest.approx(plain, rel=1e-12)
    assert rsa(features * [1e4, 1.0, 2.0, 0.5, 1e-6, 7.0] - 5.0, reference) == pytest.approx(plain, rel=1e-9)
    assert rsa(features, reference * 1e-200) == pytest.approx(plain, rel=1e-9)


def test_constant_and_equal_columns(features: Numbers, reference: Numbers) -> None:
    constant = np.concatenate([reference, np.full((25, 2), 0.1)], axis=1)
    zeros = np.concatenate([reference, np.zeros((25, 2))], axis=1)
    expected = spearman(float_dissimilarities(features), float_dissimilarities(zeros))
    assert rsa(features, constant) == pytest.approx(expected, rel=1e-9)
    equal = np.concatenate([features, features], axis=1)
    assert rsa(equal, reference) == pytest.approx(rsa(features, reference), rel=1e-9)


def test_subsample() -> None:
    generator = np.random.default_rng(6)
    rows, other = generator.standard_normal((150_000, 3)), generator.standard_normal((150_000, 4))
    drawn = np.sort(np.random.default_rng(9).choice(150_000, 200, replace=False))
    assert rsa(rows, other, max_samples=200, seed=9) == rsa(rows[drawn], other[drawn])


def test_many_samples() -> None:
    # More pairs than one bucket of the sort holds without digits, and several blocks; SciPy ranks the same numbers.
    generator = np.random.default_rng(7)
    rows = generator.standard_normal((700, 20))
    rows[350:] = rows[:350]
    other = rows[:, :7] + generator.standard_normal((700, 7))

    def dissimilarities(side: Numbers) -> list[float]:
        units = (side - side.mean(axis=0)) / side.std(axis=0)
        return (1.0 - np.corrcoef(units)[np.triu_indices(len(side), 1)]).round(12).tolist()

    expected = spearman(dissimilarities(rows), dissimilarities(other))
    assert rsa(rows, other) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("rows", "other", "message"),
    [
        (
            np.ones((4, 3)),
            np.eye(4)[[0, 0, 1, 2]],
            "row of `features` to vary over its columns after standardisation, but row 0",
        ),
        (np.eye(4), np.zeros((4, 3)), "row of `reference` to vary"),
        (
            np.array([[0.0, 1.0], [1.0, 5.0], [0.5, 3.0]]),
            np.eye(3)[[0, 0, 2]],
            "row of `features` .* row 0",
        ),  # equal columns
        (np.eye(4), np.eye(4), "`reference` give to pairs of samples to differ"),
        (np.eye(4), np.eye(4)[:, :1], "`reference` to have at least 2 columns"),
        (np.eye(4), np.eye(3), "`features` and `reference` to have as many rows, but got 4 and 3"),
        (np.eye(2), np.eye(2), "`features` to hold at least 3 samples"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "at least 3 samples"),
        (np.eye(4), np.full((4, 3), np.nan), "`reference` to be finite"),
        (np.eye(4, dtype=np.int64), np.eye(4), "`features` to be floating point"),
    ],
)
def test_what_cannot_be_computed(rows: Numbers, other: Numbers, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(rsa)(rows, other)

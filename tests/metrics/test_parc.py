"""`parc` against exact rational arithmetic and slow loops, and worked by hand."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics.parc import parc
from tests.metrics.slow_pairs import deck, exact_dissimilarities, float_dissimilarities, rational, spearman

Numbers = np.ndarray[Any, Any]


@pytest.fixture
def features() -> Numbers:
    return np.random.default_rng(1).standard_normal((30, 6)) * [1.0, 10.0, 0.1, 3.0, 1.0, 1e-3] + 2.0


@pytest.fixture
def labels() -> Numbers:
    return np.arange(30) % 4


def annotations(kind: str, generator: np.random.Generator) -> Numbers:
    """Whole numbers, of which shares are a twelfth."""
    if kind == "one-hot":
        return np.eye(5)[generator.integers(0, 4, 24)]
    if kind == "several":
        rows = generator.integers(0, 2, (24, 5)).astype(float)
        rows[:, 0] = 1 - rows[:, 1]  # no row all alike
        return rows
    return generator.multinomial(12, [0.3, 0.3, 0.2, 0.1, 0.1], 24).astype(float)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["one-hot", "several", "shares"])
def test_agrees_with_exact_arithmetic_where_both_sides_tie(kind: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    columns = deck(generator, 24, 5, [0, 1, 3])
    marks = annotations(kind, generator)
    sides = exact_dissimilarities(rational(columns, True)), exact_dissimilarities(rational(marks, False))
    assert all(len(set(side)) < 24 * 23 / 2 for side in sides)  # the problem has what it is about
    expected = spearman(*sides)
    if kind == "shares":
        marks /= 12.0  # most of them are rounded
    assert parc(columns, marks) == pytest.approx(expected, rel=1e-12)
    assert parc(torch.from_numpy(columns).float(), torch.from_numpy(marks)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("samples", "dimensions"), [(30, 6), (12, 40), (3, 5), (80, 3)])
def test_agrees_with_slow_version(samples: int, dimensions: int) -> None:
    generator = np.random.default_rng(samples)
    rows = generator.standard_normal((samples, dimensions)).astype(np.float32)
    classes = np.arange(samples) % (2 if samples == 3 else 5)
    different = [bool(a != b) for index, a in enumerate(classes) for b in classes[index + 1 :]]
    expected = spearman(float_dissimilarities(rows.astype(float)), different)
    for kind in (rows, rows.astype(float), torch.from_numpy(rows)):
        assert parc(kind, np.eye(5)[classes]) == pytest.approx(expected, rel=1e-9)


def test_worked_by_hand() -> None:
    # Two features are correlated 1 or -1: samples 0, 1 and 2, 3 are alike, dissimilarity 0, all others are opposite, 2.
    # Two pairs have mean rank 1.5 and four 4.5, centred -2 and 1, squares sum to 12; so it is for annotations.
    rows = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    assert parc(rows, np.eye(3)[[2, 2, 0, 0]]) == pytest.approx(1.0, abs=1e-12)
    assert parc(rows, np.eye(3)[[2, 0, 2, 0]]) == pytest.approx((4 * -2 + 2 * 1) / 12, abs=1e-12)
    # One pair of one class: mean ranks 1 and 4, centred -2.5 and 0.5, squares sum to 7.5.
    one = (-2.5 * -2 + 0.5 * (-2 + 4 * 1)) / math.sqrt(7.5 * 12)
    assert parc(rows, np.eye(3)[[0, 0, 1, 2]]) == pytest.approx(one, abs=1e-12)


def test_round_off_does_not_split_ties() -> None:
    generator = np.random.default_rng(5)
    classes = generator.integers(0, 7, 120)
    marks = np.eye(7)[classes] @ np.diag([0.1, 0.2, 0.3, 0.7, 1.1, 1.3, 1.7])  # a factor changes no correlation
    assert len(np.unique(np.corrcoef(marks)[np.triu_indices(120, 1)])) > 2  # two in exact arithmetic
    rows = generator.standard_normal((120, 30))
    different = classes[:, None] != classes[None, :]
    expected = spearman(float_dissimilarities(rows), different[np.triu_indices(120, 1)].tolist())
    assert parc(rows, marks) == pytest.approx(expected, rel=1e-9)
    # Equal samples: a tenth of all pairs, each tied with others.
    twice = np.concatenate([rows[:40], rows[:40], rows[:40]]) * 1.7 + 0.3
    few = np.repeat([0, 1, 2], 40)
    ranks = np.array(float_dissimilarities(twice)).round(11).tolist()
    inside = (few[:, None] != few[None, :])[np.triu_indices(120, 1)].tolist()
    assert parc(twice, np.eye(3)[few]) == pytest.approx(spearman(ranks, inside), rel=1e-9)


def test_two_columns_leave_only_signs() -> None:
    # Correlations of two numbers with two others are 1 and -1.
    generator = np.random.default_rng(2)
    rows = generator.standard_normal((40, 2))
    units = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    signs = np.sign(units[:, 0] - units[:, 1])
    classes = (signs > 0).astype(int)
    classes[:7] = 1 - classes[:7]
    upper = np.triu_indices(40, 1)
    expected = spearman((-np.outer(signs, signs)[upper]).tolist(), (classes[:, None] != classes)[upper].tolist())
    assert parc(rows, np.eye(2)[classes]) == pytest.approx(expected, rel=1e-12)


def test_perfect_and_useless_source(labels: Numbers) -> None:
    classes = labels[:28]  # seven of each, so that pairs of different classes tie in the features too
    marks = np.eye(4)[classes]
    assert parc(3.0 * marks - 1.0, marks) == pytest.approx(1.0, abs=1e-12)
    generator = np.random.default_rng(0)
    useless = [parc(generator.standard_normal((28, 10)), marks) for _ in range(30)]
    assert abs(np.mean(useless)) < 0.05
    noisy = parc(marks @ generator.standard_normal((4, 10)) + 0.5 * generator.standard_normal((28, 10)), marks)
    assert max(useless) < noisy < 1.0


def test_order_scale_and_names_do_not_matter(features: Numbers, labels: Numbers) -> None:
    marks = np.eye(4)[labels]
    plain = parc(features, marks)
    order = np.random.default_rng(3).permutation(30)
    assert parc(features[order], marks[order]) == pytest.approx(plain, rel=1e-12)
    assert parc(features[:, [3, 1, 0, 5, 4, 2]], marks[:, [2, 0, 3, 1]]) == pytest.approx(plain, rel=1e-12)
    assert parc(features * [1e4, 1.0, 2.0, 0.5, 1e-6, 7.0] - 5.0, marks) == pytest.approx(plain, rel=1e-9)
    assert parc(features, np.eye(9)[labels]) == pytest.approx(plain, rel=1e-12)
    assert parc(features, np.eye(4, dtype=np.int64)[labels]) == plain
    assert parc(features, torch.eye(4, dtype=torch.int64)[torch.from_numpy(labels)]) == plain


def test_constant_and_equal_columns(features: Numbers, labels: Numbers) -> None:
    marks = np.eye(4)[labels]
    constant = np.concatenate([features, np.full((30, 2), 0.1)], axis=1)
    expected = spearman(
        float_dissimilarities(np.concatenate([features, np.zeros((30, 2))], axis=1)),
        exact_dissimilarities(rational(marks, False)),
    )
    assert parc(constant, marks) == pytest.approx(expected, rel=1e-9)
    equal = np.concatenate([features, features], axis=1)
    assert parc(equal, marks) == pytest.approx(parc(features, marks), rel=1e-9)


def test_column_that_hardly_varies_around_a_large_value(labels: Numbers) -> None:
    steps = np.random.default_rng(4).integers(0, 50, (30, 4)).astype(float)
    marks = np.eye(4)[labels]
    assert parc(2.0**40 + steps * 2.0**-10, marks) == pytest.approx(parc(steps, marks), rel=1e-9)


def test_three_samples() -> None:
    # Pairs 01, 02, 12 have ranks 1, 2.5, 2.5 in the annotations: centred -1, 1/2, 1/2. The features' are 1, 2, 3.
    rows = np.array([[0.0, 0.1, 3.0], [0.0, 1.0, 4.0], [5.0, 1.0, 0.0]])
    assert np.argsort(float_dissimilarities(rows)).tolist() in ([0, 1, 2], [0, 2, 1])
    assert parc(rows, np.eye(2)[[0, 0, 1]]) == pytest.approx(math.sqrt(3) / 2, abs=1e-12)


def test_subsample() -> None:
    generator = np.random.default_rng(6)
    rows, marks = generator.standard_normal((150_000, 3)), np.eye(3)[generator.integers(0, 3, 150_000)]
    drawn = np.sort(np.random.default_rng(9).choice(150_000, 200, replace=False))
    assert parc(rows, marks, max_samples=200, seed=9) == parc(rows[drawn], marks[drawn])
    assert parc(rows, marks, max_samples=200, seed=8) != parc(rows, marks, max_samples=200, seed=9)


def test_blocks_give_the_same(features: Numbers, labels: Numbers, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = parc(features, np.eye(4)[labels])
    monkeypatch.setattr("muster.metrics._pairwise._ROWS_AT_ONCE", 7)
    assert parc(features, np.eye(4)[labels]) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    ("rows", "marks", "message"),
    [
        (np.ones((4, 3)), np.eye(2)[[0, 1, 0, 1]], "row of `features` to vary over its columns after standardisation"),
        (np.eye(4), np.eye(4), "`annotations` give to pairs of samples to differ"),
        (np.eye(4), np.eye(2)[[1, 1, 1, 1]], "`annotations` give to pairs of samples to differ"),
        (np.eye(4), np.array([[0.5, 0.5], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), "row of `annotations` .* row 0"),
        (np.eye(4), np.array([[1, 0], [0, 1], [0, 0], [1, 0]]), "row of `annotations` .* row 2"),
        (np.eye(4)[:, :1], np.eye(2)[[0, 1, 0, 1]], "`features` to have at least 2 columns"),
        (np.eye(4), np.ones((4, 1)), "`annotations` to have at least 2 columns"),
        (np.eye(4), np.arange(4), "One-hot the classes"),
        (np.eye(4), np.eye(2)[[0, 1, 0]], "as many rows"),
        (np.eye(2), np.eye(2), "at least 3 samples"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "at least 3 samples"),
        (np.full((4, 3), np.nan), np.eye(2)[[0, 1, 0, 1]], "`features` to be finite"),
        (np.eye(4), np.full((4, 3), np.inf), "`annotations` to be finite"),
        (np.array([[1e308, 0.0], [-1e308, 1.0], [0.0, 2.0]]), np.eye(2)[[0, 1, 0]], "between -1e301 and 1e301"),
        (np.array([[1e-320, 0.0], [0.0, 1.0], [0.0, 2.0]]), np.eye(2)[[0, 1, 0]], "range that float64 can hold"),
    ],
)
def test_what_cannot_be_computed(rows: Numbers, marks: Numbers, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(parc)(rows, marks)


@pytest.mark.parametrize("most", [2, 11_586])
def test_bad_subsample(most: int) -> None:
    with pytest.raises(ValueError, match="`max_samples` between 3 and 11585"):
        parc(np.eye(4), np.eye(2)[[0, 1, 0, 1]], max_samples=most)

"""`otce` against an assignment, a linear program and loops, and worked by hand."""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from fractions import Fraction
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, linprog

from muster.metrics import _optimal_flow, _transport
from muster.metrics._transport import couple
from muster.metrics.osborn import osborn_domain
from muster.metrics.otce import otce

Numbers = np.ndarray[Any, Any]


def slow_distances(source: Numbers, target: Numbers) -> Numbers:
    return np.array(
        [[math.fsum((float(a) - float(b)) ** 2 for a, b in zip(f, g, strict=True)) for g in target] for f in source]
    )


def assignment(distances: Numbers) -> Numbers:
    """For as many rows on both sides: the best one-to-one assignment is an optimal coupling."""
    plan = np.zeros(distances.shape)
    plan[linear_sum_assignment(distances)] = 1 / len(distances)
    return plan


def linear_program(distances: Numbers) -> Numbers:
    """For any number of rows: least cost subject to both margins being uniform."""
    rows, columns = distances.shape
    first = np.kron(np.eye(rows), np.ones(columns))
    second = np.kron(np.ones(rows), np.eye(columns))
    margins = np.concatenate([np.full(rows, 1 / rows), np.full(columns, 1 / columns)])
    return linprog(distances.ravel(), A_eq=np.vstack([first, second]), b_eq=margins).x.reshape(rows, columns)


def slow_entropy(plan: Numbers, source_labels: Numbers, labels: Numbers) -> float:
    """H(target | source) from a dictionary of label pairs."""
    joint: dict[tuple[int, int], float] = defaultdict(float)
    given: dict[int, float] = defaultdict(float)
    for i, a in enumerate(source_labels):
        for j, b in enumerate(labels):
            joint[int(a), int(b)] += float(plan[i, j])
            given[int(a)] += float(plan[i, j])
    return -math.fsum(p * math.log(p / given[a]) for (a, _), p in joint.items() if p > 1e-12)


def problem(rows: int, columns: int, seed: int = 0) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Labels are not contiguous, and class 7 of the source has one sample."""
    generator = np.random.default_rng(seed)
    source_labels, labels = generator.choice([1, 4, 5], rows), generator.choice([0, 2, 9, 11], columns)
    source_labels[0] = 7
    source = generator.normal(size=(rows, 6)) + source_labels[:, None]
    target = generator.normal(size=(columns, 6)) + labels[:, None] / 2
    return source, source_labels, target, labels


@pytest.mark.parametrize(
    ("rows", "columns", "solve"),
    [
        (40, 40, assignment),
        (40, 40, linear_program),
        (12, 30, linear_program),
        (25, 7, linear_program),
        (1, 5, linear_program),
        (6, 1, linear_program),
    ],
)
def test_agrees_with_slow_version(rows: int, columns: int, solve: Any) -> None:
    source, source_labels, target, labels = problem(rows, columns)
    distances = slow_distances(source, target)
    plan = solve(distances)
    expected = float((plan * distances).sum()), slow_entropy(plan, source_labels, labels)
    assert otce(source, source_labels, target, labels) == pytest.approx(expected, rel=1e-9, abs=1e-14)
    on_torch = (torch.from_numpy(values) for values in (source, source_labels, target, labels))
    assert otce(*on_torch) == otce(source, source_labels, target, labels)


def test_single_and_half_precision() -> None:
    source, source_labels, target, labels = problem(30, 20)
    for dtype in (np.float32, np.float16):
        first, second = source.astype(dtype), target.astype(dtype)
        distances = slow_distances(first, second)
        plan = linear_program(distances)
        expected = float((plan * distances).sum()), slow_entropy(plan, source_labels, labels)
        assert otce(first, source_labels, second, labels) == pytest.approx(expected, rel=1e-9)
    half = (torch.from_numpy(source).bfloat16(), torch.from_numpy(target).bfloat16())
    assert otce(half[0], source_labels, half[1], labels) == otce(
        half[0].double(), source_labels, half[1].double(), labels
    )


def test_worked_by_hand() -> None:
    # In one dimension the optimal coupling keeps the order; of 2 against 3 rows, halves are cut into thirds:
    # source 0 gives 1/3 to 0 and 1/6 to 2, source 10 gives 1/6 to 2 and 1/3 to 10.
    source, target = np.array([[10.0], [0.0]]), np.array([[0.0], [2.0], [10.0]])
    domain, task = otce(source, np.array([1, 0]), target, np.array([0, 1, 1]))
    assert domain == pytest.approx((4 + 64) / 6, rel=1e-14)
    # Source class 0 leaves (2/3, 1/3), source class 1 nothing open; each has half of the mass.
    assert task == pytest.approx((math.log(3) - 2 / 3 * math.log(2)) / 2, rel=1e-14)


def test_same_sample_costs_nothing() -> None:
    source, source_labels, _, _ = problem(30, 1)
    assert otce(source, source_labels, source, source_labels) == (0.0, 0.0)
    assert otce(source * 1e8 + 1e10, source_labels, source * 1e8 + 1e10, source_labels) == (0.0, 0.0)


def test_near_source_beats_far_and_related_labels_beat_unrelated() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 40)
    target = np.eye(3)[labels] * 10 + generator.normal(size=(120, 3))
    near = np.eye(3)[labels] * 10 + generator.normal(size=(120, 3))
    near_domain, perfect = otce(near, labels + 5, target, labels)
    far_domain, _ = otce(near + 3, labels + 5, target, labels)
    _, useless = otce(near, np.tile([0, 1, 2], 40), target, labels)
    assert near_domain < far_domain
    assert perfect == 0.0
    assert useless == pytest.approx(math.log(3), abs=0.1)
    assert otce(near, np.zeros(120, dtype=int), target, labels)[1] == pytest.approx(math.log(3), rel=1e-12)


def test_order_of_rows_does_not_matter_even_with_ties() -> None:
    generator = np.random.default_rng(1)
    source, target = generator.integers(0, 3, size=(40, 2)) * 1.0, generator.integers(0, 3, size=(60, 2)) * 1.0
    source_labels, labels = generator.integers(0, 3, 40), generator.integers(0, 4, 60)
    plain = otce(source, source_labels, target, labels)
    for seed in range(5):
        first = np.random.default_rng(seed).permutation(40)
        second = np.random.default_rng(seed + 10).permutation(60)
        assert otce(source[first], source_labels[first], target[second], labels[second]) == plain
    renamed = np.array([7, 3, 30])[source_labels], np.array([3, 1, 2, 50])[labels]
    assert otce(source, renamed[0], target, renamed[1]) == pytest.approx(plain, rel=1e-12)


def test_common_motions() -> None:
    source, source_labels, target, labels = problem(30, 25)
    domain, task = otce(source, source_labels, target, labels)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    moved = otce(source @ rotation + 100, source_labels, target @ rotation + 100, labels)
    assert moved == pytest.approx((domain, task), rel=1e-9)
    for scale in (1e-100, 1e100):
        scaled = otce(source * scale, source_labels, target * scale, labels)
        assert scaled == pytest.approx((domain * scale**2, task), rel=1e-9)
    twice = otce(np.hstack([source, source]), source_labels, np.hstack([target, target]), labels)
    assert twice == pytest.approx((2 * domain, task), rel=1e-9)


def test_constant_features() -> None:
    # All couplings are optimal: the labels are coupled independently.
    labels = np.array([0, 0, 0, 1])
    domain, task = otce(np.zeros((3, 2)), np.array([0, 1, 2]), np.tile([3.0, 4.0], (4, 1)), labels)
    assert domain == 25.0
    assert task == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25), rel=1e-12)


def test_equal_rows_are_coupled_in_proportion() -> None:
    # Two rows at 0 of labels 0 and 1 on either side: each source label gets half of each target label.
    rows = np.array([[0.0], [-0.0], [9.0]])
    domain, task = otce(rows, np.array([0, 1, 2]), rows, np.array([0, 1, 2]))
    assert domain == 0.0
    assert task == pytest.approx(2 / 3 * math.log(2), rel=1e-12)


def test_seeded_subsample() -> None:
    source, source_labels, target, labels = problem(60, 50)
    few = otce(source, source_labels, target, labels, max_samples=20)
    assert few == otce(source, source_labels, target, labels, max_samples=20, seed=0)
    assert few != otce(source, source_labels, target, labels, max_samples=20, seed=1)
    first, second = couple(source, target, max_samples=20), couple(source[:40], target + 1.0, max_samples=20)
    chosen, others = first.source.drawn, first.target.drawn
    assert len(set(chosen)) == len(set(others)) == 20
    assert few == otce(source[chosen], source_labels[chosen], target[others], labels[others])
    assert (others == second.target.drawn).all()  # whatever the source, the target's rows are the same
    assert otce(source, source_labels, target, labels, max_samples=60) == otce(source, source_labels, target, labels)


def exact_cost(source: Numbers, target: Numbers) -> Fraction:
    """Least cost of so few rows that every assignment can be tried, without any rounding."""
    squares = [
        [sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(f, g, strict=True)) for g in target] for f in source
    ]
    rows = range(len(source))
    return min(sum(squares[i][order[i]] for i in rows) for order in permutations(rows)) / len(source)


@pytest.mark.parametrize("scale", [1.0, 1e-150, 1e-78, 1e-3, 1e78, 1e144])
def test_a_far_point_on_both_sides_hides_nothing(scale: float) -> None:
    near = np.array([[0.0], [1.0], [2.0], [1e9]]) * scale
    other, labels = near + 0.1 * scale, np.arange(4)
    domain, task = otce(near, labels, other, labels)
    assert domain == pytest.approx(float(exact_cost(near, other)), rel=1e-9)
    assert task == 0.0
    assert osborn_domain(near, other) == domain


@pytest.mark.parametrize("far", [1e3, 1e7, 1e10])
@pytest.mark.parametrize("together", [True, False])
def test_far_points_among_many(far: float, together: bool) -> None:
    generator = np.random.default_rng(5)
    source, target = generator.normal(size=(41, 3)), generator.normal(size=(41, 3))
    source[3] *= far
    target[7] = source[3] + target[7] if together else target[7] * far
    labels = np.arange(41)
    distances = slow_distances(source, target)
    domain, task = otce(source, labels, target, labels)
    assert domain == pytest.approx(float((assignment(distances) * distances).sum()), rel=1e-12)
    assert task == 0.0  # every row has one partner


def test_far_points_beside_unequal_numbers_of_rows() -> None:
    generator = np.random.default_rng(6)
    source, target = generator.normal(size=(9, 2)), generator.normal(size=(12, 2))
    source[2] *= 1e5
    target[4] = -source[2]
    distances = slow_distances(source, target)
    source_labels, labels = np.arange(9) % 3, np.arange(12) % 4
    plan = assignment(np.kron(distances, np.ones((4, 3))))  # every row as often as makes both sides 36
    plan = plan.reshape(9, 4, 12, 3).sum(axis=(1, 3))
    domain, task = otce(source, source_labels, target, labels)
    assert domain == pytest.approx(float((plan * distances).sum()), rel=1e-12)
    assert task == pytest.approx(slow_entropy(plan, source_labels, labels), rel=1e-9)


def test_what_float64_cannot_tell_is_an_error() -> None:
    source, source_labels, target, labels = problem(30, 30)
    target[0] += 1e20  # from so far all others are equally far
    with pytest.raises(ValueError, match=r"within one scale.*Leave such outliers out"):
        otce(source, source_labels, target, labels)
    with pytest.raises(ValueError, match="squared distances float64 can hold"):
        otce(source * 1e160, source_labels, source * -1e160, source_labels)


def test_without_convergence() -> None:
    source, source_labels, target, labels = problem(60, 60)
    with pytest.raises(ValueError, match=r"converge within 5 iterations.*Raise `max_iterations`"):
        otce(source, source_labels, target, labels, max_iterations=5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source_features": np.zeros((3, 2), dtype=int)}, "`source_features` to be floating point"),
        ({"source_features": np.zeros((0, 2))}, "`source_features` to hold at least 1 samples"),
        ({"features": np.zeros((4, 3))}, "same number of dimensions, but got 2 and 3"),
        ({"features": np.full((4, 2), np.nan)}, "`features` to be finite, but row 0"),
        ({"source_labels": np.zeros(2, dtype=int)}, r"`source_labels` to have shape \[3\], but got \[2\]"),
        ({"labels": np.zeros(4)}, "`labels` to be integers, but got torch.float64"),
        ({"labels": np.array([0, 0, 255, 0])}, "`labels` without void"),
        ({"labels": np.array([0, 0, -2, 0])}, "`labels` to be at least 0, but got -2"),
        ({"max_samples": 0}, "`max_samples` to be at least 1"),
    ],
)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    arguments = {
        "source_features": np.zeros((3, 2)),
        "source_labels": np.zeros(3, dtype=int),
        "features": np.ones((4, 2)),
        "labels": np.zeros(4, dtype=int),
    }
    inspect.unwrap(otce)(**arguments)
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(otce)(**arguments | change)


def test_solver_is_imported_late() -> None:
    assert not {"ot", "emd", "cdist"} & (set(vars(_transport)) | set(vars(_optimal_flow)))

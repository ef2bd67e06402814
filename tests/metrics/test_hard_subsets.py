"""Hard subsets, and metrics on them, from their definitions."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics import e_leep, eep, iou_eep, leep, soft_iou_eep
from muster.metrics.hard_subsets import (
    DEFAULT_FRACTION,
    hard_buckets,
    hard_images_to_pixels,
    hard_subset,
    hard_union,
    haste,
    haste_ensemble,
    haste_ms_leep,
    with_easy_samples,
)

Numbers = np.ndarray[Any, Any]


def slow_subset(hardness: list[float], count: int) -> list[int]:
    return sorted(sorted(range(len(hardness)), key=lambda i: (-hardness[i], i))[:count])


def test_easier_samples_are_added_at_random_and_evenly() -> None:
    hard, counted = np.array([2, 5, 7]), np.zeros(20)
    for seed in range(400):
        found = with_easy_samples(hard, 20, 0.2, seed)
        assert len(found) == 3 + 3  # a fifth of 17
        assert found.tolist() == sorted({*found.tolist(), 2, 5, 7})
        counted[found] += 1
    assert counted[hard].tolist() == [400] * 3
    others = np.delete(counted, hard)
    assert others.min() > 400 * 3 / 17 - 35
    assert others.max() < 400 * 3 / 17 + 35  # four deviations of a binomial
    assert with_easy_samples(hard, 20, 0.0).tolist() == [2, 5, 7]
    assert len(with_easy_samples(hard, 20, 0.001)) == 4
    on_torch = with_easy_samples(torch.from_numpy(hard), 20, 0.2, 3)
    assert on_torch.tolist() == with_easy_samples(hard, 20, 0.2, 3).tolist()
    for wrong in ((hard, 7, 0.1), (hard, 20, 1.1), (hard[:0], 20, 0.1)):
        with pytest.raises(ValueError, match="Expected `subset`"):
            with_easy_samples(*wrong)


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.3, 0.5, 1.0])
def test_subset_agrees_with_slow_version(fraction: float) -> None:
    hardness = np.random.default_rng(0).integers(0, 8, 40) / 8
    count = {0.01: 1, 0.25: 10, 0.3: 12, 0.5: 20, 1.0: 40}[fraction]
    expected = slow_subset(hardness.tolist(), count)
    found = hard_subset(hardness, fraction)
    assert found.tolist() == expected
    assert found.dtype == np.int64
    on_torch = hard_subset(torch.from_numpy(hardness).float(), fraction)
    assert isinstance(on_torch, torch.Tensor)
    assert on_torch.tolist() == expected


def test_size_is_rounded_up_but_not_for_round_off() -> None:
    assert 0.07 * 100 > 7  # in floating point
    assert len(hard_subset(np.arange(100.0), 0.07)) == 7
    assert len(hard_subset(np.arange(10.0), 0.21)) == 3
    assert len(hard_subset(np.arange(10.0), 1e-12)) == 1
    assert len(hard_subset(np.arange(10.0), 1)) == 10
    assert DEFAULT_FRACTION == 0.25
    assert hard_subset(np.arange(8.0)).tolist() == [6, 7]


def test_all_alike_takes_the_first() -> None:
    assert hard_subset(np.full(1000, 0.3), 0.01).tolist() == list(range(10))
    assert hard_subset(torch.full((1000,), 0.3), 0.01).tolist() == list(range(10))


@pytest.mark.parametrize(
    ("hardness", "fraction", "message"),
    [
        (np.zeros(0), 0.5, "non-empty list"),
        (np.zeros((2, 2)), 0.5, "non-empty list"),
        (np.array([0.0, np.nan]), 0.5, r"`hardness\[1\]` is nan"),
        (np.array([np.inf, 1.0]), 0.5, r"`hardness\[0\]` is inf"),
        (np.zeros(3), 0.0, "`fraction` to be above 0"),
        (np.zeros(3), 1.5, "at most 1, but got 1.5"),
        (np.zeros(3), math.nan, "but got nan"),
    ],
)
def test_bad_hardness(hardness: Any, fraction: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(hard_subset)(hardness, fraction)


@pytest.mark.parametrize("buckets", [1, 2, 3, 7, 40])
def test_buckets_are_cut_from_hard_to_easy(buckets: int) -> None:
    hardness = np.random.default_rng(1).integers(0, 8, 40) / 8
    order = sorted(range(40), key=lambda i: (-hardness[i], i))
    found = hard_buckets(hardness, buckets)
    assert [index for bucket in found for index in sorted(bucket.tolist(), key=order.index)] == order
    assert all(bucket.tolist() == sorted(bucket.tolist()) for bucket in found)
    sizes = [len(bucket) for bucket in found]
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) - min(sizes) <= 1
    on_torch = hard_buckets(torch.from_numpy(hardness), buckets)
    assert all(isinstance(bucket, torch.Tensor) for bucket in on_torch)
    assert [bucket.tolist() for bucket in on_torch] == [bucket.tolist() for bucket in found]
    if buckets == 2:
        assert found[0].tolist() == hard_subset(hardness, 0.5).tolist()


def test_union() -> None:
    generator = np.random.default_rng(0)
    subsets = [generator.choice(50, 10, replace=False) for _ in range(4)]
    expected = sorted(set().union(*(subset.tolist() for subset in subsets)))
    found = hard_union(subsets)
    assert found.tolist() == expected
    assert found.dtype == np.int64
    assert hard_union([torch.from_numpy(subset).int() for subset in subsets]).tolist() == expected
    assert hard_union(subsets[:1]).tolist() == sorted(subsets[0].tolist())


def test_pixels_of_images() -> None:
    groups = np.random.default_rng(0).integers(0, 9, 200) * 5  # images are not numbered contiguously
    for images in ([0], [10, 40], [40, 10, 10, 17]):
        expected = [pixel for pixel, image in enumerate(groups) if image in images]
        assert hard_images_to_pixels(np.array(images), groups).tolist() == expected
        on_torch = hard_images_to_pixels(torch.tensor(images), torch.from_numpy(groups))
        assert isinstance(on_torch, torch.Tensor)
        assert on_torch.tolist() == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hard_buckets(np.zeros(3), 4), "`buckets` between 1 and the 3 samples there are, but got 4"),
        (lambda: hard_buckets(np.zeros(3), 0), "but got 0"),
        (lambda: hard_buckets(np.array([np.nan]), 1), r"`hardness\[0\]` is nan"),
        (lambda: inspect.unwrap(hard_union)([]), "at least one subset"),
        (lambda: inspect.unwrap(hard_union)([np.array([1]), np.array([], dtype=int)]), r"`subsets\[1\]`.*non-empty"),
        (lambda: inspect.unwrap(hard_union)([np.array([1.0])]), r"`subsets\[0\]` to be integers"),
        (lambda: inspect.unwrap(hard_union)([np.array([-1])]), "at least 0, but got -1"),
        (lambda: hard_images_to_pixels(np.array([3]), np.array([0, 1])), "names none of them"),
        (
            lambda: haste(leep, np.array([2]), np.ones((2, 1)), np.zeros(2, dtype=int)),
            "below the 2 rows of `arrays.0.`",
        ),
        (lambda: haste_ensemble(e_leep, [np.array([0])], np.ones((2, 1, 1)), np.array([0])), "but got 1 for 2 members"),
        (lambda: haste_ms_leep([], [], np.array([0])), "at least one, but got 0 for 0"),
    ],
)
def test_bad_subsets(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_single_metric_starts_afresh(problem: Any) -> None:
    subset = np.array([0, 3, 50, 51, 199, 7])
    found = haste(leep, subset, problem.probs, problem.labels)
    rows = [problem.probs[i] for i in subset], [int(problem.labels[i]) for i in subset]
    joint: dict[tuple[int, int], float] = {}
    for row, label in zip(*rows, strict=True):
        for z in range(5):
            joint[label, z] = joint.get((label, z), 0.0) + float(row[z])
    mass = [sum(value for (_, other), value in joint.items() if other == z) for z in range(5)]
    logs = [
        math.log(sum(joint[label, z] / mass[z] * float(row[z]) for z in range(5)))
        for row, label in zip(*rows, strict=True)
    ]
    assert found == pytest.approx(math.fsum(logs) / 6, rel=1e-9)
    assert (
        haste(leep, torch.from_numpy(subset), torch.from_numpy(problem.probs), torch.from_numpy(problem.labels))
        == found
    )
    everything = np.arange(200)
    assert haste(leep, everything, problem.probs, problem.labels) == leep(problem.probs, problem.labels)


def test_ensemble_metric_averages_over_the_union(problem: Any) -> None:
    subsets = [np.array([3, 9, 40]), np.array([9, 100]), np.array([3, 150, 151])]
    union = [3, 9, 40, 100, 150, 151]
    logs = [math.log(sum(float(problem.eeps[s, i, problem.labels[i]]) for s in range(3)) / 3) for i in union]
    assert haste_ensemble(e_leep, subsets, problem.eeps, problem.labels) == pytest.approx(math.fsum(logs) / 6, rel=1e-9)
    for metric in (e_leep, iou_eep, soft_iou_eep):
        found = haste_ensemble(metric, subsets, list(problem.eeps), problem.labels)
        assert found == metric(problem.eeps[:, union], problem.labels[union])
        assert found != metric(problem.eeps, problem.labels)


def test_predictions_are_read_as_they_come(problem: Any) -> None:
    # EEPs of the whole probe set stay; counted on the union alone, an ensemble of one has the single-model metric.
    subset = np.array([0, 1, 2, 3, 30, 60])
    whole = eep(problem.probs, problem.labels, 6)
    kept = haste_ensemble(e_leep, [subset], [whole], problem.labels)
    assert kept == pytest.approx(float(np.log(whole[subset, problem.labels[subset]]).mean()), rel=1e-12)
    anew = whole.copy()
    anew[subset] = eep(problem.probs[subset], problem.labels[subset], 6)
    single = haste(leep, subset, problem.probs, problem.labels)
    assert kept != pytest.approx(single, abs=1e-3)
    assert haste_ensemble(e_leep, [subset], [anew], problem.labels) == pytest.approx(single, rel=1e-9)


def test_ms_leep_is_a_sum_over_own_subsets(problem: Any) -> None:
    subsets = [np.array([3, 9, 40]), np.array([9, 100])]
    members = [problem.probs, problem.probs[:, :3] / problem.probs[:, :3].sum(axis=1, keepdims=True)]
    expected = sum(
        leep(member[subset], problem.labels[subset]) for member, subset in zip(members, subsets, strict=True)
    )
    assert haste_ms_leep(subsets, members, problem.labels) == pytest.approx(expected, rel=1e-12)

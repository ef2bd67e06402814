"""M21's distance between datasets and its four assignments."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from muster.study.papers import assigned_distance, distance_matrix, domain_distance, domain_distances


def test_worked_by_hand() -> None:
    target = np.array([[0.0, 0.0], [6.0, 8.0]])
    source = np.array([[3.0, 4.0], [0.0, 1.0]])
    # Distances: (0,0) is 5 and 1 away, (6,8) is 5 and sqrt(36 + 49) away.
    far = 85**0.5
    assert domain_distance(target, source) == pytest.approx((1 + 5) / 2)
    assert domain_distance(source, target) == pytest.approx((5 + 1) / 2)
    assert assigned_distance(target, source, "one_to_one") == pytest.approx((1 + 5) / 2)
    assert assigned_distance(target, source[:1], "source_to_target") == pytest.approx(5)
    assert assigned_distance(target[1:], source[1:], "symmetric") == pytest.approx(far)


def test_it_is_not_symmetric() -> None:
    broad, narrow = np.array([[0.0], [10.0]]), np.array([[0.0], [1.0]])
    assert domain_distance(narrow, broad) == pytest.approx(0.5)  # the broad source includes the narrow target
    assert domain_distance(broad, narrow) == pytest.approx(4.5)


def test_equal_to_loops_over_images() -> None:
    random = np.random.default_rng(0)
    target, source = random.normal(size=(7, 3)), random.normal(size=(5, 3))
    slow = [[float(np.sqrt(sum((a - b) ** 2))) for b in source] for a in target]
    inclusion = sum(min(row) for row in slow) / 7
    reverse = sum(min(row[j] for row in slow) for j in range(5)) / 5
    assert assigned_distance(target, source, "target_to_source") == pytest.approx(inclusion)
    assert assigned_distance(target, source, "source_to_target") == pytest.approx(reverse)
    assert assigned_distance(target, source, "symmetric") == pytest.approx((inclusion + reverse) / 2)


@pytest.mark.parametrize("seed", range(5))
def test_one_to_one_equals_brute_force(seed: int) -> None:
    random = np.random.default_rng(seed)
    target, source = random.normal(size=(6, 2)), random.normal(size=(6, 2))
    lengths = np.linalg.norm(target[:, None] - source[None], axis=2)
    best = min(sum(lengths[i, j] for i, j in enumerate(order)) for order in permutations(range(6))) / 6
    assert assigned_distance(target, source, "one_to_one") == pytest.approx(best)


def test_one_to_one_of_unequal_numbers_is_that_of_repeated_images() -> None:
    random = np.random.default_rng(1)
    target, source = random.normal(size=(4, 2)), random.normal(size=(2, 2))
    expected = assigned_distance(target, np.repeat(source, 2, axis=0), "one_to_one")
    assert assigned_distance(target, source, "one_to_one") == pytest.approx(expected)


def test_a_dataset_gives_the_same_images_as_target_and_as_source() -> None:
    random = np.random.default_rng(0)
    features = {name: random.normal(size=(20, 3)) for name in ("a", "b", "c")}
    table = domain_distances(features, images=6, seed=3)
    assert len(table) == 6 * 4
    ways = table[table["assignment"] == "one_to_one"].set_index(["target", "source"])["distance"]
    assert ways["a", "b"] == pytest.approx(ways["b", "a"])  # as the pairs are the same
    matrix = distance_matrix(table)
    assert np.isnan(matrix.loc["a", "a"])
    assert matrix.loc["a", "b"] != pytest.approx(matrix.loc["b", "a"])


def test_what_cannot_be_compared_is_named() -> None:
    with pytest.raises(ValueError, match="3 dimensions and `source` 2"):
        assigned_distance(np.zeros((2, 3)), np.zeros((2, 2)), "symmetric")
    with pytest.raises(ValueError, match="target 'a' to source 'b'"):
        domain_distances({"a": np.zeros((2, 3)), "b": np.full((2, 3), np.nan)})
    with pytest.raises(ValueError, match="target_to_source"):
        assigned_distance(np.zeros((2, 3)), np.zeros((2, 3)), "target_to_sorce")

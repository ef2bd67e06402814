"""The ridge probe: a case by hand, an independent slow version, ensembles, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics import METRICS, logme, ridge_mean, ridge_predictions, ridge_probe
from muster.metrics.ridge_probe import PENALTIES, USUAL_PENALTY, ridge_of_candidates, ridge_of_member

Array = np.ndarray[Any, np.dtype[Any]]


def slow_predictions(features: Array, numbers: Array, groups: Array, seed: int = 0) -> Array:
    """Plainly: rows of a penalty below the data, and least squares."""
    images = np.unique(groups)
    order = np.random.default_rng(seed).permutation(len(images))
    parts = [[images[order[place]] for place in range(len(images)) if place % 2 == half] for half in (0, 1)]
    standard = (features - features.mean(axis=0)) / features.std(axis=0)

    def fit(chosen: Array, penalty: float) -> Array:
        x, y = standard[chosen], numbers[chosen]
        below = np.sqrt(penalty * len(x)) * np.eye(x.shape[1])
        weights = np.linalg.lstsq(np.vstack([x - x.mean(axis=0), below]), np.append(y - y.mean(), np.zeros(len(below))))
        return np.append(weights[0], y.mean() - x.mean(axis=0) @ weights[0])

    found = np.empty(len(numbers))
    for half, mine in enumerate(parts):
        inner = [np.isin(groups, mine[0::2]), np.isin(groups, mine[1::2])]
        errors = {
            penalty: sum(
                ((standard[read] @ (w := fit(fitted, penalty))[:-1] + w[-1] - numbers[read]) ** 2).sum()
                for fitted, read in (inner, inner[::-1])
            )
            for penalty in PENALTIES
        } if len(mine) > 1 else {USUAL_PENALTY: 0.0}  # fmt: skip
        weights = fit(np.isin(groups, mine), min(errors, key=lambda penalty: errors[penalty]))
        read = np.isin(groups, parts[1 - half])
        found[read] = standard[read] @ weights[:-1] + weights[-1]
    return found


def data(seed: int, pixels: int = 90, images: int = 9) -> tuple[Array, Array, Array]:
    generator = np.random.default_rng(seed)
    features = generator.normal(2, 3, (pixels, 5)) * np.array([1, 10, 0.1, 1, 1])
    numbers = 20 + features @ np.array([1, 0.2, 5, 0, 0]) + generator.normal(0, 2, pixels)
    return features, numbers, generator.permutation(np.arange(pixels) % images)


@pytest.mark.parametrize("images", [2, 3, 9])
def test_predictions_are_those_of_least_squares_with_rows_of_the_penalty(images: int) -> None:
    features, numbers, groups = data(images, images=images)
    expected = slow_predictions(features, numbers, groups)
    found = ridge_predictions(features, numbers, groups)
    assert found.numpy() == pytest.approx(expected, rel=1e-8)
    by_hand = 1 - ((expected - numbers) ** 2).sum() / ((numbers - numbers.mean()) ** 2).sum()
    assert ridge_probe(features, numbers, groups) == pytest.approx(by_hand, rel=1e-8)
    assert ridge_probe(torch.from_numpy(features), torch.from_numpy(numbers), groups) == pytest.approx(by_hand)


def test_two_images_by_hand() -> None:
    """Features -1 and 1 in both images; each half has variance 1, so the penalty divides the slope by 1.01."""
    features, numbers = np.array([[-1.0], [1.0], [-1.0], [1.0]]), np.array([0.0, 2.0, 1.0, 5.0])
    groups = np.array([0, 0, 1, 1])
    # Of image 0: mean 1, slope 1; of image 1: mean 3, slope 2.
    expected = [3 - 2 / 1.01, 3 + 2 / 1.01, 1 - 1 / 1.01, 1 + 1 / 1.01]
    assert ridge_predictions(features, numbers, groups).tolist() == pytest.approx(expected)
    squares = sum((e - n) ** 2 for e, n in zip(expected, numbers, strict=True))
    assert ridge_probe(features, numbers, groups) == pytest.approx(1 - squares / 14)


def test_units_shifts_and_columns_of_nothing_change_nothing() -> None:
    features, numbers, groups = data(3)
    usual = ridge_probe(features, numbers, groups)
    assert ridge_probe(1000 * features + 5, 0.001 * numbers - 7, groups) == pytest.approx(usual, rel=1e-6)
    assert ridge_probe(np.hstack([features, np.full((90, 1), 4.0)]), numbers, groups) == pytest.approx(usual, rel=1e-9)
    noise = np.random.default_rng(0).normal(size=(90, 5))
    assert ridge_probe(noise, numbers, groups) < 0.1 < usual


def test_an_ensemble_is_the_mean_of_its_members_predictions() -> None:
    members = [data(seed)[0] for seed in range(4)]
    _, numbers, groups = data(0)
    numbers = numbers + members[1][:, 0]
    readings = [ridge_of_member(each, numbers, groups) for each in members]
    rows = np.array(list(itertools.combinations(range(4), 2)))
    scores = ridge_of_candidates(readings, rows, 10)
    for row, score in zip(rows, scores, strict=True):
        mean = np.mean([slow_predictions(members[index], numbers, groups) for index in row], axis=0)
        expected = 1 - ((mean - numbers) ** 2).sum() / ((numbers - numbers.mean()) ** 2).sum()
        assert score == pytest.approx(expected, rel=1e-7)
        assert ridge_mean([members[index] for index in row], numbers, groups) == pytest.approx(expected, rel=1e-7)
    single = ridge_of_candidates(readings, np.arange(4)[:, None], 10)
    assert single.tolist() == pytest.approx([ridge_probe(each, numbers, groups) for each in members])


def test_logme_of_numbers_is_that_of_regression() -> None:
    features, numbers, _ = data(1)
    assert METRICS["logme_regression"].function(features, numbers) == logme(features, numbers)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"numbers": np.zeros(90)}, "all are equal"),
        ({"numbers": np.zeros(89), "groups": np.arange(89)}, r"`numbers` to have shape \[90\]"),
        ({"numbers": np.full(90, np.nan)}, "`numbers` to be finite, but row 0"),
        ({"groups": np.zeros(90, dtype=int)}, "at least 2 images"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Array], told: str) -> None:
    features, numbers, groups = data(0)
    with pytest.raises(ValueError, match=told):
        ridge_probe(**{"features": features, "numbers": numbers, "groups": groups, **change})
    with pytest.raises(ValueError, match="at least one member"):
        ridge_mean([], numbers, groups)

"""Principal components against singular values of the whole array."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics._pca import principal_components

Numbers = np.ndarray[Any, Any]


def correlated(seed: int, samples: int, dimensions: int) -> Numbers:
    generator = np.random.default_rng(seed)
    scales = 0.8 ** np.arange(dimensions)
    return generator.normal(size=(samples, dimensions)) * scales @ generator.normal(size=(dimensions, dimensions)) + 3.0


def slow_components(features: Numbers) -> tuple[Numbers, Numbers]:
    """All components with the sign rule, and the share of the variance that the first few hold."""
    centered = features - features.mean(axis=0)
    _, singular, directions = np.linalg.svd(centered, full_matrices=False)
    signs = [np.sign(direction[np.argmax(np.abs(direction))]) for direction in directions]
    shares = np.cumsum(singular**2) / np.sum(singular**2)
    return centered @ (directions * np.array(signs)[:, None]).T, shares


@pytest.mark.parametrize("shape", [(200, 8), (2500, 5), (9, 20), (10, 10)])
def test_agrees_with_singular_values(shape: tuple[int, int]) -> None:
    features = correlated(sum(shape), *shape)
    expected, shares = slow_components(features)
    found = principal_components(torch.from_numpy(features), dimensions=4)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.from_numpy(expected[:, :4]), rtol=1e-9, atol=1e-9)
    for share in (0.1, 0.5, 0.8, 0.95, 0.999):
        kept = int(np.argmax(shares >= share)) + 1
        assert principal_components(torch.from_numpy(features), variance=share).shape == (shape[0], kept)
    single = principal_components(torch.from_numpy(features).float(), dimensions=4)
    torch.testing.assert_close(single, torch.from_numpy(expected[:, :4]), rtol=1e-4, atol=1e-5)


def test_keeps_all_that_carry_variance_and_no_more() -> None:
    features = correlated(0, 50, 3)
    wide = torch.from_numpy(np.hstack([features, features, np.full((50, 2), 0.1)]))
    assert principal_components(wide, dimensions=7).shape == (50, 3)
    assert principal_components(wide, variance=1.0).shape == (50, 3)
    few = torch.from_numpy(correlated(0, 6, 9))
    assert principal_components(few, dimensions=9).shape == (6, 5)  # centred, 6 samples span 5 dimensions
    for constant in (torch.full((5, 3), 0.1), torch.full((2, 3), 0.1), torch.zeros(1, 2)):
        assert principal_components(constant, variance=0.8).shape == (len(constant), 0)
        assert principal_components(constant, dimensions=2).shape == (len(constant), 0)


def test_rounding_does_not_decide_how_many_are_kept() -> None:
    # Five directions of equal variance: four hold 0.8 of it, whatever the rounding of sums.
    for scale in np.arange(0.1, 2.0, 0.1):
        pairs = scale * torch.cat([torch.eye(5), -torch.eye(5)]).double()
        assert principal_components(pairs, variance=0.8).shape == (10, 4)
        assert principal_components(pairs, variance=0.8001).shape == (10, 5)


def test_sign_does_not_hang_on_rounding() -> None:
    # All entries of the direction are equally large, of either sign: the first one decides.
    for seed in range(20):
        steps = torch.from_numpy(np.random.default_rng(seed).normal(size=50))
        line = steps[:, None] * torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0], dtype=torch.float64)
        found = principal_components(line, dimensions=1)[:, 0]
        torch.testing.assert_close(found, (steps - steps.mean()) * 5**0.5)


def test_columns_are_uncorrelated_and_keep_distances() -> None:
    features = torch.from_numpy(correlated(1, 60, 6))
    found = principal_components(features, dimensions=6)
    products = found.T @ found
    assert bool((products.diagonal().diff() < 0).all())
    torch.testing.assert_close(products, torch.diag(products.diagonal()), rtol=0, atol=1e-9)
    apart, expected = ((points[:, None] - points).norm(dim=2) for points in (found, features))
    torch.testing.assert_close(apart, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one"),
        ({"dimensions": 1, "variance": 0.5}, "exactly one"),
        ({"dimensions": 0}, "at least 1"),
        ({"variance": 0.0}, "above 0"),
        ({"variance": 1.5}, "at most 1"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(principal_components)(torch.ones(2, 2), **settings)

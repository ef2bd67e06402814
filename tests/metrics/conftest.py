"""Small random problems for the metrics' tests."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

Numbers = np.ndarray[Any, Any]


class Problem(NamedTuple):
    """Three members' target predictions and source probabilities on the same pixels."""

    eeps: Numbers
    probs: Numbers
    labels: Numbers


@pytest.fixture(params=[0, 1, 2])
def problem(request: pytest.FixtureRequest) -> Problem:
    """Sharp and flat predictions, six classes of which the labels lack number 4, five source classes; float64."""
    generator = np.random.default_rng(request.param)
    eeps = generator.dirichlet(np.full(6, 0.4), size=(3, 200))
    probs = generator.dirichlet(np.full(5, 0.3), size=200)
    labels = generator.choice([0, 1, 2, 3, 5], size=200, p=[0.6, 0.2, 0.1, 0.05, 0.05])
    labels[:5] = [0, 1, 2, 3, 5]
    return Problem(eeps, probs, labels)

"""The heuristic, from its formula."""

from __future__ import annotations

import math

import pytest

from muster.metrics.depth_and_size import depth_and_size


def test_by_hand() -> None:
    assert depth_and_size(18, 1, 0) == 18.0
    assert depth_and_size(18, 0, 1) == 18.0
    assert depth_and_size(101, 2000.0, 500) == pytest.approx(101 + math.log(2500), rel=1e-15)


def test_more_is_better() -> None:
    assert depth_and_size(19, 100, 100) > depth_and_size(18, 100, 100)
    assert depth_and_size(18, 101, 100) > depth_and_size(18, 100, 100)
    # A layer is worth e times the images, no more.
    assert depth_and_size(18, 1000, 0) > depth_and_size(19, 1000 / 3, 0)
    assert depth_and_size(18, 1000, 0) < depth_and_size(19, 1000 / 2, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 10, 10), "`depth` to be positive and finite, but got 0"),
        ((math.nan, 10, 10), "`depth`"),
        ((5, -1, 10), "`source_images` to be at least 0 and finite, but got -1"),
        ((5, 10, math.inf), "`target_images` to be at least 0 and finite, but got inf"),
        ((5, 0, 0), "not to be both 0"),
    ],
)
def test_bad_input(arguments: tuple[float, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        depth_and_size(*arguments)

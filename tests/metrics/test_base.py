"""`base`, worked by hand."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics import base


def test_worked_by_hand() -> None:
    # 0.5 * 200 * 10 + 0.25 * 1000 * 2 + 0 * 7 * 3 = 1000 + 500 + 0
    columns = ([0.5, 0.25, 0.0], [200, 1000, 7], [10, 2, 3])
    assert base(*columns) == 1500.0
    assert base(*map(np.array, columns)) == 1500.0
    assert base(*map(torch.tensor, columns)) == 1500.0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0.5], [10, 20], [3]), r"one entry per member, but got 1, 2 and 1"),
        (([], [], []), r"`source_miou` to be a non-empty list of numbers, but got shape \[0\]"),
        (([[0.5]], [10], [3]), r"`source_miou` to be a non-empty list of numbers, but got shape \[1, 1\]"),
        (
            ([0.5, 61.0], [10, 20], [3, 3]),
            r"`source_miou` to be at least 0 and at most 1, but `source_miou\[1\]` is 61",
        ),
        (([float("nan")], [10], [3]), r"`source_miou\[0\]` is nan"),
        (([0.5], [0], [3]), r"`train_images` to be at least 1, but `train_images\[0\]` is 0"),
        (([0.5], [10], [float("inf")]), r"`num_classes\[0\]` is inf"),
    ],
)
def test_errors_name_the_argument(columns: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(base)(*columns)

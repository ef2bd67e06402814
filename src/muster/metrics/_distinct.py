"""Which rows of an array are the same."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from muster.arrays import NumpyArray


def distinct_rows(
    rows: Float[Tensor, "samples dimensions"],
) -> tuple[Int[NumpyArray, " distinct"], Int[NumpyArray, " samples"]]:
    """Group rows whose values are all equal.

    Args:
        rows: float32 or float64, finite, at least one column.

    Returns:
        The first sample of each distinct row, ascending, and for each sample which distinct row it has.
    """
    values = np.ascontiguousarray((rows + 0.0).cpu().numpy())  # -0.0 becomes 0.0, which it equals
    words = values.view(np.dtype((np.void, values.dtype.itemsize * values.shape[1])))[:, 0]
    _, first, group = np.unique(words, return_index=True, return_inverse=True)
    order = np.argsort(first)
    renamed = np.empty_like(order)
    renamed[order] = np.arange(len(order))
    return first[order], renamed[group.reshape(-1)]

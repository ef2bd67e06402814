"""Sums over samples and factorisations, in float64, without a float64 copy of all features.

Axis names as in :mod:`muster.metrics._features`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

ROWS_AT_ONCE = 1_024
"""Samples turned into float64 in one go: few enough for a processor's cache, so sums run at its speed."""

ROWS_TO_FACTOR = 8_192
"""The same where each block costs a factorisation: many more than the features have dimensions."""

EPSILON = torch.finfo(torch.float64).eps


def row_blocks(
    features: Tensor, shift: Tensor | None = None, rows: int = ROWS_AT_ONCE
) -> Iterator[Float[Tensor, "rows dimensions"]]:
    """Features in float64, a few rows at a time.

    Args:
        features: ``[samples, dimensions]``.
        shift: float64 ``[dimensions]`` to subtract from each row.
        rows: How many at a time.

    Yields:
        float64 blocks, all of the same size but the last; views of ``features`` where nothing had to be changed.
    """
    for block in torch.split(features, rows):
        yield block.double() if shift is None else block - shift  # float32 - float64 is float64


def column_means(features: Float[Tensor, "samples dimensions"]) -> Float[Tensor, " dimensions"]:
    """Mean of each column, float64; of a constant column exactly that constant, so that centring leaves exactly 0."""
    first = features[0].double()
    total = torch.zeros_like(first)
    for block in row_blocks(features, first):
        total += block.sum(dim=0)
    return first + total / len(features)


def gram(block: Float[Tensor, "rows dimensions"]) -> Float[Tensor, "dimensions dimensions"]:
    """The product of a block's transpose with the block."""
    if block.device.type == "cpu":
        rows = block.numpy()
        return torch.from_numpy(rows.T @ rows)  # NumPy sees that the result is symmetric and does half the work
    return block.T @ block


def class_sums(
    blocks: Iterable[Tensor], labels: Int[Tensor, " samples"], num_classes: int
) -> Float[Tensor, "classes dimensions"]:
    """Sum of the rows of each class, float64.

    Args:
        blocks: Features, block after block, ``ROWS_AT_ONCE`` rows each.
        labels: 0..num_classes-1.
        num_classes: Number of classes.

    Returns:
        Zeros for a class without samples.
    """
    total: Tensor | None = None
    for rows, classes in zip(blocks, torch.split(labels, ROWS_AT_ONCE), strict=True):
        if total is None:
            total = rows.new_zeros(num_classes, rows.shape[1])
        total.index_add_(0, classes, rows)
    assert total is not None
    return total


def triangular_factor(blocks: Iterable[Tensor]) -> Float[Tensor, "rank columns"]:
    """Upper triangular factor R of a tall matrix whose rows come in blocks.

    Householder reflections: R has the singular values of the matrix to its rounding error, while those of its Gram
    matrix would lose half of the digits.

    Args:
        blocks: float64 ``[rows, columns]`` each.

    Returns:
        float64, min(all rows, columns) by columns, with the matrix's Gram matrix as its own.
    """
    factor: Tensor | None = None
    for block in blocks:
        stacked = block if factor is None else torch.cat([factor, block])
        factor = torch.linalg.qr(stacked, mode="r").R
    assert factor is not None
    return factor

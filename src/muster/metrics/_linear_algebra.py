"""Sums over samples and factorisations, in float64, without a float64 copy of all features.

Axis names as in :mod:`muster.metrics._features`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

ROWS_AT_ONCE = 1_024
"""Samples turned into float64 in one go: few enough for a processor's cache, so sums run at its speed."""

ROWS_TO_FACTOR = 8_192
"""The same where each block costs a factorisation: many more than the features have dimensions."""

EPSILON = torch.finfo(torch.float64).eps


_SAFE_EXPONENT = 150
"""Features between 2^-150 and 2^150, so all that float32 holds, have fourth powers that float64 can add up."""


def scale_exponent(features: Tensor) -> int:
    """The power of two by which to divide features whose squares could leave the range of float64.

    Args:
        features: Finite, not empty.

    Returns:
        An exponent that brings the largest entry to about 1; 0 for ordinary features, which stay as they are, and for
        zeros. Division by a power of two is exact, so a metric that does not depend on scale stays the same.
    """
    largest = max(abs(float(bound)) for bound in features.aminmax())
    exponent = math.frexp(largest)[1]
    return exponent if abs(exponent) > _SAFE_EXPONENT else 0


def divided(features: Tensor, exponent: int) -> Tensor:
    """Features in units of a power of two, float64; themselves if it is the zeroth.

    Args:
        features: Of any shape.
        exponent: From :func:`scale_exponent`.

    Returns:
        A copy, or ``features``.
    """
    if exponent == 0:
        return features
    half = exponent // 2  # the whole factor need not be a number that float64 holds
    return features.double() * 2.0**-half * 2.0 ** (half - exponent)


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


_ILL_SCALED = 1e-6
"""Singular values this far below the largest lose digits in a common decomposition."""


def scaled_svd(
    matrix: Float[Tensor, "rows columns"], rounding: float
) -> tuple[Float[Tensor, "rows rank"], Float[Tensor, " rank"]]:
    """Left singular vectors and singular values, to their own rounding however unlike the columns' scales are.

    Args:
        matrix: float64.
        rounding: A direction is empty if it is so small beside the largest once all columns have length 1.

    Returns:
        Vectors, and singular values in descending order, exactly 0 for empty directions.
    """
    left, singular, _ = torch.linalg.svd(matrix, full_matrices=False)
    if bool(singular[-1] > _ILL_SCALED * singular[0]):
        return left, singular
    lengths = torch.linalg.vector_norm(matrix, dim=0)
    alike = torch.linalg.svdvals(matrix / lengths.where(lengths > 0.0, 1.0))
    rank = int((alike > rounding * alike[0]).sum())
    if rank and bool(singular[rank - 1] <= _ILL_SCALED * singular[0]):
        left, singular = _jacobi(matrix)
    singular = singular.where(torch.arange(len(singular), device=singular.device) < rank, 0.0)
    return left, singular


def _jacobi(matrix: Float[Tensor, "rows columns"]) -> tuple[Float[Tensor, "rows rank"], Float[Tensor, " rank"]]:
    """One-sided Jacobi rotations: scaling a column does not cost the others their digits.

    Drmac and Veselic, "New Fast and Accurate Jacobi SVD Algorithm", SIAM J. Matrix Anal. Appl. 2008, as in LAPACK.
    """
    from scipy.linalg.lapack import dgejsv

    rows = matrix.cpu().numpy()
    wide = rows.shape[0] < rows.shape[1]
    values, left, right, work, _, status = dgejsv(rows.T if wide else rows, joba=2, jobu=0, jobv=0, jobr=0)
    if status != 0:
        raise ValueError(f"Expected a decomposition of `features` to converge, but it did not (LAPACK says {status}).")
    singular = torch.from_numpy(values * (work[0] / work[1]))
    vectors = torch.from_numpy(right if wide else left[:, : len(values)])
    return vectors.to(matrix.device), singular.to(matrix.device)

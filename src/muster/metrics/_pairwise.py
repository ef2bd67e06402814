"""Rank correlation of two sets of dissimilarities between all pairs of samples, with exact ties.

A dissimilarity is 1 minus the Pearson correlation of two rows, in float64, rounded to a grid over 0..2, the finest that
fits into one word together with a pair's number or rank: cells of 5e-13 up to 2048 samples, 4e-12 for 5000, 1.5e-11 for
the most that are allowed. Dissimilarities in one cell or in neighbouring cells tie, and so does a chain of such. So
what is equal but for round-off always ties, wherever it lies, and what lies two cells or more apart ties only where a
chain links it. Of the 12.5 million pairs of 5000 samples some thousand tie by accident, which changes a correlation by
about 1e-12.

Axis names as in :mod:`muster.metrics._features`; ``distinct`` are the rows of the reference that are not the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.arrays import NumpyArray
from muster.metrics._distinct import distinct_rows
from muster.metrics._standardise import standardisation_of

MAX_SAMPLES = 5000
"""Samples above which a subsample is compared, unless told otherwise."""

SAMPLES_LIMIT = 11_585
"""Samples of which twice the number of pairs takes 27 bits of a word, which leaves 37."""

_KEY_BITS = 42
"""Bits of a word for the dissimilarity, where there is room: a finer grid would show round-off."""

_ROWS_AT_ONCE = 256
"""Rows whose correlations with all others are in memory at a time."""

_CONSTANT = 1e-12
"""Relative variation at and below which a row counts as constant: round-off of a row that is."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What is compared: one row for each sample.

    Attributes:
        name: The argument's name, for messages.
        values: Checked.
        standardised: Whether each column is first given mean 0 and variance 1.
    """

    name: str
    values: Float[Tensor, "samples dimensions"]
    standardised: bool = True


def correlate_pairs(features: Rows, reference: Rows, max_samples: int, seed: int) -> float:
    """Spearman correlation of the dissimilarities of all pairs of samples.

    Args:
        features: One side.
        reference: The other, as many samples; where many of its rows are the same, less work is done.
        max_samples: Samples used at most, 3 to :data:`SAMPLES_LIMIT`; of more, so many are drawn without replacement.
        seed: The seed of that draw.

    Returns:
        -1..1.

    Raises:
        ValueError: If the two differ in their number of samples, or one has a single column.
        ValueError: If ``max_samples`` is out of range.
        ValueError: If a row used is constant, or the dissimilarities of one side are all alike.
    """
    count = len(features.values)
    if len(reference.values) != count:
        raise ValueError(
            f"Expected `{features.name}` and `{reference.name}` to have as many rows, "
            f"but got {count} and {len(reference.values)}."
        )
    if not 3 <= max_samples <= SAMPLES_LIMIT:
        raise ValueError(f"Expected `max_samples` between 3 and {SAMPLES_LIMIT}, but got {max_samples}.")
    used = np.arange(count)
    if count > max_samples:
        used = np.sort(np.random.default_rng(seed).choice(count, max_samples, replace=False))
    ranks, points = _ranked(reference, used)
    return _related(features, used, ranks, points)


@dataclass(frozen=True)
class _Grid:
    """Layout of a word: a dissimilarity above, twice a rank or a pair's number below."""

    cells: float
    load_bits: int

    @classmethod
    def of(cls, samples: int) -> _Grid:
        """The finest for some number of samples."""
        load_bits = (samples * (samples - 1)).bit_length()
        return cls(float(2 ** (min(_KEY_BITS, 64 - load_bits) - 1) - 1), load_bits)


@dataclass(frozen=True, eq=False)
class _Ranks:
    """Ranks that the reference gives to pairs of its distinct rows.

    Attributes:
        of_pairs: Twice the mean rank, in the order of the kernels.
        distinct: Number of distinct rows.
        variation: Sum over pairs of samples of the squared difference to the mean rank, likewise doubled.
    """

    of_pairs: Int[NumpyArray, " distinct_pairs"]
    distinct: int
    variation: float


def _ranked(reference: Rows, used: Int[NumpyArray, " used"]) -> tuple[_Ranks, Int[NumpyArray, " used"]]:
    """Ranks of the reference's dissimilarities, and which of its distinct rows each sample has."""
    from muster.metrics import _pair_kernels as kernels  # importing Numba takes a while

    first, points = distinct_rows(reference.values[torch.from_numpy(used).to(reference.values.device)])
    counts = np.bincount(points)
    rows = _unit_rows(reference, used)[first]
    grid = _Grid.of(len(used))
    words = np.empty(len(rows) * (len(rows) + 1) // 2, dtype=np.uint64)
    position = 0
    for _, block in _correlation_blocks(rows):
        position += kernels.number_pairs(block, grid.cells, grid.load_bits, words[position:].view(np.int64))
    spare = np.empty_like(words)
    kernels.sort_words(words, spare, grid.load_bits)
    weights = np.empty(len(words), dtype=np.int32)
    kernels.weigh_pairs(counts, weights)
    total = len(used) * (len(used) - 1) // 2
    variation = kernels.rank_pairs(words, spare, weights, total, grid.load_bits, len(rows) == len(used))
    if variation == 0.0:
        raise ValueError(_all_alike(reference))
    return _Ranks(weights, len(rows), variation), points


def _related(features: Rows, used: Int[NumpyArray, " used"], ranks: _Ranks, points: Int[NumpyArray, " used"]) -> float:
    """The correlation of the features' ranks with those given."""
    from muster.metrics import _pair_kernels as kernels

    rows = _unit_rows(features, used)
    grid = _Grid.of(len(used))
    words = np.empty(len(rows) * (len(rows) - 1) // 2, dtype=np.uint64)
    position = 0
    for first, block in _correlation_blocks(rows):
        into = words[position:].view(np.int64)
        position += kernels.load_pairs(
            block, first, points, ranks.distinct, ranks.of_pairs, grid.cells, grid.load_bits, into
        )
    kernels.sort_words(words, np.empty_like(words), grid.load_bits)
    covariation, variation = kernels.relate_ranks(words, grid.load_bits)
    if variation == 0.0:
        raise ValueError(_all_alike(features))
    return min(max(float(covariation) / math.sqrt(variation * ranks.variation), -1.0), 1.0)


def _all_alike(side: Rows) -> str:
    return (
        f"Expected the dissimilarities that `{side.name}` give to pairs of samples to differ, but all are alike, "
        "so there is nothing to rank."
    )


def _correlation_blocks(rows: Float[NumpyArray, "rows dimensions"]) -> Iterator[tuple[int, NumpyArray]]:
    """Correlations of a few rows with the first of them and all that follow."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        yield start, rows[start : start + _ROWS_AT_ONCE] @ rows[start:].T


def _unit_rows(side: Rows, used: Int[NumpyArray, " used"]) -> Float[NumpyArray, "used dimensions"]:
    """The rows used, centred and of length 1: a product of two is their correlation."""
    if side.values.shape[1] < 2:
        raise ValueError(f"Expected `{side.name}` to have at least 2 columns, but got 1: no row varies.")
    chosen = side.values[torch.from_numpy(used).to(side.values.device)]
    tensor = standardisation_of(side.name, chosen)(chosen) if side.standardised else chosen.double()
    rows = tensor.cpu().numpy()
    # A row that lies at the mean in every column is round-off after standardisation, where entries are around 1.
    size = np.maximum(np.abs(rows).max(axis=1), 1.0 if side.standardised else 0.0)
    rows = rows - rows.mean(axis=1, keepdims=True)
    largest = np.abs(rows).max(axis=1)
    constant = largest <= _CONSTANT * size
    if constant.any():
        how = " after standardisation" if side.standardised else ""
        raise ValueError(
            f"Expected every row of `{side.name}` to vary over its columns{how}, but row {used[constant.argmax()]} "
            "does not: a constant row has no correlation with others. Leave such samples out."
        )
    rows /= largest[:, None]  # squares of very small or large entries would be lost
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))

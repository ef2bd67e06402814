"""The compiled loops behind `parc` and `rsa`: sorting, and which dissimilarities tie."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from muster.metrics import _pair_kernels as kernels

LOAD_BITS = 10
CELLS = 2.0**41 - 1.0


@pytest.mark.parametrize("size", [1, 2, 47, 48, 49, 3000])
@pytest.mark.parametrize("spread", [1, 2, 3000, 2**20, 2**30, 2**42])
def test_sorts_by_keys(size: int, spread: int) -> None:
    generator = np.random.default_rng(size)
    keys = generator.integers(0, spread, size, dtype=np.uint64) + np.uint64(min(12345, 2**42 - spread))
    loads = np.arange(size, dtype=np.uint64) % np.uint64(1024)
    words = (keys << np.uint64(LOAD_BITS)) | loads
    given = words.copy()
    kernels.sort_words(words, np.empty_like(words), LOAD_BITS)
    assert (words >> np.uint64(LOAD_BITS) == np.sort(keys)).all()
    assert (np.sort(words) == np.sort(given)).all()  # loads have stayed with their keys


def relate(values: list[float], ranks: list[int]) -> float:
    """Spearman correlation of the dissimilarities of one sample to others with doubled ranks of the other side."""
    block = 1.0 - np.array([[0.0, *values]])
    count = len(values)
    words = np.empty(count, dtype=np.int64)
    # One sample with all others: the reference's pairs of that one are the last to be numbered, in falling order.
    distinct = count + 1
    table = np.zeros(distinct * (distinct + 1) // 2, dtype=np.int32)
    for index, rank in enumerate(ranks):
        table[len(table) - 1 - (index + 1)] = rank
    written = kernels.load_pairs(block, 0, np.arange(distinct), distinct, table, CELLS, LOAD_BITS, words)
    assert written == count
    sortable = words.view(np.uint64)
    kernels.sort_words(sortable, np.empty_like(sortable), LOAD_BITS)
    covariation, spread = kernels.relate_ranks(sortable, LOAD_BITS)
    other = sum((rank - count - 1) ** 2 for rank in ranks)
    return float(covariation / np.sqrt(spread * other))


def test_round_off_at_the_border_of_two_cells_does_not_split_a_tie() -> None:
    border = 1_000_000_000_000.5 / CELLS
    low, high = border * (1 - 1e-14), border * (1 + 1e-14)
    assert int(low * CELLS + 0.5) != int(high * CELLS + 0.5)
    ranks = [2, 4, 6, 8, 10]
    values = [0.3, high, low, 1.2, high]
    assert relate(values, ranks) == pytest.approx(stats.spearmanr([1, 2, 2, 4, 2], ranks).statistic, rel=1e-12)


def test_what_is_two_cells_apart_does_not_tie() -> None:
    values = [0.5, 0.5 + 3 / CELLS, 0.5 - 3 / CELLS, 2.0, 0.0]
    ranks = [2, 4, 6, 8, 10]
    assert relate(values, ranks) == pytest.approx(stats.spearmanr(values, ranks).statistic, rel=1e-12)
    close = [0.5, 0.5 + 0.5 / CELLS, 0.5 - 0.5 / CELLS, 2.0, 0.0]
    assert relate(close, ranks) == pytest.approx(stats.spearmanr([1, 1, 1, 2, 0], ranks).statistic, rel=1e-12)


def test_dissimilarities_beyond_their_range_by_round_off() -> None:
    values = [-1e-15, 0.0, 2.0, 2.0 + 1e-15, 1.0]
    ranks = [3, 3, 6, 8, 10]
    assert relate(values, ranks) == pytest.approx(stats.spearmanr([0, 0, 2, 2, 1], ranks).statistic, rel=1e-12)

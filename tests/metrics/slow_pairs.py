"""Rank correlation of pairwise dissimilarities in exact rational arithmetic, for PARC and RSA."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
from scipy import stats

Numbers = np.ndarray[Any, Any]
Row = list[Fraction]


def deck(generator: np.random.Generator, samples: int, dimensions: int, values: list[int]) -> Numbers:
    """Columns that are all permutations of the same whole numbers, so that standardising divides by one number.

    No row is all alike, so every row has correlations.
    """
    column = np.resize(values, samples).astype(float)
    while True:
        rows = np.stack([generator.permutation(column) for _ in range(dimensions)], axis=1)
        if (rows.std(axis=1) > 0).all():
            return rows


def rational(rows: Numbers, centred: bool) -> list[Row]:
    """Rows as fractions, each column less its mean if asked."""
    exact = [[Fraction(float(value)) for value in row] for row in rows]
    means = [sum(column, Fraction()) / len(exact) if centred else Fraction() for column in zip(*exact, strict=True)]
    return [[value - mean for value, mean in zip(row, means, strict=True)] for row in exact]


def likeness(first: Row, second: Row) -> Fraction:
    """Correlation times its size: in the same order as correlations, tied where they are, and rational."""
    left, right = ([value - sum(row, Fraction()) / len(row) for value in row] for row in (first, second))
    product = sum((a * b for a, b in zip(left, right, strict=True)), Fraction())
    return product * abs(product) / (sum(a * a for a in left) * sum(b * b for b in right))


def exact_dissimilarities(rows: list[Row]) -> list[int]:
    """Whole numbers in the order of the dissimilarities of all pairs, equal exactly where these are."""
    values = [-likeness(first, second) for first, second in itertools.combinations(rows, 2)]
    place = {value: index for index, value in enumerate(sorted(set(values)))}
    return [place[value] for value in values]


def float_dissimilarities(rows: Numbers, standardised: bool = True) -> list[float]:
    """The same in float64, with a loop over pairs."""
    if standardised:
        deviation = rows.std(axis=0)
        rows = (rows - rows.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    result = []
    for first, second in itertools.combinations(rows.tolist(), 2):
        left, right = ([value - math.fsum(row) / len(row) for value in row] for row in (first, second))
        product = math.fsum(a * b for a, b in zip(left, right, strict=True))
        result.append(1.0 - product / math.sqrt(math.fsum(a * a for a in left) * math.fsum(b * b for b in right)))
    return result


def spearman(first: list[Any], second: list[Any]) -> float:
    """SciPy's."""
    return float(stats.spearmanr(first, second).statistic)

"""DDS: whether a source model and a model trained on the target find the same images alike, without any ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from muster.arrays import NumpyArray
from muster.metrics._features import Features, as_features
from muster.metrics._linear_algebra import ROWS_AT_ONCE
from muster.metrics._products import product
from muster.metrics._standardise import Standardisation, standardisation_of

_ROUND_OFF = 1e-12
"""What may be left by round-off of a standardised row that is 0, and of an alignment of which nothing remains."""


def dds(
    features: Features,
    reference: Float[Tensor, "samples reference_dimensions"] | Float[NumpyArray, "samples reference_dimensions"],
) -> float:
    """Duality diagram similarity: debiased centred kernel alignment of two models' cosine dissimilarities.

    The dissimilarity of two samples is 1 minus the cosine of their rows, each column given mean 0 and variance 1 first.
    Both matrices of dissimilarities, their diagonals left out, are centred like a U-statistic: what is a sum of one
    number for each sample of a pair goes. The result is the cosine of the angle between what remains.

    Args:
        features: The member's features of each sample, ``[samples, dimensions]``, at least 4 samples. A constant column
            becomes 0 and does not matter. More columns than samples, and equal columns, are nothing special.
        reference: The same of a model trained on the target, ``[samples, reference_dimensions]``, of any width.

    Returns:
        -1..1; larger is better, and 0 is what unrelated features give on average. Exchanging the two does not matter,
        nor do the order of samples and columns, and the scale, sign and origin of a column.

    Raises:
        ValueError: If either is not a finite floating-point array, or has fewer than 4 samples (nothing would remain of
            3), or they differ in their number of rows.
        ValueError: If a row is 0 after standardisation: it lies at the mean of every column and has no direction (so
            always where all features are constant).
        ValueError: If nothing remains of the dissimilarities of one side.

    Note:
        Cosines are products of unit rows, so no matrix of all pairs is needed: O(n d^2) multiplications and O(d^2)
        memory, d the larger of the two widths, or O(n^2 d) and O(n^2 + n d) where that is less. Exact for any n.

    Source:
        Dwivedi et al., "Duality Diagram Similarity: A Generic Framework for Initialization Selection in Task Transfer
        Learning", ECCV 2020, section 3, with the cosine distance and standardisation that Bolya et al., NeurIPS 2021,
        section 3.2, choose. The U-statistic is eq. 5 of Song et al., "Feature Selection via Dependence Maximization",
        JMLR 2012.

    Example:
        >>> import numpy as np
        >>> features = np.array([[1.0, 0.0, 1.0], [2.0, 0.0, 3.0], [0.0, 1.0, 0.0], [0.0, 3.0, 2.0], [1.0, 1.0, 5.0]])
        >>> round(dds(features, 1.0 - 10.0 * features), 4), round(dds(features, features[:, :1]), 4)
        (1.0, 0.6245)
    """
    sides = [as_features(name, side, 4) for name, side in (("features", features), ("reference", reference))]
    if len(sides[0]) != len(sides[1]):
        raise ValueError(
            f"Expected `features` and `reference` to have as many rows, but got {len(sides[0])} and {len(sides[1])}."
        )
    units = [_Units.of("features", sides[0]), _Units.of("reference", sides[1].to(sides[0].device))]
    first, both, second = _alignments(*units)
    return min(max(both / math.sqrt(first) / math.sqrt(second), -1.0), 1.0)


@dataclass(frozen=True, eq=False)
class _Units:
    """Standardised rows of length 1, less their mean: that does not change what remains, and loses fewer digits.

    Attributes:
        name: The argument's name, for messages.
        features: Checked.
        standardisation: Of their columns.
        mean: Mean of the unit rows.
    """

    name: str
    features: Float[Tensor, "samples dimensions"]
    standardisation: Standardisation
    mean: Float[Tensor, " dimensions"]

    @classmethod
    def of(cls, name: str, features: Float[Tensor, "samples dimensions"]) -> _Units:
        """Prepare one side."""
        standardisation = standardisation_of(name, features)
        start = torch.zeros_like(standardisation.low)
        plain = cls(name, features, standardisation, start)
        return replace(plain, mean=sum((block.sum(dim=0) for block in plain.blocks()), start) / len(features))

    def blocks(self) -> Iterator[Float[Tensor, "rows dimensions"]]:
        """The rows, a few at a time.

        Raises:
            ValueError: If a row is 0.
        """
        for index, block in enumerate(torch.split(self.features, ROWS_AT_ONCE)):
            rows = self.standardisation(block)
            lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
            wrong = lengths[:, 0] <= _ROUND_OFF * math.sqrt(rows.shape[1])
            if bool(wrong.any()):
                row = index * ROWS_AT_ONCE + int(wrong.nonzero()[0, 0])
                raise ValueError(
                    f"Expected no row of `{self.name}` to be 0 after standardisation, but row {row} lies at the mean "
                    "of every column and has no direction. Leave such samples out."
                )
            yield rows / lengths - self.mean


def _alignments(first: _Units, second: _Units) -> tuple[float, float, float]:
    """Inner products of what remains of the matrices: of the first with itself, of both, of the second with itself.

    With K and L the products of all centred unit rows, whose rows sum to 0, and k and l their diagonals, that of both
    is sum(K * L) - n / (n - 2) sum(k l) + sum(k) sum(l) / ((n - 1) (n - 2)).
    """
    count = len(first.features)
    widths = first.features.shape[1] + second.features.shape[1]
    whole, diagonals = (_by_pairs if 2 * count <= widths else _by_columns)(first, second)
    result = []
    for total, (left, right) in zip(whole, ((0, 0), (0, 1), (1, 1)), strict=True):
        both, product = diagonals[left] @ diagonals[right], diagonals[left].sum() * diagonals[right].sum()
        result.append(float(total - both * count / (count - 2) + product / ((count - 1) * (count - 2))))
    for side, total, alignment in ((first, whole[0], result[0]), (second, whole[2], result[2])):
        if alignment <= _ROUND_OFF * float(total):
            raise ValueError(
                f"Expected the dissimilarities that `{side.name}` give to be more than a sum of one number for each "
                "sample of a pair, but nothing remains after centring."
            )
    return result[0], result[1], result[2]


_Sums: TypeAlias = tuple[list[Tensor], list[Float[Tensor, " samples"]]]
"""sum(K * K), sum(K * L) and sum(L * L); the diagonals of K and L."""


def _by_pairs(first: _Units, second: _Units) -> _Sums:
    """For fewer samples than columns: from the products of all pairs of rows."""
    pairs = [product(rows, rows.T) for rows in (torch.cat(list(side.blocks())) for side in (first, second))]
    sums = [torch.vdot(pairs[left].ravel(), pairs[right].ravel()) for left, right in ((0, 0), (0, 1), (1, 1))]
    return sums, [side.diagonal() for side in pairs]


def _by_columns(first: _Units, second: _Units) -> _Sums:
    """For more samples than columns: sum(K * L) is also that of the squared products of all pairs of columns."""
    totals: list[Tensor | float] = [0.0, 0.0, 0.0]
    lengths: list[list[Tensor]] = [[], []]
    for rows in zip(first.blocks(), second.blocks(), strict=True):
        for index, (left, right) in enumerate(((0, 0), (0, 1), (1, 1))):
            totals[index] = totals[index] + product(rows[left].T, rows[right])
        for side in (0, 1):
            lengths[side].append(rows[side].square().sum(dim=1))
    sums = [total.square().sum() for total in totals if isinstance(total, Tensor)]
    return sums, [torch.cat(side) for side in lengths]

"""Candidates that share a fact, apart from the others.

A metric that only sees which members started from ImageNet orders a mixed pool well, and knows nothing of the members
that did. So agreement is told among all candidates, and among those whose members all have the same pre-training, or
the same architecture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool

from muster.arrays import NumpyArray
from muster.errors import unknown_name
from muster.study.measures.candidates import Candidates, facts_of

ALL = "all"
"""The stratum of all candidates."""

STRATA = ("pretraining", "architecture")
"""The facts by which candidates are parted, columns of the table of members."""

LEAST_CANDIDATES = 5
"""A rank correlation of fewer candidates has so few possible values that it says nothing."""


@dataclass(frozen=True, eq=False)
class Stratum:
    """Candidates whose members all have the same fact.

    Attributes:
        fact: Which fact, or :data:`ALL`.
        value: Which value; empty for all candidates.
        kept: Which candidates.
    """

    fact: str
    value: str
    kept: Bool[NumpyArray, " candidates"]


def strata_of(candidates: Candidates, members: pd.DataFrame | None, facts: Sequence[str] = STRATA) -> Iterator[Stratum]:
    """All candidates, and then the candidates of each value of each fact.

    Args:
        candidates: Of one cell and size.
        members: A study's table of members; without it there is only the stratum of all.
        facts: Columns of it.

    Yields:
        Strata of at least :data:`LEAST_CANDIDATES`; one that holds all candidates is not repeated.

    Raises:
        ValueError: If a fact is no column, or a member is not in the table.
    """
    yield Stratum(ALL, "", np.ones(len(candidates), dtype=bool))
    if members is None:
        return
    for fact in facts:
        if fact not in members:
            raise ValueError(unknown_name("fact of members", fact, map(str, members.columns)))
        values = facts_of(members, candidates.names, fact).astype(str).to_numpy(dtype=object)
        of_members = values[candidates.rows]
        same = (of_members == of_members[:, :1]).all(axis=1)
        for value in sorted(set(values.tolist())):
            kept = same & (of_members[:, 0] == value)
            if LEAST_CANDIDATES <= kept.sum() < len(candidates):
                yield Stratum(fact, value, kept)

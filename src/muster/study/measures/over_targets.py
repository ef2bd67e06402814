"""Means over seeds and over targets, and whether a mean over few targets differs from 0.

Targets are what a study has few of. So the test is exact, and takes for granted only that a difference which is due to
chance is as likely to be positive as negative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from muster.arrays import NumpyArray
from muster.study.measures.intervals import LEVEL

MOST_EXACT = 16
"""Up to so many targets all signs are tried; beyond, as many random ones as these have."""


@dataclass(frozen=True)
class PairedTest:
    """Whether differences on several targets have a mean other than 0.

    Attributes:
        mean: Over targets.
        low: Lower end of the interval of the mean; -inf if there are too few targets for its level.
        high: Upper end, or inf.
        p_value: Two-sided, in 0..1; at least 2 / 2^targets.
        targets: How many.
        wins: On how many the difference is positive.
    """

    mean: float
    low: float
    high: float
    p_value: float
    targets: int
    wins: int


def paired_test(differences: Sequence[float], level: float = LEVEL, seed: int = 0) -> PairedTest:
    """Sign-flip permutation test, with the interval that belongs to it.

    Args:
        differences: One a target, finite: of one thing's result to another's.
        level: Of the interval, in 0..1.
        seed: Of random signs, if there are more than :data:`MOST_EXACT` targets.

    Returns:
        The test. Its interval holds the means that the test does not refuse: its ends are two of the ordered means of
        all subsets of the targets. At a level of 0.95 it takes 6 targets to have ends.

    Raises:
        ValueError: If there is no difference, or one is not finite.

    Source:
        Fisher, The Design of Experiments (1935), section 21; Hartigan, "Using subsample values as typical values", JASA
        1969 (the interval).

    Example:
        >>> told = paired_test([0.01, 0.03, 0.02, 0.02, 0.04, 0.03])
        >>> told.p_value, told.low, told.high  # 2 of 64 signs; the least and the greatest difference
        (0.03125, 0.01, 0.04)
    """
    values = np.asarray(differences, dtype=np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"Expected at least one finite difference, but got {values.tolist()}.")
    chosen = _subsets(len(values), seed)
    sums = chosen @ values
    # The signs of a subset are positive, those of the others negative.
    flipped = np.abs(2 * sums - values.sum())
    p_value = float((flipped >= abs(values.sum()) - 1e-12 * np.abs(values).sum()).mean())
    sizes = chosen.sum(axis=1)
    means = np.sort(sums[sizes > 0] / sizes[sizes > 0])
    outside = int((1 - level) / 2 * len(chosen) + 1e-9)
    low, high = (float(means[outside - 1]), float(means[-outside])) if outside else (-np.inf, np.inf)
    return PairedTest(float(values.mean()), low, high, p_value, len(values), int((values > 0).sum()))


def _subsets(count: int, seed: int) -> Float[NumpyArray, "subsets targets"]:
    """All subsets of the targets as rows of 0 and 1, or many random ones with the empty and the full one."""
    if count <= MOST_EXACT:
        return (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(np.float64)
    drawn = np.random.default_rng(seed).integers(0, 2, (2**MOST_EXACT, count))
    drawn[0], drawn[1] = 0, 1
    return drawn.astype(np.float64)


def over_seeds(table: pd.DataFrame, value: str, by: Sequence[str]) -> pd.DataFrame:
    """Mean and deviation over whatever differs besides.

    Args:
        table: Any, e.g. of :func:`muster.study.measures.gains`.
        value: The column to average; rows without a value do not count.
        by: Columns that stay.

    Returns:
        ``by``, ``mean``, ``deviation`` (over n - 1; NaN of one row) and ``count``.
    """
    of = table.dropna(subset=[value]).groupby(list(by), sort=True)[value]
    return pd.DataFrame({"mean": of.mean(), "deviation": of.std(ddof=1), "count": of.size()}).reset_index()


def over_targets(
    table: pd.DataFrame, value: str, by: Sequence[str], level: float = LEVEL, seed: int = 0
) -> pd.DataFrame:
    """Mean over targets, each of which counts once, with its test and interval.

    Args:
        table: Any with a column ``target``, e.g. of :func:`muster.study.measures.agreement`.
        value: The column to average; rows without a value do not count. First over all rows of a target.
        by: Columns that stay.
        level: Of the interval, in 0..1.
        seed: Of the test, if there are many targets.

    Returns:
        ``by``, the mean over targets and the other attributes of :class:`PairedTest`, and ``deviation`` over targets.
    """
    means = over_seeds(table, value, [*by, "target"])
    rows = []
    for key, of_targets in means.groupby(list(by), sort=True):
        told = paired_test(of_targets["mean"].tolist(), level, seed)
        rows.append({**dict(zip(by, key, strict=True)), **vars(told), "deviation": of_targets["mean"].std(ddof=1)})
    names = [*by, *PairedTest.__dataclass_fields__, "deviation"]
    return pd.DataFrame(rows, columns=names)


def differences_over_targets(
    table: pd.DataFrame,
    value: str,
    by: Sequence[str],
    reference: Mapping[str, object],
    level: float = LEVEL,
    seed: int = 0,
) -> pd.DataFrame:
    """How much everything differs from one of them, target by target.

    Args:
        table: Any with a column ``target``, e.g. of :func:`muster.study.measures.agreement`.
        value: The column to compare; rows without a value do not count.
        by: Columns that name what is compared, e.g. ``metric`` and ``predictor``. Filter the others first, or name
            them here and leave them out of ``reference``: then each is compared with the reference of its own kind.
        reference: What to compare with, by columns of ``by``, e.g. ``{"metric": "parameters", "predictor": ""}``.
        level: Of the interval, in 0..1.
        seed: Of the test, if there are many targets.

    Returns:
        As :func:`over_targets`, of the differences; the reference itself is left out.

    Raises:
        ValueError: If a column of ``reference`` is not in ``by``, or nothing is like it.

    Example:
        >>> rows = [("a", "m", 0.5), ("a", "size", 0.25), ("b", "m", 0.5), ("b", "size", 0.0)]
        >>> taus = pd.DataFrame(rows, columns=["target", "metric", "tau"])
        >>> differences_over_targets(taus, "tau", ["metric"], {"metric": "size"})["mean"].tolist()
        [0.375]
    """
    if unknown := [name for name in reference if name not in by]:
        raise ValueError(f"Expected `reference` to name columns of {', '.join(by)}, but got {', '.join(unknown)}.")
    means = over_seeds(table, value, [*by, "target"])
    is_reference = np.ones(len(means), dtype=bool)
    for name, wanted in reference.items():
        is_reference &= (means[name] == wanted).to_numpy()
    if not is_reference.any():
        raise ValueError(f"Expected rows with {dict(reference)}, but there are none with a {value}.")
    same = ["target", *(name for name in by if name not in reference)]
    of_reference = means.loc[is_reference, [*same, "mean"]].rename(columns={"mean": "of_reference"})
    both = means[~is_reference].merge(of_reference, on=same)
    return over_targets(both.assign(difference=both["mean"] - both["of_reference"]), "difference", by, level, seed)

"""Diagnostics: what a selection's numbers say beside the choice itself, and whether to trust it.

Axis names: ``images`` are target training images, ``classes`` the target's classes, ``metrics`` ensemble metrics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Integer
from scipy.stats import rankdata

from muster.arrays import NumpyArray
from muster.metrics.ties import tie_levels
from muster.scoring.ranking import Ranking

TOP_FRACTION = 0.01
"""Members are counted among this share of the candidates, the best ones ..."""

TOP_CANDIDATES = 10
"""... but among no fewer than this many, so that a small pool says something too."""

ALIKE_FRACTION = 0.02
"""Scores count as all alike if the best is ahead of the median candidate by less than this share of its own size.
For a predicted mIoU of 0.5 that is one point."""

AGREEMENT = 0.3
"""Metrics count as disagreeing if the chosen one's rank correlation with the others is below this on average."""


@dataclass(frozen=True)
class ScoringInterrupted:
    """Scores rest on a part of the probe pixels.

    Attributes:
        fraction: Which part, 0..1.
    """

    fraction: float


@dataclass(frozen=True)
class SearchInterrupted:
    """The search ended early."""


@dataclass(frozen=True)
class SingleClass:
    """The target's training images hold one class only."""


@dataclass(frozen=True)
class ScoresAlike:
    """Scores differ hardly.

    Attributes:
        candidates: How many there are.
        best: The largest score.
        median: The median score.
    """

    candidates: int
    best: float
    median: float


@dataclass(frozen=True)
class MetricsDisagree:
    """The chosen metric orders candidates otherwise than the others.

    Attributes:
        correlation: Its rank correlation with the others, on average.
    """

    correlation: float


Finding: TypeAlias = ScoringInterrupted | SearchInterrupted | SingleClass | ScoresAlike | MetricsDisagree
"""A reason not to trust a selection, in numbers; :func:`muster.report.wording.warning_of` says it in words."""


def label_entropy(counts: Integer[NumpyArray, "images classes"]) -> float:
    """Entropy of the labels that the probe set draws from these images.

    The probe draws the same number of pixels from every image, a pixel with probability inversely proportional to the
    frequency of its class; this is the entropy of the expected shares.

    Args:
        counts: Pixels of each class in each image, void not counted. Images without a label are skipped.

    Returns:
        Nats; 0 if fewer than two classes occur.
    """
    frequency = counts.sum(axis=0)
    weighted = counts / np.maximum(frequency, 1)
    total = weighted.sum(axis=1, keepdims=True)
    labelled = total[:, 0] > 0
    if not labelled.any():
        return 0.0
    shares = (weighted[labelled] / total[labelled]).mean(axis=0)
    shares = shares[shares > 0]
    return max(0.0, float(-(shares * np.log(shares)).sum()))


def occurrence(ranking: Ranking, order: Integer[NumpyArray, " candidates"], names: Sequence[str]) -> dict[str, float]:
    """How often each member occurs in the best candidates.

    Args:
        ranking: All candidates.
        order: Its rows from best to worst.
        names: Name of each member that ``ranking.members`` points to.

    Returns:
        Share of the candidates counted by :func:`top_count` that hold the member, 0..1.
    """
    top = ranking.members[order[: top_count(len(ranking))]]
    shares = (top[:, :, None] == np.arange(len(names))).any(axis=1).mean(axis=0)
    return dict(zip(names, shares.tolist(), strict=True))


def top_count(candidates: int) -> int:
    """How many candidates count as the best ones."""
    return min(candidates, max(TOP_CANDIDATES, math.ceil(TOP_FRACTION * candidates)))


def agreement(ranking: Ranking) -> Float[NumpyArray, "metrics metrics"]:
    """Spearman correlation between the metrics over all candidates, ties sharing their mean rank.

    Args:
        ranking: All candidates.

    Returns:
        In the order of ``ranking.scores``, -1..1; NaN where a metric scores all candidates the same.
    """
    ranks = np.stack([rankdata(tie_levels(values)) for values in ranking.scores.values()])
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1))
    length[length == 0] = np.nan
    correlation: NumpyArray = np.clip(centred @ centred.T / np.outer(length, length), -1, 1)
    return correlation


def diagnose(
    ranking: Ranking,
    metric: str,
    entropy: float,
    *,
    whole: bool = True,
    search_interrupted: bool = False,
) -> list[Finding]:
    """Reasons not to trust a selection, by the rules at the top of this module.

    Args:
        ranking: The candidates.
        metric: The metric that chose.
        entropy: See :func:`label_entropy`.
        whole: Whether these are all candidates, and not the leading ones only: those are alike by nature, and which of
            them is first says nothing about whether metrics agree.
        search_interrupted: Whether a search was ended before it was through.

    Returns:
        What was found, the gravest first; usually nothing.
    """
    found = (
        _interruption(ranking, search_interrupted),
        # With two classes or more, whether members know anything is asked once: see `no_better_than_guessing`.
        None if entropy > 0 else SingleClass(),
        _alike(ranking, metric) if whole else None,
        _disagreement(ranking, metric) if whole else None,
    )
    return [finding for finding in found if finding is not None]


def _interruption(ranking: Ranking, search_interrupted: bool) -> Finding | None:
    if ranking.fraction < 1:
        return ScoringInterrupted(ranking.fraction)
    return SearchInterrupted() if search_interrupted else None


def _alike(ranking: Ranking, metric: str) -> Finding | None:
    scores = ranking.scores[metric]
    best, median = float(scores.max()), float(np.median(scores))
    if len(scores) < 2 or best - median >= ALIKE_FRACTION * abs(best):
        return None
    return ScoresAlike(len(scores), best, median)


def _disagreement(ranking: Ranking, metric: str) -> Finding | None:
    # BASE never looks at the target, so it is no witness.
    others = [other for other in ranking.scores if other not in (metric, "base")]
    if not others or len(ranking) < 3:
        return None
    pair = Ranking(ranking.members, {name: ranking.scores[name] for name in (metric, *others)})
    mean = float(agreement(pair)[0, 1:].mean())
    return MetricsDisagree(mean) if mean < AGREEMENT else None

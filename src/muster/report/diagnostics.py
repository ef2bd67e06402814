"""What a selection's numbers say beside the choice itself: how sure it is, and whether to trust it.

Axis names: ``images`` are target training images, ``classes`` the target's classes, ``metrics`` ensemble metrics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer
from scipy.stats import rankdata

from muster.arrays import NumpyArray
from muster.metrics.ties import tie_levels
from muster.scoring.ranking import Ranking
from muster.selection.guessing import LEAST_EXPLAINED
from muster.selection.record import Guessing

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
class Caution:
    """A reason not to trust a selection.

    Attributes:
        title: In a few words.
        text: What was seen and what to do.
    """

    title: str
    text: str


SEARCH_INTERRUPTED = Caution(
    "The search was interrupted",
    "It gives the best that it had found by then. Run select.py again for the whole search; what members said is "
    "in the cache.",
)


def no_better_than_guessing(guessing: Guessing | None, target: str) -> str:
    """Why a selection is no recommendation: no member does better than guessing.

    Args:
        guessing: How the members compare with it.
        target: Name of the target.

    Returns:
        In words; empty if some member is better, or if nothing is known of it.
    """
    if guessing is None or guessing.better:
        return ""
    explained = f"{100 * max(guessing.explained, 0):.0f} %"
    return (
        f"No member of this pool does better on {target} than guessing by class frequency, so nothing here says which "
        f"ensemble to fine-tune. The best of them, {guessing.best}, has a LEEP of {guessing.best_leep:.3f} on images "
        f"that its predictor was not made from ({100 * guessing.level:g} % interval over the images {guessing.low:.3f} "
        f"to {guessing.high:.3f}), guessing {guessing.leep:.3f}: that explains {explained} of the entropy of the "
        f"labels. Its mean IoU there is {guessing.best_iou:.3f}, that of always naming the most frequent class "
        f"{guessing.iou:.3f}. Better means at least {100 * LEAST_EXPLAINED:.0f} % explained, an interval above "
        "guessing, and a larger mean IoU. More labelled images, a larger image_size, or sources that are closer to the "
        "target could help."
    )


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


def cautions(
    ranking: Ranking,
    metric: str,
    entropy: float,
    *,
    whole: bool = True,
    search_interrupted: bool = False,
) -> list[Caution]:
    """Reasons not to trust a selection, by the rules at the top of this module.

    Args:
        ranking: The candidates.
        metric: The metric that chose.
        entropy: See :func:`label_entropy`.
        whole: Whether these are all candidates, and not the leading ones only: those are alike by nature, and which of
            them is first says nothing about whether metrics agree.
        search_interrupted: Whether a search was ended before it was through.

    Returns:
        The cautions, the gravest first; usually none.
    """
    found = (
        _interrupted(ranking, search_interrupted),
        _single_class(entropy),
        _alike(ranking, metric) if whole else None,
        _disagreement(ranking, metric) if whole else None,
    )
    return [caution for caution in found if caution is not None]


def _interrupted(ranking: Ranking, search_interrupted: bool) -> Caution | None:
    if ranking.fraction >= 1:
        return SEARCH_INTERRUPTED if search_interrupted else None
    return Caution(
        "Scoring was interrupted",
        f"The scores rest on a random {100 * ranking.fraction:.0f} % of the probe pixels. Run select.py again for all; "
        "what members said is in the cache.",
    )


def _single_class(entropy: float) -> Caution | None:
    # With two classes or more, whether members know anything is asked once: see `no_better_than_guessing`.
    if entropy > 0:
        return None
    return Caution(
        "Only one class was seen",
        "The target's training images hold a single class, so every member looks perfect. Label more classes.",
    )


def _alike(ranking: Ranking, metric: str) -> Caution | None:
    scores = ranking.scores[metric]
    best, median = float(scores.max()), float(np.median(scores))
    if len(scores) < 2 or best - median >= ALIKE_FRACTION * abs(best):
        return None
    return Caution(
        "The scores are nearly all alike",
        f"The best of {len(scores):,} candidates scores {best:.4g}, the median one {median:.4g}. Such a small lead "
        "says little about what fine-tuning will reach: any of the better candidates may do as well.",
    )


def _disagreement(ranking: Ranking, metric: str) -> Caution | None:
    # BASE never looks at the target, so it is no witness.
    others = [other for other in ranking.scores if other not in (metric, "base")]
    if not others or len(ranking) < 3:
        return None
    pair = Ranking(ranking.members, {name: ranking.scores[name] for name in (metric, *others)})
    mean = float(agreement(pair)[0, 1:].mean())
    if not mean < AGREEMENT:
        return None
    return Caution(
        "The metrics disagree",
        f"The rank correlation of the chosen metric with the others is {mean:.2f} on average. Look at what each of "
        "them chose below, and fine-tune more than one ensemble if you can.",
    )

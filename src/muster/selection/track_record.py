"""How choices fared in studies that fine-tuned every candidate: what a user may expect of the next one.

``track_record.csv`` beside this file has one row a target and chooser. ``muster study`` writes such a file for its own
targets; the rows of published studies are collected here.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from muster.arrays import NumpyArray
from muster.selection.record import SelectionRecord

FILE = Path(__file__).with_name("track_record.csv")

COLUMNS = (
    "study",
    "target",
    "task",
    "predictor",
    "metric",
    "size",
    "rank",
    "candidates",
    "result",
    "best_result",
    "mean_result",
    "margin",
)

TOP_SHARE = 0.05
"""Choices with no larger share of better candidates were among the best."""

FEWEST_OF_A_GROUP = 3
"""Past choices are told apart by their margin only if so many of them have a large and a small one."""


@dataclass(frozen=True)
class PastChoice:
    """What a metric chose on a target whose candidates were all fine-tuned.

    Attributes:
        study: Which study.
        target: Name of the target.
        task: What it is for, see :mod:`muster.tasks.task`.
        predictor: What the metric read; empty for a metric that uses none.
        metric: What chose.
        size: Members of a candidate.
        rank: 1 if the choice was the best; a mean over seeds.
        candidates: How many there were.
        result: What the choice reached: the plain mean of its members, fine-tuned.
        best_result: What the best candidate reached.
        mean_result: What the candidates reached on average.
        margin: How far the choice's score was ahead, see :func:`margin_of`; ``None`` if that is not known.
    """

    study: str
    target: str
    task: str
    predictor: str
    metric: str
    size: int
    rank: float
    candidates: int
    result: float
    best_result: float
    mean_result: float
    margin: float | None = None

    @property
    def among_best(self) -> bool:
        """Whether no more than :data:`TOP_SHARE` of the candidates reached more."""
        return self.better <= TOP_SHARE

    @property
    def better(self) -> float:
        """Share of the candidates that reached more, 0..1."""
        return (self.rank - 1) / self.candidates

    @property
    def regret(self) -> float:
        """How much less than the best the choice reached, as a share of the best."""
        return 1 - self.result / self.best_result


@cache
def past_choices() -> tuple[PastChoice, ...]:
    """All that is known."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(_choices(csv.DictReader(file)))


def _choices(rows: csv.DictReader[str]) -> Iterator[PastChoice]:
    for row in rows:
        yield PastChoice(
            row["study"],
            row["target"],
            row["task"],
            row["predictor"],
            row["metric"],
            int(row["size"]),
            float(row["rank"]),
            int(row["candidates"]),
            float(row["result"]),
            float(row["best_result"]),
            float(row["mean_result"]),
            float(row["margin"]) if row["margin"] else None,
        )


def margin_of(scores: Float[NumpyArray, " candidates"]) -> float | None:
    """How far a choice is ahead: of what the best score is above the middle one, the part above the best 5 %.

    It does not change where all scores are multiplied by a positive number or moved. A score among thousands of
    others is next to one that is nearly the same, so the runner-up says little.

    Args:
        scores: Of all candidates, larger is better; finite.

    Returns:
        0 where the best 5 % score alike, and where more than half of all do; 1 where they score as the middle one
        does. ``None`` for fewer than 20 candidates, which have no best 5 % besides the best.

    Example:
        >>> margin_of(np.arange(41.0))  # 40 is best, 38 the third of 41, 20 in the middle
        0.1
    """
    if len(scores) < 1 / TOP_SHARE:
        return None
    ordered = np.sort(scores)[::-1]
    place = max(2, math.ceil(TOP_SHARE * len(ordered)))
    best, beside, middle = float(ordered[0]), float(ordered[place - 1]), float(np.median(ordered))
    return (best - beside) / (best - middle) if best > middle else 0.0


@dataclass(frozen=True)
class ByMargin:
    """Past choices parted by how far they were ahead.

    Attributes:
        least: The least margin of the first group.
        ahead: Choices with at least that margin.
        close: The others whose margin is known.
    """

    least: float
    ahead: tuple[PastChoice, ...]
    close: tuple[PastChoice, ...]

    @staticmethod
    def of(past: Sequence[PastChoice]) -> ByMargin | None:
        """Parted at their median.

        Args:
            past: Choices made alike.

        Returns:
            ``None`` if a group would have fewer than :data:`FEWEST_OF_A_GROUP`.
        """
        known = [(each, each.margin) for each in past if each.margin is not None]
        if not known:
            return None
        least = statistics.median_high([margin for _, margin in known])
        ahead = tuple(each for each, margin in known if margin >= least)
        close = tuple(each for each, margin in known if margin < least)
        enough = min(len(ahead), len(close)) >= FEWEST_OF_A_GROUP
        return ByMargin(least, ahead, close) if enough else None


def record_of(selection: SelectionRecord) -> tuple[PastChoice, ...]:
    """How choices made like this one fared.

    Args:
        selection: Says for which task, by which metric, with which predictor, of which size.

    Returns:
        Those for the same task, by the same metric and predictor, of the same size; none if no study has followed such
        choices.
    """
    wanted = selection.task, selection.metric, selection.size
    return tuple(
        past
        for past in past_choices()
        if (past.task, past.metric, past.size) == wanted and past.predictor in (selection.predictor, "")
    )

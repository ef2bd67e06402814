"""How choices fared in studies that fine-tuned every candidate: what a user may expect of the next one.

``track_record.csv`` beside this file has one row a target and chooser. ``muster study`` writes such a file for its own
targets; the rows of published studies are collected here.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from muster.selection.record import SelectionRecord

FILE = Path(__file__).with_name("track_record.csv")

COLUMNS = (
    "study",
    "target",
    "predictor",
    "metric",
    "size",
    "rank",
    "candidates",
    "result",
    "best_result",
    "mean_result",
)


@dataclass(frozen=True)
class PastChoice:
    """What a metric chose on a target whose candidates were all fine-tuned.

    Attributes:
        study: Which study.
        target: Name of the target.
        predictor: What the metric read; empty for a metric that uses none.
        metric: What chose.
        size: Members of a candidate.
        rank: 1 if the choice was the best; a mean over seeds.
        candidates: How many there were.
        result: What the choice reached: the plain mean of its members, fine-tuned.
        best_result: What the best candidate reached.
        mean_result: What the candidates reached on average.
    """

    study: str
    target: str
    predictor: str
    metric: str
    size: int
    rank: float
    candidates: int
    result: float
    best_result: float
    mean_result: float

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
            row["predictor"],
            row["metric"],
            int(row["size"]),
            float(row["rank"]),
            int(row["candidates"]),
            *(float(row[name]) for name in ("result", "best_result", "mean_result")),
        )


def record_of(selection: SelectionRecord) -> tuple[PastChoice, ...]:
    """How choices made like this one fared.

    Args:
        selection: Says by which metric, with which predictor, of which size.

    Returns:
        Those by the same metric and predictor, of the same size; none if no study has followed such choices.
    """
    wanted = selection.metric, selection.size
    return tuple(
        past
        for past in past_choices()
        if (past.metric, past.size) == wanted and past.predictor in (selection.predictor, "")
    )

"""Which classes are taken for which: a table of all pairs where it can be read, and the largest confusions always."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muster.arrays import NumpyArray
from muster.report.page import NO_VALUE, Cell, heat

NAMED_COLUMNS = 14
"""Up to so many classes the columns carry names; beyond, the numbers that stand beside the names of the rows."""

SHOWN_CLASSES = 40
"""A table of more classes would be wider than any screen: then only the largest confusions are shown."""

SHOWN_CONFUSIONS = 15


@dataclass(frozen=True)
class Confusion:
    """Pixels of one class that are taken for another.

    Attributes:
        truth: The class they are of.
        prediction: The class they are taken for.
        of_class: Their share of the pixels of their class, 0..1.
        of_all: Their share of all labelled pixels, 0..1.
    """

    truth: str
    prediction: str
    of_class: float
    of_all: float


def largest_confusions(
    confusion: Sequence[Sequence[int]], classes: Sequence[str], count: int = SHOWN_CONFUSIONS
) -> list[Confusion]:
    """The confusions that cost their class most.

    Args:
        confusion: Pixels, truth by prediction.
        classes: Names of the classes.
        count: How many at most.

    Returns:
        Sorted by the share of the true class's pixels, largest first (equal ones in the order of the classes): mIoU
        weighs classes alike, and so does this.
    """
    counts = np.asarray(confusion, dtype=np.int64).reshape(len(classes), len(classes))
    shares = _shares(counts)
    np.fill_diagonal(shares, 0)
    order = np.argsort(-shares, axis=None, kind="stable")[:count]
    pairs = (divmod(int(place), len(classes)) for place in order)
    total = max(int(counts.sum()), 1)
    return [
        Confusion(classes[t], classes[p], float(shares[t, p]), float(counts[t, p] / total))
        for t, p in pairs
        if shares[t, p] > 0
    ]


def confusion_context(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> dict[str, object]:
    """What the template draws.

    Args:
        confusion: Pixels, truth by prediction; empty if it is not known.
        classes: Names of the classes.

    Returns:
        ``confusion_columns`` and ``confusion_rows``, empty for too many classes, and ``confusions``.
    """
    if not confusion:
        return {"confusion_columns": [], "confusion_rows": [], "confusions": [], "confusion_note": ""}
    named, shown = len(classes) <= NAMED_COLUMNS, len(classes) <= SHOWN_CLASSES
    columns = list(classes) if named else [str(place + 1) for place in range(len(classes))]
    return {
        "confusion_columns": columns if shown else [],
        "confusion_rows": _rows(confusion, classes, named) if shown else [],
        "confusions": largest_confusions(confusion, classes),
        "confusion_note": "" if shown else f"A table of {len(classes)} classes is in confusion.csv.",
    }


def _rows(confusion: Sequence[Sequence[int]], classes: Sequence[str], named: bool) -> list[tuple[str, list[Cell]]]:
    counts = np.asarray(confusion, dtype=np.int64)
    shares = _shares(counts)
    rows = []
    for place, label in enumerate(classes):
        occurs = counts[place].sum() > 0
        cells = [_cell(float(share), index == place, bool(occurs)) for index, share in enumerate(shares[place])]
        rows.append((label if named else f"{place + 1} {label}", cells))
    return rows


def _cell(share: float, right: bool, occurs: bool) -> Cell:
    """Right ones blue, wrong ones orange; nothing is written where less than half a per cent would be read as 0."""
    if not occurs:
        return Cell("", NO_VALUE)
    text = f"{100 * share:.0f}" if share >= 0.005 or right else ""
    return heat(share if right else -share, text=text)


def _shares(counts: NumpyArray) -> NumpyArray:
    """Each row as shares of its pixels; zeros for a class that does not occur."""
    totals = counts.sum(axis=1, keepdims=True)
    shares: NumpyArray = counts / np.maximum(totals, 1)
    return shares

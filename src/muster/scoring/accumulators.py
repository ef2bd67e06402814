"""What exhaustive search adds up over pixels, and the scores that follow from it.

Shares of the labels are added in fixed point, as integers: then no order of adding, number of threads or division into
blocks can change a score. Axis names: ``candidates`` are sets of members, ``members`` pool models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from muster.arrays import NumpyArray

FAST_METRICS = ("ms_leep", "e_leep", "iou_eep", "soft_iou_eep")
"""Metrics that a accumulator gives."""

COUNT_BIT = 52
"""An entry of a histogram holds a count of pixels from this bit on, and below it a sum of shares."""

COUNT_LIMIT = (1 << (63 - COUNT_BIT)) - 1
"""Most pixels that an entry can count."""

_LARGEST = 1.02  # a probability after rounding
_ROWS_AT_ONCE = 4096
_COARSE = 1e-8  # part of the sum in a class that rounding may be


def share_scale(size: int, pixels_at_once: int, num_pixels: int) -> float:
    """What a share of 1 is in fixed point: as large as sums over ``size`` members and pixels allow.

    Args:
        size: Members per candidate.
        pixels_at_once: Most pixels that are added up below :data:`COUNT_BIT`.
        num_pixels: All pixels.

    Returns:
        A power of two; shares are kept to half of its inverse.
    """
    short = COUNT_BIT - math.ceil(math.log2(pixels_at_once * size * _LARGEST))
    long = 62 - math.ceil(math.log2(num_pixels * size * _LARGEST))
    return 2.0 ** min(short, long)


@dataclass(eq=False)
class Accumulator:
    """Sums over the pixels looked at so far.

    Attributes:
        candidates: int64 ``[candidates, size]``.
        num_members: How many members there are.
        num_classes: How many target classes.
        scale: See :func:`share_scale`.
        metrics: Names among :data:`FAST_METRICS` that will be asked for.
        pixels: How many pixels were looked at.
        label_counts: int64 ``[classes]``, pixels of each class.
        member_logs: float64 ``[members]``, log of the label's share.
        member_shares: int64 ``[members, classes]``, what each member gives to the labels, by label.
        counts: int32 ``[candidates, 2 classes]``: pixels predicted wrongly as each class, then pixels of each class
            predicted right.
        totals: int64 of that shape: what the candidate's members together give to the labels there.
        fractions: float64 ``[candidates]``; times 2 to the power of ``exponents`` it is the product over pixels of what
            the candidate's members together give to the label.
        exponents: int64 ``[candidates]``.
    """

    candidates: NumpyArray
    num_members: int
    num_classes: int
    scale: float
    metrics: Sequence[str]
    pixels: int = 0
    label_counts: NumpyArray = field(init=False)
    member_logs: NumpyArray = field(init=False)
    member_shares: NumpyArray = field(init=False)
    counts: NumpyArray = field(init=False)
    totals: NumpyArray = field(init=False)
    fractions: NumpyArray = field(init=False)
    exponents: NumpyArray = field(init=False)

    def __post_init__(self) -> None:
        """Everything is zero, or one, at first."""
        marked = len(self.candidates) if self.wants_marks else 0
        multiplied = len(self.candidates) if self.wants_products else 0
        self.label_counts = np.zeros(self.num_classes, dtype=np.int64)
        self.member_logs = np.zeros(self.num_members)
        self.member_shares = np.zeros((self.num_members, self.num_classes), dtype=np.int64)
        self.counts = np.zeros((marked, 2 * self.num_classes), dtype=np.int32)
        self.totals = np.zeros((marked, 2 * self.num_classes), dtype=np.int64)
        self.fractions = np.ones(multiplied)
        self.exponents = np.zeros(multiplied, dtype=np.int64)

    @property
    def wants_marks(self) -> bool:
        """Whether predicted classes are to be counted."""
        return "iou_eep" in self.metrics or "soft_iou_eep" in self.metrics

    @property
    def wants_products(self) -> bool:
        """Whether products over pixels are to be made."""
        return "e_leep" in self.metrics

    def add_pixels(
        self,
        labels: Int[NumpyArray, " pixels"],
        truths: Float[NumpyArray, "members pixels"],
        shares: Int[NumpyArray, "members pixels"] | None,
        tiny: float,
    ) -> None:
        """Add what is known of each member alone.

        Args:
            labels: True classes.
            truths: What each member gives to them.
            shares: The same in fixed point; needed if predicted classes are counted.
            tiny: Where the argument of a log is clamped.
        """
        self.pixels += len(labels)
        self.label_counts += np.bincount(labels, minlength=self.num_classes)
        if "ms_leep" in self.metrics:
            # In float64, so that a sum of members' scores is the score of their sum to the last digits.
            self.member_logs += np.log(np.maximum(truths, tiny), dtype=np.float64).sum(axis=1)
        if shares is not None:
            order = np.argsort(labels, kind="stable")
            present, starts = np.unique(labels[order], return_index=True)
            self.member_shares[:, present] += np.add.reduceat(shares[:, order], starts, axis=1)

    def score(self, metric: str) -> Float[NumpyArray, " candidates"]:
        """Scores of all candidates over the pixels added.

        Args:
            metric: One of ``metrics``.

        Returns:
            float64.
        """
        if metric == "ms_leep":
            leeps = self.member_logs / self.pixels
            total = leeps[self.candidates[:, 0]]
            for column in self.candidates.T[1:]:
                total = total + leeps[column]
            return total
        if metric == "e_leep":
            logs = np.log(self.fractions) + self.exponents * math.log(2)
            return np.asarray(logs / self.pixels - math.log(self.candidates.shape[1]))
        ious = self._ious if metric == "iou_eep" else self._soft_ious
        scores = np.empty(len(self.candidates))
        for start in range(0, len(scores), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            part, whole = ious(rows)
            with np.errstate(divide="ignore", invalid="ignore"):
                shares = np.where(whole > 0, part / whole, 0.0)
            shares[:, self.label_counts == 0] = np.nan
            scores[rows] = np.nanmean(shares, axis=1)
        return scores

    def is_coarse(self) -> Bool[NumpyArray, " candidates"]:
        """Where fixed point is too coarse for the soft IoU: what was added to some class is hardly above rounding.

        That cannot be where rows sum to 1, since a right pixel then adds one part in ``num_classes`` at least, and a
        wrong one half.
        """
        coarse = np.zeros(len(self.candidates), dtype=bool)
        present = self.label_counts > 0
        rounding = self.label_counts[present] / self.scale
        for start in range(0, len(coarse), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            _, whole = self._soft_ious(rows)
            coarse[rows] = (whole[:, present] * _COARSE < rounding).any(axis=1)
        return coarse

    def _ious(self, rows: slice) -> tuple[NumpyArray, NumpyArray]:
        wrong, right = np.split(self.counts[rows], 2, axis=1)
        return right.astype(np.float64), (self.label_counts + wrong).astype(np.float64)

    def _soft_ious(self, rows: slice) -> tuple[NumpyArray, NumpyArray]:
        unit = self.scale * self.candidates.shape[1]
        wrong, right = np.split(self.counts[rows], 2, axis=1)
        wrong_total, right_total = np.split(self.totals[rows], 2, axis=1)
        label_total = sum(self.member_shares[column] for column in self.candidates[rows].T)
        true_positives = right_total / unit
        false_positives = wrong - wrong_total / unit
        false_negatives = (self.label_counts - right) - (label_total - right_total) / unit
        return true_positives, true_positives + false_negatives + false_positives

"""The fixed-point sums over pixels of exhaustive search, for metrics that have compiled loops.

Probabilities of the true class are added as integers: then no order of adding, number of threads or division into
blocks can change a score. The scores are the metrics' own ``finalise`` of these sums, see
:mod:`muster.metrics.accumulators`. Axis names: ``candidates`` are sets of members, ``members`` pool models.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from muster.arrays import NumpyArray
from muster.metrics.registry import get_ensemble_metric
from muster.scoring.metric_kinds import adds_logs, counts_outcomes, definition_of, is_soft

COUNT_BIT = 52
"""An entry of a histogram holds a count of pixels from this bit on, and below it a sum of likelihoods."""

COUNT_LIMIT = (1 << (63 - COUNT_BIT)) - 1
"""Most pixels that an entry can count."""

_LARGEST = 1.02  # a probability after rounding
_ROWS_AT_ONCE = 4096
_COARSE = 1e-8  # part of the sum in a class that rounding may be


def fixed_point_scale(size: int, pixels_at_once: int, num_pixels: int) -> float:
    """The fixed-point number for a likelihood of 1: as large as sums over ``size`` members and pixels allow.

    Args:
        size: Members per candidate.
        pixels_at_once: Most pixels that are added up below :data:`COUNT_BIT`.
        num_pixels: All pixels.

    Returns:
        A power of two; likelihoods are kept to half of its inverse.
    """
    short = COUNT_BIT - math.ceil(math.log2(pixels_at_once * size * _LARGEST))
    long = 62 - math.ceil(math.log2(num_pixels * size * _LARGEST))
    return 2.0 ** min(short, long)


@dataclass(eq=False)
class FixedPointSums:
    """Sums over the pixels looked at so far.

    Attributes:
        candidates: int64 ``[candidates, size]``.
        num_members: How many members there are.
        num_classes: How many target classes.
        scale: See :func:`fixed_point_scale`.
        metrics: Names of metrics that will be asked for, which :func:`has_exhaustive_kernels`.
        pixels: How many pixels were looked at.
        label_counts: int64 ``[classes]``, pixels of each class.
        member_logs: float64 ``[members]``, log of each member's probability of the label.
        member_likelihoods: int64 ``[members, classes]``, each member's probability of the labels, by label.
        counts: int32 ``[candidates, 2 classes]``: pixels predicted wrongly as each class, then pixels of each class
            predicted right.
        totals: int64 of that shape: what the candidate's members together give to the labels there.
        fractions: float64 ``[candidates]``; times 2 to the power of ``exponents`` it is the product over pixels of what
            the candidate's members together give to the label.
        exponents: int64 ``[candidates]``.
        logs: float64 ``[candidates]``, sums of logs of such factors that are not in the product.
    """

    candidates: NumpyArray
    num_members: int
    num_classes: int
    scale: float
    metrics: Sequence[str]
    pixels: int = 0
    label_counts: NumpyArray = field(init=False)
    member_logs: NumpyArray = field(init=False)
    member_likelihoods: NumpyArray = field(init=False)
    counts: NumpyArray = field(init=False)
    totals: NumpyArray = field(init=False)
    fractions: NumpyArray = field(init=False)
    exponents: NumpyArray = field(init=False)
    logs: NumpyArray = field(init=False)

    def __post_init__(self) -> None:
        """Everything is zero, or one, at first."""
        self._metrics = [get_ensemble_metric(name) for name in self.metrics]
        marked = len(self.candidates) if self.wants_outcomes else 0
        multiplied = len(self.candidates) if self.wants_products else 0
        self.label_counts = np.zeros(self.num_classes, dtype=np.int64)
        self.member_logs = np.zeros(self.num_members)
        self.member_likelihoods = np.zeros((self.num_members, self.num_classes), dtype=np.int64)
        self.counts = np.zeros((marked, 2 * self.num_classes), dtype=np.int32)
        self.totals = np.zeros((marked, 2 * self.num_classes), dtype=np.int64)
        self.fractions = np.ones(multiplied)
        self.exponents = np.zeros(multiplied, dtype=np.int64)
        self.logs = np.zeros(multiplied)

    @property
    def wants_outcomes(self) -> bool:
        """Whether predicted classes are to be counted."""
        return any(map(counts_outcomes, self._metrics))

    @property
    def wants_products(self) -> bool:
        """Whether products over pixels are to be made."""
        return any(adds_logs(metric) and not definition_of(metric).sums_members for metric in self._metrics)

    @property
    def wants_member_logs(self) -> bool:
        """Whether logs of single members are to be added up."""
        return any(adds_logs(metric) and definition_of(metric).sums_members for metric in self._metrics)

    def add_pixels(
        self,
        labels: Int[NumpyArray, " pixels"],
        true_class: Float[NumpyArray, "members pixels"],
        likelihoods: Int[NumpyArray, "members pixels"] | None,
        tiny: float,
    ) -> None:
        """Add what is known of each member alone.

        Args:
            labels: True classes.
            true_class: The probability that each member gives to them.
            likelihoods: The same in fixed point; needed if predicted classes are counted.
            tiny: Where the argument of a log is clamped.
        """
        self.pixels += len(labels)
        self.label_counts += np.bincount(labels, minlength=self.num_classes)
        if self.wants_member_logs:
            # In float64, so that a sum of members' scores is the score of their sum to the last digits.
            self.member_logs += np.log(np.maximum(true_class, tiny), dtype=np.float64).sum(axis=1)
        if likelihoods is not None:
            order = np.argsort(labels, kind="stable")
            present, starts = np.unique(labels[order], return_index=True)
            self.member_likelihoods[:, present] += np.add.reduceat(likelihoods[:, order], starts, axis=1)

    def scores(self) -> dict[str, Float[NumpyArray, " candidates"]]:
        """Scores of all candidates by all metrics; NaN where fixed point :meth:`is_coarse` for them."""
        scores = {name: self.score(name) for name in self.metrics}
        soft = [metric.name for metric in self._metrics if is_soft(metric)]
        if soft and (coarse := self.is_coarse()).any():
            for name in soft:
                scores[name][coarse] = np.nan
        return scores

    def score(self, metric: str) -> Float[NumpyArray, " candidates"]:
        """Scores of all candidates over the pixels added, however coarse.

        Args:
            metric: One of ``metrics``.

        Returns:
            float64; larger is better.
        """
        known = get_ensemble_metric(metric)
        if definition_of(known).sums_members:
            of_member = known.final_scores(self.member_logs, self.label_counts)
            total = of_member[self.candidates[:, 0]]
            for column in self.candidates.T[1:]:
                total = total + of_member[column]
            return total
        if adds_logs(known):
            sums = np.log(self.fractions) + self.exponents * math.log(2) + self.logs
            return known.final_scores(sums - self.pixels * math.log(self.candidates.shape[1]), self.label_counts)
        scores = np.empty(len(self.candidates))
        for rows in self._parts():
            scores[rows] = known.final_scores(self._hits_and_misses(rows, is_soft(known)), self.label_counts)
        return scores

    def is_coarse(self) -> Bool[NumpyArray, " candidates"]:
        """Where fixed point is too coarse for the soft IoU: what was added to some class is hardly above rounding.

        That cannot be where rows sum to 1, since a right pixel then adds one part in ``num_classes`` at least, and a
        wrong one half.
        """
        coarse = np.zeros(len(self.candidates), dtype=bool)
        present = self.label_counts > 0
        rounding = self.label_counts[present] / self.scale
        for rows in self._parts():
            whole = self._hits_and_misses(rows, soft=True).sum(axis=1)
            coarse[rows] = (whole[:, present] * _COARSE < rounding).any(axis=1)
        return coarse

    def _parts(self) -> Iterator[slice]:
        """Candidates, a few thousand at a time."""
        for start in range(0, len(self.candidates), _ROWS_AT_ONCE):
            yield slice(start, start + _ROWS_AT_ONCE)

    def _hits_and_misses(self, rows: slice, soft: bool) -> Float[NumpyArray, "candidates 2 classes"]:
        """The state of :class:`~muster.metrics.accumulators.HitsAndMisses` of some candidates."""
        wrong, right = np.split(self.counts[rows], 2, axis=1)
        if not soft:
            return np.stack([right, self.label_counts - right + wrong], axis=1).astype(np.float64)
        unit = self.scale * self.candidates.shape[1]
        wrong_total, right_total = np.split(self.totals[rows], 2, axis=1)
        label_total = sum(self.member_likelihoods[column] for column in self.candidates[rows].T)
        false_positives = wrong - wrong_total / unit
        false_negatives = (self.label_counts - right) - (label_total - right_total) / unit
        return np.stack([right_total / unit, false_negatives + false_positives], axis=1)

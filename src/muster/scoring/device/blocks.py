"""What every backend on a device shares: a block of pixels, runs of candidates, and the sums over pixels.

All sums are of integers, so that no order of adding, tile or backend can change one. Axis names as in
:mod:`muster.scoring.fixed_point`; ``width`` is a number of pixels padded to whole tiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from muster.arrays import NumpyArray
from muster.metrics.ensemble_block import Members

PIXEL_TILE = 256
"""Pixels of a tile; rows of a block are padded to a multiple, which keeps each of them aligned."""

_SUM_TYPES = {torch.float64: torch.float64}  # everything else is added in float32
_LARGEST_LOG = 745.0
"""No positive double has a log further from 0."""

_SUM_BITS = 62
_FRACTION_BITS = 52  # of a double


def sum_type(dtype: torch.dtype) -> torch.dtype:
    """The type in which predictions of some type are added: half precision is promoted to float32."""
    return _SUM_TYPES.get(dtype, torch.float32)


@dataclass(frozen=True)
class LogScale:
    """Logs in fixed point, as two integers each, so that they can be added in any order without rounding.

    ``log * high`` is cut into its integer part and its fraction; the fraction times ``low`` is cut again. Both factors
    are powers of two, so all but the last cut is exact, and that is finer than a double holds.

    Attributes:
        high: Factor of the first part: as large as a sum over all pixels allows.
        low: Factor of what the first part leaves.
    """

    high: float
    low: float

    @classmethod
    def of(cls, num_pixels: int) -> LogScale:
        """The finest for sums over some number of pixels."""
        high = _SUM_BITS - math.ceil(math.log2(num_pixels * _LARGEST_LOG))
        low = min(_FRACTION_BITS, _SUM_BITS - math.ceil(math.log2(num_pixels)))
        return cls(2.0**high, 2.0**low)

    def value(self, sums: Int[Tensor, "2 rows"]) -> Float[NumpyArray, " rows"]:
        """The sum of logs that both parts stand for.

        Args:
            sums: int64.

        Returns:
            float64, right to the last digit or so.
        """
        whole, rest = sums.cpu().numpy().astype(np.float64)
        return np.asarray(whole / self.high + rest / (self.high * self.low))


@dataclass(frozen=True, eq=False)
class Block:
    """The predictions of all members for some pixels, classes first, and what each gives to the true class.

    Attributes:
        num_pixels: How many pixels; those beyond are padding: probabilities of 0, the label of the last pixel.
        num_classes: Number of target classes.
        predictions: ``[classes, members, width]`` of the type in which they are stored; ``None`` unless predicted
            classes are counted.
        labels: int64 ``[width]``.
        true_probabilities: float64 ``[members, width]``, each member's probability of the true class.
        likelihoods: int64 ``[members, width]``, the same in fixed point.
    """

    num_pixels: int
    num_classes: int
    predictions: Tensor | None
    labels: Tensor
    true_probabilities: Tensor
    likelihoods: Tensor

    @classmethod
    def of(cls, members: Members, pixels: slice, scale: float, *, counted: bool, by_label: bool) -> Block:
        """Copy the predictions of some pixels.

        Args:
            members: Predictions of all members.
            pixels: Which pixels.
            scale: What a probability of 1 is in fixed point.
            counted: Whether predicted classes will be counted; only then predictions are copied.
            by_label: Whether to sort the pixels by their label, so that a tile has few labels.

        Returns:
            The block.
        """
        labels, order = members.labels[pixels], None
        if by_label:
            labels, order = labels.sort(stable=True)
        width = -(-len(labels) // PIXEL_TILE) * PIXEL_TILE
        padded = torch.cat([labels, labels[-1:].expand(width - len(labels))])
        first, num_members = members.predictions[0], len(members.predictions)
        predictions = first.new_zeros(members.num_classes, num_members, width) if counted else None
        true_class = first.new_zeros(num_members, width, dtype=torch.float64)
        for member, prediction in enumerate(members.predictions):  # one at a time: memory for one copy of all is enough
            rows = prediction[pixels] if order is None else prediction[pixels][order]
            true_class[member, : len(rows)] = rows.gather(1, labels[:, None])[:, 0]
            if predictions is not None:
                predictions[:, member, : len(rows)] = rows.T
        return cls(
            len(labels), members.num_classes, predictions, padded, true_class, (true_class * scale).round().long()
        )

    def member_likelihoods(self) -> Int[Tensor, "members classes"]:
        """Each member's probability of the labels, by label, in fixed point."""
        sums = self.likelihoods.new_zeros(len(self.likelihoods), self.num_classes)
        return sums.index_add_(1, self.labels, self.likelihoods)  # padding adds 0

    def member_logs(self, tiny: float, scale: LogScale) -> Int[Tensor, "2 members"]:
        """Sum over pixels of the log of each member's probability of the label."""
        return split_logs(self.true_probabilities[:, : self.num_pixels].clamp(min=tiny).log(), scale.high, scale.low)


@dataclass(frozen=True, eq=False)
class Sums:
    """What is added up over pixels for each candidate, on the device.

    Attributes:
        counts: int64 ``[candidates, 2 classes]``, pixels of each outcome code: predicted wrongly as each class, then
            pixels of each class predicted right. Of no candidates if not counted.
        totals: int64 of that shape: what the candidate's members together give to the labels there, in fixed point.
        logs: int64 ``[2, candidates]``: sum of the logs of what the members together give to the label, see
            :class:`LogScale`. Of no candidates if not asked for.
        log_scale: Of ``logs``.
        log_constants: float64 ``[3]``: where the argument of a log is clamped, and both factors of ``log_scale``.
    """

    counts: Tensor
    totals: Tensor
    logs: Tensor
    log_scale: LogScale
    log_constants: Tensor

    @classmethod
    def zeros(
        cls, members: Members, candidates: Int[NumpyArray, "candidates size"], *, counted: bool, logged: bool
    ) -> Sums:
        """Nothing is added yet.

        Args:
            members: Predictions of all members.
            candidates: Sets of members.
            counted: Whether predicted classes will be counted.
            logged: Whether logs will be added.

        Returns:
            The sums, on the device of the predictions.
        """
        device, num_classes = members.labels.device, members.num_classes
        rows = len(candidates) if counted else 0
        counts, totals = (torch.zeros(rows, 2 * num_classes, dtype=torch.int64, device=device) for _ in range(2))
        logs = torch.zeros(2, len(candidates) if logged else 0, dtype=torch.int64, device=device)
        scale, floor = LogScale.of(len(members.labels)), candidates.shape[1] * smallest_probability(members)
        constants = torch.tensor([floor, scale.high, scale.low], dtype=torch.float64, device=device)
        return cls(counts, totals, logs, scale, constants)

    @property
    def counted(self) -> bool:
        """Whether predicted classes are counted."""
        return len(self.counts) > 0

    @property
    def logged(self) -> bool:
        """Whether logs are added."""
        return self.logs.shape[1] > 0


@dataclass(frozen=True, eq=False)
class Runs:
    """Candidates cut into runs: the same prefix (all members but the last), and last members that are neighbours.

    Attributes:
        candidates: int64 ``[candidates, size]``.
        firsts: int64 ``[runs]``, the first candidate of each run.
        lengths: int64 ``[runs]``, how many candidates.
    """

    candidates: NumpyArray
    firsts: NumpyArray
    lengths: NumpyArray
    LONGEST: ClassVar[int] = 1 << 16

    @classmethod
    def of(cls, candidates: Int[NumpyArray, "candidates size"], longest: int = LONGEST) -> Runs:
        """Cut any list of candidates.

        Args:
            candidates: Members ascending in a row; in lexicographic order, runs are longest.
            longest: Most candidates of a run.

        Returns:
            The runs, in the order of the candidates.

        Example:
            >>> runs = Runs.of(np.array([[0, 1], [0, 2], [0, 4], [1, 2]]))
            >>> runs.firsts.tolist(), runs.lengths.tolist()
            ([0, 2, 3], [2, 1, 1])
        """
        follows = (np.diff(candidates[:, :-1], axis=0) == 0).all(axis=1) & (np.diff(candidates[:, -1]) == 1)
        starts = np.flatnonzero(np.concatenate([[True], ~follows]))
        ends = np.append(starts[1:], len(candidates))
        pieces = -(-(ends - starts) // longest)
        within = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        firsts = np.repeat(starts, pieces) + longest * within
        return cls(candidates, firsts, np.minimum(np.repeat(ends, pieces) - firsts, longest))


def smallest_probability(members: Members) -> float:
    """The smallest normal number of the type in which predictions are added: logs are clamped there."""
    return float(torch.finfo(sum_type(members.predictions[0].dtype)).smallest_normal)


def split_logs(
    logs: Float[Tensor, "rows pixels"], high: float | Float[Tensor, ""], low: float | Float[Tensor, ""]
) -> Int[Tensor, "2 rows"]:
    """Sum over pixels of both parts of each log.

    Args:
        logs: float64.
        high: See :class:`LogScale`.
        low: Likewise.

    Returns:
        int64.
    """
    scaled = logs * high
    whole = scaled.floor()
    rest = ((scaled - whole) * low).floor()
    return torch.stack([whole.long().sum(dim=1), rest.long().sum(dim=1)])

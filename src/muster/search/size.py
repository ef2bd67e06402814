"""How many members: what each further one is predicted to add against what it costs, and budgets.

The rule. With v(k) the best score of k members, c(k) what those members cost together, and ``least_gain`` g, a larger
size j is worth more than a smaller k if its gain, as a share of the best single member's score, exceeds g times what it
costs more, as a multiple of that member's cost:

    (v(j) - v(k)) / |v(1)|  >  g (c(j) - c(k)) / c(1)

So with members of equal cost, and g = 0.02, each has to add 2 % of what the best single one reaches. The size proposed
is the one worth more than every smaller and at least as much as every larger size: the smallest that maximises
v(k) / |v(1)| - g c(k) / c(1). All sizes are compared, not only neighbours: a step that adds nothing is taken if the
next one makes up for both.

For E-LEEP, a log likelihood of at most 0, the share is that of the best single member's loss that is taken away.

What to expect. IoU-EEP looks at decisions, SoftIoU-EEP and E-LEEP at confidences too, and the mean of members of
unequal skill is less confident than the best of them. On five targets, with a pool of 14 small members and EEP, the
best pair beat the best single member by 7 to 43 % in IoU-EEP, by -4 to 30 % in SoftIoU-EEP and by -1.7 to 0.3 % in
E-LEEP. So SoftIoU-EEP and E-LEEP propose fewer members than IoU-EEP. SoftAccuracy-EEP proposes one member at any price,
because an ensemble's is the mean of its members' own. Members are scored before they are fine-tuned; what that does to
such differences, no metric sees. That 2 % is the right price is a choice, not a finding.

Axis names: ``members`` those of the pool, ``candidates`` sets of them, ``size`` the members of one candidate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Int

from muster.arrays import Column, NumpyArray, to_column
from muster.errors import ConfigError, SelectionError
from muster.metrics.registry import ensemble_metrics
from muster.metrics.ties import first_best
from muster.scoring.metric_kinds import definition_of

LEAST_GAIN = 0.02
"""What a member as costly as the best single one has to add, as a share of that one's score."""

Cost: TypeAlias = Literal["parameters", "inference seconds"]
"""What the members' costs are."""


class NothingFitsError(SelectionError):
    """No candidate of some size keeps within the budget; larger ones, which cost more, do not either."""


@dataclass(frozen=True)
class SizeRow:
    """The best candidate of one size.

    Attributes:
        size: Its number of members.
        members: Their indices.
        score: Its score.
        cost: What its members cost together.
        gain: Its score minus that of the size before; ``None`` for the first.
        relative_gain: The same as a share of the best single member's score, of which the sign is ignored; infinite
            if that is 0.
        relative_cost: What it costs more than the size before, as a multiple of the best single member's cost. Not
            positive, if the size before had costlier members; ``None`` for the first.
        gain_per_cost: ``relative_gain`` divided by ``relative_cost``, to be compared with ``least_gain``; ``None`` for
            the first and where nothing is paid.
    """

    size: int
    members: tuple[int, ...]
    score: float
    cost: float
    gain: float | None
    relative_gain: float | None
    relative_cost: float | None
    gain_per_cost: float | None


@dataclass(frozen=True)
class SizeProposal:
    """How many members to take, and the numbers that it follows from.

    Attributes:
        size: The size proposed.
        rows: The best candidate of every size looked at, from 1 on.
        metric: What they were scored by.
        cost: What their costs are.
        least_gain: See the module's description.
    """

    size: int
    rows: tuple[SizeRow, ...]
    metric: str
    cost: Cost
    least_gain: float

    @property
    def members(self) -> tuple[int, ...]:
        """The members proposed: the best candidate of that size."""
        return self.rows[self.size - 1].members


def comparing_sizes() -> tuple[str, ...]:
    """Names of the metrics that mean the same for every size of an ensemble.

    They look at the mean of the members' predictions, which does not change when members are repeated. A sum over
    members does.
    """
    return tuple(name for name, metric in ensemble_metrics().items() if not definition_of(metric).sums_members)


def require_compares_sizes(metric: str) -> None:
    """Refuse to compare sizes by a metric whose scale changes with the size.

    Args:
        metric: Its name, with its wrappers.

    Raises:
        ConfigError: If it is not one of :func:`comparing_sizes`, with the reason.
    """
    known = comparing_sizes()
    if metric in known:
        return
    raise ConfigError(
        f"size: 'auto' compares ensembles of different sizes, but {metric!r} is not the same measure for all of them "
        "(a sum over members, as MS-LEEP and BASE are, changes with their number, whatever they are worth; and the "
        "more members, the more of the target their hard subsets cover). Choose by "
        f"{', '.join(known[:-1])} or {known[-1]}, or give the size as a number."
    )


def propose_size(
    members: Sequence[Sequence[int]],
    scores: Column,
    costs: Column,
    metric: str,
    cost: Cost = "parameters",
    least_gain: float = LEAST_GAIN,
) -> SizeProposal:
    """Weigh what each further member is predicted to add against its cost.

    See the module's description for the rule. The best candidate of a size need not contain that of a smaller one.

    Args:
        members: The best candidate of size 1, 2, ... up to the largest wanted: indices into ``costs``.
        scores: The score of each, larger is better.
        costs: What each member of the pool costs, positive.
        metric: What the scores are; one of :func:`comparing_sizes`.
        cost: What the costs are; those of an ensemble are the sum over its members, which run one after the other.
        least_gain: At least 0. A smaller one proposes larger ensembles; 0 the smallest of the best score.

    Returns:
        The proposal.

    Raises:
        ConfigError: If ``metric`` may not compare sizes, or ``least_gain`` is negative or not finite.
        ValueError: If ``members`` are not distinct, do not number 1, 2, ..., or point outside ``costs``.
        ValueError: If ``scores`` has not one finite entry per candidate, or a cost is not finite and positive.

    Example:
        >>> best, scores = [[1], [0, 2], [0, 1, 2]], [0.40, 0.46, 0.464]
        >>> proposal = propose_size(best, scores, [10, 10, 10], "soft_iou_eep")
        >>> proposal.size, [row.gain_per_cost and round(row.gain_per_cost, 3) for row in proposal.rows]
        (2, [None, 0.15, 0.01])
    """
    require_compares_sizes(metric)
    if not 0 <= least_gain < math.inf:
        raise ConfigError(f"least_gain: expected a finite number of at least 0, but got {least_gain}.")
    rows = _rows(members, to_column("scores", scores), _positive("costs", costs))
    price = least_gain * abs(rows[0].score) / rows[0].cost
    # The first of equals is the smallest.
    chosen = rows[first_best(np.array([row.score - price * row.cost for row in rows]))]
    return SizeProposal(chosen.size, rows, metric, cost, least_gain)


def within_budget(
    members: Int[NumpyArray, "candidates size"],
    parameters: Column,
    max_parameters: int | None = None,
    seconds: Column | None = None,
    max_inference_seconds: float | None = None,
) -> Bool[NumpyArray, " candidates"]:
    """Which candidates keep within every budget given.

    Args:
        members: Indices into the columns, as in :attr:`muster.search.Ranking.members`.
        parameters: The parameters of each member, as on its card.
        max_parameters: Most that the members of a candidate may have together; ``None`` for any number.
        seconds: For an image, of each member; needed for ``max_inference_seconds`` only.
        max_inference_seconds: Most that the members of a candidate may take for an image, one after the other.

    Returns:
        One entry per candidate; all of them False if nothing fits.

    Raises:
        ConfigError: If a budget is not positive.
        ValueError: If a column has an entry that is not finite and positive, or ``members`` points beyond it.
        ValueError: If ``max_inference_seconds`` is given without ``seconds``.

    Example:
        >>> within_budget(np.array([[0, 1], [0, 2], [1, 2]]), [10, 20, 30], max_parameters=40).tolist()
        [True, True, False]
    """
    fits = np.ones(len(members), dtype=bool)
    for total, most in _spending(members, parameters, max_parameters, seconds, max_inference_seconds).values():
        if most is not None:
            fits &= total <= most
    return fits


def require_within_budget(
    members: Int[NumpyArray, "candidates size"],
    names: Sequence[str],
    parameters: Column,
    max_parameters: int | None = None,
    seconds: Column | None = None,
    max_inference_seconds: float | None = None,
) -> Bool[NumpyArray, " candidates"]:
    """The same, where something has to fit.

    Args:
        members: As for :func:`within_budget`.
        names: The names of each member, for the message.
        parameters: As for :func:`within_budget`.
        max_parameters: Likewise.
        seconds: Likewise.
        max_inference_seconds: Likewise.

    Returns:
        One entry per candidate, not all False.

    Raises:
        NothingFitsError: If no candidate fits; the message names the cheapest.
        ConfigError: As :func:`within_budget`.
        ValueError: As :func:`within_budget`.
    """
    fits = within_budget(members, parameters, max_parameters, seconds, max_inference_seconds)
    if fits.any():
        return fits
    spending = _spending(members, parameters, max_parameters, seconds, max_inference_seconds)
    limits = [f"{option}={most:g}" for option, (_, most) in spending.items() if most is not None]
    cheapest = {int(total.argmin()): None for total, most in spending.values() if most is not None}
    described = []
    for row in cheapest:
        spent = [_amount(option, total[row]) for option, (total, _) in spending.items()]
        described.append(f"{', '.join(names[int(index)] for index in members[row])} with {' and '.join(spent)}")
    raise NothingFitsError(
        f"No candidate of {_count(members.shape[1])} keeps within {' and '.join(limits)}. Cheapest: "
        f"{'; '.join(described)}. What to do: raise the budget, choose a smaller size, or add smaller members to the "
        "pool."
    )


def _spending(
    members: NumpyArray,
    parameters: Column,
    max_parameters: int | None,
    seconds: Column | None,
    max_inference_seconds: float | None,
) -> dict[str, tuple[NumpyArray, float | None]]:
    """Per option what each candidate spends, and the most it may."""
    if max_inference_seconds is not None and seconds is None:
        raise ValueError("Expected `seconds` of every member for `max_inference_seconds`, but got None.")
    options: list[tuple[str, str, Column | None, float | None]] = [
        ("max_parameters", "parameters", parameters, max_parameters),
        ("max_inference_seconds", "seconds", seconds, max_inference_seconds),
    ]
    spending = {}
    for option, name, values, most in options:
        if most is not None and not most > 0:
            raise ConfigError(f"{option}: expected a positive number, but got {most}.")
        if values is not None:
            spending[option] = (_total(members, _positive(name, values)), None if most is None else float(most))
    return spending


def _total(members: NumpyArray, column: NumpyArray) -> NumpyArray:
    """Sum of a column over the members of each candidate."""
    if members.size and (members.min() < 0 or members.max() >= len(column)):
        raise ValueError(
            f"Expected `members` between 0 and {len(column) - 1}, but got {members.min()} to {members.max()}."
        )
    total: NumpyArray = column[members].sum(axis=1)
    return total


def _positive(name: str, values: object) -> NumpyArray:
    """A list of finite positive numbers, float64."""
    column = to_column(name, values)
    if not (column > 0).all():
        index = int((column <= 0).argmax())
        raise ValueError(f"Expected `{name}` to be positive, but `{name}[{index}]` is {column[index]:g}.")
    return column


def _rows(members: Sequence[Sequence[int]], scores: NumpyArray, costs: NumpyArray) -> tuple[SizeRow, ...]:
    """The table of sizes, of checked columns."""
    if len(scores) != len(members):
        raise ValueError(f"Expected one of `scores` for each of {len(members)} candidates, but got {len(scores)}.")
    rows: list[SizeRow] = []
    for place, chosen in enumerate(members):
        indices = tuple(int(index) for index in chosen)
        if len(set(indices)) != place + 1 or len(indices) != place + 1:
            raise ValueError(f"Expected `members[{place}]` to hold {place + 1} different members, but got {indices}.")
        cost = float(_total(np.array([indices]), costs)[0])
        rows.append(_row(indices, float(scores[place]), cost, rows))
    return tuple(rows)


def _row(members: tuple[int, ...], score: float, cost: float, before: Sequence[SizeRow]) -> SizeRow:
    """One row after those before."""
    if not before:
        return SizeRow(1, members, score, cost, None, None, None, None)
    gain, relative_gain, relative_cost = _step(before[0], before[-1], score, cost)
    per_cost = relative_gain / relative_cost if relative_cost > 0 else None
    return SizeRow(len(members), members, score, cost, gain, relative_gain, relative_cost, per_cost)


def _step(first: SizeRow, start: SizeRow, score: float, cost: float) -> tuple[float, float, float]:
    """Gain, relative gain and relative cost of going from a row to a score and a cost."""
    gain, whole = score - start.score, abs(first.score)
    relative = gain / whole if whole > 0 else math.copysign(math.inf, gain) if gain else 0.0
    return gain, relative, (cost - start.cost) / first.cost


def _count(size: int) -> str:
    return "1 member" if size == 1 else f"{size} members"


def _amount(option: str, value: float) -> str:
    return f"{value:,.0f} parameters" if option == "max_parameters" else f"{value:.3g} seconds an image"

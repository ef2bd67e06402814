"""OSBORN: the cost of an ensemble, from how far its members' sources are and how little its members agree.

Axis names as in :mod:`muster.arrays`; ``candidates`` are choices of ``size`` members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Integer
from torch import Tensor

from muster.arrays import Array, Column, NumpyArray, as_integers, to_column, to_tensor
from muster.metrics._features import Features, SampleLabels
from muster.metrics._transport import MAX_ITERATIONS, MAX_SAMPLES, SourceFeatures, SourceLabels, couple
from muster.metrics.corrections import standardised_sum

_MANY_CLASSES = 1024
"""Beyond, predictions are first numbered anew: classes that nobody predicts would fill a table of pairs."""

ClassPredictions: TypeAlias = Integer[Tensor, "members pixels"] | Integer[NumpyArray, "members pixels"]


def osborn_domain(
    source_features: SourceFeatures,
    features: Features,
    *,
    max_samples: int = MAX_SAMPLES,
    seed: int = 0,
    max_iterations: int = MAX_ITERATIONS,
) -> float:
    """Cost of the optimal transport from a member's source features to its target features: OTCE's domain difference.

    Args:
        source_features: As for :func:`muster.metrics.otce`.
        features: As for :func:`muster.metrics.otce`.
        max_samples: As for :func:`muster.metrics.otce`.
        seed: As for :func:`muster.metrics.otce`.
        max_iterations: As for :func:`muster.metrics.otce`.

    Returns:
        At least 0, in squared units of the features; smaller is better.

    Raises:
        ValueError: See :func:`muster.metrics.otce`.

    Source:
        Vimal et al., "Building a Winning Team: Selecting Source Model Ensembles using a Submodular Transferability
        Estimation Approach", ICCV 2023.

    Example:
        >>> import numpy as np
        >>> osborn_domain(np.array([[0.0], [1.0]]), np.array([[3.0], [2.0]]))  # 0 to 2 and 1 to 3
        4.0
    """
    return couple(source_features, features, max_samples, seed, max_iterations).cost


def osborn_task(
    source_features: SourceFeatures,
    source_labels: SourceLabels,
    features: Features,
    predictions: SampleLabels,
    *,
    max_samples: int = MAX_SAMPLES,
    seed: int = 0,
    max_iterations: int = MAX_ITERATIONS,
) -> float:
    """Entropy of a member's target predictions given source labels, under the coupling of its features.

    It differs from the task difference of :func:`muster.metrics.otce` in that the target side is what the member
    predicts, the arg max of its predictor, and not the truth. (The coupling joins a source pixel to a target pixel, so
    the labels that are given can only be those of the source.)

    Args:
        source_features: As for :func:`muster.metrics.otce`.
        source_labels: As for :func:`muster.metrics.otce`.
        features: As for :func:`muster.metrics.otce`.
        predictions: Target class that the member predicts for each row of ``features``, ``[samples]``, from 0.
        max_samples: As for :func:`muster.metrics.otce`.
        seed: As for :func:`muster.metrics.otce`.
        max_iterations: As for :func:`muster.metrics.otce`.

    Returns:
        0..log(target classes), natural log; smaller is better. On ties as for :func:`muster.metrics.otce`.

    Raises:
        ValueError: See :func:`muster.metrics.otce`.

    Source:
        See :func:`osborn_domain`.

    Example:
        >>> import numpy as np
        >>> points = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> round(osborn_task(points, np.array([5, 5, 7, 7]), points, np.array([0, 1, 2, 2])), 4)  # log(2) / 2
        0.3466
    """
    coupling = couple(source_features, features, max_samples, seed, max_iterations)
    return coupling.conditional_entropy(source_labels, predictions, ("source_labels", "predictions"))


class OsbornMember(NamedTuple):
    """What OSBORN compares candidates by, of one member.

    Attributes:
        domain: :func:`osborn_domain`.
        task: :func:`osborn_task`.
        predictions: int64 ``[pixels]``, the target class that it predicts.
    """

    domain: float
    task: float
    predictions: NumpyArray


def osborn_of_member(
    source_features: SourceFeatures, source_labels: SourceLabels, features: Features, predictions: object
) -> OsbornMember:
    """All that :func:`osborn_of_members` asks of one member, the costs from one coupling.

    Args:
        source_features: As for :func:`osborn_task`.
        source_labels: Likewise.
        features: Likewise.
        predictions: Likewise.

    Returns:
        Domain cost, task cost and the predictions.

    Raises:
        ValueError: See :func:`muster.metrics.otce`.
    """
    coupling = couple(source_features, features, MAX_SAMPLES, 0, MAX_ITERATIONS)
    task = coupling.conditional_entropy(source_labels, predictions, ("source_labels", "predictions"))
    return OsbornMember(coupling.cost, task, as_integers("predictions", predictions).long().cpu().numpy())


def osborn_of_members(
    members: Sequence[OsbornMember], candidates: Integer[NumpyArray, "candidates size"], num_classes: int
) -> Float[NumpyArray, " candidates"]:
    """OSBORN of candidates, from what is known of each member.

    Args:
        members: Of each member of the pool, :func:`osborn_of_member`.
        candidates: Indices of the members of each candidate.
        num_classes: Number of target classes.

    Returns:
        float64 ``[candidates]``; smaller is better, as :func:`osborn`. Pairs are compared only of members that occur:
        their number is squared.
    """
    used, places = np.unique(candidates, return_inverse=True)
    domain, task, predictions = zip(*(members[index] for index in used.tolist()), strict=True)
    entropies = pairwise_conditional_entropy(np.stack(predictions), num_classes)
    return osborn_of_candidates(domain, task, entropies, places.reshape(candidates.shape)).total


def pairwise_conditional_entropy(
    predictions: ClassPredictions, num_classes: int | None = None
) -> Float[NumpyArray, "members members"]:
    """How uncertain each member's prediction is once another's is known.

    Args:
        predictions: Target class that each member predicts at each probe pixel, ``[members, pixels]``, from 0.
        num_classes: Number of target classes; by default one more than the largest prediction.

    Returns:
        float64; entry [i, j] is H(Y_i | Y_j), 0..log(classes), natural log. The diagonal is 0.

    Raises:
        ValueError: If ``predictions`` are not integers with two axes, are empty, or one is outside 0..num_classes-1.

    Source:
        See :func:`cohesion`.

    Note:
        O(members^2 x (pixels + classes^2)) time; a pair of members at a time.

    Example:
        >>> import numpy as np
        >>> pairwise_conditional_entropy(np.array([[0, 1, 2, 2], [0, 0, 1, 1]])).round(4).tolist()
        [[0.0, 0.3466], [0.0, 0.0]]
    """
    rows, classes = _as_predictions(predictions, num_classes)
    entropies = np.zeros((len(rows), len(rows)))
    for first, second in combinations(range(len(rows)), 2):
        joint = np.bincount(rows[first] * classes + rows[second], minlength=classes**2).reshape(classes, classes)
        entropies[first, second] = _conditional_entropy(joint)
        entropies[second, first] = _conditional_entropy(joint.T)
    return entropies


def cohesion(predictions: ClassPredictions) -> float:
    """Sum over ordered pairs of members of H(Y_i | Y_j), Y the members' predictions: small if they agree.

    Args:
        predictions: Target class that each member of the ensemble predicts at each probe pixel, ``[members, pixels]``,
            from 0. Renaming a member's classes changes nothing.

    Returns:
        0..members x (members - 1) x log(classes), natural log; smaller is better in OSBORN. 0 for one member.

    Raises:
        ValueError: See :func:`pairwise_conditional_entropy`.

    Source:
        Vimal et al., ICCV 2023. The published text leaves the form of the term open; this sum is our reading.

    Example:
        >>> import numpy as np
        >>> round(cohesion(np.array([[0, 1, 2, 2], [0, 0, 1, 1]])), 4)
        0.3466
    """
    return float(pairwise_conditional_entropy(predictions).sum())


def osborn(domain: Column, task: Column, cohesion: Column) -> Float[NumpyArray, " candidates"]:
    """The three terms of each candidate, each standardised over the candidates, added without weights.

    Args:
        domain: Domain cost of each candidate: the sum of :func:`osborn_domain` over its members.
        task: Task cost of each candidate: the sum of :func:`osborn_task` over its members.
        cohesion: :func:`cohesion` of each candidate.

    Returns:
        float64 ``[candidates]``; smaller is better. It has a meaning only among these candidates. A term that is the
        same for all of them contributes 0.

    Raises:
        ValueError: If the three are not lists of one length of finite numbers.

    Source:
        Vimal et al., ICCV 2023. That each is standardised, since their units differ, is our reading.

    Example:
        >>> osborn([1.0, 3.0], [0.5, 0.1], [2.0, 4.0]).tolist()
        [-1.0, 1.0]
    """
    return standardised_sum(domain, task, cohesion)


@dataclass(frozen=True, eq=False)
class OsbornTerms:
    """OSBORN of all candidates; every column is a cost.

    Attributes:
        domain: float64 ``[candidates]``.
        task: float64 ``[candidates]``.
        cohesion: float64 ``[candidates]``.
        total: Sum of the three, each standardised over the candidates.
    """

    domain: NumpyArray
    task: NumpyArray
    cohesion: NumpyArray
    total: NumpyArray


def osborn_of_candidates(domain: Column, task: Column, entropies: Array, candidates: Array) -> OsbornTerms:
    """OSBORN of every candidate, from what is known of members and of pairs of them.

    Args:
        domain: :func:`osborn_domain` of each member of the pool, ``[members]``.
        task: :func:`osborn_task` of each member, ``[members]``.
        entropies: :func:`pairwise_conditional_entropy` of all members, ``[members, members]``.
        candidates: Indices of the members of each candidate, ``[candidates, size]``, distinct in a row.

    Returns:
        The terms, in the order of the candidates. Candidates of one size only: sums do not compare sizes.

    Raises:
        ValueError: If the shapes do not go together, a number is not finite, an index is out of range, or a candidate
            names a member twice.

    Example:
        >>> import numpy as np
        >>> entropies = np.array([[0.0, 0.2, 0.4], [0.1, 0.0, 0.3], [0.5, 0.6, 0.0]])
        >>> rows = np.array([[0, 1], [0, 2], [1, 2]])
        >>> osborn_of_candidates([1, 2, 3], [1, 1, 1], entropies, rows).cohesion.round(2).tolist()
        [0.3, 0.9, 0.9]
    """
    domains, tasks = to_column("domain", domain), to_column("task", task)
    if len(domains) != len(tasks):
        raise ValueError(f"Expected `domain` and `task` to have one length, but got {len(domains)} and {len(tasks)}.")
    pairs = to_tensor("entropies", entropies).double().cpu().numpy()
    if pairs.shape != (len(domains), len(domains)) or not np.isfinite(pairs).all():
        raise ValueError(
            f"Expected `entropies` to be finite of shape [{len(domains)}, {len(domains)}], "
            f"but got shape {list(pairs.shape)}."
        )
    rows = _as_candidates(candidates, len(domains))
    sums = domains[rows].sum(axis=1), tasks[rows].sum(axis=1)
    agreement = np.zeros(len(rows))
    for first, second in permutations(range(rows.shape[1]), 2):
        agreement += pairs[rows[:, first], rows[:, second]]
    return OsbornTerms(*sums, agreement, osborn(*sums, agreement))


def _conditional_entropy(joint: Integer[NumpyArray, "classes given"]) -> float:
    """H(row | column) of counts; 0 exactly where a column says which row."""
    given = np.broadcast_to(joint.sum(axis=0), joint.shape)
    some = joint > 0
    counts = joint[some]
    return float((counts * np.log(given[some] / counts)).sum() / counts.sum())


def _as_predictions(predictions: object, num_classes: int | None) -> tuple[Integer[NumpyArray, "members pixels"], int]:
    tensor = as_integers("predictions", predictions)
    if tensor.ndim != 2 or tensor.numel() == 0:
        raise ValueError(
            f"Expected `predictions` to have 2 axes (members, pixels), none empty, but got shape {list(tensor.shape)}."
        )
    rows = tensor.long().cpu().numpy()
    low, high = int(rows.min()), int(rows.max())
    classes = high + 1 if num_classes is None else num_classes
    if low < 0 or high >= classes:
        raise ValueError(f"Expected `predictions` between 0 and {classes - 1}, but got {low} to {high}.")
    if classes > _MANY_CLASSES:
        present, contiguous = np.unique(rows, return_inverse=True)
        return contiguous.reshape(rows.shape), len(present)
    return rows, classes


def _as_candidates(candidates: object, members: int) -> Integer[NumpyArray, "candidates size"]:
    tensor = to_tensor("candidates", candidates)
    if tensor.is_floating_point() or tensor.ndim != 2 or tensor.numel() == 0:
        raise ValueError(
            "Expected `candidates` to be integers of 2 axes (candidates, size), none empty, "
            f"but got {tensor.dtype} of shape {list(tensor.shape)}."
        )
    rows = tensor.long().cpu().numpy()
    if rows.min() < 0 or rows.max() >= members:
        raise ValueError(f"Expected `candidates` between 0 and {members - 1}, but got {rows.min()} to {rows.max()}.")
    ordered = np.sort(rows, axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise ValueError("Expected `candidates` to name distinct members, but one names a member twice.")
    return rows

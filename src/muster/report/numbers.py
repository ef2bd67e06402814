"""The numbers of a selection and of a fine-tuning that runs are compared by, for trackers."""

from __future__ import annotations

from muster.selection.record import Selection
from muster.training.results import LEARNED_HEAD, PLAIN_MEAN, FinetuneResult


def selection_numbers(selection: Selection) -> dict[str, float]:
    """What a selection promises.

    Args:
        selection: The choice and the ranking behind it.

    Returns:
        By name: ``predicted/METRIC``, the chosen members' score under each metric; ``selection/...``, the margin, LEEP
        of B1, how many candidates and members there were; ``leep/MEMBER``.
    """
    ranking = selection.ranking
    best = ranking.order(selection.metric)[0]
    numbers = {f"predicted/{metric}": float(values[best]) for metric, values in ranking.scores.items()}
    if selection.margin is not None:
        numbers["selection/margin"] = selection.margin
    numbers |= {
        "selection/leep of B1": selection.member_scores[selection.single_best],
        "selection/candidates": float(len(ranking.members)),
        "selection/eligible members": float(len(selection.member_scores)),
        "selection/fraction of pixels": selection.fraction,
    }
    return numbers | {f"leep/{name}": score for name, score in selection.member_scores.items()}


def finetuning_numbers(result: FinetuneResult) -> dict[str, float]:
    """What a fine-tuned ensemble reached.

    Args:
        result: On the target's test split.

    Returns:
        By name: ``predicted/METRIC`` as before the fine-tuning; ``miou/ensemble``, ``miou/plain mean``, ``miou/B1`` and
        ``miou/best member``; ``beyond B1``, the ensemble's mIoU minus that of B1; ``members/NAME``; ``seconds``.
    """
    results = result.results
    numbers = {f"predicted/{metric}": score for metric, score in result.predicted.items()}
    members = {name: results[name] for name in result.members if name in results}
    known = {"miou/ensemble": results.get(LEARNED_HEAD), "miou/plain mean": results.get(PLAIN_MEAN),
             "miou/B1": results.get(result.single_best),
             "miou/best member": max(members.values(), default=None)}  # fmt: skip
    numbers |= {name: value for name, value in known.items() if value is not None}
    if {"miou/ensemble", "miou/B1"} <= set(numbers):
        numbers["beyond B1"] = numbers["miou/ensemble"] - numbers["miou/B1"]
    return numbers | {f"members/{name}": value for name, value in members.items()} | {"seconds": result.seconds}

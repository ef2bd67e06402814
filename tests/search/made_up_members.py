"""Problems for the searches, small enough to look at every candidate."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, Any]
Problem = tuple[Numbers, Numbers]


def made_up(seed: int, members: int = 7, pixels: int = 300, classes: int = 4, dtype: Any = np.float64) -> Problem:
    """Members that know each class more or less well; the last class does not occur."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes - 1, pixels)
    skill = generator.uniform(0.0, 0.7, (members, classes))[:, labels, None]
    sure = generator.beta(0.7, 0.7, (members, pixels, 1)) * skill
    noise = generator.dirichlet(np.full(classes, 0.5), (members, pixels))
    return (sure * np.eye(classes)[labels] + (1.0 - sure) * noise).astype(dtype), labels


def score(eeps: Numbers, labels: Numbers, metric: str) -> float:
    """A metric of one ensemble, from its definition."""
    pixels, classes = np.arange(len(labels)), eeps.shape[2]
    true_class = eeps[:, pixels, labels].astype(np.float64)
    least = float(np.finfo(eeps.dtype).smallest_normal)
    if metric == "ms_leep":
        return float(np.log(np.maximum(true_class, least)).mean(axis=1).sum())
    mean = true_class.mean(axis=0)
    if metric == "e_leep":
        return float(np.log(np.maximum(mean, least)).mean())
    if metric == "soft_accuracy_eep":
        return float(mean.mean())
    total = eeps[0].copy()
    for eep in eeps[1:]:
        total += eep
    predicted = total.argmax(axis=1)
    right = predicted == labels
    if metric == "accuracy_eep":
        return float(right.mean())
    hits, misses = (mean, 1.0 - mean) if metric == "soft_iou_eep" else (np.ones(len(labels)), np.ones(len(labels)))
    scores = []
    for c in range(classes):
        inside, wrongly = right & (labels == c), ~right & ((labels == c) | (predicted == c))
        whole = hits[inside].sum() + misses[wrongly].sum()
        if (labels == c).any():
            scores.append(hits[inside].sum() / whole if whole > 0 else 0.0)
    return float(np.mean(scores))


def all_scores(problem: Problem, size: int, metric: str) -> dict[tuple[int, ...], float]:
    """Score of every candidate, one after the other."""
    eeps, labels = problem
    return {rows: score(eeps[list(rows)], labels, metric) for rows in combinations(range(len(eeps)), size)}


def best_of(scores: dict[tuple[int, ...], float]) -> tuple[int, ...]:
    """The best candidate, the first of equals."""
    return min(scores, key=lambda members: (-scores[members], members))

"""Exhaustive search on a device by each of its backends, and the scores beside those of the processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.timing import cost
from muster.arrays import NumpyArray
from muster.metrics.ensemble_block import Members, members_of
from muster.scoring.device.backends import NAMES, objection
from muster.scoring.device.exhaustive import score_tiles
from muster.scoring.ranking import Ranking

MOST_SECONDS = {"triton": 0.3, "compiled": 1.5}
"""Aims for the 41 664 triples of 64 members, 150 000 pixels, 23 classes on an H100."""


def compare_backends(
    eeps: torch.Tensor,
    labels: torch.Tensor,
    expected: Ranking,
    names: Sequence[str] = NAMES,
    most_seconds: Mapping[str, float] = MOST_SECONDS,
) -> dict[str, Any]:
    """Score all candidates by each backend: once to compile what it needs, and once to be timed.

    Args:
        eeps: ``[members, pixels, classes]`` on the device.
        labels: ``[pixels]``.
        expected: The processor's scores of all candidates, one for each metric.
        names: The names of the backends.
        most_seconds: Aims, by the name of a backend.

    Returns:
        For each backend, why it cannot be used; or seconds, and how far its scores are from the processor's.
    """
    members = members_of(eeps, labels)
    return {name: _measure(name, members, expected, most_seconds.get(name)) for name in names}


def _measure(name: str, members: Members, expected: Ranking, most_seconds: float | None) -> dict[str, Any]:
    first = members.predictions[0]
    if reason := objection(name, first.device, first.dtype):
        return {"cannot_be_used": reason}
    score = partial(score_tiles, members, expected.members, list(expected.scores), lambda _: None, backend=name)
    found, _ = cost(score)
    spent, scores = cost(score)
    aim = {} if most_seconds is None else {"most_seconds": most_seconds}
    return {
        "seconds": round(spent.seconds, 3),
        **aim,
        "seconds_the_first_time": round(found.seconds, 3),
        "largest_relative_difference": {
            metric: _largest_difference(scores[metric], values) for metric, values in expected.scores.items()
        },
        "same_order": all(
            np.array_equal(expected.with_scores(metric, scores[metric]).order(metric), expected.order(metric))
            for metric in expected.scores
        ),
    }


def _largest_difference(found: NumpyArray, expected: NumpyArray) -> float:
    return float(np.abs(found / expected - 1).max())

"""What holds for every metric of `eeps` and `labels` in the registry."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics import ENSEMBLE_METRICS, METRICS, eep

FUNCTIONS = [pytest.param(METRICS[name].function, id=name) for name in ENSEMBLE_METRICS]
every_metric = pytest.mark.parametrize("metric", FUNCTIONS)
Score = Callable[..., float]


def test_there_are_six() -> None:
    assert ENSEMBLE_METRICS == ("ms_leep", "e_leep", "iou_eep", "soft_iou_eep", "accuracy_eep", "soft_accuracy_eep")


@every_metric
def test_permuting_pixels(metric: Score, problem: Any) -> None:
    order = np.random.default_rng(1).permutation(200)
    moved = metric(problem.eeps[:, order], problem.labels[order])
    assert moved == pytest.approx(metric(problem.eeps, problem.labels), abs=1e-12)


@every_metric
def test_permuting_classes(metric: Score, problem: Any) -> None:
    classes = np.random.default_rng(2).permutation(6)  # class c becomes classes[c]
    moved = metric(problem.eeps[:, :, np.argsort(classes)], classes[problem.labels])
    assert moved == pytest.approx(metric(problem.eeps, problem.labels), abs=1e-12)


@every_metric
def test_permuting_members(metric: Score, problem: Any) -> None:
    moved = metric(problem.eeps[[2, 0, 1]], problem.labels)
    assert moved == pytest.approx(metric(problem.eeps, problem.labels), abs=1e-12)


@every_metric
def test_perfect_beats_noisy_beats_useless_source(metric: Score, problem: Any) -> None:
    labels, generator = problem.labels, np.random.default_rng(5)
    mistaken = np.where(generator.random(200) < 0.3, generator.integers(0, 6, size=200), labels)
    sources = {"perfect": np.eye(6)[labels], "noisy": np.eye(6)[mistaken], "useless": np.full((200, 6), 1 / 6)}
    score = {name: metric([eep(probs, labels, 6)], labels) for name, probs in sources.items()}
    assert score["perfect"] == pytest.approx(0.0 if "leep" in metric.__name__ else 1.0, abs=1e-12)
    assert score["perfect"] > score["noisy"] > score["useless"]


@every_metric
def test_same_for_tensor_array_and_sequence(metric: Score, problem: Any) -> None:
    expected = metric(problem.eeps, problem.labels)
    tensor, labels = torch.from_numpy(problem.eeps), torch.from_numpy(problem.labels)
    assert type(expected) is float
    assert metric(tensor.clone().requires_grad_(), labels) == expected
    assert metric(list(problem.eeps), problem.labels) == expected
    assert metric(tuple(tensor), problem.labels.astype(np.uint8)) == expected


@every_metric
def test_half_precision_is_promoted(metric: Score, problem: Any) -> None:
    half = torch.from_numpy(problem.eeps).half()
    assert metric(half, problem.labels) == metric(half.float(), problem.labels)


@every_metric
def test_members_of_mixed_precision_are_promoted(metric: Score, problem: Any) -> None:
    mixed = [problem.eeps[0].astype(np.float32), problem.eeps[1]]
    assert metric(mixed, problem.labels) == metric([mixed[0].astype(np.float64), mixed[1]], problem.labels)


@every_metric
def test_single_class(metric: Score) -> None:
    score = metric(np.ones((2, 4, 1)), np.zeros(4, dtype=np.int64))
    assert score == (0.0 if "leep" in metric.__name__ else 1.0)


@every_metric
def test_arguments_are_left_alone(metric: Score, problem: Any) -> None:
    eeps, labels = torch.from_numpy(problem.eeps.copy()), problem.labels.copy()
    metric(eeps, labels)
    np.testing.assert_array_equal(eeps.numpy(), problem.eeps)
    np.testing.assert_array_equal(labels, problem.labels)


@every_metric
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(metric: Score, problem: Any) -> None:
    score = metric(torch.from_numpy(problem.eeps).cuda(), problem.labels)
    assert score == pytest.approx(metric(problem.eeps, problem.labels), abs=1e-12)


GOOD = np.array([[[0.5, 0.5], [1.0, 0.0]]])


@every_metric
@pytest.mark.parametrize(
    ("eeps", "labels", "message"),
    [
        (GOOD, np.array([0, 2]), r"`labels` between 0 and 1, but got 0 to 2"),
        (GOOD, np.array([0, 255]), r"Drop void pixels"),
        (GOOD, np.array([0]), r"`labels` to have shape \[2\], but got \[1\]"),
        (GOOD, np.array([0.0, 1.0]), r"`labels` to be integers"),
        (GOOD[0], np.array([0, 1]), r"`eeps` to have 3 axes .*, but got shape \[2, 2\]"),
        (GOOD[:0], np.array([0, 1]), r"`eeps` to hold at least one member"),
        ([], np.array([0, 1]), r"`eeps` to hold at least one member"),
        (GOOD[:, :0], np.empty(0, dtype=np.int64), r"`eeps\[0\]` to hold at least one pixel"),
        ([GOOD[0], GOOD[0][:1]], np.array([0, 1]), r"`eeps\[1\]` has \[1, 2\]"),
        ([GOOD[0], GOOD[0] * np.nan], np.array([0, 1]), r"`eeps\[1\]` to hold probabilities.*NaN"),
        (np.log(GOOD + 1), np.array([0, 7]), r"`labels` between 0 and 1"),
        (-GOOD, np.array([0, 1]), r"`eeps\[0\]` to hold probabilities.*from -1 to"),
    ],
)
def test_errors_name_the_argument(metric: Score, eeps: Any, labels: Any, message: str) -> None:
    # Unwrapped: in a test run that checks shapes, that check would speak first.
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(metric)(eeps, labels)

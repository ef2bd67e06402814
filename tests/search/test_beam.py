"""`beam`."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muster.cancel import CancelToken
from muster.metrics.registry import ENSEMBLE_METRICS
from muster.scoring.prediction_store import PredictionStore
from muster.scoring.store_writer import StoreWriter
from muster.search.beam import beam
from muster.search.greedy import greedy
from muster.search.result import SearchStatus
from tests.search.made_up_members import all_scores, best_of, made_up


@pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_wide_beam_finds_the_best_set(metric: str, dtype: Any) -> None:
    for seed, size in [(0, 1), (1, 2), (2, 3), (3, 4)]:
        problem = made_up(seed, dtype=dtype)
        result = beam(PredictionStore.of(*problem, chunk_pixels=70), size, metric, width=100, swaps=False)
        scores = all_scores(problem, size, metric)
        assert result.members == best_of(scores)
        assert result.score == pytest.approx(scores[result.members], rel=1e-12)
        assert result.evaluated >= len(scores) or metric == "ms_leep"


@pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
def test_the_narrowest_beam_is_greedy(metric: str) -> None:
    for seed in range(4):
        store = PredictionStore.of(*made_up(seed))
        narrow, expected = beam(store, 3, metric, width=1, swaps=False), greedy(store, 3, metric)
        assert (narrow.members, narrow.score) == (expected.members, expected.score)


@pytest.mark.parametrize("metric", ["e_leep", "iou_eep", "soft_iou_eep"])
def test_no_swap_improves_the_result(metric: str) -> None:
    for seed in range(3):
        problem = made_up(seed, members=9)
        result = beam(PredictionStore.of(*problem), 3, metric, width=1, max_rounds=50)
        scores = all_scores(problem, 3, metric)
        for left, joins in product(result.members, set(range(9)) - set(result.members)):
            other = tuple(sorted({*result.members, joins} - {left}))
            assert scores[other] <= result.score + 1e-12


def test_swaps_and_width_never_harm_and_sometimes_help() -> None:
    better = 0
    for seed in range(6):
        store = PredictionStore.of(*made_up(seed, members=12))
        start = greedy(store, 4, "iou_eep").score
        scores = [beam(store, 4, "iou_eep", width=1).score, beam(store, 4, "iou_eep").score]
        assert min(scores) >= start
        better += max(scores) > start
    assert better > 0


def test_few_misses() -> None:
    missed = 0
    for seed in range(8):
        problem = made_up(seed, members=10, dtype=np.float32)
        best = max(all_scores(problem, 3, "soft_iou_eep").values())
        missed += beam(PredictionStore.of(*problem), 3).score < best - 1e-6
    assert missed <= 1


def test_bounds_and_optimality() -> None:
    store = PredictionStore.of(*made_up(0))
    status = beam(store, 3, "iou_eep").status
    assert (status.bound, status.optimality, status.completeness) == (None, "unknown", "complete")
    log, total = beam(store, 3, "e_leep"), beam(store, 3, "ms_leep")
    assert log.bound is not None
    assert log.bound >= max(all_scores(made_up(0), 3, "e_leep").values()) - 1e-12
    assert (log.status.optimality, log.status.candidates) == ("bounded", 35)
    assert total.bound == total.score
    assert total.status == SearchStatus("beam", 35, 7, "proven", total.score)


@pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
def test_leaders_are_different_sets_in_order(metric: str) -> None:
    problem = made_up(2)
    top_k = beam(PredictionStore.of(*problem), 2, metric, width=50).top_k
    scores = all_scores(problem, 2, metric)
    assert len(top_k) == len(dict(top_k))
    expected = sorted(scores, key=lambda members: (-scores[members], members))[: len(top_k)]
    assert [members for members, _ in top_k] == expected


@pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
def test_ties_are_broken_by_the_order_of_members(metric: str) -> None:
    eeps, labels = made_up(0, members=1)
    assert beam(PredictionStore.of(np.concatenate([eeps] * 6), labels), 3, metric, width=2).members == (0, 1, 2)


def test_on_disk_and_threads_do_not_matter(tmp_path: Path) -> None:
    eeps, labels = made_up(1, members=9, pixels=700, dtype=np.float32)
    with StoreWriter(tmp_path / "store", labels, 4, chunk_pixels=200) as writer:
        for predictions in eeps:
            writer.add(predictions)
    for metric in ENSEMBLE_METRICS:
        expected = beam(PredictionStore.of(eeps, labels, chunk_pixels=200), 3, metric, threads=1)
        assert beam(PredictionStore.open(tmp_path / "store"), 3, metric, threads=3) == expected


def test_progress_goes_to_the_end() -> None:
    calls: list[tuple[int, int]] = []
    beam(PredictionStore.of(*made_up(0), chunk_pixels=100), 3, progress=lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert calls[-1][0] == calls[-1][1]


@pytest.mark.parametrize(("stop_at", "whole"), [(2, False), (4, True)])
def test_interrupted(stop_at: int, whole: bool) -> None:
    problem = made_up(0)
    store = PredictionStore.of(*problem)  # one chunk: sizes 1 to 3 are steps 1 to 3, swaps come after

    cancel = CancelToken()
    result = beam(store, 3, progress=lambda done, _: cancel.set() if done == stop_at else None, cancel=cancel)
    assert (len(result.top_k) > 0) == whole
    assert len(result.members) == (3 if whole else 1)
    assert (result.bound, result.status.optimality, result.status.completeness) == (None, "unknown", "interrupted")
    if whole:
        assert result.top_k == ((result.members, result.score),)
        assert result.score == pytest.approx(all_scores(problem, 3, "soft_iou_eep")[result.members], rel=1e-12)
    else:
        assert np.isnan(result.score)


def test_an_interrupted_bound_holds_all_the_same() -> None:
    problem, cancel = made_up(0), CancelToken()
    store = PredictionStore.of(*problem)
    steps: list[int] = []
    beam(store, 3, "e_leep", progress=lambda done, _: steps.append(done))
    result = beam(
        store, 3, "e_leep", progress=lambda done, _: cancel.set() if done == steps[-2] else None, cancel=cancel
    )
    best = max(all_scores(problem, 3, "e_leep").values())
    assert result.bound is None or result.bound >= best - 1e-12


@pytest.mark.parametrize("options", [{"width": 0}, {"max_rounds": 0}])
def test_bad_options(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="`width` and `max_rounds` to be at least 1"):
        beam(PredictionStore.of(*made_up(0)), 2, **options)  # type: ignore[arg-type]

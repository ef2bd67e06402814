"""`racing`."""

from __future__ import annotations

import inspect
from importlib import import_module
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muster.cancel import CancelToken
from muster.metrics.registry import ENSEMBLE_METRICS
from muster.scoring.cpu.candidate_subset import candidate_subset
from muster.scoring.cpu.workers import Workers
from muster.scoring.prediction_store import PredictionStore
from muster.scoring.score import list_candidates
from muster.scoring.store_writer import StoreWriter
from muster.search import _race
from muster.search.racing import racing
from tests.search.made_up_members import Problem, all_scores, best_of, made_up

RACED = ("e_leep", "iou_eep", "soft_iou_eep")


@pytest.fixture(scope="module")
def large() -> Problem:
    return made_up(0, members=7, pixels=12_000, dtype=np.float32)


@pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
def test_finds_the_best_and_drops_others(large: Problem, metric: str) -> None:
    result = racing(PredictionStore.of(*large, chunk_pixels=1000), 3, metric)
    scores = all_scores(large, 3, metric)
    assert result.members == best_of(scores)
    assert result.evaluated == (7 if metric == "ms_leep" else 35)
    for members, score in result.top_k:
        assert score == pytest.approx(scores[members], rel=1e-12)
    if metric != "ms_leep":
        assert result.bound is None
        status = result.status
        assert (status.optimality, status.confidence, status.candidates) == ("unknown", 0.95, 35)
        assert 0 < status.dropped < 35
        assert (status.completeness, status.fraction) == ("complete", 1.0)


@pytest.mark.parametrize("metric", RACED)
def test_the_best_is_dropped_no_more_often_than_stated(metric: str) -> None:
    """Close races, at a low confidence: a fifth of them may go wrong."""
    wrong = dropped = 0
    for seed in range(40):
        problem = made_up(seed, members=6, pixels=1600, dtype=np.float32)
        store = PredictionStore.of(*problem, seed=seed, chunk_pixels=200)
        result = racing(store, 3, metric, confidence=0.8, threads=1)
        without = racing(PredictionStore.of(*problem), 3, metric, threads=1)  # one chunk, nothing is dropped
        assert without.bound == without.score
        wrong += result.score < without.score - 1e-9
        dropped += result.bound is None
    assert dropped > 25
    assert wrong <= 8


@pytest.mark.parametrize("metric", RACED)
def test_errors_are_those_of_random_samples(large: Problem, metric: str) -> None:
    """The standard error of a difference of scores, against the deviation over many orders of the pixels."""
    candidates, shown, n = np.array([[0, 1], [2, 3]]), 1500, 6000
    eeps, labels = large[0][:, :n], large[1][:n]
    differences, errors = [], []
    with Workers(1) as workers:
        for seed in range(60):
            store = PredictionStore.of(eeps, labels, seed=seed, chunk_pixels=shown)
            subset = candidate_subset(store, candidates, metric, workers)
            subset.add(store.chunks[0])
            differences.append(float(np.diff(subset.scores())[0]))
            variance = subset.variance(store.chunks[0], 0)
            assert variance[0] == pytest.approx(0.0, abs=1e-12)
            errors.append(np.sqrt(variance[1] / shown * (1 - shown / n)))
    assert np.mean(errors) == pytest.approx(np.std(differences), rel=0.3)


@pytest.mark.parametrize("metric", RACED)
def test_nothing_is_dropped_without_need(metric: str) -> None:
    problem = made_up(3)
    result = racing(PredictionStore.of(*problem), 2, metric)  # one chunk
    scores = all_scores(problem, 2, metric)
    assert result.members == best_of(scores)
    assert result.bound == result.score
    assert (result.status.optimality, result.status.candidates, result.status.dropped) == ("proven", 21, 0)
    assert len(result.top_k) == 10


def test_rare_classes_are_waited_for(large: Problem) -> None:
    eeps, labels = large[0], large[1].copy()
    labels[:40] = 3
    store = PredictionStore.of(eeps, labels, chunk_pixels=1000)
    seen = np.array([(store.labels[: chunk.stop] == 3).sum() for chunk in store.chunks])
    enough = int((seen >= 30).argmax()) + 1  # chunks that show enough of class 3
    assert enough > 4
    sizes: list[int] = []
    original = _race.Race._drop

    def drop(race: Any, newest: slice) -> None:
        sizes.append(race.pixels)
        original(race, newest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_race.Race, "_drop", drop)
        racing(store, 2, "iou_eep")
    assert sizes == [store.chunks[k - 1].stop for k in (8,) if k >= enough]


@pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
def test_given_candidates_in_any_order(large: Problem, metric: str) -> None:
    store = PredictionStore.of(*large, chunk_pixels=1000)
    rows = np.array([[5, 2], [0, 6], [2, 5], [4, 3]])
    result = racing(store, 2, metric, rows)
    scores = {members: all_scores(large, 2, metric)[members] for members in [(2, 5), (0, 6), (3, 4)]}
    assert result.members == best_of(scores)
    assert result.evaluated == 3
    assert set(dict(result.top_k)) <= set(scores)


@pytest.mark.parametrize("metric", RACED)
def test_equal_candidates_survive(large: Problem, metric: str) -> None:
    eeps, labels = large
    store = PredictionStore.of(np.concatenate([eeps[:3], eeps[:3]]), labels, chunk_pixels=1000)
    result = racing(store, 1, metric)
    assert result.members == best_of(all_scores((eeps[:3], labels), 1, metric))
    assert [members for members, _ in result.top_k] == [result.members, (result.members[0] + 3,)]


@pytest.mark.parametrize("metric", RACED)
def test_on_disk_and_threads_do_not_matter(metric: str, tmp_path: Path, large: Problem) -> None:
    eeps, labels = large
    with StoreWriter(tmp_path / "store", labels, 4, chunk_pixels=1000) as writer:
        for predictions in eeps:
            writer.add(predictions)
    expected = racing(PredictionStore.of(eeps, labels, chunk_pixels=1000), 3, metric, threads=1)
    assert racing(PredictionStore.open(tmp_path / "store"), 3, metric, threads=3) == expected


def test_parts_of_a_chunk_add_up(large: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = racing(PredictionStore.of(*large, chunk_pixels=3000), 3)
    monkeypatch.setattr("muster.scoring.cpu.candidate_subset._BLOCK_BYTES", 1)
    parts = racing(PredictionStore.of(*large, chunk_pixels=3000), 3)
    assert (parts.members, parts.status) == (whole.members, whole.status)
    assert parts.score == pytest.approx(whole.score, rel=1e-12)


def test_interrupted(large: Problem) -> None:
    store = PredictionStore.of(*large, chunk_pixels=1000)

    cancel = CancelToken()

    def stop(done: int, total: int) -> None:
        if done == 3:
            cancel.set()

    result = racing(store, 2, "iou_eep", progress=stop, cancel=cancel)
    assert result.bound is None
    assert (result.status.completeness, result.status.fraction) == ("interrupted", 0.25)
    seen = (large[0][:, store.order[:3000]], large[1][store.order[:3000]])
    scores = all_scores(seen, 2, "iou_eep")
    assert result.members == best_of(scores)
    assert result.score == pytest.approx(scores[result.members], rel=1e-12)


def test_progress_counts_chunks(large: Problem) -> None:
    calls: list[tuple[int, int]] = []
    racing(PredictionStore.of(*large, chunk_pixels=4000), 2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 8}, r"`size` between 1 and the 7 members there are"),
        ({"size": 2, "metric": "base"}, r"Unknown metric to search by 'base'"),
        ({"size": 2, "confidence": 1.0}, r"`confidence` above 0 and below 1, but got 1.0"),
        ({"size": 2, "candidates": np.array([[0, 1, 2]])}, r"shape \[candidates, 2\], but got int64 of shape \[1, 3\]"),
        ({"size": 2, "candidates": np.array([[0.0, 1.0]])}, r"to be integers of shape"),
        ({"size": 2, "candidates": np.array([[0, 7]])}, r"sets of members between 0 and 6"),
        ({"size": 2, "candidates": np.array([[3, 3]])}, r"sets of members between 0 and 6"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(racing)(PredictionStore.of(*made_up(0)), **options)


def test_too_many_candidates_to_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("muster.search.racing"), "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match=r"35 candidates in 4 classes would take .* `greedy` or `beam`"):
        racing(PredictionStore.of(*made_up(0)), 3)
    assert list(combinations(range(7), 3)) == [tuple(row) for row in list_candidates(7, 3).tolist()]

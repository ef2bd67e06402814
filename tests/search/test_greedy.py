"""`greedy`."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muster.cancel import CancelToken
from muster.metrics import METRICS
from muster.metrics.registry import ENSEMBLE_METRICS
from muster.scoring.prediction_store import PredictionStore
from muster.scoring.store_writer import StoreWriter
from muster.search.greedy import greedy
from tests.search.made_up_members import Numbers, Problem, all_scores, best_of, made_up, score


def slow_greedy(problem: Problem, size: int, metric: str) -> tuple[int, ...]:
    """One candidate after the other, by the metric's own function."""
    eeps, labels = problem
    chosen: tuple[int, ...] = ()
    for _ in range(size):
        found = [
            (-score(eeps[sorted((*chosen, member))], labels, metric), member)
            for member in range(len(eeps))
            if member not in chosen
        ]
        chosen = (*chosen, min(found)[1])
    return tuple(sorted(chosen))


def log_sum(true_class: Numbers, members: tuple[int, ...], offset: float) -> float:
    return float(np.log(offset + true_class[list(members)].sum(axis=0)).mean())


@pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chooses_what_a_slow_version_chooses(metric: str, dtype: Any) -> None:
    for seed, size in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 7)]:
        problem = made_up(seed, dtype=dtype)
        result = greedy(PredictionStore.of(*problem, chunk_pixels=70), size, metric)
        assert result.members == slow_greedy(problem, size, metric)
        assert result.metric == metric


@pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_are_the_metrics_own(metric: str, dtype: Any) -> None:
    problem = made_up(5, dtype=dtype)
    result = greedy(PredictionStore.of(*problem), 3, metric)
    assert result.score == pytest.approx(
        METRICS[metric].function(problem[0][list(result.members)], problem[1]), rel=1e-12
    )
    expected = all_scores(problem, 3, metric)
    assert result.top_k[0] == (result.members, result.score)
    for members, found in result.top_k:
        assert found == pytest.approx(expected[members], rel=1e-12)
    assert [found for _, found in result.top_k] == sorted((found for _, found in result.top_k), reverse=True)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_ms_leep_finds_the_best_set(size: int) -> None:
    for seed in range(5):
        problem = made_up(seed)
        result = greedy(PredictionStore.of(*problem), size, "ms_leep")
        scores = all_scores(problem, size, "ms_leep")
        assert result.members == best_of(scores)
        assert result.bound == result.score == pytest.approx(scores[result.members], rel=1e-12)
        assert result.status.optimality == "proven"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bound_of_e_leep_holds_and_says_something(dtype: Any) -> None:
    gaps = []
    for seed in range(6):
        problem = made_up(seed, members=8, pixels=120, dtype=dtype)
        for size in (1, 2, 3, 5, 8):
            result = greedy(PredictionStore.of(*problem), size, "e_leep")
            best = max(all_scores(problem, size, "e_leep").values())
            assert result.bound is not None
            assert result.bound >= best - 1e-12
            assert result.bound >= result.score
            gaps.append(result.bound - best)
            if size in (1, 8):
                assert result.bound == pytest.approx(best, abs=2e-4)  # one member, or one candidate
    assert np.mean(gaps) < 0.1
    assert result.status.optimality == ("proven" if result.score >= result.bound else "bounded")


def test_bound_holds_where_members_give_nothing_to_the_label() -> None:
    generator = np.random.default_rng(0)
    for seed in range(5):
        eeps, labels = made_up(seed, members=6, pixels=40)
        eeps[generator.random(eeps.shape[:2]) < 0.5] = [0.0, 0.0, 0.0, 1.0]  # the class that does not occur
        for size in (1, 2, 3):
            result = greedy(PredictionStore.of(eeps, labels), size, "e_leep")
            best = max(all_scores((eeps, labels), size, "e_leep").values())
            assert math.isfinite(result.score)
            assert result.bound is not None
            assert result.bound >= best - 1e-9


def test_the_bounds_of_the_docstring() -> None:
    """Monotone, submodular, and what follows for the steps of greedy search, with an offset that is not tiny."""
    for seed in range(8):
        eeps, labels = made_up(seed, members=6, pixels=50)
        true_class = eeps[:, np.arange(50), labels]
        generator = np.random.default_rng(seed)
        large = tuple(generator.permutation(6)[:4].tolist())
        small, member = large[:2], next(m for m in range(6) if m not in large)
        for offset in (1e-300, 1e-3):
            gains = [
                log_sum(true_class, (*base, member), offset) - log_sum(true_class, base, offset)
                for base in (small, large)
            ]
            assert gains[0] >= gains[1] >= 0.0
        size = 3
        result = greedy(PredictionStore.of(eeps, labels), size, "e_leep")
        best = max(all_scores((eeps, labels), size, "e_leep").values())
        single = max(all_scores((eeps, labels), 1, "e_leep").values())
        assert result.score >= best - (1 - 1 / size) ** (size - 1) * (best + math.log(size) - single) - 1e-12


def test_lazy_equals_plain() -> None:
    for seed in range(3):
        store = PredictionStore.of(*made_up(seed, members=150, pixels=60, dtype=np.float32))
        lazy, plain = (greedy(store, 6, "e_leep", lazy=option) for option in (True, False))
        assert lazy.members == plain.members
        assert lazy.score == plain.score
        assert lazy.evaluated < plain.evaluated == sum(150 - k for k in range(6))


def nearly_tied() -> Problem:
    """Two members know the same, the latter of them better by less than a tie of a column with all others in it."""
    true_class = np.full((150, 200), 1e-9)
    for member, known in enumerate((range(100), range(100, 160), range(160, 190), range(160, 190), range(190, 200))):
        true_class[member, list(known)] = 0.99
    true_class[3, 160] *= 1 + 4e-7  # 2e-9 in the mean of the logs
    true_class[5:67, 161:190] = 0.99  # as many as are brought up to date together with these two
    return np.stack([true_class, 1 - true_class], axis=2), np.zeros(200, dtype=np.int64)


def test_lazy_equals_plain_where_members_tie() -> None:
    # What is skipped is worse, and larger in size, than what is not: ties may not be told by what was looked at.
    store = PredictionStore.of(*nearly_tied())
    lazy, plain = (greedy(store, 4, "e_leep", lazy=option) for option in (True, False))
    assert lazy.evaluated < plain.evaluated
    assert lazy.members == plain.members == (0, 1, 2, 4)
    assert lazy.top_k[0] == plain.top_k[0]


@pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
def test_ties_are_broken_by_the_order_of_members(metric: str) -> None:
    eeps, labels = made_up(0, members=3)
    store = PredictionStore.of(np.concatenate([eeps, eeps, eeps]), labels)
    assert greedy(store, 1, metric).members == best_of(all_scores((eeps, labels), 1, metric))
    all_alike = PredictionStore.of(np.stack([eeps[0]] * 5), labels)
    assert greedy(all_alike, 3, metric).members == (0, 1, 2)


@pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
def test_on_disk_and_threads_do_not_matter(metric: str, tmp_path: Path) -> None:
    eeps, labels = made_up(1, members=9, pixels=700, dtype=np.float32)
    with StoreWriter(tmp_path / "store", labels, 4, chunk_pixels=200) as writer:
        for predictions in eeps:
            writer.add(predictions)
    expected = greedy(PredictionStore.of(eeps, labels, chunk_pixels=200), 3, metric, threads=1)
    assert greedy(PredictionStore.open(tmp_path / "store"), 3, metric, threads=3) == expected


def test_parts_of_a_chunk_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = made_up(2, pixels=1200)
    whole = greedy(PredictionStore.of(*problem), 3, "soft_iou_eep")
    monkeypatch.setattr("muster.scoring.cpu.extension._READ_BYTES", 1)  # the fewest pixels at a time
    parts = greedy(PredictionStore.of(*problem), 3, "soft_iou_eep")
    assert parts.members == whole.members
    assert parts.score == pytest.approx(whole.score, rel=1e-12)


@pytest.mark.parametrize("metric", ["iou_eep", "soft_iou_eep"])
def test_races_find_what_greedy_search_finds(metric: str) -> None:
    wrong = 0
    for seed in range(6):
        problem = made_up(seed, members=12, pixels=6000, dtype=np.float32)
        exact = greedy(PredictionStore.of(*problem, chunk_pixels=500), 3, metric)
        raced = greedy(PredictionStore.of(*problem, chunk_pixels=500), 3, metric, confidence=0.95)
        wrong += raced.members != exact.members
        assert raced.score == pytest.approx(score(problem[0][list(raced.members)], problem[1], metric), rel=1e-12)
        assert raced.top_k[0] == (raced.members, raced.score)
        assert (raced.bound, raced.evaluated) == (None, exact.evaluated)
        assert (raced.status.optimality, raced.status.confidence) == ("unknown", 0.95)
        assert 0 < raced.status.dropped < raced.evaluated
    assert wrong <= 1


@pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
def test_races_on_one_chunk_are_exact(metric: str) -> None:
    store = PredictionStore.of(*made_up(0))
    raced, exact = greedy(store, 4, metric, confidence=0.5), greedy(store, 4, metric)
    assert (raced.members, raced.score, raced.top_k[:2]) == (exact.members, exact.score, exact.top_k[:2])


@pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
def test_a_perfect_member_is_found(metric: str) -> None:
    eeps, labels = made_up(3, members=6)
    eeps[4] = np.eye(4)[labels]
    result = greedy(PredictionStore.of(eeps, labels), 1, metric)
    assert result.members == (4,)
    assert result.score == pytest.approx(0.0 if metric in ("ms_leep", "e_leep") else 1.0)


def test_tensors() -> None:
    eeps, labels = made_up(0, dtype=np.float32)
    given = PredictionStore.of(torch.from_numpy(eeps), torch.from_numpy(labels))
    assert greedy(given, 2) == greedy(PredictionStore.of(eeps, labels), 2)


@pytest.mark.parametrize(("metric", "confidence"), [("e_leep", None), ("iou_eep", None), ("iou_eep", 0.9)])
def test_progress_goes_to_the_end(metric: str, confidence: float | None) -> None:
    calls: list[tuple[int, int]] = []
    store = PredictionStore.of(*made_up(0), chunk_pixels=100)
    greedy(store, 3, metric, confidence=confidence, progress=lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert calls[-1][0] == calls[-1][1]
    assert len({total for _, total in calls}) == 1


@pytest.mark.parametrize(("metric", "confidence"), [("e_leep", None), ("soft_iou_eep", None), ("soft_iou_eep", 0.9)])
def test_interrupted_before_the_set_is_whole(metric: str, confidence: float | None) -> None:
    problem = made_up(0)
    store = PredictionStore.of(*problem, chunk_pixels=300)

    cancel = CancelToken()

    def stop(done: int, total: int) -> None:
        if done == 2:
            cancel.set()

    result = greedy(store, 4, metric, confidence=confidence, progress=stop, cancel=cancel)
    assert (result.top_k, result.status.completeness) == ((), "interrupted")
    assert len(result.members) in (1, 2)
    assert set(result.members) <= set(slow_greedy(problem, 2, metric))
    assert np.isnan(result.score)


def test_interrupted_when_only_the_bound_is_missing() -> None:
    store = PredictionStore.of(*made_up(0))

    cancel = CancelToken()

    def stop(done: int, total: int) -> None:
        if done == total - 1:
            cancel.set()

    whole = greedy(store, 3, "e_leep")
    result = greedy(store, 3, "e_leep", progress=stop, cancel=cancel)
    assert (whole.status.completeness, result.status.completeness) == ("complete", "interrupted")
    assert (result.members, result.score, result.top_k) == (whole.members, whole.score, whole.top_k)
    assert result.bound is not None
    assert whole.bound is not None
    assert result.bound >= whole.bound


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, r"`size` between 1 and the 7 members there are, but got 0"),
        ({"size": 8}, r"`size` between 1 and the 7 members there are, but got 8"),
        ({"size": 2, "metric": "iou_epp"}, r"Unknown metric to search by 'iou_epp'. Did you mean 'iou_eep'\?"),
        ({"size": 2, "confidence": 1.0}, r"`confidence` above 0 and below 1, but got 1.0"),
        ({"size": 2, "threads": 0}, r"`threads` to be at least 1, but got 0"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(greedy)(PredictionStore.of(*made_up(0)), **options)

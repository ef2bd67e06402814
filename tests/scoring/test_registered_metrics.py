"""Two metrics that the package does not have, each declared once, in every search and both backends.

Mean class accuracy makes a score of hits and misses, which compiled loops count. The Brier score adds up something of
its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics import METRICS, Accumulator, Definition, EnsembleBlock, HitsAndMisses, Metric, eep, register
from muster.metrics.ensemble_block import members_of
from muster.scoring.bootstrap import Fixed, Refitted, bootstrap_top_k
from muster.scoring.cpu.candidate_subset import candidate_subset
from muster.scoring.cpu.workers import Workers
from muster.scoring.device.exhaustive import score_tiles
from muster.scoring.metric_kinds import has_exhaustive_kernels
from muster.scoring.prediction_store import Backend, PredictionStore
from muster.scoring.resampling import ResamplingProblem
from muster.scoring.resampling_by_definition import resample_by_definition
from muster.scoring.score import list_candidates, score_ensembles
from muster.scoring.store_writer import StoreWriter
from muster.search.beam import beam
from muster.search.greedy import greedy
from muster.search.racing import racing
from muster.search.result import SearchResult
from muster.selection.run import select
from tests.helpers import make_member, make_target
from tests.search.made_up_members import all_scores, best_of, made_up

Numbers = np.ndarray[Any, Any]


def mean_recall(state: torch.Tensor, label_counts: torch.Tensor) -> torch.Tensor:
    hits, present = state[..., 0, :], label_counts > 0
    return torch.where(present, hits / label_counts, 0.0).sum(dim=-1) / present.sum(dim=-1)


class SquaredErrors(Accumulator):
    """Sum over pixels of the squared distance between a prediction and the truth."""

    def init(self, candidates: int, num_classes: int, device: torch.device) -> torch.Tensor:
        return torch.zeros(candidates, dtype=torch.float64, device=device)

    def update(self, state: torch.Tensor, block: EnsembleBlock) -> None:
        truth = torch.nn.functional.one_hot(block.labels, block.num_classes)
        state += (block.probabilities.double() - truth).square().sum(dim=(1, 2))


def mean(state: torch.Tensor, label_counts: torch.Tensor) -> torch.Tensor:
    return state / label_counts.sum(dim=-1)


def slow_score(eeps: Numbers, labels: Numbers, metric: str) -> float:
    """Larger is better: the Brier score is a cost."""
    probabilities = np.mean(eeps.astype(np.float64), axis=0)
    if metric.startswith("brier"):
        per_pixel = [
            ((row - np.eye(eeps.shape[2])[label]) ** 2).sum() for row, label in zip(probabilities, labels, strict=True)
        ]
        return -float(np.mean(per_pixel)) if metric == "brier" else slow_sum(eeps, labels)
    predicted = eeps.sum(axis=0, dtype=eeps.dtype).argmax(axis=1)
    return float(np.mean([(predicted[labels == c] == c).mean() for c in sorted(set(labels.tolist()))]))


def slow_sum(eeps: Numbers, labels: Numbers) -> float:
    return sum(slow_score(each[None], labels, "brier") for each in eeps)


OUTSIDE = ("mean_class_accuracy", "brier", "brier_sum")
SEARCHED = OUTSIDE[:2]
BACKENDS: tuple[Backend, ...] = ("numba", "torch")
every_metric = pytest.mark.parametrize("metric", OUTSIDE)
every_backend = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(autouse=True, scope="module")
def registered() -> Iterator[None]:
    accuracy = Definition(HitsAndMisses(soft=False), mean_recall)
    register(Metric.of_ensembles("mean_class_accuracy", "Mean class accuracy", accuracy))
    squares = SquaredErrors()
    brier, total = Definition(squares, mean), Definition(squares, mean, sums_members=True)
    register(Metric.of_ensembles("brier", "Brier score", brier, larger_is_better=False))
    register(Metric.of_ensembles("brier_sum", "Sum of Brier scores", total, larger_is_better=False))
    yield
    for name in OUTSIDE:
        del METRICS[name]


def store_of(problem: Any, backend: Backend, where: str, folder: Path) -> PredictionStore:
    eeps, labels = problem
    if where == "memory":
        return PredictionStore.of(eeps, labels, chunk_pixels=90, backend=backend)
    with StoreWriter(folder / "store", labels, eeps.shape[2], chunk_pixels=90) as writer:
        for each in eeps:
            writer.add(each)
    return PredictionStore.open(folder / "store", backend)


def slow_scores(problem: Any, size: int, metric: str) -> dict[tuple[int, ...], float]:
    eeps, labels = problem
    return {rows: slow_score(eeps[list(rows)], labels, metric) for rows in combinations(range(len(eeps)), size)}


@every_metric
def test_function_equals_its_slow_definition(metric: str) -> None:
    eeps, labels = made_up(0)
    sign = 1 if METRICS[metric].larger_is_better else -1
    assert METRICS[metric].function(eeps, labels) == pytest.approx(sign * slow_score(eeps, labels, metric), rel=1e-12)


@every_metric
@every_backend
@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize("size", [1, 3])
def test_exhaustive(metric: str, backend: Backend, where: str, size: int, tmp_path: Path) -> None:
    problem, told = made_up(1, dtype=np.float32), list[int]()
    store = store_of(problem, backend, where, tmp_path)
    ranking = score_ensembles(store, store.labels, size, [metric, "e_leep"], progress=lambda done, _: told.append(done))
    assert list(ranking.scores) == [metric, "e_leep"]
    expected = slow_scores(problem, size, metric)
    assert ranking.scores[metric] == pytest.approx([expected[tuple(row)] for row in ranking.members.tolist()], rel=1e-6)
    assert ranking.scores["e_leep"] == pytest.approx(list(all_scores(problem, size, "e_leep").values()), rel=1e-9)
    assert told == sorted(told)
    assert told[-1] == len(ranking)


def test_compiled_loops_are_used_for_what_they_count() -> None:
    assert [has_exhaustive_kernels(METRICS[name]) for name in OUTSIDE] == [True, False, False]
    eeps, labels = made_up(2)
    rows = list_candidates(7, 2)
    found = score_tiles(members_of(eeps, labels), rows, ["mean_class_accuracy"], lambda _: None)
    expected = slow_scores((eeps, labels), 2, "mean_class_accuracy")
    assert found["mean_class_accuracy"] == pytest.approx(list(expected.values()), rel=1e-12)


def slow_greedy(problem: Any, size: int, metric: str) -> tuple[int, ...]:
    eeps, labels = problem
    chosen: tuple[int, ...] = ()
    for _ in range(size):
        sets = [tuple(sorted((*chosen, new))) for new in range(len(eeps)) if new not in chosen]
        chosen = best_of({members: slow_score(eeps[list(members)], labels, metric) for members in sets})
    return chosen


@every_metric
@every_backend
@pytest.mark.parametrize("where", ["memory", "disk"])
def test_greedy_and_streamed(metric: str, backend: Backend, where: str, tmp_path: Path) -> None:
    for seed in range(2):
        problem = made_up(seed)
        found = greedy(store_of(problem, backend, where, tmp_path), 3, metric)
        assert found.members == slow_greedy(problem, 3, metric)
        assert found.score == pytest.approx(slow_scores(problem, 3, metric)[found.members], rel=1e-12)
        assert (found.bound is not None) == (metric == "brier_sum")


@every_metric
@every_backend
def test_beam_and_racing_find_the_best(metric: str, backend: Backend, tmp_path: Path) -> None:
    problem = made_up(3)
    scores = slow_scores(problem, 2, metric)
    store = store_of(problem, backend, "memory", tmp_path)
    results: list[SearchResult] = [beam(store, 2, metric, width=50), racing(store, 2, metric)]
    for result in results:
        assert result.members == best_of(scores)
        assert result.score == pytest.approx(max(scores.values()), rel=1e-12)


@pytest.mark.parametrize("metric", ["e_leep", "iou_eep", "soft_iou_eep"])
def test_torch_scores_the_own_metrics_alike(metric: str, tmp_path: Path) -> None:
    problem = made_up(4)
    one, other = (store_of(problem, backend, "memory", tmp_path) for backend in BACKENDS)
    for search in (greedy, beam, racing):
        assert search(other, 3, metric).members == search(one, 3, metric).members
        assert search(other, 3, metric).score == pytest.approx(search(one, 3, metric).score, rel=1e-12)
    on_disk = store_of(problem, "torch", "disk", tmp_path)
    found = score_ensembles(on_disk, on_disk.labels, 3, [metric]).scores[metric]
    assert found == pytest.approx(list(all_scores(problem, 3, metric).values()), rel=1e-12)


@pytest.mark.parametrize("metric", [*SEARCHED, "soft_iou_eep"])
@every_backend
def test_errors_in_a_race_are_those_of_random_samples(metric: str, backend: Backend) -> None:
    """The standard error of a difference of scores, against the deviation over many orders of the pixels."""
    eeps, labels = made_up(0, members=4, pixels=3000, dtype=np.float32)
    candidates, shown = np.array([[0, 1], [2, 3]]), 1000
    differences, errors = [], []
    with Workers(1) as workers:
        for seed in range(30):
            store = PredictionStore.of(eeps, labels, seed, shown, backend)
            subset = candidate_subset(store, candidates, metric, workers)
            subset.add(store.chunks[0])
            differences.append(float(np.diff(subset.scores())[0]))
            variance = subset.variance(store.chunks[0], 0)
            assert variance[0] == pytest.approx(0.0, abs=1e-12)
            errors.append(np.sqrt(variance[1] / shown * (1 - shown / len(labels))))
    assert np.mean(errors) == pytest.approx(np.std(differences), rel=0.3)


@every_metric
@pytest.mark.parametrize("refits", [False, True])
def test_bootstrapped(metric: str, refits: bool) -> None:
    generator = np.random.default_rng(5)
    eeps, labels = made_up(5, members=4, pixels=120)
    images, rows, count = generator.integers(0, 6, 120), np.array([[0, 1], [1, 3], [2, 3]]), 60
    members = [Refitted(each) if refits else Fixed(each) for each in eeps]
    found = bootstrap_top_k(members, labels, images, rows, metric, count, num_classes=4)
    copies = np.random.default_rng(0).multinomial(6, [1 / 6] * 6, count)
    weights = np.concatenate([np.ones((1, 6), dtype=np.int64), copies])
    expected = np.empty((count + 1, 3))
    for resample, copied in enumerate(weights):
        pixels = np.concatenate([np.flatnonzero(images == image) for image, k in enumerate(copied) for _ in range(k)])
        drawn = labels[pixels]
        said = [eep(each[pixels], drawn, 4) if refits else each[pixels] for each in eeps]
        expected[resample] = [slow_score(np.stack([said[i] for i in row]), drawn, metric) for row in rows]
    np.testing.assert_allclose(found.scores, expected[0], rtol=1e-9)
    np.testing.assert_allclose(found.resampled, expected[1:], rtol=1e-9)
    order = np.lexsort((labels, images))
    starts = np.searchsorted(images[order], np.arange(7))
    problem = ResamplingProblem(list(torch.from_numpy(eeps)), refits, labels, 4, order, starts, rows, metric)
    by_torch = resample_by_definition(problem, weights.astype(np.float64), lambda _done, _total: None)
    np.testing.assert_allclose(by_torch, expected, rtol=1e-9)


def test_selected_by_name(tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        make_member(tmp_path, name, seed, classes=3, dataset="elsewhere")
    options: dict[str, Any] = {"size": 2, "pixels_per_image": 40, "cache_gb": 0.0, "batch_size": 4, "resamples": 40}
    names = (*OUTSIDE, "brier+haste_cs")
    chosen = select(tmp_path, make_target(4), metric="brier", metrics=names, predictor="eep", **options)
    assert not chosen.dropped
    assert set(names) <= set(chosen.ranking.scores)
    assert chosen.score == max(chosen.ranking.scores["brier"]) < 0
    assert chosen.bootstrap_confidence is not None
    searched = select(tmp_path, make_target(4), metric="brier", metrics=(), search="greedy", predictor="eep", **options)
    assert searched.score == pytest.approx(chosen.score, rel=0.5)


@pytest.mark.parametrize(("name", "message"), [
    ("brier", "a new name for the metric, but 'brier' is Brier score"),
    ("brier+l", "lower-case letters, digits and underscores, but got 'brier\\+l'"),
])  # fmt: skip
def test_names_that_cannot_be_registered(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        register(Metric.of_ensembles(name, "Another", Definition(SquaredErrors(), mean)))

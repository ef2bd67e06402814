"""Copies of members: every search and every place where predictions lie name the same set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muster.metrics import METRICS
from muster.metrics.registry import ENSEMBLE_METRICS
from muster.metrics.ties import tie_levels
from muster.scoring import score_ensembles
from muster.scoring.device.exhaustive import score_tiles
from muster.scoring.prediction_store import InMemoryStore, PredictionStore
from muster.scoring.store_writer import StoreWriter
from muster.search.beam import beam
from muster.search.greedy import greedy
from muster.search.racing import racing
from tests.scoring.compiled_metrics import COMPILED
from tests.search.made_up_members import Numbers, made_up

PIXELS = 900


def with_copies(seed: int, dtype: Any = np.float64) -> tuple[Numbers, Numbers]:
    """Three members and a copy of each, mixed: sets of equal content are summed in different orders."""
    eeps, labels = made_up(seed, members=3, pixels=PIXELS, dtype=dtype)
    return eeps[[0, 1, 2, 1, 0, 2]], labels


def content(members: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted((0, 1, 2, 1, 0, 2)[member] for member in members))


# Accuracies go the way of the others: one draw is enough, and soft accuracy takes seconds for each.
@pytest.mark.parametrize(
    ("metric", "seed"),
    [(metric, seed) for metric in ENSEMBLE_METRICS for seed in range(1 if metric.endswith("accuracy_eep") else 3)],
)
def test_all_searches_name_the_same_set(metric: str, seed: int) -> None:
    eeps, labels = with_copies(seed)
    store = PredictionStore.of(eeps, labels, chunk_pixels=100)
    ranking = score_ensembles(store, store.labels, 3, [metric])
    best = tuple(ranking.members[ranking.order(metric)[0]].tolist())
    assert racing(store, 3, metric).members == best
    for search in (greedy, beam):
        found = search(store, 3, metric).members
        same = [tuple(row) for row in ranking.members.tolist() if content(tuple(row)) == content(found)]
        assert found == min(same)  # a greedy set may be worse, but of equal ones it is the first


@pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
def test_equal_content_ties(metric: str) -> None:
    eeps, labels = with_copies(4)
    ranking = score_ensembles(eeps, labels, 3, [metric])
    levels: dict[tuple[int, ...], set[int]] = {}
    for row, level in zip(ranking.members.tolist(), tie_levels(ranking.scores[metric]).tolist(), strict=True):
        levels.setdefault(content(tuple(row)), set()).add(level)
    assert all(len(found) == 1 for found in levels.values())


@pytest.mark.parametrize("metric", ENSEMBLE_METRICS)
def test_order_is_the_same_from_memory_from_disk_and_by_definition(tmp_path: Path, metric: str) -> None:
    eeps, labels = with_copies(5, np.float32)
    with StoreWriter(
        tmp_path / "store", torch.from_numpy(labels), eeps.shape[2], len(eeps), chunk_pixels=128
    ) as writer:
        for eep in eeps:
            writer.add(torch.from_numpy(eep))
    on_disk = PredictionStore.open(tmp_path / "store")
    orders = [
        score_ensembles(store, store.labels, 3, [metric]).order(metric).tolist()
        for store in (
            on_disk,
            PredictionStore.of(eeps, labels),
            PredictionStore.of(eeps, labels, seed=7, chunk_pixels=50),
        )
    ]
    ranking = score_ensembles(eeps, labels, 3, [metric])
    function = METRICS[metric].function
    defined = ranking.with_scores(metric, np.array([function(eeps[row], labels) for row in ranking.members]))
    members = PredictionStore.of(eeps, labels)
    assert isinstance(members, InMemoryStore)
    orders.append(defined.order(metric).tolist())
    if metric in COMPILED:
        tiles = score_tiles(members.in_memory(), ranking.members, [metric], lambda _: None)
        orders.append(ranking.with_scores(metric, tiles[metric]).order(metric).tolist())
    assert orders.count(orders[0]) == len(orders)


@pytest.mark.parametrize(
    "eeps",
    [
        np.array([[[1e-15, 0.0], [0.2, 0.8], [0.3, 0.7]]]),
        np.array([[[1e-15, 0.0], [0.0, 1e-14], [1e-16, 1e-13]], [[0.1, 0.2], [0.2, 0.1], [1e-20, 0.0]]]),
        np.array([[[1e-30, 0.0], [1e-39, 1e-38], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]], dtype=np.float32),
    ],
)
def test_rows_that_give_hardly_anything_score_alike_on_every_path(eeps: Numbers) -> None:
    # A table counted on other images can leave a row with less than all: the definition decides.
    labels = np.array([0, 1, 1])
    for size in range(1, len(eeps) + 1):
        store = PredictionStore.of(eeps, labels)
        ranking = score_ensembles(eeps, labels, size, ENSEMBLE_METRICS)
        for metric in ENSEMBLE_METRICS:
            function = METRICS[metric].function
            expected = [function(eeps[row], labels) for row in ranking.members]
            assert ranking.scores[metric] == pytest.approx(expected, rel=1e-6), metric
            for search in (greedy, beam, racing):
                found = search(store, size, metric)
                assert found.score == pytest.approx(function(eeps[list(found.members)], labels), rel=1e-6), metric
            members = InMemoryStore(store.in_memory()).in_memory()
            tiles = score_tiles(members, ranking.members, ["soft_iou_eep"], lambda _: None)["soft_iou_eep"]
            known = ~np.isnan(tiles)  # the others are scored by the definition
            soft = ranking.scores["soft_iou_eep"][known]
            assert tiles[known] == pytest.approx(soft, rel=1e-6)

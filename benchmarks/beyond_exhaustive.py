"""Search where not all candidates can be listed: time and memory at full size, and misses where all can be scored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.apart import apart
from benchmarks.requirements import scratch_folder
from benchmarks.timing import cost, peak_megabytes
from muster.data import ImageSize, Preprocessing, cached, channel_statistics, open_dataset
from muster.metrics import eep
from muster.metrics.registry import ENSEMBLE_METRICS
from muster.pool import Pool
from muster.probe import ProbeReader, draw_probe_set, member_probabilities
from muster.scoring.prediction_store import PredictionStore
from muster.scoring.score import score_ensembles
from muster.scoring.store_writer import StoreWriter
from muster.search.beam import beam
from muster.search.greedy import greedy
from muster.search.racing import racing
from muster.search.result import SearchResult
from muster.selection.probing import usual_image_size

Numbers = np.ndarray[Any, Any]
Search = Callable[[PredictionStore, int, str], SearchResult]

METHODS: dict[str, Search] = {
    "greedy": greedy,
    "greedy_by_races": partial(greedy, confidence=0.95),
    "beam_without_swaps": partial(beam, swaps=False),
    "beam": beam,
    "racing": racing,
}

POOL = Path("runs/pools/worlds")
"""The pool of the demo: its members are the trained ones, if it is there."""

TARGETS = tuple(f"worlds/{name}" for name in ("harbour_drive", "country_drive", "suburb", "delta", "parlour", "trench"))
"""Datasets that no member of that pool was trained on."""


def made_up_members(members: int, labels: Numbers, classes: int, seed: int = 0) -> Iterator[Numbers]:
    """Predictions of members that know each class more or less well; what is hard for one is hard for all.

    Args:
        members: How many.
        labels: True classes of the pixels.
        classes: How many there are.
        seed: The seed of everything.

    Yields:
        float32 ``[pixels, classes]``, rows that sum to 1.
    """
    generator = np.random.default_rng(seed)
    rows, shape = np.arange(len(labels)), (len(labels), classes)
    ease, likeness = generator.random(len(labels), dtype=np.float32), generator.random(shape, dtype=np.float32)
    for _ in range(members):
        skill = generator.uniform(0.0, 1.0, classes).astype(np.float32)
        known = skill[labels] * ease * generator.random(len(labels), dtype=np.float32)
        predictions = likeness * generator.random(shape, dtype=np.float32)
        np.power(predictions, np.float32(generator.integers(1, 5)), out=predictions)
        predictions /= predictions.sum(axis=1, keepdims=True)
        predictions *= 1.0 - known[:, None]
        predictions[rows, labels] += known
        yield predictions


def beyond_exhaustive(
    members: int = 1000,
    pixels: int = 150_000,
    classes: int = 23,
    size: int = 5,
    methods: Sequence[str] = ("greedy", "greedy_by_races"),
) -> dict[str, Any]:
    """Sets of five out of 1000 members, 150 000 pixels, 23 classes; the 13.8 GB of predictions are on disk.

    Args:
        members: Of the pool.
        pixels: Probe pixels.
        classes: Of the target.
        size: Members of a set.
        methods: Names in :data:`METHODS`.

    Returns:
        For each method and metric the seconds of a search, and peak memory of its process.
    """
    with scratch_folder(members * pixels * (classes + 1) * 4 / 1e9) as folder:
        written = apart(write_made_up, folder=str(folder), members=members, pixels=pixels, classes=classes)
        results: dict[str, Any] = {"writing": written}
        for method in methods:
            results[method] = {
                metric: apart(measure_search, folder=str(folder), size=size, metric=metric, method=method)
                for metric in ENSEMBLE_METRICS
            }
        return results


def write_made_up(folder: str, members: int, pixels: int, classes: int) -> dict[str, Any]:
    """Write a store of made-up members; the seconds are those of writing, making them up left out."""
    labels = np.random.default_rng(1).integers(0, classes, pixels)
    seconds = 0.0
    with StoreWriter(Path(folder) / "store", labels, classes, members) as writer:
        for predictions in made_up_members(members, labels, classes):
            start = time.perf_counter()
            writer.add(predictions)
            seconds += time.perf_counter() - start
    gigabytes = members * pixels * classes * 4 / 1e9
    return {"seconds": round(seconds, 1), "gigabytes": round(gigabytes, 1), "peak_megabytes": round(peak_megabytes())}


def measure_search(folder: str, size: int, metric: str, method: str) -> dict[str, Any]:
    """A search in a store that was written before.

    Whether the store's files are in the system's memory is up to the system.
    """
    libraries = peak_megabytes()
    search = METHODS[method]
    few = PredictionStore.of(*few_members(size))
    search(few, size, metric)  # compiles its loops, or loads them
    spent, found = cost(lambda: search(PredictionStore.open(Path(folder) / "store"), size, metric))
    return {
        "seconds": round(spent.seconds, 1),
        "most_seconds": 60,
        "processor_seconds": round(spent.processor_seconds, 1),
        "megabytes_of_libraries": round(libraries),
        "peak_megabytes": round(peak_megabytes()),
        "score": found.score,
        "evaluated": found.evaluated,
    } | ({} if found.bound is None else {"bound": found.bound})


def few_members(size: int) -> tuple[Numbers, Numbers]:
    """Predictions of some made-up members, and the labels: enough to compile or load the loops of a search."""
    labels = np.arange(600) % 3
    return np.stack(list(made_up_members(size + 2, labels, 3))), labels


def predictions_on(pool: Path, target: str, images: int = 40, pixels: int = 500) -> tuple[Numbers, Numbers]:
    """EEPs of a pool's members on a target, and the labels."""
    dataset = open_dataset(target)
    members, _ = Pool.open(pool).eligible_for(dataset)
    split = cached(dataset.train.subset(images, 0))
    probe = draw_probe_set(split, pixels, 0)
    shown = Preprocessing(channel_statistics(split), ImageSize.of(usual_image_size(members)))
    reader = ProbeReader(split, probe, shown, torch.device("cpu"), 8, 0)
    predictions = [
        eep(member_probabilities(member, reader), probe.labels, dataset.spec.num_classes) for member in members
    ]
    return torch.stack(predictions).numpy(), probe.labels.numpy()


def small_problems(
    pool: Path | None, targets: Iterable[str], seeds: int, members: Sequence[int], pixels: int
) -> Iterator[tuple[str, Numbers, Numbers]]:
    """Problems small enough to score every candidate: of trained members if there is a pool, and made-up ones.

    Args:
        pool: Folder of the trained members.
        targets: That these are probed on.
        seeds: How many made-up problems there are of each kind and number of members.
        members: Numbers of members.
        pixels: Of a made-up problem.

    Yields:
        Kind, predictions and labels.
    """
    for target in targets if pool is not None else ():
        assert pool is not None
        yield ("trained", *predictions_on(pool, target))
    for seed, count in product(range(seeds), members):
        labels = np.random.default_rng(seed).integers(0, 9, pixels)
        yield "made_up", np.stack(list(made_up_members(count, labels, 9, seed))), labels
        generator = np.random.default_rng(seed)
        shape, concentration = (count, len(labels)), 0.5
        predictions = generator.dirichlet(np.full(9, concentration), shape)
        skill = generator.uniform(0.0, 0.6, (count, 9))[:, labels, None] * generator.beta(0.7, 0.7, (*shape, 1))
        yield "dirichlet", (skill * np.eye(9)[labels] + (1.0 - skill) * predictions).astype(np.float32), labels


def misses(
    pool: str = str(POOL),
    targets: Sequence[str] = TARGETS,
    seeds: int = 4,
    members: Sequence[int] = (14, 20),
    pixels: int = 6000,
    sizes: Sequence[int] = (3,),
) -> dict[str, Any]:
    """How often and by how much each search misses the best candidate, where all can be scored.

    Args:
        pool: Folder of trained members; without it there are made-up ones only.
        targets: That these are probed on.
        seeds: See :func:`small_problems`.
        members: Likewise.
        pixels: Likewise.
        sizes: Members per candidate.

    Returns:
        For each kind of problem, metric and method: how many problems, how many missed, mean and largest loss of score,
        the largest loss as a share of the best candidate's margin over the median one, the worst rank (0 is the best),
        and how far bounds lie above the best score at most.
    """
    trained = Path(pool) if Path(pool).is_dir() else None
    cases: dict[str, list[tuple[float, float, int, float]]] = {}
    problems = small_problems(trained, targets, seeds, members, pixels)
    for (kind, eeps, labels), size in product(problems, sizes):
        store = PredictionStore.of(eeps, labels, chunk_pixels=1024)
        ranking = score_ensembles(store, store.labels, size)
        for metric, (name, search) in product(ENSEMBLE_METRICS, METHODS.items()):
            case = _case(ranking.scores[metric], search(store, size, metric))
            cases.setdefault(f"{kind}, {metric}, {name}", []).append(case)
    return {name: _row(np.array(values)) for name, values in cases.items()}


def _case(scores: Numbers, found: SearchResult) -> tuple[float, float, int, float]:
    """Loss, loss as a share of the margin, rank, and how far the bound lies above the best."""
    best = float(scores.max())
    loss = max(0.0, best - found.score)
    loss = 0.0 if loss < 1e-9 else loss  # rounding
    rank = int((scores > found.score + 1e-9).sum())
    gap = np.nan if found.bound is None else found.bound - best
    return loss, loss / (best - float(np.median(scores))), rank, gap


def _row(cases: Numbers) -> dict[str, Any]:
    losses, shares, ranks, gaps = cases.T
    return {
        "count": len(losses),
        "missed": int((losses > 0).sum()),
        "mean_loss": float(losses.mean()),
        "largest_loss": float(losses.max()),
        "largest_share_of_margin": round(float(shares.max()), 4),
        "worst_rank": int(ranks.max()),
        "largest_bound_gap": None if np.isnan(gaps).all() else round(float(np.nanmax(gaps)), 5),
    }

"""Search where not all candidates can be listed: time and memory at full size, and misses where all can be scored."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from muster.data import cached, channel_statistics, open_dataset
from muster.metrics import eep
from muster.pool import Pool
from muster.probe import ProbeReader, draw_probe_set, member_probabilities
from muster.search.beam import beam
from muster.search.greedy import greedy
from muster.search.panel import Panel, PanelWriter
from muster.search.racing import racing
from muster.search.result import SEARCH_METRICS, SearchResult
from muster.search.score import score_ensembles

Numbers = np.ndarray[Any, Any]
Search = Callable[[Panel, int, str], SearchResult]

METHODS: dict[str, Search] = {
    "greedy": greedy,
    "beam_without_swaps": lambda panel, size, metric: beam(panel, size, metric, swaps=False),
    "beam": beam,
    "racing": racing,
}


def made_up_members(members: int, labels: Numbers, classes: int, seed: int = 0) -> Iterator[Numbers]:
    """Predictions of members that know each class more or less well; what is hard for one is hard for all.

    Args:
        members: How many.
        labels: True classes of the pixels.
        classes: How many there are.
        seed: Of everything.

    Yields:
        float32 ``[pixels, classes]``, rows that sum to 1.
    """
    generator = np.random.default_rng(seed)
    rows, shape = np.arange(len(labels)), (len(labels), classes)
    ease, likeness = generator.random(len(labels), dtype=np.float32), generator.random(shape, dtype=np.float32)
    for _ in range(members):
        skill = generator.uniform(0.0, 1.0, classes).astype(np.float32)
        known = skill[labels] * ease * generator.random(len(labels), dtype=np.float32)
        said = likeness * generator.random(shape, dtype=np.float32)
        np.power(said, np.float32(generator.integers(1, 5)), out=said)
        said /= said.sum(axis=1, keepdims=True)
        said *= 1.0 - known[:, None]
        said[rows, labels] += known
        yield said


def write_made_up(folder: Path, members: int = 1000, pixels: int = 150_000, classes: int = 23) -> float:
    """Write a panel of made-up members; returns the seconds that writing took, making them up left out."""
    labels = np.random.default_rng(1).integers(0, classes, pixels)
    seconds = 0.0
    with PanelWriter(folder, labels, classes, members) as writer:
        for said in made_up_members(members, labels, classes):
            start = time.perf_counter()
            writer.add(said)
            seconds += time.perf_counter() - start
    return seconds


def at_full_size(
    folder: Path, size: int = 5, metrics: Iterable[str] = SEARCH_METRICS, search: Search = greedy
) -> dict[str, dict[str, float]]:
    """Seconds, and peak memory of this process so far, of a search by each metric in a panel on disk.

    Each starts with a panel opened anew; whether its files are in the system's memory is up to the system.
    """
    results = {}
    for metric in metrics:
        processor, start = time.process_time(), time.perf_counter()
        found = search(Panel.open(folder), size, metric)
        results[metric] = {
            "seconds": round(time.perf_counter() - start, 1),
            "processor_seconds": round(time.process_time() - processor, 1),
            "peak_gigabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
            "score": found.score,
            "evaluated": found.evaluated,
        } | ({} if found.bound is None else {"bound": found.bound})
    return results


def predictions_on(pool: Path, target: str, images: int = 40, pixels: int = 500) -> tuple[Numbers, Numbers]:
    """EEPs of a pool's members on a target, and the labels."""
    members, _ = Pool.open(pool).eligible_for(target)
    dataset = open_dataset(target)
    split = cached(dataset.train.subset(images, 0))
    probe = draw_probe_set(split, pixels, 0)
    seen_at = statistics.median_low(member.card.image_size for member in members)
    reader = ProbeReader(split, probe, channel_statistics(split), seen_at, torch.device("cpu"), 8, 0)
    said = [eep(member_probabilities(member, reader), probe.labels, dataset.spec.num_classes) for member in members]
    return torch.stack(said).numpy(), probe.labels.numpy()


def small_problems(pool: Path | None, targets: Iterable[str] = ()) -> Iterator[tuple[str, Numbers, Numbers]]:
    """Problems small enough to score every candidate: of trained members if there is a pool, and made-up ones.

    Yields:
        Kind, predictions and labels.
    """
    for target in targets if pool is not None else ():
        assert pool is not None
        yield ("trained", *predictions_on(pool, target))
    for seed, members in product(range(4), (14, 20)):
        labels = np.random.default_rng(seed).integers(0, 9, 6000)
        yield "made_up", np.stack(list(made_up_members(members, labels, 9, seed))), labels
        generator = np.random.default_rng(seed)
        shape, spread = (members, len(labels)), 0.5
        said = generator.dirichlet(np.full(9, spread), shape)
        skill = generator.uniform(0.0, 0.6, (members, 9))[:, labels, None] * generator.beta(0.7, 0.7, (*shape, 1))
        yield "dirichlet", (skill * np.eye(9)[labels] + (1.0 - skill) * said).astype(np.float32), labels


def misses(problems: Iterable[tuple[str, Numbers, Numbers]], sizes: Iterable[int] = (3,)) -> list[dict[str, Any]]:
    """How often and by how much each method misses the best candidate.

    Args:
        problems: See :func:`small_problems`.
        sizes: Members per candidate.

    Returns:
        A row for each kind of problem, metric and method: problems, misses, mean and largest loss of score, the largest
        loss as a share of the best candidate's lead over the median one, the worst rank (0 is the best), and how far
        bounds lie above the best score at most.
    """
    cases: dict[tuple[str, str, str], list[tuple[float, float, int, float]]] = {}
    for (kind, eeps, labels), size in product(list(problems), sizes):
        panel = Panel.of(eeps, labels, chunk_pixels=1024)
        ranking = score_ensembles(panel, panel.labels, size)
        for metric, (name, search) in product(SEARCH_METRICS, METHODS.items()):
            scores, found = ranking.scores[metric], search(panel, size, metric)
            best, loss = float(scores.max()), max(0.0, float(scores.max()) - found.score)
            loss = 0.0 if loss < 1e-9 else loss  # rounding
            rank = int((scores > found.score + 1e-9).sum())
            gap = np.nan if found.bound is None else found.bound - best
            cases.setdefault((kind, metric, name), []).append((loss, loss / (best - np.median(scores)), rank, gap))
    return [_row(*key, np.array(values)) for key, values in cases.items()]


def _row(kind: str, metric: str, method: str, cases: Numbers) -> dict[str, Any]:
    losses, shares, ranks, gaps = cases.T
    return {
        "problems": kind,
        "metric": metric,
        "method": method,
        "count": len(losses),
        "missed": int((losses > 0).sum()),
        "mean_loss": float(losses.mean()),
        "largest_loss": float(losses.max()),
        "largest_share_of_lead": round(float(shares.max()), 4),
        "worst_rank": int(ranks.max()),
        "largest_bound_gap": None if np.isnan(gaps).all() else round(float(np.nanmax(gaps)), 5),
    }

"""Exhaustive search beside the plain way: time, ratio, peak memory. Each in a process of its own."""

from __future__ import annotations

import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.apart import apart
from benchmarks.device_backends import compare_backends
from benchmarks.plain_scoring import PlainScorer
from benchmarks.requirements import MissingRequirementError, scratch_folder
from benchmarks.timing import cost, peak_megabytes
from muster.arrays import NumpyArray
from muster.cancel import CancelToken
from muster.metrics import ENSEMBLE_METRICS
from muster.records import write_record
from muster.scoring._store_folder import (
    FORMAT_VERSION,
    HEADER,
    LABELS,
    ORDER,
    Header,
    predictions_file,
    true_class_file,
)
from muster.scoring.device.backends import fastest_backend
from muster.scoring.prediction_store import CHUNK_PIXELS, PredictionStore, draw_order
from muster.scoring.ranking import Ranking
from muster.scoring.score import score_ensembles

_THREADS = 2


def exhaustive(
    members: int = 64, pixels: int = 150_000, classes: int = 23, plain_candidates: int = 200
) -> dict[str, Any]:
    """All four metrics of the 41 664 candidates of three out of 64, 150 000 pixels, 23 classes, float32.

    Args:
        members: Of the pool.
        pixels: Probe pixels.
        classes: Of the target.
        plain_candidates: On which the plain version is timed, one at a time.

    Returns:
        Seconds of both, those of the plain version extrapolated; their ratio; memory beside that of the predictions.
    """
    return apart(measure_exhaustive, members=members, pixels=pixels, classes=classes, plain_candidates=plain_candidates)


def streamed(members: int = 64, pixels: int = 1_000_000, classes: int = 134, chunks: int = 4) -> dict[str, Any]:
    """The same with 1 000 000 pixels and 134 classes, the predictions on disk; extrapolated from a few chunks.

    Args:
        members: Of the pool.
        pixels: Probe pixels.
        classes: Of the target.
        chunks: That are written and scored, of 8192 pixels each.

    Returns:
        Seconds extrapolated to all pixels, and peak memory.
    """
    gigabytes = members * min(pixels, chunks * CHUNK_PIXELS) * (classes + 1) * 4 / 1e9
    with scratch_folder(gigabytes) as folder:
        return apart(
            measure_streamed, folder=str(folder), members=members, pixels=pixels, classes=classes, chunks=chunks
        )


def on_gpu(members: int = 64, pixels: int = 150_000, classes: int = 23) -> dict[str, Any]:
    """As exhaustive, on a GPU, by the fastest backend that works there and by each alone. Takes about a minute.

    Args:
        members: Of the pool.
        pixels: Probe pixels.
        classes: Of the target.

    Returns:
        Seconds, and peak memory on the device; for each backend, seconds and how far its scores are from the
        processor's.

    Raises:
        MissingRequirementError: If there is none.
    """
    if not torch.cuda.is_available():
        raise MissingRequirementError("there is no GPU")
    return apart(measure_on_gpu, members=members, pixels=pixels, classes=classes)


def made_up(num_members: int, num_pixels: int, num_classes: int, seed: int = 0) -> tuple[NumpyArray, NumpyArray]:
    """Members of different skill: flat noise, with some mass on a class that is the true one four times out of five."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_classes, num_pixels)
    eeps = np.empty((num_members, num_pixels, num_classes), dtype=np.float32)
    bounds = [*range(0, num_pixels, 16_384), num_pixels]
    for member in range(num_members):
        skill = generator.uniform(0.05, 0.6)
        for start, stop in pairwise(bounds):
            count = stop - start
            noise = generator.standard_exponential((count, num_classes), dtype=np.float32)
            noise *= (1 - skill) / noise.sum(axis=1, keepdims=True)
            right = generator.random(count) < 0.8
            predicted = np.where(right, labels[start:stop], generator.integers(0, num_classes, count))
            noise[np.arange(count), predicted] += skill
            eeps[member, start:stop] = noise
    return eeps, labels


def measure_exhaustive(members: int, pixels: int, classes: int, plain_candidates: int) -> dict[str, Any]:
    """:func:`exhaustive` in this process."""
    libraries = peak_megabytes()
    eeps, labels = made_up(members, pixels, classes)
    few = partial(score_ensembles, eeps[:3, :100], labels[:100], threads=_THREADS)
    first, again = cost(few)[0].seconds, cost(few)[0].seconds
    spent, ranking = cost(lambda: score_ensembles(eeps, labels, threads=_THREADS))
    peak = peak_megabytes()
    plain, worst = _plain(eeps, labels, ranking, plain_candidates)
    megabytes = eeps.nbytes / 1e6
    return {
        "candidates": len(ranking),
        "seconds": round(spent.seconds, 2),
        "processor_seconds": round(spent.processor_seconds, 2),
        "seconds_to_load_or_compile_the_loops": round(first - again, 2),
        "plain_milliseconds_per_candidate": round(1000 * plain, 1),
        "plain_seconds_extrapolated": round(plain * len(ranking)),
        "times_faster": round(plain * len(ranking) / spent.seconds, 1),
        "least_times_faster": 25,
        "largest_relative_difference": worst,
        "most_largest_relative_difference": 1e-5,
        "megabytes_of_predictions": round(megabytes),
        "megabytes_of_libraries": round(libraries),
        "peak_megabytes": round(peak),
        "peak_without_libraries_over_predictions": round((peak - libraries) / megabytes, 2),
        "most_peak_without_libraries_over_predictions": 1.5,
    } | {f"{name}_alone": _alone(eeps, labels, name) for name in ENSEMBLE_METRICS}


def _alone(eeps: NumpyArray, labels: NumpyArray, metric: str) -> dict[str, float]:
    spent, _ = cost(lambda: score_ensembles(eeps, labels, metrics=[metric], threads=_THREADS))
    return {"seconds": round(spent.seconds, 2), "processor_seconds": round(spent.processor_seconds, 2)}


def _plain(eeps: NumpyArray, labels: NumpyArray, ranking: Ranking, count: int) -> tuple[float, float]:
    """Seconds that the plain version takes for a candidate (the median), and its largest relative difference."""
    torch.set_num_threads(_THREADS)
    plain = PlainScorer(torch.from_numpy(eeps), torch.from_numpy(labels))
    times, worst = [], 0.0
    for row in np.random.default_rng(1).choice(len(ranking), min(count, len(ranking)), replace=False):
        spent, scores = cost(partial(plain.score, tuple(ranking.members[row].tolist())))
        times.append(spent.seconds)
        differences = (abs(ranking.scores[name][row] / value - 1) for name, value in scores.items())
        worst = max(worst, *map(float, differences))
    return float(np.median(times)), worst


def measure_streamed(folder: str, members: int, pixels: int, classes: int, chunks: int) -> dict[str, Any]:
    """:func:`streamed` in this process."""
    libraries = peak_megabytes()
    _write_first_chunks(Path(folder), members, pixels, classes, chunks)
    store = PredictionStore.open(folder)
    enough = sum(chunk.stop - chunk.start for chunk in store.chunks[:chunks]) / pixels

    cancel = CancelToken()

    def stop_in_time(done: int, total: int) -> None:
        # Told of whole candidates, rounded down.
        if done + 1 >= total * enough and enough < 1:
            cancel.set()

    start = time.perf_counter()
    ranking = score_ensembles(store, store.labels, progress=stop_in_time, threads=_THREADS, cancel=cancel)
    seconds = time.perf_counter() - start
    return {
        "candidates": len(ranking),
        "gigabytes_of_predictions": round(members * pixels * classes * 4 / 1e9, 1),
        "share_of_the_pixels_scored": round(ranking.fraction, 5),
        "seconds_for_them": round(seconds, 1),
        "seconds_extrapolated": round(seconds / ranking.fraction),
        "megabytes_of_libraries": round(libraries),
        "peak_megabytes": round(peak_megabytes()),
        "most_peak_megabytes": 6000,
    }


def _write_first_chunks(folder: Path, members: int, pixels: int, classes: int, chunks: int) -> None:
    """A store of full size on disk of which only the first chunks hold anything; the files have holes after them."""
    labels = np.random.default_rng(0).integers(0, classes, pixels)
    order = draw_order(labels, 0, CHUNK_PIXELS)
    np.save(folder / LABELS, labels[order])
    np.save(folder / ORDER, order)
    write_record(
        folder / HEADER, Header(members, pixels, classes, "float32", chunk_pixels=CHUNK_PIXELS), FORMAT_VERSION
    )
    count = min(pixels, chunks * CHUNK_PIXELS)
    for member in range(members):
        eeps, _ = made_up(1, count, classes, seed=member)
        true_class = eeps[0, np.arange(count), labels[order[:count]]]
        for path, values, numbers in (
            (predictions_file(folder, member), eeps, pixels * classes),
            (true_class_file(folder, member), true_class, pixels),
        ):
            with path.open("wb") as file:
                values.tofile(file)
                file.truncate(4 * numbers)


def measure_on_gpu(members: int, pixels: int, classes: int) -> dict[str, Any]:
    """:func:`on_gpu` in this process."""
    arrays = made_up(members, pixels, classes)
    expected = score_ensembles(*arrays)
    eeps, labels = (torch.from_numpy(array).cuda() for array in arrays)
    score_ensembles(eeps[:4, :1000], labels[:1000])
    times = [cost(lambda: score_ensembles(eeps, labels))[0].seconds for _ in range(3)]
    return {
        "device": torch.cuda.get_device_name(),
        "backend": fastest_backend(eeps.device, eeps.dtype).name,
        "seconds": round(float(np.median(times)), 3),
        "most_seconds": 3.0,
        "peak_megabytes_on_the_device": round(torch.cuda.max_memory_allocated() / 1e6),
        "peak_megabytes": round(peak_megabytes()),
        **compare_backends(eeps, labels, expected),
    }

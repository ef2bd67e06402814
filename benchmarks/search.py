"""Exhaustive search beside the plain way: time, ratio, peak memory.

Each measurement runs in a process of its own, so that peaks of memory are its own: ``python -m benchmarks.search NAME``
prints one as JSON. ``M`` candidates of size 3 out of ``members``.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.plain_scoring import PlainScorer
from muster.files import write_record
from muster.metrics import ENSEMBLE_METRICS
from muster.metrics._arrays import NumpyArray
from muster.search._panel_folder import (
    FORMAT_VERSION,
    HEADER,
    LABELS,
    ORDER,
    Header,
    predictions_file,
    truths_file,
)
from muster.search.panel import CHUNK_PIXELS, Panel, draw_order
from muster.search.ranking import Ranking
from muster.search.score import ScoringInterrupted, score_ensembles

_THREADS = 2


def exhaustive() -> dict[str, Any]:
    """All four metrics of the 41 664 candidates of three out of 64, 150 000 pixels, 23 classes, float32."""
    return _apart("exhaustive")


def streamed() -> dict[str, Any]:
    """The same with 1 000 000 pixels and 134 classes, the predictions on disk; time extrapolated from a few chunks."""
    return _apart("streamed")


def on_gpu() -> dict[str, Any]:
    """As :func:`exhaustive`, on a GPU if there is one."""
    return _apart("on_gpu")


def _apart(name: str) -> dict[str, Any]:
    """Run a measurement in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.search", name], check=True, stdout=subprocess.PIPE, text=True
    )
    result: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return result


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
            said = np.where(right, labels[start:stop], generator.integers(0, num_classes, count))
            noise[np.arange(count), said] += skill
            eeps[member, start:stop] = noise
    return eeps, labels


def _measure_exhaustive(members: int = 64, pixels: int = 150_000, classes: int = 23) -> dict[str, Any]:
    libraries = _peak_megabytes()
    eeps, labels = made_up(members, pixels, classes)
    first = _seconds(lambda: score_ensembles(eeps[:3, :100], labels[:100], threads=_THREADS))[0]
    again = _seconds(lambda: score_ensembles(eeps[:3, :100], labels[:100], threads=_THREADS))[0]
    seconds, ranking = _seconds(lambda: score_ensembles(eeps, labels, threads=_THREADS))
    peak = _peak_megabytes()
    plain, worst = _plain(eeps, labels, ranking)
    parts = {
        name: round(_seconds(lambda name=name: score_ensembles(eeps, labels, metrics=[name], threads=_THREADS))[0], 2)  # type: ignore[misc]
        for name in ENSEMBLE_METRICS
    }
    megabytes = eeps.nbytes / 1e6
    return {
        "candidates": len(ranking),
        "seconds": round(seconds, 2),
        "seconds_of_each_metric_alone": parts,
        "seconds_to_load_or_compile_the_loops": round(first - again, 2),
        "plain_milliseconds_per_candidate": round(1000 * plain, 1),
        "plain_seconds_extrapolated": round(plain * len(ranking)),
        "times_faster": round(plain * len(ranking) / seconds, 1),
        "largest_relative_difference": worst,
        "megabytes_of_predictions": round(megabytes),
        "megabytes_of_libraries": round(libraries),
        "peak_megabytes": round(peak),
        "peak_without_libraries_over_predictions": round((peak - libraries) / megabytes, 2),
    }


def _plain(eeps: NumpyArray, labels: NumpyArray, ranking: Ranking, count: int = 200) -> tuple[float, float]:
    """Seconds that the plain version takes for a candidate (the median), and its largest relative difference."""
    torch.set_num_threads(_THREADS)
    plain = PlainScorer(torch.from_numpy(eeps), torch.from_numpy(labels))
    times, worst = [], 0.0
    for row in np.random.default_rng(1).choice(len(ranking), min(count, len(ranking)), replace=False):
        seconds, scores = _seconds(lambda row=row: plain.score(tuple(ranking.members[row].tolist())))  # type: ignore[misc]
        times.append(seconds)
        differences = (abs(ranking.scores[name][row] / value - 1) for name, value in scores.items())
        worst = max(worst, *map(float, differences))
    return float(np.median(times)), worst


def _measure_streamed(
    members: int = 64, pixels: int = 1_000_000, classes: int = 134, chunks: int = 4
) -> dict[str, Any]:
    libraries = _peak_megabytes()
    with tempfile.TemporaryDirectory(dir=os.environ.get("MUSTER_BENCH_DIR")) as temporary:
        _write_first_chunks(Path(temporary), members, pixels, classes, chunks)
        panel = Panel.open(temporary)
        times: list[tuple[float, float]] = []

        def stop_in_time(done: int, total: int) -> None:
            times.append((time.perf_counter(), done / total))
            if done >= total * panel.chunks[chunks - 1].start / pixels:
                raise KeyboardInterrupt

        start = time.perf_counter()
        try:
            ranking = score_ensembles(panel, panel.labels, progress=stop_in_time, threads=_THREADS)
        except ScoringInterrupted as interrupted:
            ranking = interrupted.ranking
        seconds = time.perf_counter() - start
    return {
        "candidates": len(ranking),
        "gigabytes_of_predictions": round(members * pixels * classes * 4 / 1e9, 1),
        "share_of_the_pixels_scored": round(ranking.fraction, 5),
        "seconds_for_them": round(seconds, 1),
        "seconds_for_all_extrapolated": round(seconds / ranking.fraction),
        "megabytes_of_libraries": round(libraries),
        "peak_megabytes": round(_peak_megabytes()),
    }


def _write_first_chunks(folder: Path, members: int, pixels: int, classes: int, chunks: int) -> None:
    """A panel of full size on disk of which only the first chunks hold anything; the files have holes after them."""
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
        truths = eeps[0, np.arange(count), labels[order[:count]]]
        for path, values, numbers in (
            (predictions_file(folder, member), eeps, pixels * classes),
            (truths_file(folder, member), truths, pixels),
        ):
            with path.open("wb") as file:
                values.tofile(file)
                file.truncate(4 * numbers)


def _measure_on_gpu(members: int = 64, pixels: int = 150_000, classes: int = 23) -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {"measured": False, "why": "no GPU"}
    arrays = made_up(members, pixels, classes)
    eeps, labels = (torch.from_numpy(array).cuda() for array in arrays)
    score_ensembles(eeps[:4, :1000], labels[:1000])
    times = [_seconds(lambda: score_ensembles(eeps, labels))[0] for _ in range(3)]
    return {
        "measured": True,
        "device": torch.cuda.get_device_name(),
        "seconds": round(min(times), 2),
        "peak_megabytes_on_the_device": round(torch.cuda.max_memory_allocated() / 1e6),
    }


def _seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    measure = {"exhaustive": _measure_exhaustive, "streamed": _measure_streamed, "on_gpu": _measure_on_gpu}
    print(json.dumps(measure[sys.argv[1]]()))

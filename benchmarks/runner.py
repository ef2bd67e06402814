"""Runs benchmarks by name and keeps their results in one JSON file.

The file holds ``machines``, a list of descriptions, and ``results``: for each benchmark the number of its machine, when
it ran, how busy the machine was at its start, how long it took, and what it found (or why it was skipped).
"""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import beyond_exhaustive, confidence, decoding, metrics, pieces, pool_size, search, whole_path
from benchmarks.machine import load_average
from benchmarks.requirements import MissingRequirementError
from muster.errors import unknown_name
from muster.files import atomic_write

Content = dict[str, Any]


@dataclass(frozen=True)
class Benchmark:
    """One that can be asked for by name.

    Attributes:
        function: Takes sizes, all with defaults, and returns nested dictionaries fit for JSON;
            :mod:`benchmarks.summary` says which keys appear in the table.
        small: Sizes at which it takes a few seconds, to see that it runs.
    """

    function: Callable[..., Content]
    small: Mapping[str, Any] = field(default_factory=dict)

    @property
    def about(self) -> str:
        """First line of the function's description."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]


_SMALL_PANEL = {"members": 8, "pixels": 3000, "classes": 5}

BENCHMARKS: dict[str, Benchmark] = {
    "worlds": Benchmark(pieces.worlds, {"images": 1, "repetitions": 1}),
    "decoding": Benchmark(decoding.decoding, {"rows": 32, "columns": 64, "images": 2, "repetitions": 1}),
    "reading_probe_pixels": Benchmark(
        pieces.reading_probe_pixels, {"classes": 11, "map_side": 16, "side": 128, "repetitions": 2}
    ),
    "training_step": Benchmark(pieces.training_step, {"batch": 2, "side": 32, "repetitions": 1}),
    "metrics": Benchmark(
        metrics.metrics, {"samples": 300, "dimensions": 24, "classes": 4, "transported": 100, "repetitions": 1}
    ),
    "linear_probe": Benchmark(
        metrics.linear_probe, {"pixels": 3000, "dimensions": 32, "classes": 5, "images": 20, "repetitions": 1}
    ),
    "exhaustive": Benchmark(search.exhaustive, _SMALL_PANEL),
    "streamed": Benchmark(search.streamed, {"members": 8, "pixels": 30_000, "classes": 5, "chunks": 2}),
    "on_gpu": Benchmark(search.on_gpu, _SMALL_PANEL),
    "beyond_exhaustive": Benchmark(
        beyond_exhaustive.beyond_exhaustive, {**_SMALL_PANEL, "members": 20, "size": 3, "methods": ["greedy"]}
    ),
    "pool_size": Benchmark(
        pool_size.pool_size, {"members": [4, 6], "pixels": 500, "classes": 4, "architecture": "small_fpn", "side": 64}
    ),
    "misses": Benchmark(beyond_exhaustive.misses, {"seeds": 1, "members": [6], "pixels": 500, "targets": []}),
    "confidence": Benchmark(confidence.confidence, {"pixels": 3000, "images": 10, "candidates": 4, "resamples": 40}),
    "whole_path_selection": Benchmark(
        whole_path.whole_path_selection, {"images": 4, "architecture": "small_fpn", "side": 64}
    ),
    "whole_path_selection_on_gpu": Benchmark(whole_path.whole_path_selection_on_gpu, {"cases": [("small_fpn", 4, 64)]}),
    "whole_path_training": Benchmark(
        whole_path.whole_path_training,
        {"steps": 4, "warm_up": 1, "batch_size": 2, "architecture": "small_fpn", "side": 64},
    ),
}
"""All of them, in the order in which they run."""


def require_known(name: str) -> None:
    """Refuse a name that no benchmark has.

    Raises:
        ValueError: If there is none; the message names the nearest one.
    """
    if name not in BENCHMARKS:
        raise ValueError(unknown_name("benchmark", name, BENCHMARKS))


def empty() -> Content:
    """Results of nothing."""
    return {"machines": [], "results": {}}


def measure(name: str, small: bool = False) -> Content:
    """Run one benchmark.

    Args:
        name: The name of the benchmark.
        small: Whether to run it at a size that says nothing, but takes only seconds.

    Returns:
        Its entry in a results file whose first machine is this one.

    Raises:
        ValueError: If the name is unknown.
    """
    require_known(name)
    entry: Content = {
        "machine": 0,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average_at_start": load_average(),
    }
    benchmark = BENCHMARKS[name]
    start = time.perf_counter()
    try:
        result = benchmark.function(**(benchmark.small if small else {}))
    except MissingRequirementError as error:
        return entry | {"skipped": str(error)}
    took = {"seconds_in_all": round(time.perf_counter() - start, 1)}
    return entry | took | ({"small": True} if small else {}) | {"result": result}


def merge(old: Content, new: Content) -> Content:
    """Put new results into old ones, by name.

    Args:
        old: Content of a results file.
        new: Likewise; its entries replace those of the same name, but one that was skipped does not replace one that
            was measured, nor one of small size one of full size.

    Returns:
        Both together. Machines that no result is from any more are left out.
    """
    kept = dict(old["results"])
    machines = [*old["machines"], *new["machines"]]
    for name, entry in new["results"].items():
        if name not in kept or _worth(entry) >= _worth(kept[name]):
            kept[name] = entry | {"machine": entry["machine"] + len(old["machines"])}
    used: list[Content] = []
    results = {}
    for name in sorted(kept, key=list(BENCHMARKS).index):
        machine = machines[kept[name]["machine"]]
        if machine not in used:
            used.append(machine)
        results[name] = kept[name] | {"machine": used.index(machine)}
    return {"machines": used, "results": results}


def _worth(entry: Content) -> int:
    return 0 if "skipped" in entry else 1 if entry.get("small") else 2


def read(path: Path) -> Content:
    """Content of a results file; an empty one if there is no such file.

    Args:
        path: The file.

    Returns:
        Its machines and results; those of benchmarks that are no more are left out.

    Raises:
        ValueError: If it is no results file.
    """
    if not path.exists():
        return empty()
    if not path.is_file():
        raise ValueError(f"Expected {path} to be a file of results, but it is none. Name another file.")
    try:
        content = json.loads(path.read_text("utf-8"))
        machines, results = content["machines"], content["results"]
        known = {name: entry for name, entry in results.items() if name in BENCHMARKS}
        assert all(entry["machine"] < len(machines) for entry in known.values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        raise ValueError(
            f"Expected {path} to hold results of benchmarks, but it does not. Name another file."
        ) from error
    return {"machines": machines, "results": known}


def write(path: Path, content: Content) -> None:
    """Replace a results file.

    Args:
        path: The file.
        content: Its machines and results.
    """
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", "utf-8")

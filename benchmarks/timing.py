"""Seconds that pass, seconds of processor time, which a busy machine changes less, and memory."""

from __future__ import annotations

import ctypes
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KILOBYTE = 1 if sys.platform == "darwin" else 1024
"""Bytes to the unit in which ``getrusage`` reports memory."""


@dataclass
class Cost:
    """Time that some work took.

    Attributes:
        seconds: That passed.
        processor_seconds: Of this process, all its threads together.
    """

    seconds: float = 0.0
    processor_seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.processor_seconds + other.processor_seconds)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.seconds - other.seconds, self.processor_seconds - other.processor_seconds)


class Stopwatch:
    """Adds up what blocks of work cost.

    Attributes:
        laps: Cost of each block, in order.
    """

    def __init__(self) -> None:
        self.laps: list[Cost] = []

    @property
    def total(self) -> Cost:
        """Of all blocks."""
        return sum(self.laps, Cost())

    @property
    def median(self) -> Cost:
        """Median of each clock over the blocks."""
        return Cost(
            statistics.median(lap.seconds for lap in self.laps),
            statistics.median(lap.processor_seconds for lap in self.laps),
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure a block."""
        start = now()
        try:
            yield
        finally:
            self.laps.append(now() - start)


def now() -> Cost:
    """Readings of both clocks; only differences mean anything."""
    return Cost(time.perf_counter(), time.process_time())


def cost(work: Callable[[], Any]) -> tuple[Cost, Any]:
    """What doing something once costs, and its result."""
    start = now()
    result = work()
    return now() - start, result


def usual_cost(work: Callable[[], Any], repetitions: int = 5) -> Cost:
    """Median costs of some work, after one run to warm up."""
    work()
    watch = Stopwatch()
    for _ in range(repetitions):
        with watch.running():
            work()
    return watch.median


def peak_megabytes() -> float:
    """Most memory that this process has had so far, its libraries included."""
    try:
        return _status_kilobytes("VmHWM") * 1024 / 1e6
    except OSError:
        # Where a process starts with the peak of the one that started it, this is too much.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILOBYTE / 1e6


def megabytes_on_top(work: Callable[[], Any]) -> float | None:
    """Most memory that some work takes on top of what the process has already; ``None`` where the system cannot say.

    What the libraries keep for themselves between calls counts the first time only.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)  # memory set free before must not serve again unseen
        Path("/proc/self/clear_refs").write_text("5")  # the peak becomes what there is now
        before = _status_kilobytes("VmRSS")
        work()
        return max(0.0, (_status_kilobytes("VmHWM") - before) * 1024 / 1e6)
    except (OSError, AttributeError):  # not Linux with the GNU library
        return None


def _status_kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))

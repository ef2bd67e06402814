"""Seconds that pass, and seconds of processor time, which a busy machine changes less."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


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


def seconds(work: Callable[[], Any], repetitions: int = 5) -> float:
    """Median time of some work, after one run to warm up."""
    work()
    watch = Stopwatch()
    for _ in range(repetitions):
        with watch.running():
            work()
    return statistics.median(lap.seconds for lap in watch.laps)

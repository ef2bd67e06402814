"""What is said of the time left, with a clock that the test turns."""

from __future__ import annotations

import pytest
from rich.console import Console

from muster.execution import progress
from muster.execution.progress import TrainingProgress

JOBS = {"scores a": 10, "scores b": 10, "fit a": 100, "fit b": 100}
KINDS = {name: name.split()[0] for name in JOBS}


class Clock:
    """Seconds, as :func:`time.monotonic` has them."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def begun(kinds: dict[str, str] | None = KINDS) -> TrainingProgress:
    shown = TrainingProgress(Console(quiet=True))
    shown.begin(JOBS, "jobs", kinds)
    return shown


def test_a_step_of_another_kind_is_not_taken_for_one_that_was_timed(clock: Clock) -> None:
    """Ten seconds for each of 20 scores, half a second for each of 200 steps of fits: 300 s, not 2200."""
    shown = begun()
    assert shown._summary() == "0 of 4 done, estimating"
    shown.starts("scores a")
    clock.now = 50.0
    shown.step("scores a", 5, None)
    assert shown._summary() == "0 of 4 done, estimating"  # it may have gone on where it was
    clock.now = 100.0
    shown.step("scores a", 10, None)
    assert shown._summary() == "0 of 4 done, more than 2 min left"
    shown.done("scores a")
    shown.starts("fit a")
    clock.now = 110.0
    shown.step("fit a", 1, 0.5)
    clock.now = 125.0
    shown.step("fit a", 50, 0.5)
    assert shown._summary() == "1 of 4 done, about 3 min left"  # 100 s, and 150 steps of half a second


def test_jobs_side_by_side_share_what_is_left(clock: Clock) -> None:
    shown = begun(None)
    for name in ("fit a", "fit b"):
        shown.step(name, 1, 0.5)
    clock.now = 40.0
    for name in ("fit a", "fit b"):
        shown.step(name, 40, 0.5)
    assert shown._summary() == "0 of 4 done, about 70 s left"  # 140 steps of a second, two at a time


def test_a_job_that_goes_on_counts_what_it_does_now(clock: Clock) -> None:
    shown = begun(None)
    shown.step("fit a", 60, 0.5)
    clock.now = 20.0
    shown.step("fit a", 70, 0.5)
    assert shown._summary() == "0 of 4 done, about 5 min left"  # 150 steps of 2 s

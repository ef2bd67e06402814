"""Shows how far some jobs are, each so many steps long: jobs done, steps, the latest loss, time left."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table

_FIT = "all members together"
"""What the one job of a fit is called."""

QUIET_SECONDS = 30.0
"""Where there is no terminal to redraw on, a line is printed this often."""


_MINUTES_FROM = 90.0
"""Seconds from which on minutes are told."""


@dataclass
class _Times:
    """When a job began and ended, by the monotonic clock, and the step that it began at."""

    began: float
    first: int = 0
    ended: float | None = None

    @property
    def seconds(self) -> float:
        return (time.monotonic() if self.ended is None else self.ended) - self.began


class TrainingProgress:
    """A table that is redrawn on a terminal, and now and then a line anywhere else."""

    def __init__(self, console: Console) -> None:
        """Show nothing until :meth:`begin`; see :func:`muster.commands.terminal.make_console` for the console."""
        self.console = console
        self.steps: dict[str, int] = {}
        self.at: dict[str, tuple[int, float | None]] = {}
        self.finished: list[str] = []
        self.live: Live | None = None
        self.started = self.told = time.monotonic()
        self.kinds: Mapping[str, str] = {}
        self.times: dict[str, _Times] = {}

    def begin(self, steps: Mapping[str, int], headline: str, kinds: Mapping[str, str] | None = None) -> None:
        """Say what there is to do.

        Args:
            steps: Steps of every job, by its name.
            headline: Printed first.
            kinds: What kind of job each is: steps of different kinds take different time. By default all are alike.
        """
        self.steps, self.at, self.finished, self.kinds, self.times = dict(steps), {}, [], kinds or {}, {}
        self.started = self.told = time.monotonic()
        self.console.print(headline)
        if self.console.is_terminal and steps:
            self.live = Live(self._table(), console=self.console, transient=True, refresh_per_second=2)
            self.live.start()

    def starts(self, job: str) -> None:
        """A job begins; without this call it began with all others, or when it was first heard of."""
        self.times[job] = _Times(time.monotonic())

    def step(self, job: str, step: int, loss: float | None) -> None:
        """A job got as far as ``step``; without a loss if it trains nothing."""
        times = self.times.setdefault(job, _Times(time.monotonic() if self.finished else self.started))
        if job not in self.at and step > 1:  # it goes on where it was
            times.began, times.first = time.monotonic(), step
        self.at[job] = (step, loss)

    def skip(self, job: str) -> None:
        """A job was finished before."""
        del self.steps[job]

    def done(self, job: str, how: str = "done") -> None:
        """A job is finished."""
        self._end(job, f"{job}: {how}")

    def failed(self, job: str, reason: str) -> None:
        """A job failed."""
        self._end(job, f"{job}: FAILED: {reason}")

    def tick(self) -> None:
        """Redraw, or print a line if none was printed for a while."""
        if self.live is not None:
            self.live.update(self._table())
        elif time.monotonic() - self.told > QUIET_SECONDS:
            self.told = time.monotonic()
            running = ", ".join(
                f"{job} {step}/{self.steps[job]}{'' if loss is None else f' loss {loss:.3f}'}"
                for job, (step, loss) in self._running().items()
            )
            self.console.print(": ".join(filter(None, [self._summary(), running])))

    def end(self) -> None:
        """Take the table away."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _end(self, job: str, outcome: str) -> None:
        self.finished.append(job)
        if job in self.times:
            self.times[job].ended = time.monotonic()
        self.console.print(f"[{len(self.finished)}/{len(self.steps)}] {outcome}")
        if len(self.finished) == len(self.steps):
            self.end()

    def _running(self) -> dict[str, tuple[int, float | None]]:
        return {job: at for job, at in self.at.items() if job not in self.finished}

    def _seconds_a_step(self) -> dict[str, float]:
        """Of each kind of job that steps were heard of; those that are done count whole."""
        spent: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for job, times in self.times.items():
            reached = self.steps[job] if job in self.finished else self.at.get(job, (0, None))[0]
            if reached > times.first:
                spent[self.kinds.get(job, "")].append((reached - times.first, times.seconds))
        return {kind: sum(each for _, each in both) / sum(steps for steps, _ in both) for kind, both in spent.items()}

    def _seconds_left(self) -> tuple[float | None, bool]:
        """A rough figure, if any can be told, and whether it leaves out kinds of jobs that no step was heard of."""
        pace, left, untold = self._seconds_a_step(), 0.0, False
        for job, steps in self.steps.items():
            if job not in self.finished:
                kind, missing = self.kinds.get(job, ""), steps - self.at.get(job, (0, None))[0]
                left += missing * pace.get(kind, 0.0)
                untold |= kind not in pace
        return (left / max(1, len(self._running())) if pace else None), untold

    def _summary(self) -> str:
        left, untold = self._seconds_left()
        if left is None:
            remaining = "estimating"
        else:
            remaining = f"{left / 60:.0f} min left" if left > _MINUTES_FROM else f"{left:.0f} s left"
            remaining = f"more than {remaining}" if untold else f"about {remaining}"
        done = f"{len(self.finished)} of {len(self.steps)} done, " if len(self.steps) > 1 else ""
        return done + remaining

    def _table(self) -> Table:
        table = Table(title=self._summary(), title_justify="left", box=None)
        for heading in ("member", "step", "loss"):
            names = heading == "member"
            table.add_column(heading, justify="left" if names else "right", no_wrap=not names, overflow="fold")
        for job, (step, loss) in self._running().items():
            table.add_row(job, f"{step}/{self.steps[job]}", "" if loss is None else f"{loss:.3f}")
        return table


@contextmanager
def fit_progress(console: Console, steps: int, headline: str) -> Iterator[Callable[[int, float], None]]:
    """Show how far one fit is.

    Args:
        console: Where.
        steps: How many the fit has.
        headline: Printed first.

    Yields:
        What to call with the number of steps done and the latest loss.
    """
    progress = TrainingProgress(console)
    progress.begin({_FIT: steps}, headline)

    def step(done: int, loss: float) -> None:
        progress.step(_FIT, done, loss)
        progress.tick()

    try:
        yield step
    finally:
        progress.end()

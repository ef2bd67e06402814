"""What of a study can begin when: steps that wait for others, run as jobs of an executor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from muster.execution.executor import Executor, Failure, Job
from muster.execution.progress import TrainingProgress


@dataclass(frozen=True)
class Step:
    """Something to do once other things are done; its job works in a folder that goes when it is done.

    Attributes:
        name: Unlike that of any other step.
        job: Makes the job; asked when its turn has come.
        is_done: Whether its result is there already; likewise.
        after: Names of the steps that it waits for; whether they failed is its own concern.
        units: How many units of work its messages count up to.
        adds_results: Whether the tables know more of the candidates once it is done.
        kind: Steps of one kind take about the same time for a unit of work.
    """

    name: str
    job: Callable[[], Job]
    is_done: Callable[[], bool]
    after: tuple[str, ...] = ()
    units: int = 1
    adds_results: bool = False
    kind: str = ""


@dataclass
class Schedule:
    """Steps of a run; told by the executor how their jobs go on.

    Of the steps that need not wait the first one begins whenever there is a free place.

    Attributes:
        steps: All of them.
        executor: Runs their jobs.
        places: How many of them run side by side.
        progress: Shows how far it is.
        found: Names of the steps that were done before.
        failures: Names of the steps that failed, and why.
    """

    steps: Sequence[Step]
    executor: Executor
    places: int
    progress: TrainingProgress
    found: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    _begun: set[str] = field(default_factory=set)
    _over: set[str] = field(default_factory=set)
    _running: int = 0

    def run(self, headline: str, ended: Callable[[Step], None]) -> None:
        """Do all steps; one that fails does not keep the others from being done.

        Args:
            headline: Printed first.
            ended: Called with a step that this run has done.
        """
        self._ended = ended
        kinds = {step.name: step.kind for step in self.steps}
        self.progress.begin({step.name: step.units for step in self.steps}, headline, kinds)
        try:
            self._fill()
            self.executor.run(self)
        finally:
            self.progress.end()

    def _fill(self) -> None:
        """Begin with steps that need not wait, as long as there are places."""
        while self._running < self.places and (step := self._next()) is not None:
            self._begun.add(step.name)
            if step.is_done():
                shutil.rmtree(step.job().folder, ignore_errors=True)  # left if it was killed right then
                self.found.append(step.name)
                self._over.add(step.name)
                self.progress.skip(step.name)
            else:
                self._running += 1
                self.progress.starts(step.name)
                self.executor.submit(step.job())

    def _next(self) -> Step | None:
        ready = (step for step in self.steps if step.name not in self._begun and set(step.after) <= self._over)
        return next(ready, None)

    def _end(self, name: str) -> None:
        """A job is over: others take its place."""
        self._over.add(name)
        self._running -= 1
        self._fill()

    def progressed(self, job: Job, message: str) -> None:
        """See :class:`muster.execution.executor.Listener`."""
        done, figure = json.loads(message)
        self.progress.step(job.name, done, figure)

    def done(self, job: Job, result: str) -> None:  # noqa: ARG002 (a listener's)
        """See :class:`muster.execution.executor.Listener`."""
        shutil.rmtree(job.folder, ignore_errors=True)  # a job's result lies elsewhere
        self.progress.done(job.name)
        self._ended(next(step for step in self.steps if step.name == job.name))
        self._end(job.name)

    def failed(self, job: Job, failure: Failure) -> None:
        """See :class:`muster.execution.executor.Listener`."""
        self.failures[job.name] = f"{failure.reason} ({failure.log})"
        self.progress.failed(job.name, failure.reason)
        self._end(job.name)

    def tick(self) -> None:
        """See :class:`muster.execution.executor.Listener`."""
        self.progress.tick()

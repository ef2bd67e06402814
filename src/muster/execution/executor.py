"""Jobs, what becomes of them, and what every executor can do.

An executor carries text and does not look into it: a job's content, the messages that it sends and its result mean
something to the task and to whoever submitted the job.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

FailureKind = Literal["refused", "crashed", "died"]
"""``refused``: the task raised an error that people are meant to read. ``crashed``: it raised any other error.
``died``: its process ended without a word, killed or crashed outside Python."""


@dataclass(frozen=True)
class Job:
    """Something to do.

    Attributes:
        name: Unlike that of any other job of the executor.
        task: The function that does it, as ``package.module:function``. It is called with the content and with a
            function that sends a message, both text, and returns the result as text.
        content: What the task needs to know.
        folder: Where the task works. It is created; the log of a job that failed goes there.
    """

    name: str
    task: str
    content: str
    folder: Path


@dataclass(frozen=True)
class Failure:
    """How a job failed.

    Attributes:
        kind: See :data:`FailureKind`.
        reason: For people.
        log: Where the output of the job is, or why it is not kept.
    """

    kind: FailureKind
    reason: str
    log: str


@runtime_checkable
class Listener(Protocol):
    """Who is told of the jobs, in the process and thread that runs the executor."""

    def progressed(self, job: Job, message: str) -> None:
        """The task sent a message."""

    def done(self, job: Job, result: str) -> None:
        """The task returned."""

    def failed(self, job: Job, failure: Failure) -> None:
        """The job failed; the others go on."""

    def tick(self) -> None:
        """About a second has passed, or something happened."""


@runtime_checkable
class Executor(Protocol):
    """Runs jobs side by side.

    There are two kinds: :class:`muster.execution.local.LocalProcesses`, and
    :class:`muster.execution.ray_tasks.RayTasks` for one machine or many.
    """

    def submit(self, job: Job) -> None:
        """Add a job to those that wait. Jobs begin in the order in which they were submitted.

        A listener may submit more while they run, for instance once what they need is done.
        """

    def run(self, listener: Listener) -> None:
        """Run until every job is done or has failed; whatever ends this call ends the jobs too."""
